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
        "ScatterNd": (_scatter, []),
        "SelectV2": (_select, []),
        "TensorListFromTensor": (_list_of_tensor, []),
    }


def _select(graph: Any, node: Any, name: str, arguments: list) -> None:
    """`tf.where` is a `Where`.

    tf2onnx makes it two products and a sum, because that is faster; but 0
    times -inf is NaN, and a hidden score is -inf.
    """
    node.type = "Where"


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
