"""How everything in benchmarks/ is measured, and how its tables are printed.

Peers run in turns, so that what else the machine does falls on all alike;
what counts is the ratio between medians of one run. Every result is compared
with float64 before it is timed, and every peer is finished in the same way:
one entry of each of its results is read.
"""

import argparse
import dataclasses
import json
import logging
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

import numpy as np

ROUNDS = 7
# Quicker functions are called two times before they count, others once.
SLOW = 1.0  # seconds


@dataclasses.dataclass(frozen=True)
class Timing:
    """Median and fastest time of a function, in milliseconds."""

    median: float
    fastest: float


def parser_of(description, **options):
    """Returns a parser with `--quick`, `--rounds` and options of lists.

    Args:
        description: the docstring of the script.
        **options: name of each option and its default, a tuple.
    """
    parser = argparse.ArgumentParser(
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    for name, default in options.items():
        kind = type(default[0])
        parser.add_argument(
            f"--{name}",
            type=lambda text, kind=kind: tuple(map(kind, text.split(","))),
            default=default,
            help=f"default: {','.join(map(str, default))}",
        )
    return parser


def finish(result):
    """Waits for a nest of tensors, of any library, and reads one of each."""
    if isinstance(result, dict):
        result = result.values()
    if isinstance(result, (list, tuple, type({}.values()))):
        for part in result:
            finish(part)
    elif result is not None:
        view(result).flat[0]


def view(tensor):
    """Returns a tensor of any library as a NumPy array, without a copy."""
    if hasattr(tensor, "detach"):  # PyTorch
        return tensor.detach().numpy()
    if type(tensor).__name__ == "EagerTensor":
        return np.asarray(memoryview(tensor))
    return np.asarray(tensor)


def time_in_turns(functions, rounds=ROUNDS):
    """Times functions of no arguments, in turns, after a warm-up.

    Args:
        functions: dict from name to a function that returns tensors.
        rounds: how often each is called, at least 5.

    Returns:
        Dict from name to `Timing`.
    """
    for function in functions.values():
        finish(function())  # traces and compiles
        if _seconds(function) < SLOW:
            finish(function())
    times = {name: [] for name in functions}
    for _ in range(max(rounds, 5)):
        for name, function in functions.items():
            times[name].append(1000 * _seconds(function))
    return {
        name: Timing(statistics.median(values), min(values))
        for name, values in times.items()
    }


def _seconds(function):
    start = time.perf_counter()
    finish(function())
    return time.perf_counter() - start


def check(functions, expected, cut=lambda result: result, tolerance=1e-4):
    """Compares what each function returns with float64 NumPy.

    Args:
        functions: dict from name to a function of no arguments.
        expected: list of arrays.
        cut: function from a result to a list like `expected`.
        tolerance: largest error, relative to the largest entry.
    """
    for name, function in functions.items():
        for found, wanted in zip(cut(function()), expected, strict=True):
            size = max(1.0, np.abs(wanted).max())
            error = np.abs(view(found) - wanted).max() / size
            if not error <= tolerance:
                raise ValueError(f"{name} is wrong by {error:.1e}")


def product_rate(size=4096, rounds=5):
    """Returns the rate of a float32 matrix product, in GF/s: the limit."""
    import tensorflow as tf

    a, b = (tf.random.normal((size, size)) for _ in range(2))
    timing = time_in_turns({"product": lambda: tf.matmul(a, b)}, rounds)
    return 2 * size**3 / timing["product"].median / 1e6


def run_cell(script, *arguments, limit=600):
    """Runs `script --cell ARGUMENTS` in a fresh process.

    Returns:
        What it printed last, as JSON; None if it failed, out of memory most
        likely.
    """
    try:
        done = subprocess.run(
            [sys.executable, script, "--cell", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def growth(function):
    """Returns by how many MiB this process grows at most in `function()`."""
    before = _peak()
    function()
    return (_peak() - before) / 1024


def _peak():
    # Not `ru_maxrss`: a process starts with that of the one that started it.
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmHWM")).split()[1])


def keep(figures, path):
    """Adds figures to those of the runs before, and returns them all."""
    known = json.loads(path.read_text()) if path.exists() else {}
    known.update(figures)
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    return known


def print_header(title):
    """Prints what was measured, and on what."""
    # TensorFlow takes the functions timed for one that is traced too often.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    versions = []
    for name in ("tensorflow", "keras", "jax", "torch"):
        try:
            versions.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            versions.append(f"without {name}")
    print(f"\n## {title}")
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores "
        f"({platform.machine()}), Python {platform.python_version()}, "
        f"{', '.join(versions)}, load {os.getloadavg()[0]:.1f}\n",
        flush=True,
    )


def print_table(columns, rows):
    """Prints a table in Markdown."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def print_timings(title, timings, ours, flops=None, limit=None):
    """Prints medians, each with its ratio to the best peer.

    Args:
        title: what was timed.
        timings: dict from name to `Timing`.
        ours: names that are not peers.
        flops: useful operations of one call; None leaves out the rates.
        limit: GF/s of the machine's matrix product.
    """
    peers = [t.median for name, t in timings.items() if name not in ours]
    columns = ["", "median ms", "fastest ms", "times the best peer"]
    if flops:
        columns += ["GF/s", "of the limit"]
    rows = []
    for name, timing in timings.items():
        is_ours = name in ours and peers
        ratio = f"{min(peers) / timing.median:.2f}" if is_ours else ""
        row = [name, _short(timing.median), _short(timing.fastest), ratio]
        if flops:
            rate = flops / timing.median / 1e6
            row += [f"{rate:.0f}", f"{rate / limit:.0%}"]
        rows.append(row)
    print(f"\n{title}\n")
    print_table(columns, rows)


def _short(milliseconds):
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:.{digits}f}"
