"""Attention on a GPU beside its peers: time, memory, and targets.

python benchmarks/gpu.py [--programs FOLDER] [--json FILE] [--budget 225]
    [--most 40] [--only causal,window] [--rounds 21]
python benchmarks/gpu.py --write-programs FOLDER
python benchmarks/gpu.py --tiny

The first runs where there is a GPU and JAX; TensorFlow is not needed, and
PyTorch is a peer where it is installed. The second runs where there is
TensorFlow, with a GPU or without: it writes what TensorFlow compiles for a
GPU, which the first then runs by JAX's client, in rows marked TensorFlow. The
third is both at sizes that a processor can do: a rehearsal, whose times mean
nothing.

At most 40 programs are started, the most important first, and none when the
budget of seconds is used up. Each result is compared with float64 before it is
timed. MiB is what a program takes besides its inputs, as its compiler planned
(PyTorch: as its allocator saw); where the device's own peak grew, `--json` has
that too. TFLOP/s counts 4 B N T S H operations, half of them where causal, 3.5
times as many with the gradients; additive scores have none. The error of a
model is its last loss over the first, or how far a chosen token's logit is
below the best.
"""

import argparse
import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path

UNOPTIMIZED = (
    "--xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true"
)
MOST = 40  # programs: the last of the plan may not fit
BUDGET = 225.0  # seconds: with the rest of the run under four minutes


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tiny", action="store_true", help="on the processor")
    parser.add_argument("--programs", metavar="FOLDER", help="to run as well")
    parser.add_argument("--write-programs", metavar="FOLDER")
    parser.add_argument("--json", metavar="FILE", help="a line per result")
    parser.add_argument("--budget", type=float, default=BUDGET)
    parser.add_argument("--most", type=int, default=MOST, help="programs")
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument(
        "--only",
        type=lambda text: tuple(text.split(",")),
        default=("",),
        help="groups whose name holds one of these words",
    )
    return parser.parse_args()


def groups_of(arguments):
    from gpu_parts.plan import plan

    return [
        group
        for group in plan(arguments.tiny)
        if any(word in group.key for word in arguments.only)
    ]


def write_programs(arguments):
    """Writes what TensorFlow compiles; needs no GPU."""
    import tensorflow as tf
    from gpu_parts import decoding
    from gpu_parts import gradients
    from gpu_parts import plan
    from gpu_parts import tensorflow_programs

    def specs(sizes, count, variables):
        ids = tf.TensorSpec((sizes["batch"], sizes["length"]), "int32")
        weights = [tf.TensorSpec(v.shape, v.dtype) for v in variables]
        return [*[ids] * count, *weights]

    def train(name, sizes):
        model = gradients.model_of(name.split()[-1], sizes, 0.0)
        variables = gradients.variables_of(model)
        function = gradients.loss_and_gradients(model)
        return function, specs(sizes, 3, variables)

    def decode(name, sizes):
        model = decoding.model_of(name.split()[-1], sizes)
        function = decoding.with_cache(model, sizes["length"])
        return function, specs(sizes, 1, model.variables)

    tensorflow_programs.write(
        arguments.write_programs,
        groups_of(arguments),
        {plan.GRADIENTS_KEY: train, plan.DECODING_KEY: decode},
        arguments.tiny,
    )


def written_here(arguments, folder):
    """Has another process, with TensorFlow, write the programs; its folder."""
    command = [sys.executable, __file__, "--tiny", "--write-programs", folder]
    command += ["--only", ",".join(arguments.only)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def run(arguments, folder):
    """Runs the plan and prints what it finds."""
    from gpu_parts import jax_programs
    from gpu_parts import runner
    from gpu_parts import targets
    from gpu_parts.clock import Budget
    from gpu_parts.tensorflow_programs import Written
    from measure import print_header
    from measure import print_table

    name = runner.device_name()
    if "(cpu)" in name and not arguments.tiny:
        print("No GPU: not run. `--tiny` rehearses it on the processor.")
        return
    budget = Budget(arguments.budget, arguments.most)
    written = Written(folder)
    print_header(f"Attention on {name}")
    product, copy = jax_programs.rates(arguments.tiny)
    print(f"Limits: a bfloat16 product runs at {product:.1f} TFLOP/s, a copy")
    print(f"at {copy:.0f} GB/s. TensorFlow's programs: {written.versions}.\n")
    if arguments.tiny:
        print("Tiny: a name stands for a small shape; times mean nothing.\n")
    print_table(runner.COLUMNS, [])
    with contextlib.ExitStack() as stack:
        log = arguments.json and stack.enter_context(open(arguments.json, "w"))
        turns = runner.Runner(budget, written, product, arguments.rounds, log)
        turns.write({"device": name, "tflops": product, "gigabytes": copy})
        for number, group in enumerate(groups_of(arguments)):
            turns.run(number, group)
    print(f"\n{budget.started} programs. Targets:\n")
    print_table(
        ("what", "wanted", "found", ""),
        targets.judged(turns.records, is_rehearsal=arguments.tiny),
    )


def main():
    arguments = parse_arguments()
    # Before Keras and JAX are imported, here and nowhere else.
    is_writer = arguments.write_programs is not None
    os.environ["KERAS_BACKEND"] = "tensorflow" if is_writer else "jax"
    if is_writer:
        write_programs(arguments)
        return
    has_tensorflow = importlib.util.find_spec("tensorflow") is not None
    # It is not needed, so it is not there: Keras would load it where it is
    # installed, and PyTorch beside it has crashed.
    sys.modules["tensorflow"] = None
    # The device is shared with PyTorch: no library takes it all at once.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.9")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.tiny:
            os.environ["JAX_PLATFORMS"] = "cpu"
            # Sooner compiled: how fast it is does not matter here.
            os.environ.setdefault("XLA_FLAGS", UNOPTIMIZED)
            if arguments.programs is None and has_tensorflow:
                arguments.programs = written_here(arguments, folder)
        run(arguments, arguments.programs)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
