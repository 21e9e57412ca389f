import keras
import numpy as np
import pytest
from keras import layers
from keras import ops

import keras_attention as ka
from keras_attention import migration

QUERY = np.random.default_rng(0).normal(size=(2, 5, 6)).astype("float32")
VALUE = np.random.default_rng(1).normal(size=(2, 7, 6)).astype("float32")
QUERY_MASK = np.arange(5) < np.array([[5], [3]])
VALUE_MASK = np.arange(7) < np.array([[7], [4]])
CAUSAL = {"use_causal_mask": True}
ALLOWED = np.random.default_rng(2).random((2, 5, 7)) < 0.6
ALLOWED[..., 0] = True

# name: a layer of Keras, and the options of its call.
MULTI_HEAD = {
    "multi head": (lambda: layers.MultiHeadAttention(2, 3), {}),
    "multi head, everything": (
        lambda: layers.MultiHeadAttention(
            3,
            5,
            value_dim=4,
            output_shape=11,
            use_bias=False,
            use_gate=True,
            sliding_window=3,
            kernel_regularizer="l2",
            name="mine",
        ),
        CAUSAL,
    ),
    "grouped": (
        lambda: layers.GroupQueryAttention(5, 4, 2),
        {"attention_mask": ALLOWED},
    ),
    "grouped, everything": (
        lambda: layers.GroupQueryAttention(
            5, 3, 1, use_gate=True, sliding_window=4, use_bias=False
        ),
        CAUSAL,
    ),
}
LISTED = {
    "dot": (lambda: layers.Attention(), CAUSAL),
    "dot, scale": (lambda: layers.Attention(use_scale=True), {}),
    "concat": (lambda: layers.Attention(score_mode="concat"), {}),
    "concat, scale": (
        lambda: layers.Attention(use_scale=True, score_mode="concat"),
        CAUSAL,
    ),
    "additive": (lambda: layers.AdditiveAttention(), {}),
    "additive, no scale": (
        lambda: layers.AdditiveAttention(use_scale=False),
        CAUSAL,
    ),
}
CASES = MULTI_HEAD | LISTED


def with_random_weights(layer):
    """Biases and scales that are not those a layer begins with."""
    generator = np.random.default_rng(3)
    values = [generator.normal(size=w.shape) for w in layer.weights]
    layer.set_weights(values)


def called(layer, name, masks=False):
    options = dict(CASES[name][1], return_attention_scores=True)
    query, value = (ops.convert_to_tensor(x) for x in (QUERY, VALUE))
    if name in LISTED:
        mask = [QUERY_MASK, VALUE_MASK] if masks else None
        return layer([query, value], mask=mask, **options)
    if masks:
        options["value_mask"] = VALUE_MASK
    return layer(query, value, **options)


@pytest.mark.parametrize("name", list(CASES))
def test_from_keras_computes_what_the_layer_does(name):
    theirs = CASES[name][0]()
    called(theirs, name)
    with_random_weights(theirs)
    ours = migration.from_keras(theirs)
    assert ours.name == theirs.name
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    for masks in (False, True):
        expected, scores = called(theirs, name, masks)
        output, weights = called(ours, name, masks)
        real = QUERY_MASK if masks and name in LISTED else np.ones((2, 5), bool)
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(output, expected, atol=1e-5)
        if name in MULTI_HEAD:
            weights, scores = (
                np.moveaxis(ops.convert_to_numpy(x), 1, 2)
                for x in (weights, scores)
            )
        weights, scores = (
            ops.convert_to_numpy(x)[real] for x in (weights, scores)
        )
        np.testing.assert_allclose(weights, scores, atol=1e-5)


def test_copied_weights_are_no_longer_those_of_the_layer():
    theirs = layers.MultiHeadAttention(2, 3)
    theirs(QUERY, VALUE)
    ours = migration.from_keras(theirs)
    before = theirs.get_weights()[0]
    ours.set_weights([w + 1 for w in ours.get_weights()])
    np.testing.assert_array_equal(theirs.get_weights()[0], before)


def test_frozen_weights_stay_frozen():
    theirs = layers.MultiHeadAttention(2, 3)
    theirs(QUERY, VALUE)
    theirs.query_dense.trainable = False
    ours = migration.from_keras(theirs)
    trainable = [w.path for w in theirs.trainable_weights]
    assert [w.path for w in ours.trainable_weights] == trainable
    assert len(trainable) == 6


def test_options_and_policy_are_carried():
    theirs = layers.GroupQueryAttention(
        5, 4, 2, dropout=0.3, seed=7, dtype="mixed_float16", name="mine"
    )
    ours = migration.from_keras(theirs)
    assert not ours.built and isinstance(ours, ka.MultiHeadAttention)
    expected = (4, 2, 5, 0.3, 7, "mine", "mixed_float16")
    assert expected == (
        ours.num_heads,
        ours.num_key_value_heads,
        ours.key_dim,
        ours.dropout,
        ours.seed,
        ours.name,
        ours.dtype_policy.name,
    )


def test_attention_over_two_axes_is_carried():
    theirs = layers.MultiHeadAttention(2, 3, attention_axes=(1, 2))
    image = np.random.default_rng(4).normal(size=(2, 3, 5, 6))
    expected = theirs(image, image)
    ours = migration.from_keras(theirs)
    np.testing.assert_allclose(ours(image, image), expected, atol=1e-5)


class Mine(layers.MultiHeadAttention):
    pass


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (layers.Dense(3), "`layer` must be one of Keras's MultiHeadAttention"),
        (Mine(2, 3), "Received: layer=Mine"),
        (
            layers.GroupQueryAttention(5, 4, 2, activity_regularizer="l2"),
            "`activity_regularizer` must be None",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        migration.from_keras(layer)


def changed_weights(change):
    layer = layers.MultiHeadAttention(2, 3, name="mine")
    layer(QUERY, VALUE)
    change(layer)
    return layer


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.query_dense.enable_lora(2), "'mine/query' has LoRA"),
        (lambda x: x.value_dense.quantize("int8"), "'mine/value' is quantised"),
    ],
)
def test_weights_that_were_taken_apart_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        migration.from_keras(changed_weights(change))


def test_more_than_three_axes_are_refused_by_the_single_head_layers():
    theirs = layers.Attention()
    theirs([np.ones((2, 3, 5, 7)), np.ones((2, 3, 11, 7))])
    with pytest.raises(ValueError, match="shape \\(batch, length, width\\)"):
        migration.from_keras(theirs)


def test_weights_of_other_shapes_are_refused_and_none_is_set():
    from keras_attention.migration.weights import set_weights

    layer = keras.layers.Dense(3)
    layer.build((None, 5))
    before = layer.get_weights()
    with pytest.raises(ValueError, match="`weights` must be of the shapes"):
        set_weights(layer, [np.ones((5, 3)), np.ones((1, 3))])
    np.testing.assert_array_equal(layer.get_weights()[0], before[0])
