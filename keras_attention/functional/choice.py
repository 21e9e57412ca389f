"""One of several functions, chosen while a program is placed or compiled."""

from collections.abc import Callable
from collections.abc import Sequence
from typing import Any

from keras import backend
from keras import ops

from keras_attention.functional import compiling


def choose(index: Any, functions: Sequence[Callable], arguments: tuple) -> Any:
    """Returns what the function at `index` returns.

    Where XLA compiles and the index follows from shapes or from the device,
    the others are no part of the program. It has no gradient on TensorFlow:
    whoever calls it writes that by hand.

    `tf.switch_case` asks XLA to look for constants among what its branches
    take. In what comes out of a kernel or of another choice XLA looks in vain,
    and fails. So the operation is made without.

    Args:
        index: integer scalar.
        functions: functions of the arguments. They return nests of tensors
            of the same structure and dtypes; shapes may differ.
        arguments: tensors, numbers, None, and tuples and frozen dataclasses
            of them; see `compiling.take_apart`.
    """
    tensors = []
    try:
        structure = compiling.take_apart(arguments, tensors)
    except compiling.Opaque:  # such as a mask of a caller's making
        structure = None
    if structure is None or backend.backend() != "tensorflow":
        branches = [lambda f=f: f(*arguments) for f in functions]
        return ops.switch(index, branches)
    import tensorflow as tf

    if tf.executing_eagerly():
        last = len(functions) - 1
        return functions[min(int(index), last)](*arguments)

    def trace(function):
        def run(*tensors):
            return function(*compiling.put_together(structure, iter(tensors)))

        specs = [tf.TensorSpec.from_tensor(tensor) for tensor in tensors]
        traced = tf.function(run, input_signature=specs, autograph=False)
        return traced.get_concrete_function()

    branches = [trace(function) for function in functions]
    outputs = [
        tf.nest.flatten(branch.structured_outputs) for branch in branches
    ]
    results = tf.raw_ops.StatelessCase(
        branch_index=index,
        input=tensors,
        Tout=[output.dtype for output in outputs[0]],
        branches=branches,
        output_shapes=[
            _common([output.shape for output in same])
            for same in zip(*outputs, strict=True)
        ],
    )
    return tf.nest.pack_sequence_as(branches[0].structured_outputs, results)


def _common(shapes):
    """Returns the sizes that all shapes have, None for the others."""
    first, *others = shapes
    return [
        size if all(shape[axis] == size for shape in others) else None
        for axis, size in enumerate(first)
    ]
