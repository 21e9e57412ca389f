"""Checks of what is known only when a graph runs."""

from typing import Any

import keras


def check_when_run(condition: Any, message: str, received: Any) -> None:
    """Stops a running graph of TensorFlow where a condition does not hold.

    XLA leaves such a check out, and other backends know their lengths when
    they trace: what is computed then must tell by itself.

    Args:
        condition: boolean scalar tensor.
        message: what was expected, and the way out.
        received: scalar tensor, shown after the message.

    Raises:
        tf.errors.InvalidArgumentError: when the graph runs.
    """
    if keras.config.backend() != "tensorflow":
        return
    import tensorflow as tf

    # In a `tf.function` it runs without being asked for by any result.
    tf.debugging.Assert(condition, [message, "Received:", received])
