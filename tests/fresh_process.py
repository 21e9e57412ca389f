"""Python in a new process: what importing does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_fresh(*arguments, expected=0, text=None, **environment):
    """Runs Python in a new process; returns what `subprocess.run` does.

    Args:
        *arguments: those of Python, such as "-c" and a program.
        expected: the exit status to check for.
        text: str for its standard input.
        **environment: variables to set; None removes one.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run(
        [sys.executable, *arguments],
        env={k: v for k, v in environment.items() if v is not None},
        input=text or "",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done
