"""Docstrings as they are written here, for Sphinx to read.

They are plain text: code in single backticks, formulas and pictures
indented. reStructuredText takes an indented paragraph for a quotation, and
some signs for markup.
"""

import re

# A name, which may be a link; other code in backticks; or a sign that
# reStructuredText would read as markup.
MARKUP = re.compile(
    r"(?P<name>`[A-Za-z]\w*(?:\.\w+)*`)"
    r"|`(?P<code>[^`]+)`"
    r"|(?P<sign>\||(?<=\w)_(?!\w)|(?:(?<=[\w([])|(?<=\S ))\*(?=\w))"
)
# Sections of prose. Those of names, such as Args, are left to napoleon, which
# takes the first words before a colon for a type in these.
HEADINGS = {
    "Example:": ".. rubric:: Example",
    "Masking:": ":Masking:",
    "Returns:": ":Returns:",
    "Yields:": ":Yields:",
}


def to_restructured_text(lines):
    """Returns the lines with indented blocks as code, and markup escaped.

    >>> print("\\n".join(to_restructured_text(["|q| is:", "", "    q * q"])))
    \\|q\\| is:
    <BLANKLINE>
    .. code-block:: text
    <BLANKLINE>
        q * q
    """
    result, prose = [], []
    margin = 0  # indentation of the text that a block belongs to
    in_block = in_item = False
    after_blank = True
    for line in lines:
        indentation = len(line) - len(line.lstrip())
        is_text = bool(line.strip())
        if is_text and in_block and indentation <= margin:
            in_block = False
            result.append("")
        elif is_text and not in_block and indentation > margin:
            if in_item or after_blank:
                in_block = True
                result += _escaped(prose)
                prose = []
                begin = ["", f"{' ' * margin}.. code-block:: text", ""]
                result += begin
        if is_text and not in_block:
            if line.lstrip().startswith("- "):
                in_item = True
                margin = indentation + 2
            elif not in_item or indentation < margin:
                in_item = False
                margin = indentation
            prose.append(line)
        else:
            result += _escaped(prose)
            prose = []
            result.append(line)
        after_blank = not is_text
    return result + _escaped(prose)


def _escaped(lines):
    if not lines or lines[0].lstrip().startswith(">>>"):
        return lines
    return MARKUP.sub(_replacement, "\n".join(lines)).split("\n")


def _replacement(match):
    if match["sign"]:
        return f"\\{match['sign']}"
    return f"``{match['code']}``" if match["code"] else match["name"]


def process(app, what, name, thing, options, lines):
    lines[:] = to_restructured_text([HEADINGS.get(x, x) for x in lines])


def setup(app):
    # Before napoleon, which makes fields of the sections.
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
