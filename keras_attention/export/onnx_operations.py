"""What tf2onnx 1.17 converts to other numbers, converted as it should be.

A handler changes a node of a graph of tf2onnx in place, as the argument
`custom_op_handlers` of its `process_tf_graph` wants it.
"""

from collections.abc import Callable
from typing import Any

import numpy as np


def handlers() -> dict[str, tuple[Callable, list]]:
    """Returns what `custom_op_handlers` takes: a handler by operation."""
    return {
        "FloorDiv": (_floor_division, []),
        "FloorMod": (_floor_remainder, []),
        "Reshape": (_reshape, []),
        "ScatterNd": (_scatter, []),
        "SelectV2": (_select, []),
        "TensorListFromTensor": (_list_of_tensor, []),
    }


def _floor_division(graph: Any, node: Any, name: str, arguments: list) -> None:
    """`//` rounds down.

    tf2onnx rounds integers towards zero: -12 // 8 would be -1.
    """
    dividend, divisor = node.input
    if _is_float(graph, dividend):
        quotient = graph.make_node("Div", [dividend, divisor]).output[0]
        node.type = "Floor"
        graph.replace_inputs(node, [quotient])
        return
    rest = graph.make_node("Mod", [dividend, divisor]).output[0]
    whole = graph.make_node("Sub", [dividend, rest]).output[0]
    node.type = "Div"
    graph.replace_inputs(node, [whole, divisor])


def _floor_remainder(graph: Any, node: Any, name: str, arguments: list) -> None:
    """`%` has the sign of the divisor, as the `Mod` of ONNX for integers.

    tf2onnx gives that of integers the sign of the dividend.
    """
    dividend, divisor = node.input
    if not _is_float(graph, dividend):
        node.type = "Mod"
        return
    quotient = graph.make_node("Div", [dividend, divisor]).output[0]
    whole = graph.make_node("Floor", [quotient]).output[0]
    product = graph.make_node("Mul", [whole, divisor]).output[0]
    node.type = "Sub"
    graph.replace_inputs(node, [dividend, product])


def _reshape(graph: Any, node: Any, name: str, arguments: list) -> None:
    """A size of 0 is 0, not "as it was"."""
    from onnx import TensorProto

    tensor, shape = node.input
    to_int64 = {"to": TensorProto.INT64}
    shape = graph.make_node("Cast", [shape], attr=to_int64).output[0]
    node.set_attr("allowzero", 1)
    graph.replace_inputs(node, [tensor, shape])


def _select(graph: Any, node: Any, name: str, arguments: list) -> None:
    """`tf.where` is a `Where`.

    tf2onnx makes it two products and a sum, because that is faster; but 0
    times -inf is NaN, and a hidden score is -inf. Of booleans onnxruntime has
    no `Where`.
    """
    from onnx import TensorProto

    chosen, first, second = node.input
    if graph.get_dtype(first) != TensorProto.BOOL:
        node.type = "Where"
        return
    rest = graph.make_node("Not", [chosen]).output[0]
    first = graph.make_node("And", [chosen, first]).output[0]
    second = graph.make_node("And", [rest, second]).output[0]
    node.type = "Or"
    graph.replace_inputs(node, [first, second])


def _scatter(graph: Any, node: Any, name: str, arguments: list) -> None:
    """`tf.scatter_nd` adds up what falls on one place.

    tf2onnx lets the last one stay.
    """
    from onnx import TensorProto
    from onnx.helper import tensor_dtype_to_np_dtype

    indices, updates, shape = node.input
    dtype = tensor_dtype_to_np_dtype(graph.get_dtype(updates))
    to_int64 = {"attr": {"to": TensorProto.INT64}}
    zero = graph.make_const(f"{name}/zero", np.zeros((), dtype)).output[0]
    shape = graph.make_node("Cast", [shape], **to_int64).output[0]
    zeros = graph.make_node("Expand", [zero, shape]).output[0]
    indices = graph.make_node("Cast", [indices], **to_int64).output[0]
    node.type = "ScatterND"
    node.set_attr("reduction", "add")
    graph.replace_inputs(node, [zeros, indices, updates])


def _list_of_tensor(graph: Any, node: Any, name: str, arguments: list) -> None:
    """A list that a loop reads is the tensor that it was made of.

    tf2onnx does the same, but leaves the shape among its inputs until an
    optimizer comes.
    """
    node.type = "Identity"
    graph.replace_inputs(node, node.input[:1])
    graph.copy_dtype(node.input[0], node.output[0])
    graph.copy_shape(node.input[0], node.output[0])


def _is_float(graph, name):
    from onnx import TensorProto

    dtypes = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE)
    return graph.get_dtype(name) in dtypes
