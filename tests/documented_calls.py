"""Code on pages: what it calls of the package exists and takes the arguments.

Running a page costs minutes; this finds what a rename has left behind in it.
"""

import ast
import inspect
import operator

import keras_attention as ka


def check_calls_fit(code, at_least):
    """Checks each `ka.name` and `ka.name(...)` in the code of a page.

    Args:
        code: Python, which writes `import keras_attention as ka`.
        at_least: how many calls there are, or more.
    """
    nodes = list(ast.walk(ast.parse(code)))
    for node in nodes:
        if name := _name_in_package(node):
            assert operator.attrgetter(name)(ka), name
    calls = [n for n in nodes if isinstance(n, ast.Call)]
    calls = [call for call in calls if _name_in_package(call.func)]
    assert len(calls) >= at_least
    for call in calls:
        function = operator.attrgetter(_name_in_package(call.func))(ka)
        keywords = {keyword.arg: None for keyword in call.keywords}
        signature = inspect.signature(function)
        bind = signature.bind
        if None in keywords:  # `**more`, which may have the arguments left out
            bind = signature.bind_partial
            del keywords[None]
        bind(*call.args, **keywords)


def _name_in_package(node):
    """`a.b` for ka.a.b, and an empty string for all else."""
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    is_ours = isinstance(node, ast.Name) and node.id == "ka"
    return ".".join(reversed(names)) if is_ours else ""
