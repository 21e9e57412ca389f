"""How much memory a call takes at its peak, in this process (Linux)."""

import re
from pathlib import Path

PROCESS = Path("/proc/self")


def peak_growth(function):
    """Calls a function; returns MiB of its peak above what was used before."""
    before = _mebibytes("VmRSS")
    (PROCESS / "clear_refs").write_text("5")  # forgets the peak so far
    function()
    return _mebibytes("VmHWM") - before


def _mebibytes(entry):
    (line,) = re.findall(f"{entry}:.*", (PROCESS / "status").read_text())
    return int(line.split()[1]) / 1024
