"""LinearAttention: its masks, its cache and its paths."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import assert_all_close
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.functional import FavorFeatures
from keras_attention.functional import FeatureMap
from keras_attention.layers import LinearAttention

BATCH, QUERIES, KEYS, HEADS, KEY_DIM, VALUE_DIM, WIDTH = 2, 5, 7, 3, 4, 6, 11
random = np.random.default_rng(17)
QUERY = random.normal(size=(BATCH, QUERIES, WIDTH)).astype("float32")
VALUE = random.normal(size=(BATCH, KEYS, 13)).astype("float32")
PADDING = np.arange(KEYS) < np.array([[4], [0]])


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def elu_plus_one(x):
    return np.where(x > 0, x + 1, np.exp(x))


def favor(layer):
    """Lemma 1 of Choromanski et al. 2021."""
    rows = array(layer.projection)

    def features(x):
        x = x / KEY_DIM**0.25
        return np.exp(x @ rows - np.sum(x * x) / 2)

    return features


def by_the_equations(layer, query, value, visible, phi=elu_plus_one):
    """Sums over the visible keys, in float64 loops."""
    (w_q, b_q), (w_k, b_k), (w_v, b_v), (w_o, b_o) = (
        map(array, child.weights)
        for child in (
            layer.query_dense,
            layer.key_dense,
            layer.value_dense,
            layer.output_dense,
        )
    )
    query, key, value = (
        np.einsum("btd,dnh->btnh", x, w) + b
        for x, w, b in ((query, w_q, b_q), (value, w_k, b_k), (value, w_v, b_v))
    )
    heads = np.zeros((*query.shape[:3], value.shape[-1]))
    for b, t, n in itertools.product(*map(range, query.shape[:3])):
        total, normalizer = 0.0, 0.0
        for s in range(key.shape[1]):
            if visible[b, t, s]:
                weight = phi(query[b, t, n]) @ phi(key[b, s, n])
                total += weight * value[b, s, n]
                normalizer += weight
        heads[b, t, n] = total / (normalizer or 1.0)
    return np.einsum("btnh,nhd->btd", heads, w_o) + b_o


def test_linear_attention_checks(tmp_path):
    run_layer_checks(
        LinearAttention,
        {
            "num_heads": HEADS,
            "key_dim": KEY_DIM,
            "feature_map": FavorFeatures(16, seed=5),
            "value_dim": VALUE_DIM,
            "use_bias": True,
        },
        {"query": QUERY, "value": QUERY, "use_causal_mask": True},
        QUERY.shape,
        expected_weights={
            "projection": (KEY_DIM, 16),
            "query/kernel": (WIDTH, HEADS, KEY_DIM),
            "query/bias": (HEADS, KEY_DIM),
            "key/kernel": (WIDTH, HEADS, KEY_DIM),
            "key/bias": (HEADS, KEY_DIM),
            "value/kernel": (WIDTH, HEADS, VALUE_DIM),
            "value/bias": (HEADS, VALUE_DIM),
            "attention_output/kernel": (HEADS, VALUE_DIM, WIDTH),
            "attention_output/bias": (WIDTH,),
        },
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("feature_map", ["elu", FavorFeatures(5, seed=3)])
def test_linear_attention_against_the_equations(feature_map):
    layer = LinearAttention(HEADS, KEY_DIM, feature_map, VALUE_DIM)
    layer.build(QUERY.shape, VALUE.shape)
    layer.output_dense.bias.assign(np.arange(WIDTH))
    phi = elu_plus_one if feature_map == "elu" else favor(layer)
    visible = np.broadcast_to(PADDING[:, None], (BATCH, QUERIES, KEYS))
    output, weights = layer(
        QUERY, VALUE, value_mask=PADDING, return_attention_scores=True
    )
    expected = by_the_equations(layer, QUERY, VALUE, visible, phi)
    np.testing.assert_allclose(array(output), expected, atol=2e-4)
    assert weights.shape == (BATCH, HEADS, QUERIES, KEYS)
    np.testing.assert_allclose(array(weights)[0].sum(-1), 1.0, atol=1e-5)
    # A row of padding alone: no weights, and the bias of the output.
    assert not np.any(array(weights)[:, :, :, 4:])
    assert not np.any(array(weights)[1])
    np.testing.assert_array_equal(
        array(output)[1], np.broadcast_to(np.arange(WIDTH), QUERY.shape[1:])
    )


CAUSAL = np.tri(QUERIES, dtype=bool)[None].repeat(BATCH, axis=0)
REAL = np.arange(QUERIES) < np.array([[5], [2]])
MASKS = {
    "causal": ({"use_causal_mask": True}, CAUSAL),
    "causal mask": ({"attention_mask": masks.Causal()}, CAUSAL),
    "lengths": (
        {"attention_mask": masks.Lengths([5, 2]), "use_causal_mask": True},
        CAUSAL & REAL[:, None],
    ),
    "key mask": ({"key_mask": REAL, "value_mask": REAL}, REAL[:, None]),
    "query mask": ({"query_mask": REAL}, REAL[:, :, None]),
    "and": (
        {"attention_mask": masks.Padding(REAL) & masks.QueryPadding(REAL)},
        REAL[:, None] & REAL[:, :, None],
    ),
}


@pytest.mark.parametrize(("call", "visible"), MASKS.values(), ids=MASKS)
def test_masks_and_weights(call, visible):
    layer = LinearAttention(HEADS, KEY_DIM)
    output, weights = layer(QUERY, QUERY, return_attention_scores=True, **call)
    visible = np.broadcast_to(visible, (BATCH, QUERIES, QUERIES))
    expected = by_the_equations(layer, QUERY, QUERY, visible)
    np.testing.assert_allclose(array(output), expected, atol=1e-5)
    np.testing.assert_array_equal(
        array(weights) > 0,
        np.broadcast_to(visible[:, None], weights.shape),
    )
    assert_all_close([layer(QUERY, QUERY, **call)], [output], tolerance=0)


def test_steps_with_a_cache_equal_the_whole():
    layer = LinearAttention(HEADS, KEY_DIM, FavorFeatures(5), VALUE_DIM)
    mask = np.arange(QUERIES) >= np.array([[0], [2]])  # left padding
    whole = array(layer(QUERY, QUERY, value_mask=mask, use_causal_mask=True))
    cache = layer.make_cache(BATCH)
    for start, end in ((0, 3), (3, 4), (4, 5)):  # a prompt, then steps
        piece = QUERY[:, start:end]
        output, cache = layer(
            piece, piece, value_mask=mask[:, start:end], cache=cache
        )
        np.testing.assert_allclose(
            array(output), whole[:, start:end], atol=1e-5
        )
    sizes = {name: part.shape for name, part in cache.items()}
    assert sizes == {
        "sum": (BATCH, HEADS, 5, VALUE_DIM),
        "normalizer": (BATCH, HEADS, 5),
        "scale": (BATCH, HEADS, 5),
    }


def test_cache_of_a_half_precision_layer_stays_float32():
    layer = LinearAttention(HEADS, KEY_DIM, dtype="mixed_float16")
    output, cache = layer(QUERY, QUERY, cache=layer.make_cache(BATCH))
    assert ops.dtype(output) == "float16"
    assert {ops.dtype(part) for part in cache.values()} == {"float32"}
    symbolic = {
        name: keras.Input(part.shape[1:], dtype="float32")
        for name, part in cache.items()
    }
    inputs = keras.Input((1, WIDTH))
    model = keras.Model(
        [inputs, symbolic], layer(inputs, inputs, cache=symbolic)
    )
    step = ops.convert_to_tensor(QUERY[:, :1])
    for one, other in zip(
        keras.tree.flatten(model([step, cache])),
        keras.tree.flatten(layer(step, step, cache=cache)),
        strict=True,
    ):
        np.testing.assert_array_equal(array(one), array(other))


def test_padding_has_no_gradient():
    layer = LinearAttention(HEADS, KEY_DIM)
    layer.build(QUERY.shape, VALUE.shape)
    spoilt = np.where(PADDING[..., None], VALUE, np.nan).astype("float32")
    found = loss_gradients(
        layer,
        {"query": QUERY, "value": spoilt},
        np.ones(QUERY.shape),
        value_mask=PADDING,
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in found.values())
    assert not np.any(found["value"][~PADDING])
    assert not np.any(found["query"][1])


@keras.saving.register_keras_serializable(package="tests")
class Squares(FeatureMap):
    def log_features(self, heads, projection=None):
        return ops.log(1.0 + heads * heads)

    def get_config(self):
        return {}


@pytest.mark.tensorflow_only  # JAX compiles a loop for each
@pytest.mark.parametrize("causal", [False, True])
def test_huge_heads_have_finite_gradients(causal):
    layer = LinearAttention(HEADS, KEY_DIM)
    query, value = (x[:, :QUERIES] for x in (QUERY, VALUE))
    layer(query, value)
    for child in (layer.query_dense, layer.key_dense):
        child.kernel.assign(200 * child.kernel)
    found = loss_gradients(
        layer,
        {"query": query, "value": value},
        np.ones(query.shape),
        use_causal_mask=causal,
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in found.values())


def test_feature_map_of_a_user():
    layer = LinearAttention(HEADS, KEY_DIM, Squares())
    visible = np.ones((BATCH, QUERIES, KEYS), bool)
    expected_phi = lambda x: 1 + x * x  # noqa: E731
    output = layer(QUERY, VALUE)
    expected = by_the_equations(layer, QUERY, VALUE, visible, expected_phi)
    np.testing.assert_allclose(array(output), expected, atol=1e-5)
    again = LinearAttention.from_config(layer.get_config())
    assert isinstance(again.feature_map, Squares)


@pytest.mark.parametrize(
    "mask",
    [
        masks.SlidingWindow(1, 1),
        masks.Causal(offset=1),
        masks.Lengths([3, 2]) | masks.Causal(),
        np.ones((QUERIES, QUERIES), bool),
    ],
    ids=["window", "offset", "or", "tensor"],
)
def test_other_masks_are_refused(mask):
    with pytest.raises(ValueError, match="`attention_mask` must be made of"):
        LinearAttention(HEADS, KEY_DIM)(QUERY, QUERY, attention_mask=mask)


def test_arguments_that_do_not_fit():
    layer = LinearAttention(HEADS, KEY_DIM)
    with pytest.raises(ValueError, match="must have the same length where"):
        layer(QUERY, VALUE, use_causal_mask=True)
    with pytest.raises(ValueError, match="`return_attention_scores` must be"):
        LinearAttention(HEADS, KEY_DIM)(
            QUERY,
            QUERY,
            cache=layer.make_cache(BATCH),
            return_attention_scores=True,
        )
    with pytest.raises(ValueError, match="`feature_map` must be one of 'elu'"):
        LinearAttention(HEADS, KEY_DIM, feature_map="relu")
    with pytest.raises(ValueError, match="`value` must be given: LinearAtt"):
        layer(QUERY)


@pytest.mark.tensorflow_only  # JAX has no float64 by default
def test_a_cache_has_the_wider_dtype():
    layer = LinearAttention(2, 3, dtype="float64")
    x = np.random.default_rng(3).normal(size=(3, 5, 7))
    whole = layer(x, x, use_causal_mask=True)
    cache, found = layer.make_cache(3), []
    for step in range(5):
        new = x[:, step : step + 1]
        output, cache = layer(new, new, cache=cache)
        found.append(output)
    assert {ops.dtype(tensor) for tensor in cache.values()} == {"float64"}
    np.testing.assert_allclose(
        ops.concatenate(found, axis=1), whole, atol=1e-12
    )
