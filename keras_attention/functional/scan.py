"""A loop over steps that every backend and XLA can differentiate."""

import typing

import keras
from keras import ops


def scan(
    step: typing.Callable,
    first: typing.Any,
    inputs: typing.Any,
    like: typing.Any,
) -> tuple:
    """Runs `step` along axis 0 of `inputs`; keeps the outputs, not the states.

    Args:
        step: function (state, input) -> (state, output). The state keeps its
            structure, shapes and dtypes.
        first: nest of tensors, the state before the first input.
        inputs: nest of tensors (length, ...).
        like: nest of `keras.KerasTensor`, one for each part of an output:
            its shape, None where not known, and its dtype.

    Returns:
        The last state, and the nest of outputs, each tensor with an axis of
        length in front.
    """
    if keras.config.backend() == "tensorflow":
        return _scan_tensorflow(step, first, inputs, like)
    return ops.scan(step, first, inputs)


def _scan_tensorflow(step, first, inputs, like):
    # `ops.scan` gives its loop no bound on TensorFlow, and XLA cannot
    # differentiate a loop without one; `tf.scan` keeps every state, which may
    # be as long as the source.
    import tensorflow as tf

    leaves = [ops.convert_to_tensor(x) for x in keras.tree.flatten(inputs)]
    length = steps = leaves[0].shape[0]
    if not length:
        # Where there may be no step, or is none, one is made and taken back:
        # TensorFlow cannot stack no outputs of a shape it does not know, and
        # XLA cannot compile a loop that reads none.
        length = tf.shape(leaves[0])[0]
        steps = tf.maximum(length, 1)
        leaves = [_at_least_one(leaf) for leaf in leaves]
    unread = [
        tf.TensorArray(leaf.dtype, steps, element_shape=leaf.shape[1:]).unstack(
            leaf
        )
        for leaf in leaves
    ]
    unwritten = [
        tf.TensorArray(part.dtype, steps, element_shape=part.shape)
        for part in keras.tree.flatten(like)
    ]

    def advance(index, state, written):
        now = [array.read(index) for array in unread]
        new, outputs = step(state, keras.tree.pack_sequence_as(inputs, now))
        new = keras.tree.map_structure(_of_shape, new, state)
        outputs = keras.tree.flatten(outputs)
        written = [
            array.write(index, output)
            for array, output in zip(written, outputs, strict=True)
        ]
        return index + 1, new, written

    first = keras.tree.map_structure(ops.convert_to_tensor, first)
    _, last, written = tf.while_loop(
        lambda index, *_: index < steps,
        advance,
        (0, first, unwritten),
        maximum_iterations=steps,
    )
    outputs = [array.stack() for array in written]  # (T, ...)
    if steps is not length:
        outputs = [output[:length] for output in outputs]
        last = keras.tree.map_structure(
            lambda new, old: tf.where(length > 0, new, old), last, first
        )
    return last, keras.tree.pack_sequence_as(like, outputs)


def _at_least_one(leaf):
    """Returns (length, ...) with a step of zeros if there is none."""
    import tensorflow as tf

    shape = leaf.shape
    missing = tf.maximum(1 - tf.shape(leaf)[0], 0)
    leaf = tf.pad(leaf, [[0, missing], *[[0, 0]] * (len(shape) - 1)])
    return tf.ensure_shape(leaf, (None, *shape[1:]))


def _of_shape(new, old):
    """Returns `new` with what is known of its shape from the step before."""
    import tensorflow as tf

    return tf.ensure_shape(new, old.shape)
