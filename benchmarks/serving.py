"""A SavedModel under load, and with smaller weights.

python benchmarks/serving.py [--model FOLDER --pairs FILE] [--seconds 120]

asks SavedModels in processes that have TensorFlow alone, as a server does.
With a trained model and pairs it counts errors; without, the weights are
random and only the share of answers that change is told.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from measure import print_header
from measure import print_table
from measure import time_in_turns

FORMATS = (None, "float16", "bfloat16", "int8")
THREADS = (1, 8, 64)
TEXTS, LENGTH = 512, 24  # of a model with random weights


def random_model():
    """The dimensions of the decoding benchmark, and texts for it."""
    import numpy as np

    import keras_attention as ka

    letters = "abcdefghijklmnopqrstuvwxyz"
    random = np.random.default_rng(0)
    texts = [
        "".join(random.choice(list(letters), size=LENGTH)) for _ in range(TEXTS)
    ]
    words = ka.Vocabulary.build([letters])
    model = ka.build_seq2seq(
        "transformer",
        words,
        words,
        units=256,
        num_heads=4,
        num_layers=3,
        feed_forward_units=1024,
        max_length=32,
        seed=0,
    )
    return model, dict.fromkeys(texts)


def trained_model(folder, pairs):
    """A model folder, and {source: [target, ...]} of a file of pairs."""
    import keras_attention as ka

    references = {}
    for source, target in ka.training.read_pairs([pairs]):
        references.setdefault(source, []).append(target)
    return ka.load(folder), references


# --- in a process of its own: `serving.py --cell JOB` -------------------------


def cell(task):
    """Runs one job on one SavedModel; prints its result as JSON."""
    for name in ("keras", "keras_attention"):
        sys.modules[name] = None  # from here on its import fails
    import tensorflow as tf

    start = time.perf_counter()
    loaded = tf.saved_model.load(task["folder"])
    loading = time.perf_counter() - start
    signature = loaded.signatures["serving_default"]

    def answer(texts):
        told = signature(text=tf.constant(texts))
        return [text.decode() for text in told["text"].numpy()]

    jobs = {"weights": ask_all, "load": ask_at_once}
    result = jobs[task["job"]](answer, task)
    print(json.dumps({"loading": loading, **result}))


def ask_all(answer, task):
    """All texts once; time of a request of one text and of 32."""
    texts = task["texts"]
    told = []
    for first in range(0, len(texts), 32):
        told += answer(texts[first : first + 32])
    times = time_in_turns(
        {size: lambda n=size: answer(texts[:n]) for size in (1, 32)}
    )
    return {
        "told": told,
        "milliseconds": [times[size].median for size in (1, 32)],
    }


def ask_at_once(answer, task):
    """Requests of one text from many threads; latencies and memory."""
    texts, threads = task["texts"], task["threads"]
    expected = {text: answer([text])[0] for text in texts}
    latencies, wrong = [[] for _ in range(threads)], []
    end = time.monotonic() + task["seconds"]

    def client(number):
        turn = number
        while time.monotonic() < end:
            text = texts[turn % len(texts)]
            start = time.perf_counter()
            if answer([text]) != [expected[text]]:
                wrong.append(text)
            latencies[number].append(time.perf_counter() - start)
            turn += 1

    pool = [threading.Thread(target=client, args=(n,)) for n in range(threads)]
    for thread in pool:
        thread.start()
    memory = []
    for _ in range(4):
        time.sleep(task["seconds"] / 4)
        memory.append(resident_mib())
    for thread in pool:
        thread.join()
    return {
        "milliseconds": sorted(1000 * x for part in latencies for x in part),
        "wrong": len(wrong),
        "memory": memory,
    }


def resident_mib():
    """MiB of this process in memory now (Linux)."""
    status = pathlib.Path("/proc/self/status").read_text()
    line = next(x for x in status.splitlines() if x.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


# --- in the process that was started -----------------------------------------


def in_fresh_process(**task):
    done = subprocess.run(
        [sys.executable, __file__, "--cell"],
        input=json.dumps(task),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def export_all(model, parent):
    """Writes a SavedModel of each format; returns the folders."""
    import keras_attention as ka

    folders = {}
    for weights in FORMATS:
        name = weights or "as it is"
        folders[name] = ka.export.export_saved_model(
            model, f"{parent}/{name}/1", ka.Greedy(), weights=weights
        )
    return folders


def print_weights(folders, references, unit):
    """The table of formats: size, time, errors."""
    from keras_attention import training

    texts, targets = list(references), list(references.values())
    rows, plain = [], None
    for name, folder in folders.items():
        result = in_fresh_process(
            job="weights", folder=str(folder), texts=texts
        )
        told = result["told"]
        plain = plain or told
        changed = [a != b for a, b in zip(told, plain, strict=True)]
        errors = ["", ""]
        if targets[0] is not None:
            wrong = 1 - training.exact_match(targets, told, unit)
            rate = training.error_rate(targets, told, unit=unit)
            errors = [f"{wrong:.2%}", f"{rate:.2%}"]
        size = (folder / "variables/variables.data-00000-of-00001").stat()
        rows.append(
            [
                name,
                f"{size.st_size / 2**20:.2f}",
                f"{result['loading']:.1f}",
                *(f"{value:.1f}" for value in result["milliseconds"]),
                f"{statistics.mean(changed):.2%}",
                *errors,
            ]
        )
    columns = ["weights", "MiB", "loads in s", "ms, 1 text", "ms, 32 texts"]
    columns += ["answers changed", "wrong texts", "wrong tokens"]
    print_table(columns, rows)


def print_load(folder, texts, seconds):
    """The table of threads: requests a second, latencies, memory."""
    rows = []
    for threads in THREADS:
        result = in_fresh_process(
            job="load",
            folder=str(folder),
            texts=texts,
            threads=threads,
            seconds=seconds,
        )
        assert not result["wrong"], "an answer under load differs"
        times = result["milliseconds"]
        cuts = statistics.quantiles(times, n=100)
        rows.append(
            [
                threads,
                len(times),
                f"{len(times) / seconds:.0f}",
                *(f"{cuts[percent - 1]:.0f}" for percent in (50, 95, 99)),
                " ".join(f"{value:.0f}" for value in result["memory"]),
            ]
        )
    columns = ["threads", "requests", "a second", "p50 ms", "p95 ms", "p99 ms"]
    print_table([*columns, "MiB after each quarter"], rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="folder of a trained model")
    parser.add_argument("--pairs", help="file of pairs to count errors on")
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--cell", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        return cell(json.load(sys.stdin))
    if bool(options.model) != bool(options.pairs):
        parser.error("--model and --pairs go together")
    if options.model:
        model, references = trained_model(options.model, options.pairs)
    else:
        model, references = random_model()
    unit = model.target_vocabulary.unit
    with tempfile.TemporaryDirectory() as parent:
        folders = export_all(model, parent)
        print_header(f"Weights, greedy, {len(references)} texts")
        print_weights(folders, references, unit)
        print_header(f"Many at once, greedy, {options.seconds:.0f} s each")
        print_load(folders["as it is"], list(references)[:64], options.seconds)


if __name__ == "__main__":
    main()
