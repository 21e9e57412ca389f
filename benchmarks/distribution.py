"""Several workers: what a step takes with one and with two, and with many.

A Transformer of 3 + 3 layers trains on batches of one size, for one worker and
cut in two halves for two (MultiWorkerMirroredStrategy, processes of this
machine, one thread each). What the second one adds beyond its half of the work
is the sum of the gradients over both, and waiting.

What more workers would do is arithmetic, printed below it. Each has a batch of
its own of the size measured, a ring sums the gradients, and nothing overlaps:

    step of n = step of one + 2 (n - 1) (bytes / (n bandwidth) + latency)

(Patarasuk and Yuan 2009). `share` is the step of one over that of n: how much
of each worker is at work.

    python benchmarks/distribution.py
    python benchmarks/distribution.py --step 55 --weights 65000000
"""

import json
import os
import socket
import statistics
import subprocess
import sys
import time

import measure

SIZES = {"batch": 32, "length": 32}
STEPS = 12
WORKERS = (8, 64, 512)
# Of one worker to the next: bits a second, and seconds until the first.
NETWORKS = {
    "1 Gb/s Ethernet": (1e9, 50e-6),
    "25 Gb/s Ethernet": (25e9, 25e-6),
    "400 Gb/s InfiniBand": (400e9, 5e-6),
}
WAYS = {  # bytes of a gradient, and in how many steps it is summed once
    "float32": (4, 1),
    "float32, 8 steps accumulated": (4, 8),
    "bfloat16, if it were summed so": (2, 1),
}


def steps(count, index, ports):
    """Returns the weights and the milliseconds of each step of a worker."""
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
    os.environ.update(threads)
    if count > 1:
        hosts = [f"localhost:{port}" for port in ports]
        task = {"type": "worker", "index": index}
        config = {"cluster": {"worker": hosts}, "task": task}
        os.environ["TF_CONFIG"] = json.dumps(config)
    import keras
    import sequence_models
    import tensorflow as tf

    from keras_attention.training.distribution import distribution_of

    distribution = distribution_of("multi_worker" if count > 1 else None)
    sizes = {**sequence_models.SIZES, **SIZES, "layers": 3}
    sizes["batch"] //= count
    inputs, labels = sequence_models.batch_of(sizes)
    data = tf.data.Dataset.from_tensors((inputs, labels)).repeat()
    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter())

    with distribution.scope():
        keras.utils.set_random_seed(0)
        model = sequence_models.MODELS["ours"](0.1, **sizes)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("adam", loss, jit_compile=False)
    model.fit(
        distribution.dataset(lambda **_: data),
        steps_per_epoch=STEPS,
        verbose=0,
        callbacks=[Clock()],
    )
    found = [1000 * (b - a) for a, b in zip(times[1:], times[2:], strict=False)]
    return model.count_params(), statistics.median(found)


def measured(count):
    """Returns the weights, and the milliseconds of a step of so many."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    command = [sys.executable, __file__, "--cell", str(count)]
    workers = [
        subprocess.Popen(
            [*command, str(index), *ports], stdout=subprocess.PIPE, text=True
        )
        for index in range(count)
    ]
    results = [worker.communicate()[0].splitlines()[-1] for worker in workers]
    weights, milliseconds = zip(*map(json.loads, results), strict=True)
    return weights[0], max(milliseconds)


def on_paper(step, weights):
    """Prints the table of what many workers would do.

    Args:
        step: milliseconds of one worker.
        weights: how many gradients are summed.
    """
    rows = []
    for network, (bandwidth, latency) in NETWORKS.items():
        for way, (width, every) in WAYS.items():
            row = [network, way]
            for count in WORKERS:
                bits = 8 * width * weights / count
                one_turn = bits / bandwidth + latency
                added = 1000 * 2 * (count - 1) * one_turn / every
                row += [f"{step + added:,.0f}", f"{step / (step + added):.0%}"]
            rows.append(row)
    columns = ["network", "gradients"]
    for count in WORKERS:
        columns += [f"{count} workers, ms", "share"]
    measure.print_table(columns, rows)


def main():
    parser = measure.parser_of(__doc__)
    parser.add_argument("--step", type=float, help="ms, in place of measuring")
    parser.add_argument("--weights", type=int, help="how many")
    arguments = parser.parse_args()
    if arguments.step and arguments.weights:
        measure.print_header("On paper")
        on_paper(arguments.step, arguments.weights)
        return
    measure.print_header("A step with one and with two workers")
    times = {}
    for count in (1, 2):
        weights, times[count] = measured(count)
    size = f"{SIZES['batch']} x {SIZES['length']}"
    measure.print_table(
        ["workers", "batch of all", "median ms"],
        [[count, size, f"{time:.0f}"] for count, time in times.items()],
    )
    added = times[2] - times[1] / 2
    print(
        f"\n{weights:,} weights, {4 * weights / 1e6:.0f} MB of gradients. "
        f"Beyond half of the work: {added:.0f} ms.\n"
    )
    on_paper(times[1], weights)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        count, index, *ports = sys.argv[2:]
        print(json.dumps(steps(int(count), int(index), ports)))
    else:
        main()
