"""Layers that stay frozen with all that they are made of."""

import keras


class StaysFrozen:
    """Mixin for layers that make other layers: none of a frozen one trains.

    Keras freezes the variables that a layer makes by itself, and not the
    layers that it makes when it is built. So `trainable=False` of a new layer,
    or of one that is loaded, would have no effect on those. A private method
    of Keras is extended for that; tests tell when a new version has another.
    """

    def _post_build(self) -> None:
        super()._post_build()
        if not self.trainable:
            # Assigned, what it is already would not reach the layers inside.
            keras.layers.Layer.trainable.fset(self, False)
