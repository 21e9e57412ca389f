"""How a program ends: one line for what a user can cause, and a status."""

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from keras_attention.cli.terminal import Complaints

SUCCEEDED, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
# What a user can cause: wrong values and files, a full disk or memory, a
# backend that lacks something. Anything else is a fault of the program.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError, RuntimeError)
OUT_OF_MEMORY = "ResourceExhaustedError"  # of TensorFlow


def exit_status_of(
    work: Callable[[], Any],
    program: str,
    *,
    if_interrupted: str | None = None,
    quiet: bool | None = False,
) -> int:
    """Runs a function and returns the exit status.

    Args:
        work: function without arguments.
        program: name that each line on standard error begins with.
        if_interrupted: what to say of going on after Ctrl-C.
        quiet: whether to leave warnings out.

    Returns:
        0; 1 after a fault of the program, which keeps its traceback, or where
        the reader of the output left; 2 after an error that the user can
        mend; 130 after an interruption.
    """
    complaints = Complaints(program)
    # What was closed, nobody wants to read. `print` would write to standard
    # output in place of a standard error that is None.
    if sys.stdout is None:
        sys.stdout = _nowhere(1)
    if sys.stderr is None:
        sys.stderr = _nowhere(2)
    if hasattr(sys.stdout, "reconfigure"):  # the C locale cannot print all
        sys.stdout.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = complaints.show_warning
        if quiet:
            warnings.simplefilter("ignore")
        try:
            work()
            sys.stdout.flush()
        except BrokenPipeError:  # the reader of our output left
            _close_output()
            return FAILED
        except KeyboardInterrupt:
            complaints.tell("interrupted", if_interrupted)
            return INTERRUPTED
        except Exception as error:
            return _status_of_error(error, complaints)
    return SUCCEEDED


def _nowhere(descriptor):
    """Returns a file that keeps nothing, and takes a descriptor if it is free.

    Else the next file that is opened would have it, and get what libraries
    write there.
    """
    file = open(os.devnull, "w")
    try:
        os.fstat(descriptor)
    except OSError:
        os.dup2(file.fileno(), descriptor)
    return file


def _status_of_error(error, complaints):
    if isinstance(error, USER_ERRORS):
        complaints.tell("error", str(error) or type(error).__name__)
        return WRONG
    if type(error).__name__ == OUT_OF_MEMORY:
        complaints.tell("error", f"out of memory: {error}")
        return WRONG
    traceback.print_exception(error)
    complaints.tell(
        "internal error",
        "this is a fault of the program: please report the lines above",
    )
    return FAILED


def _close_output():
    """Lets Python flush what is left of the output into nothing."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except OSError:  # an output without a descriptor
        pass
