"""Finds operations that a stock TensorFlow Serving does not run.

A server refuses XLA unless it was started with it, has no Python, and may
have no GPU. A SavedModel that needs one of these loads well and fails at its
first request, so the export looks before it writes.
"""

from typing import Any

REFUSED_PREFIXES = ("Xla", "Cudnn")
REFUSED_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc"}
MUST_COMPILE = "_XlaMustCompile"


def check_portable(name: str, concrete_function: Any) -> None:
    """Checks that a signature runs on a server without XLA, GPU and Python.

    Args:
        name: name of the signature, for the message.
        concrete_function: its traced `tf.function`.

    Raises:
        ValueError: it holds such an operation; the message names it and the
            signature.
    """
    graph = concrete_function.graph.as_graph_def()
    found = non_portable_operations(graph)
    if found:
        raise ValueError(
            f"`model` must be free of XLA, cuDNN and Python operations in "
            f"signature {name!r}. Received: {', '.join(found)}. Build parts "
            "without `jit_compile=True`, recurrent layers with "
            "`use_cudnn=False`, and leave `py_function` out."
        )


def non_portable_operations(graph_def: Any) -> list[str]:
    """Lists what in a graph, or in a function it calls, is not portable.

    Args:
        graph_def: a `tf.compat.v1.GraphDef`.

    Returns:
        Sorted list of str such as "CudnnRNNV3 (encoder/rnn)".
    """
    library = {f.signature.name: f for f in graph_def.library.function}
    found = set()
    pending, seen = [("", graph_def.node)], set()
    while pending:
        owner, nodes = pending.pop()
        for node in nodes:
            where = "/".join(filter(None, (owner, node.name)))
            found.update(f"{fault} ({where})" for fault in _faults(node))
            for called in _called_functions(node):
                if called in library and called not in seen:
                    seen.add(called)
                    function = library[called]
                    if _must_compile(function):
                        found.add(f"{MUST_COMPILE} (function {called})")
                    pending.append((called, function.node_def))
    return sorted(found)


def _faults(node):
    if node.op in REFUSED_OPS or node.op.startswith(REFUSED_PREFIXES):
        yield node.op
    if _must_compile(node):
        yield MUST_COMPILE


def _must_compile(node_or_function):
    attributes = node_or_function.attr
    return MUST_COMPILE in attributes and attributes[MUST_COMPILE].b


def _called_functions(node):
    yield node.op  # a function may be called as if it were an operation
    for value in node.attr.values():
        if value.HasField("func"):
            yield value.func.name
        for function in value.list.func:
            yield function.name
