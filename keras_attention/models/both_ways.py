"""Two recurrent layers that read a sequence both ways."""

from typing import Any

import keras


class Bidirectional(keras.layers.Bidirectional):
    """`keras.layers.Bidirectional` of two layers that are taken as they are.

    Keras copies its layer by way of the config. While a model is loaded, it
    tells objects by their addresses, and takes a copy of what lies where
    another was freed for that other: loading fails then, or two layers are
    one. The class has the name of Keras's, by which files of weights know it.

    Args:
        forward: recurrent layer that returns sequences and no state.
        backward: the same, with `go_backwards`.
        **kwargs: `name`, `dtype` of `keras.layers.Layer`.
    """

    def __init__(self, forward: Any, backward: Any, **kwargs):
        keras.layers.Layer.__init__(self, **kwargs)
        self.forward_layer, self.backward_layer = forward, backward
        self.merge_mode = "concat"
        self.stateful = self.return_state = False
        self.return_sequences = True
        self.supports_masking = True
        self.input_spec = forward.input_spec
