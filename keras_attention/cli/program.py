"""The program `keras-attention`: reads its arguments, runs one command."""

from collections.abc import Sequence

from keras_attention.cli.options import make_parser
from keras_attention.cli.outcome import exit_status_of


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: list of strings; defaults to those of the process.

    Returns:
        The exit status, see `outcome.exit_status_of`.

    Raises:
        SystemExit: after help and version, with status 0, and for arguments
            that are wrong, with status 2.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.check is not None:
        try:
            options.check(options)
        except ValueError as error:
            options.parser.error(str(error))
    return exit_status_of(
        lambda: options.run(options),
        parser.prog,
        if_interrupted=options.if_interrupted,
        quiet=options.quiet,
    )
