"""The model that benchmarks train: ours, and of plain layers of Keras.

A Transformer of 3 + 3 pre-norm layers, otherwise as in Vaswani et al. 2017.
Both are ready for padding, which id 0 is.
"""

import keras
import numpy as np

import keras_attention as ka

SIZES = {
    "width": 256,
    "hidden": 1024,
    "heads": 4,
    "layers": 3,
    "vocabulary": 8000,
    "batch": 64,
    "length": 32,
}
SMALL = {**SIZES, "width": 64, "hidden": 96, "vocabulary": 500, "layers": 1}


def ours(rate, *, width, hidden, heads, layers, vocabulary, **sizes):
    return ka.build_seq2seq(
        "transformer",
        vocabulary,
        vocabulary,
        units=width,
        num_layers=layers,
        num_heads=heads,
        feed_forward_units=hidden,
        dropout=rate,
    )


def theirs(rate, *, width, hidden, heads, layers, vocabulary, length, **sizes):
    """The same, of layers of Keras in a functional model."""
    source = keras.Input((length,), dtype="int32", name="source")
    target = keras.Input((length,), dtype="int32", name="target")

    def embed(ids):
        x = keras.layers.Embedding(vocabulary, width)(ids)
        x = x * width**0.5 + sinusoids(length, width)
        return keras.layers.Dropout(rate)(x)

    def attend(x, mask, memory=None, **call):
        normal = keras.layers.LayerNormalization()(x)
        layer = keras.layers.MultiHeadAttention(
            heads, width // heads, dropout=rate
        )
        memory = normal if memory is None else memory
        y = layer(normal, memory, value_mask=mask, **call)
        return x + keras.layers.Dropout(rate)(y)

    def feed_forward(x):
        y = keras.layers.LayerNormalization()(x)
        y = keras.layers.Dense(hidden, activation="relu")(y)
        y = keras.layers.Dense(width)(keras.layers.Dropout(rate)(y))
        return x + keras.layers.Dropout(rate)(y)

    source_mask, target_mask = (
        keras.ops.not_equal(ids, 0) for ids in (source, target)
    )
    x = embed(source)
    for _ in range(layers):
        x = feed_forward(attend(x, source_mask))
    encoded = keras.layers.LayerNormalization()(x)
    x = embed(target)
    for _ in range(layers):
        x = attend(x, target_mask, use_causal_mask=True)
        x = feed_forward(attend(x, source_mask, encoded))
    x = keras.layers.LayerNormalization()(x)
    inputs = {"source": source, "target": target}
    return keras.Model(inputs, keras.layers.Dense(vocabulary)(x))


MODELS = {"Keras": theirs, "ours": ours}


def sinusoids(length, width):
    position = np.arange(length)[:, None]
    angles = position / 10000.0 ** (np.arange(0, width, 2) / width)
    pairs = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    return pairs.reshape(length, width).astype("float32")


def batch_of(sizes):
    """Returns inputs and labels of NumPy: the source is to be copied."""
    generator = np.random.default_rng(0)
    shape = (sizes["batch"], sizes["length"])
    ids = generator.integers(4, sizes["vocabulary"], shape).astype("int32")
    shifted = np.concatenate([np.ones_like(ids[:, :1]), ids[:, :-1]], axis=1)
    return {"source": ids, "target": shifted}, ids


def training_step(model, batch, jit_compile):
    """Returns a function of no arguments: one step of Adam; its loss."""
    import tensorflow as tf

    inputs, labels = tf.nest.map_structure(tf.constant, batch)
    model(inputs)
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = model.trainable_variables

    @tf.function(jit_compile=jit_compile, autograph=False)
    def step():
        with tf.GradientTape() as tape:
            value = loss(labels, model(inputs, training=True))
        gradients = tape.gradient(value, [w.value for w in weights])
        optimizer.apply(gradients, weights)
        return value

    return step
