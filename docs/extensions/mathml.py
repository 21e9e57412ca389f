"""Formulas as MathML, which browsers draw without a script.

Sphinx's own ways need MathJax from the network, or LaTeX at build time.
docutils translates TeX to MathML.
"""

import html

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math import latex2mathml
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number

LOGGER = logging.getLogger(__name__)


def to_mathml(node, as_block):
    """Returns the MathML of a formula; where it is not TeX, the text."""
    text = node.astext().replace(r"\dots", r"\ldots")
    try:
        return latex2mathml.tex2mathml(text, as_block=as_block)
    except MathError as error:
        LOGGER.warning("%s in %s", error, text, location=node)
        return f"<code>{html.escape(text)}</code>"


def visit_inline(writer, node):
    writer.body.append(to_mathml(node, as_block=False))
    raise nodes.SkipNode


def visit_block(writer, node):
    writer.body.append(writer.starttag(node, "div", CLASS="math"))
    if node["number"]:
        number = get_node_equation_number(writer, node)
        writer.body.append(f'<span class="eqno">({number})</span>')
    writer.body.append(f"{to_mathml(node, as_block=True)}</div>\n")
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer(
        "mathml", (visit_inline, None), (visit_block, None)
    )
    return {"parallel_read_safe": True, "parallel_write_safe": True}
