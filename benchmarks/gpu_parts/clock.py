"""Programs of any library on one device, timed in turns within a budget."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from typing import Any

SHORTEST = 0.01  # seconds that one reading takes at least, of many calls
MOST_CALLS = 50
FEWEST_ROUNDS, MOST_ROUNDS = 5, 21
GROUP_SECONDS = 3.0  # that the readings of a group may take


@dataclasses.dataclass
class Program:
    """What a peer made of a case, ready to run.

    Args:
        call: function of the tensors of the group; returns at once.
        wait: function of what `call` returns; returns when it is there.
        results: function of what `call` returns, to a list of NumPy arrays.
        memory: bytes that it takes besides its inputs, its results among
            them; None if unknown.
        identity: what two equal programs have in common, or None.
    """

    call: Callable
    wait: Callable
    results: Callable
    memory: int | None = None
    identity: Any = None


class LeftOut(Exception):
    """Says why a program is not run."""


class NoRoom(LeftOut):
    """The device has not the memory for it; `planned` bytes, if known."""

    def __init__(self, needed, limit, planned=None):
        gibibytes = [f"{size / 2**30:.0f} GiB" for size in (needed, limit)]
        super().__init__("needs {} of {}".format(*gibibytes))
        self.planned = planned


class Budget:
    """Seconds and programs that a run may use; none starts beyond them."""

    def __init__(self, seconds, programs):
        self.end = time.perf_counter() + seconds
        self.seconds, self.programs, self.started = seconds, programs, 0

    @property
    def left(self):
        return self.end - time.perf_counter()

    def check(self):
        """Raises `LeftOut` if no program may be started any more."""
        if self.left <= 0:
            raise LeftOut(f"not started: the {self.seconds:.0f} s are used up")
        if self.started >= self.programs:
            raise LeftOut(f"not started: at most {self.programs} programs")


def time_in_turns(programs, tensors, rounds=MOST_ROUNDS):
    """Times programs in turns.

    Calls are made one after the other without waiting, as many as take a
    hundredth of a second, so that the host's part is hidden where it can be.

    Args:
        programs: dict from name to `Program`.
        tensors: what each is called with.
        rounds: readings of each, at most; fewer where they take long.

    Returns:
        Dict from name to the median in milliseconds, and dict from name to
        the exception of those that failed.
    """
    calls, failed = {}, {}
    for name, program in programs.items():
        try:
            _seconds(program, tensors, 1)  # warm-up
            second = _seconds(program, tensors, 1)
        except Exception as error:
            failed[name] = error
            continue
        calls[name] = min(max(round(SHORTEST / second), 1), MOST_CALLS), second
    total = sum(count * second for count, second in calls.values())
    affordable = int(GROUP_SECONDS / max(total, 1e-9))
    rounds = min(max(affordable, FEWEST_ROUNDS), rounds)
    readings = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (count, _) in list(calls.items()):
            try:
                seconds = _seconds(programs[name], tensors, count)
            except Exception as error:
                failed[name] = error
                del calls[name], readings[name]
            else:
                readings[name].append(1000 * seconds / count)
    medians = {n: statistics.median(values) for n, values in readings.items()}
    return medians, failed


def _seconds(program, tensors, count):
    start = time.perf_counter()
    for _ in range(count):
        result = program.call(*tensors)
    program.wait(result)
    return time.perf_counter() - start
