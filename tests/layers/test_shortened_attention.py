"""LowRankAttention and PooledAttention: fewer keys than they are given."""

import itertools

import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import loss_gradients
from layer_checks import mask_of
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.functional.pooling import average_pool
from keras_attention.functional.pooling import pool_mask
from keras_attention.layers import LowRankAttention
from keras_attention.layers import PooledAttention

BATCH, QUERIES, KEYS, HEADS, KEY_DIM, VALUE_DIM, WIDTH = 3, 5, 7, 2, 4, 6, 11
random = np.random.default_rng(29)
QUERY = random.normal(size=(BATCH, QUERIES, WIDTH)).astype("float32")
VALUE = random.normal(size=(BATCH, KEYS, 13)).astype("float32")
KEY = random.normal(size=(BATCH, KEYS, 17)).astype("float32")
PADDING = np.arange(KEYS) < np.array([[7], [4], [0]])


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def multi_head(layer, query, key, value, mask=None):
    (w_q, b_q), (w_k, b_k), (w_v, b_v), (w_o, b_o) = (
        map(array, child.weights)
        for child in (
            layer.query_dense,
            layer.key_dense,
            layer.value_dense,
            layer.output_dense,
        )
    )
    heads, weights = numpy_reference.attend(
        np.einsum("btd,dnh->btnh", query, w_q) + b_q,
        np.einsum("bsd,dnh->bsnh", key, w_k) + b_k,
        np.einsum("bsd,dnh->bsnh", value, w_v) + b_v,
        mask=None if mask is None else masks.Padding(mask),
    )
    return np.einsum("btnh,nhd->btd", heads, w_o) + b_o, weights


def averages(tensor, size, mask=None):
    """Averages of the real ones of each `size` neighbours, one by one."""
    batch, length, width = tensor.shape
    blocks = -(-length // size)
    pooled = np.zeros((batch, blocks, width))
    real = np.zeros((batch, blocks), bool)
    for b, block in np.ndindex(batch, blocks):
        seen = [
            tensor[b, s].astype("float64")
            for s in range(block * size, min(block * size + size, length))
            if mask is None or mask[b, s]
        ]
        if seen:
            pooled[b, block], real[b, block] = np.mean(seen, axis=0), True
    return pooled, real


def attention_weights(value_width):
    return {
        "attention/query/kernel": (WIDTH, HEADS, KEY_DIM),
        "attention/query/bias": (HEADS, KEY_DIM),
        "attention/key/kernel": (value_width, HEADS, KEY_DIM),
        "attention/key/bias": (HEADS, KEY_DIM),
        "attention/value/kernel": (value_width, HEADS, VALUE_DIM),
        "attention/value/bias": (HEADS, VALUE_DIM),
        "attention/attention_output/kernel": (HEADS, VALUE_DIM, WIDTH),
        "attention/attention_output/bias": (WIDTH,),
    }


ARGUMENTS = {
    "num_heads": HEADS,
    "key_dim": KEY_DIM,
    "value_dim": VALUE_DIM,
    "dropout": 0.0,
    "seed": 3,
}


def test_low_rank_attention_checks(tmp_path):
    run_layer_checks(
        LowRankAttention,
        {**ARGUMENTS, "rank": 3, "max_length": 19},
        {"query": QUERY, "value": VALUE},
        QUERY.shape,
        expected_weights={
            "key_mixture": (19, 3),
            "value_mixture": (19, 3),
            **attention_weights(13),
        },
        weights_without_gradient=("attention/key/bias",),
        tmp_path=tmp_path,
    )


def test_pooled_attention_checks(tmp_path):
    run_layer_checks(
        PooledAttention,
        {**ARGUMENTS, "pool_size": 3, "query_pool_size": 1},
        {"query": QUERY, "value": VALUE, "return_attention_scores": True},
        [QUERY.shape, (BATCH, HEADS, QUERIES, 3)],
        expected_weights=attention_weights(13),
        weights_without_gradient=("attention/key/bias",),
        tmp_path=tmp_path,
    )


def test_low_rank_attention_is_equation_7():
    layer = LowRankAttention(HEADS, KEY_DIM, rank=3, max_length=KEYS)
    layer.build(QUERY.shape, VALUE.shape, KEY.shape)
    layer.attention.output_dense.bias.assign(np.arange(WIDTH))
    layer.attention.value_dense.bias.assign(np.ones((HEADS, KEY_DIM)))
    for mask in (None, PADDING):
        output, weights = layer(
            QUERY, VALUE, KEY, value_mask=mask, return_attention_scores=True
        )
        real = np.ones_like(PADDING) if mask is None else mask
        key = np.einsum("sr,bs,bsd->brd", array(layer.key_mixture), real, KEY)
        value = np.einsum(
            "sr,bs,bsd->brd", array(layer.value_mixture), real, VALUE
        )
        visible = np.repeat(real.any(1, keepdims=True), 3, axis=1)
        expected, expected_weights = multi_head(
            layer.attention, QUERY, key, value, visible
        )
        np.testing.assert_allclose(array(output), expected, atol=1e-5)
        np.testing.assert_allclose(array(weights), expected_weights, atol=1e-6)
    # A row of padding alone has no mixture.
    np.testing.assert_array_equal(
        array(output)[2], np.broadcast_to(np.arange(WIDTH), QUERY.shape[1:])
    )


@pytest.mark.parametrize("query_pool_size", [1, 2])
def test_pooled_attention_attends_to_averages(query_pool_size):
    layer = PooledAttention(HEADS, KEY_DIM, 3, query_pool_size)
    query_mask = np.arange(QUERIES) < np.array([[5], [2], [4]])
    output, weights = layer(
        QUERY,
        VALUE,
        KEY,
        query_mask=query_mask,
        value_mask=PADDING,
        return_attention_scores=True,
    )
    query, real_queries = averages(QUERY, query_pool_size, query_mask)
    key, real_keys = averages(KEY, 3, PADDING)
    value, _ = averages(VALUE, 3, PADDING)
    expected, expected_weights = multi_head(
        layer.attention, query, key, value, real_keys
    )
    assert output.shape == expected.shape
    np.testing.assert_allclose(
        array(output)[real_queries], expected[real_queries], atol=1e-5
    )
    weights = np.moveaxis(array(weights), 2, 1)  # (B, T, N, S)
    expected_weights = np.moveaxis(expected_weights, 2, 1)
    np.testing.assert_allclose(
        weights[real_queries], expected_weights[real_queries], atol=1e-6
    )
    assert not np.any(weights[~real_queries])


def test_averages_of_all_sizes():
    for size in (1, 3, 7, 10):
        for mask in (None, PADDING):
            found, real = average_pool(VALUE, size, mask)
            expected, expected_real = averages(VALUE, size, mask)
            np.testing.assert_allclose(array(found), expected, atol=1e-6)
            if mask is not None:
                np.testing.assert_array_equal(real, expected_real)


def test_mask_is_pooled_as_averages_are():
    for length, pool_size in itertools.product((0, 1, 5, 6), (1, 2, 3)):
        mask = np.random.default_rng(3).random((4, length)) > 0.6
        numbers = np.ones((4, length, 1), "float32")
        _, expected = average_pool(numbers, pool_size, mask)
        np.testing.assert_array_equal(pool_mask(mask, pool_size), expected)


def test_mask_of_unknown_length_is_pooled_in_a_functional_model():
    ids = keras.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(9, 8, mask_zero=True)
    embedded = embedding(ids)
    pooled = PooledAttention(2, 4, pool_size=3, query_pool_size=2)
    model = keras.Model(ids, pooled(embedded, embedded))
    given = np.array([[3, 1, 4, 0, 0], [2, 7, 1, 8, 2]])
    output, real = array(model(given)), given > 0
    vectors = array(embedding(given))
    expected = pooled(vectors, vectors, query_mask=real, value_mask=real)
    np.testing.assert_allclose(output, array(expected), atol=1e-6)
    unmasked = array(pooled(vectors, vectors))
    assert np.abs(output[0] - unmasked[0]).max() > 1e-3
    np.testing.assert_allclose(output[1], unmasked[1], atol=1e-6)


def test_keras_mask_is_pooled_with_the_queries():
    hidden = np.where(PADDING[..., None], VALUE, 0.0)
    masked = keras.layers.Masking()(hidden)
    layer = PooledAttention(HEADS, KEY_DIM, 2, query_pool_size=3)
    output = layer(masked, masked)
    np.testing.assert_array_equal(
        mask_of(output),
        [[True, True, True], [True, True, False], [False, False, False]],
    )
    given = layer(hidden, hidden, query_mask=PADDING, value_mask=PADDING)
    np.testing.assert_allclose(array(output), array(given), atol=1e-6)


LAYERS = {
    "low rank": lambda: LowRankAttention(HEADS, KEY_DIM, 3, KEYS),
    "pooled": lambda: PooledAttention(HEADS, KEY_DIM, 3),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)


@each_layer
def test_padding_may_hold_anything(make):
    layer = make()
    layer.build(QUERY.shape, VALUE.shape)
    spoilt = np.where(PADDING[..., None], VALUE, np.nan).astype("float32")
    found = loss_gradients(
        layer,
        {"query": QUERY, "value": spoilt},
        np.ones(QUERY.shape),
        attention_mask=masks.Lengths([7, 4, 0]),
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in found.values())
    assert not np.any(found["value"][~PADDING])


@each_layer
@pytest.mark.parametrize("length", [0, 1])
def test_empty_and_single_sequences(make, length):
    layer = make()
    layer.build(QUERY.shape, VALUE.shape)
    layer.attention.value_dense.bias.assign(np.ones((HEADS, KEY_DIM)))
    output = array(layer(QUERY, VALUE[:, :length]))
    assert np.all(np.isfinite(output))
    assert np.any(output) == bool(length)


@pytest.mark.parametrize("kind", LAYERS)
def test_dropout_is_on_in_training_alone(kind):
    layer = LAYERS[kind]()
    config = {**layer.get_config(), "dropout": 0.5, "seed": 3}
    layer = type(layer).from_config(config)
    still = array(layer(QUERY, VALUE, training=False))
    np.testing.assert_array_equal(array(layer(QUERY, VALUE)), still)
    one, other = (array(layer(QUERY, VALUE, training=True)) for _ in range(2))
    assert np.abs(one - still).max() > 1e-3
    assert np.abs(one - other).max() > 1e-3


@each_layer
def test_one_row_of_padding_is_for_all(make):
    layer = make()
    real = np.arange(QUERIES) < 3
    one, all_rows = (
        layer(QUERY, VALUE, KEY, attention_mask=masks.QueryPadding(rows))
        for rows in (real[None], np.tile(real, (BATCH, 1)))
    )
    np.testing.assert_array_equal(one, all_rows)


@each_layer
def test_other_masks_are_refused(make):
    with pytest.raises(ValueError, match="`use_causal_mask` must be False"):
        make()(QUERY, QUERY, use_causal_mask=True)
    with pytest.raises(ValueError, match="`attention_mask` must be made of"):
        make()(QUERY, QUERY, attention_mask=masks.SlidingWindow(1, 1))


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="must have at most max_length=6"):
        LowRankAttention(HEADS, KEY_DIM, 3, max_length=6)(QUERY, VALUE)
    with pytest.raises(ValueError, match="`rank` must be a positive integer"):
        LowRankAttention(HEADS, KEY_DIM, 0, max_length=6)
    with pytest.raises(ValueError, match="`pool_size` must be a positive"):
        PooledAttention(HEADS, KEY_DIM, 0)


@pytest.mark.tensorflow_only
def test_more_keys_than_max_length_are_refused_when_the_graph_runs():
    import tensorflow as tf

    layer = LowRankAttention(HEADS, KEY_DIM, 3, max_length=KEYS)
    signature = [tf.TensorSpec((None, None, WIDTH))]

    def attend(inputs):
        return layer(inputs, inputs)

    layer.build(QUERY.shape, QUERY.shape)
    graph = tf.function(attend, signature)
    np.testing.assert_allclose(graph(QUERY), attend(QUERY), atol=1e-6)
    longer = np.concatenate([QUERY, QUERY], axis=1)  # 10 > 7 positions
    message = "at most max_length=7 positions: choose a larger .*Received:.*10"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph(longer)
    # XLA drops the check: no number may look like a result.
    program = tf.function(attend, signature, jit_compile=True)
    np.testing.assert_allclose(program(QUERY), attend(QUERY), atol=1e-6)
    assert np.all(np.isnan(program(longer)))
