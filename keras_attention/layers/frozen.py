"""Layers that stay frozen with all that they are made of."""

import keras


class StaysFrozen:
    """Mixin for layers that make other layers: none of a frozen one trains.

    With `trainable=False`, Keras freezes the variables of a layer, but not the
    layers that it creates in `build`. These would train, in a new layer and in
    one that is loaded. The private method of Keras that follows `build` is
    extended here; the tests fail if a new version of Keras has no such method.
    """

    def _post_build(self) -> None:
        super()._post_build()
        if not self.trainable:
            # Assigned, what it is already would not reach the layers inside.
            keras.layers.Layer.trainable.fset(self, False)
