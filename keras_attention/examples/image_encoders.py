"""Encoders of images: by rows of pixels, and by patches."""

from typing import Any


def new_encoder(kind: str, data: str, shape: tuple, options: Any) -> Any:
    """Returns a model from images to (batch, rows or patches, width)."""
    import keras

    import keras_attention as ka

    image = keras.Input(shape)
    x = keras.layers.RandomTranslation(0.08, 0.08, "constant")(image)
    if data == "Fashion-MNIST":  # a shirt has no left side, a digit has
        x = keras.layers.RandomFlip("horizontal")(x)
    if kind == "rows":
        x = keras.layers.Reshape(shape[:2])(x)  # (B, H, W)
        for _ in range(2):
            gru = keras.layers.GRU(options.units, return_sequences=True)
            x = keras.layers.Bidirectional(gru)(x)  # (B, H, 2 * units)
            x = ka.layers.Dropout(options.dropout)(x)
        return keras.Model(image, x)
    x = keras.layers.Conv2D(32, 3, padding="same", activation="relu")(x)
    size = options.patch
    patches = keras.layers.Conv2D(options.units, size, size, padding="same")(x)
    x = keras.layers.Reshape((-1, options.units))(patches)  # (B, S, units)
    stack = ka.TransformerStack(
        options.num_layers,
        num_heads=options.units // 16,
        feed_forward_units=2 * options.units,
        dropout=options.dropout,
        position=ka.RotaryEmbedding2D(patches.shape[2]),
    )
    return keras.Model(image, stack(x))
