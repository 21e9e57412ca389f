"""The options of the command line, written from its own parser.

    .. command-line::

writes a section for each command: its usage, arguments and options.
"""

import argparse
import re

from sphinx.util.docutils import SphinxDirective

from keras_attention.cli.options import make_parser

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


class CommandLine(SphinxDirective):
    """Writes what the help of each command says."""

    def run(self):
        lines = []
        for name, parser in commands().items():
            lines += [name, "-" * len(name), "", *_section(parser), ""]
        return self.parse_text_to_nodes(
            "\n".join(lines), allow_section_headings=True
        )


def commands():
    """Returns the parser of each command, by its name."""
    for action in make_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return action.choices
    raise LookupError("The parser has no commands.")


def _section(parser):
    lines = [
        parser.description,
        "",
        ".. code-block:: text",
        "",
        f"   {_usage(parser)}",
    ]
    if parser.epilog:
        lines += ["", _escaped(" ".join(parser.epilog.split()))]
    lines += ["", f".. program:: {parser.prog}"]
    for group in parser._action_groups:
        actions = [a for a in group._group_actions if _is_told(a)]
        if actions:
            lines += ["", f".. rubric:: {group.title.capitalize()}"]
        for action in actions:
            lines += ["", *_entry(action)]
    return lines


def _usage(parser):
    """Returns how the command is called, with what it cannot do without."""
    words = [parser.prog]
    for action in parser._actions:
        if action.option_strings and action.required:
            words.append(f"{action.option_strings[0]} {_value(action)}")
    words.append("[OPTIONS]")
    words += [_value(a) for a in parser._actions if not a.option_strings]
    return " ".join(words)


def _value(action):
    name = action.metavar or action.dest
    return f"{name} ..." if action.nargs in ("+", "*") else name


def _is_told(action):
    return action.help != argparse.SUPPRESS and action.dest != "help"


def _entry(action):
    if not action.option_strings:
        names = _value(action)
    else:
        takes = "" if action.nargs == 0 else f" {_value(action)}"
        names = ", ".join(option + takes for option in action.option_strings)
    return [f".. option:: {names}", "", f"   {_escaped(action.help)}"]


def _escaped(text):
    text = text.replace("*", r"\*").replace("|", r"\|")
    return OPTION.sub(r"``\g<0>``", text)


def setup(app):
    app.add_directive("command-line", CommandLine)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
