"""Entries of public names, and links to them from every page.

    .. public-names:: keras_attention.masks

       Causal
       Lengths

writes a table of the names with their first lines, then the docstring of
each. The option `inherited` adds what a class has from bases of this package
that are not public. A constant has no docstring: `NAME: description` has one.

Elsewhere a public name in backticks, such as `Causal`, `masks.Causal(2)` or
`ka.Beam`, becomes a link to its entry. On the pages of `pages_with_namesakes`,
which speak of other packages too, a name alone does not.
"""

import functools
import importlib
import inspect
import re
import typing

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util import inspect as stringed
from sphinx.util.docutils import SphinxDirective

import keras_attention

PACKAGE = keras_attention.__name__
# A name, and perhaps a call of it.
NAME = re.compile(r"([A-Za-z_][\w.]*)(\(.*\))?", re.DOTALL)


@functools.cache
def entries():
    """Returns the full name of each public name, by all that it is called.

    >>> entries()["masks.Causal"], entries()["ka.Beam"]
    ('keras_attention.masks.Causal', 'keras_attention.decoding.Beam')
    """
    found = {}
    for area in keras_attention.__all__:
        module = getattr(keras_attention, area)
        if not inspect.ismodule(module):
            continue
        for name in module.__all__:
            entry = f"{PACKAGE}.{area}.{name}"
            found[entry] = entry
            found[f"ka.{area}.{name}"] = found[f"{area}.{name}"] = entry
            # An argument may be called as a function of one word is.
            if name[0].isupper() or "_" in name:
                found.setdefault(name, entry)
            if name in keras_attention.__all__:
                found[f"ka.{name}"] = found[f"{PACKAGE}.{name}"] = entry
    return found


def entry_of(text):
    """Returns the full name of what a text in backticks names, or None."""
    match = NAME.fullmatch(text)
    return entries().get(match[1]) if match else None


class PublicNames(SphinxDirective):
    """Writes the table and the entries of names."""

    has_content = True
    required_arguments = 1
    option_spec = {"inherited": directives.flag}

    def run(self):
        module = importlib.import_module(self.arguments[0])
        lines = [f".. currentmodule:: {module.__name__}"]
        entries = []
        for line in filter(str.strip, self.content):
            name, _, description = line.strip().partition(": ")
            thing = getattr(module, name)
            if callable(thing):
                if not entries:
                    lines += ["", ".. autosummary::", "   :nosignatures:", ""]
                lines.append(f"   {name}")
                entries += ["", *self._entry(name, thing)]
            else:
                lines += ["", f".. py:data:: {name}", f"   :value: {thing!r}"]
                lines += ["", f"   {description}"]
        return self.parse_text_to_nodes("\n".join(lines + entries))

    def _entry(self, name, thing):
        if not inspect.isclass(thing):
            return [f".. autofunction:: {name}"]
        lines = [f".. autoclass:: {name}", "   :members:"]
        if "inherited" in self.options:
            lines.append("   :inherited-members: Layer")
        return lines


def skip_foreign(app, what, name, thing, skip, options):
    """Leaves out members that Keras or Python have defined."""
    thing = thing.fget if isinstance(thing, property) else thing
    if what != "class" or not inspect.isroutine(thing):
        return None
    module = getattr(thing, "__module__", None) or ""
    return None if module.split(".")[0] == PACKAGE else True


def signature_of(app, what, name, thing, options, signature, returns):
    """Returns the arguments as the code has them, without `Any`.

    Keras gives its classes a `__new__` that takes everything.
    """
    if what == "class":
        thing = thing.__init__
    if not inspect.isfunction(thing):
        return None
    found = stringed.signature(thing, bound_method=what in ("class", "method"))
    parameters = [
        parameter.replace(annotation=parameter.empty)
        if parameter.annotation in (typing.Any, "Any")
        else parameter
        for parameter in found.parameters.values()
    ]
    if found.return_annotation in (typing.Any, "Any") or what == "class":
        found = found.replace(return_annotation=found.empty)
    found = found.replace(parameters=parameters)
    text = stringed.stringify_signature(found, unqualified_typehints=True)
    arguments, _, returns = text.partition(" -> ")
    return arguments, returns or None


def link_names(app, doctree):
    """Makes references of the public names in the text of a page."""
    has_namesakes = app.env.docname in app.config.pages_with_namesakes
    for literal in list(doctree.findall(nodes.literal)):
        text = literal.astext()
        if has_namesakes and "." not in text.partition("(")[0]:
            continue
        entry = entry_of(text)
        inside = (nodes.reference, addnodes.pending_xref, nodes.title)
        if entry is None or isinstance(literal.parent, inside):
            continue
        reference = addnodes.pending_xref(
            "",
            reftype="obj",
            refdomain="py",
            reftarget=entry,
            refexplicit=True,
            refwarn=True,
        )
        literal.replace_self(reference)
        reference += literal


def resolve(app, environment, node, content):
    """Finds the entries of names as docstrings write them."""
    if node.get("refdomain") != "py":
        return None
    entry = entry_of(node["reftarget"])
    if entry in (None, node["reftarget"]):
        return None
    return environment.domains["py"].resolve_xref(
        environment, node["refdoc"], app.builder, "obj", entry, node, content
    )


def setup(app):
    app.add_config_value("pages_with_namesakes", [], "env", [list])
    app.add_directive("public-names", PublicNames)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-signature", signature_of)
    app.connect("doctree-read", link_names)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
