"""How everything in benchmarks/ is measured, and how its tables are printed.

Peers run in turns, so that what else the machine does falls on all alike;
what counts is the ratio between medians of one run.
"""

import dataclasses
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time

ROUNDS = 7


@dataclasses.dataclass(frozen=True)
class Timing:
    """Median and fastest time of a function, in milliseconds."""

    median: float
    fastest: float


def time_in_turns(functions, rounds=ROUNDS):
    """Times functions of no arguments, in turns, after two warm-up calls.

    Args:
        functions: dict from name to a function that returns when it is done.
        rounds: how often each is called.

    Returns:
        Dict from name to `Timing`.
    """
    for function in functions.values():
        function()
        function()
    times = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append(1000 * (time.perf_counter() - start))
    return {
        name: Timing(statistics.median(values), min(values))
        for name, values in times.items()
    }


def peak_memory(script, *arguments):
    """Runs `script --cell ARGUMENTS` in a fresh process.

    Returns:
        What it printed as JSON: by how many MiB the process grew.
    """
    done = subprocess.run(
        [sys.executable, script, "--cell", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None  # out of memory, most likely
    return json.loads(done.stdout.splitlines()[-1])


def growth(function):
    """Returns by how many MiB the process grows at most in `function()`."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (after - before) / 1024


def print_header(title):
    """Prints what was measured, and on what."""
    import keras
    import tensorflow as tf

    print(f"\n## {title}")
    print(
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores "
        f"({platform.machine()}), TensorFlow {tf.__version__}, "
        f"Keras {keras.__version__}, load {os.getloadavg()[0]:.1f}\n"
    )


def print_table(columns, rows):
    """Prints a table in Markdown."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)


def rows_of(timings, ours):
    """Returns table rows: name, median, fastest, ratio to the best peer."""
    best = min(t.median for name, t in timings.items() if name not in ours)
    return [
        [
            name,
            f"{timing.median:.0f}",
            f"{timing.fastest:.0f}",
            f"{best / timing.median:.2f}" if name in ours else "",
        ]
        for name, timing in timings.items()
    ]
