"""The program: reads its arguments, runs one command, tells of errors."""

import os
import sys
import traceback
import warnings

from keras_attention.cli.options import make_parser
from keras_attention.cli.terminal import WarningPrinter
from keras_attention.cli.terminal import complain

FAILED, WRONG, INTERRUPTED = 1, 2, 130
# What a user can cause: wrong values and files, a full disk or memory, a
# backend that lacks something. Anything else is a fault of the program.
USER_ERRORS = (ValueError, OSError, ImportError, MemoryError, RuntimeError)
OUT_OF_MEMORY = "ResourceExhaustedError"  # of TensorFlow


def main(arguments=None):
    """Runs one command.

    Args:
        arguments: list of strings; defaults to those of the process.

    Returns:
        The exit status: 0, 1 after a fault of the program or where the reader
        of the output left, 2 where something is wrong with the arguments or
        what they name, 130 after an interruption.

    Raises:
        SystemExit: after help and version, and for arguments that cannot be
            read.
    """
    options = make_parser().parse_args(arguments)
    if options.check is not None:
        try:
            options.check(options)
        except ValueError as error:
            options.parser.error(str(error))
    if hasattr(sys.stdout, "reconfigure"):  # as where the locale is not UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = WarningPrinter()
        if options.quiet:
            warnings.simplefilter("ignore")
        return _run(options)


def _run(options):
    try:
        options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output left
        _close_output()
        return FAILED
    except KeyboardInterrupt:
        complain("interrupted", options.interrupted)
        return INTERRUPTED
    except USER_ERRORS as error:
        complain("error", str(error) or type(error).__name__)
        return WRONG
    except Exception as error:
        if type(error).__name__ == OUT_OF_MEMORY:
            complain("error", f"out of memory: {error}")
            return WRONG
        traceback.print_exc()
        complain(
            "internal error",
            "this is a fault of the program: please report the lines above",
        )
        return FAILED
    return 0


def _close_output():
    """Lets Python flush what is left of the output into nothing."""
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
    except OSError:  # an output without a descriptor
        pass
