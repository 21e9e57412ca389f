"""Linear attention against the sums of its equations, term by term."""

import itertools

import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops

from keras_attention.functional import linear
from keras_attention.functional.feature_maps import EluFeatures
from keras_attention.functional.feature_maps import FavorFeatures
from keras_attention.functional.linear_sums import empty_state

BATCH, LENGTH, HEADS, FEATURES, VALUE_DIM = 2, 7, 3, 5, 11
random = np.random.default_rng(11)


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


def inputs(length=LENGTH, size=1.0, seed=3):
    generator = np.random.default_rng(seed)
    shape = (BATCH, length, HEADS, FEATURES)
    return {
        "query": generator.normal(size=shape) * size,
        "key": generator.normal(size=shape) * size,
        "value": generator.normal(size=(*shape[:3], VALUE_DIM)),
    }


def lengths_mask(length):
    """One row whole, and one that ends early, or is empty."""
    return np.arange(length) < np.array([[length], [max(length - 3, 0)]])


def definition(query, key, value, key_mask=None, causal=False):
    """Equations 5 and 9 of Katharopoulos et al. 2020, in float64 loops.

    Query and key are logarithms of features.
    """
    batch, length, heads, _ = query.shape
    output = np.zeros((batch, length, heads, value.shape[-1]))
    for b, n, t in itertools.product(range(batch), range(heads), range(length)):
        total, normalizer = np.zeros(value.shape[-1]), 0.0
        for s in range(t + 1 if causal else key.shape[1]):
            if key_mask is not None and not key_mask[b, s]:
                continue
            weight = sum(np.exp(query[b, t, n]) * np.exp(key[b, s, n]))
            total += weight * value[b, s, n]
            normalizer += weight
        if normalizer:
            output[b, t, n] = total / normalizer
    return output


def as_float32(tensors):
    return {name: x.astype("float32") for name, x in tensors.items()}


def attend(causal, state=None, **tensors):
    if causal:
        return linear.linear_attend_causal(**tensors, state=state)[0]
    return linear.linear_attend(**tensors)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [0, 1, LENGTH])
def test_equals_its_definition(length, causal):
    tensors = inputs(length)
    mask = lengths_mask(length)
    for key_mask in (None, mask):
        output = attend(causal, **as_float32(tensors), key_mask=key_mask)
        expected = definition(**tensors, key_mask=key_mask, causal=causal)
        np.testing.assert_allclose(array(output), expected, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_features_of_any_size(causal):
    """The features of +-50, whose products leave float32; and any scale."""
    tensors = inputs(size=50.0)
    for name in ("query", "key"):
        heads = np.clip(tensors[name], -50.0, 50.0)
        tensors[name] = elu_logarithms(heads)
    output = attend(causal, **as_float32(tensors))
    expected = definition(**tensors, causal=causal)
    np.testing.assert_allclose(array(output), expected, atol=1e-4)
    # All small or large, growing or falling from key to key.
    steps = 100.0 * np.arange(LENGTH)[:, None, None]
    for shift in (-1e4, 1e4, steps, -steps):
        tensors = inputs()
        moved = {**tensors, "key": tensors["key"] + shift}
        output = attend(causal, **as_float32(moved))
        if np.ndim(shift) == 0:
            expected = definition(**tensors, causal=causal)
            np.testing.assert_allclose(array(output), expected, atol=1e-2)
        assert np.all(np.isfinite(output))
    if causal:  # the first keys are the largest: each query sees the first
        first = np.broadcast_to(moved["value"][:, :1], output.shape)
        np.testing.assert_allclose(array(output), first, atol=1e-5)


def elu_logarithms(heads):
    return np.where(heads > 0, np.log1p(np.maximum(heads, 0.0)), heads)


def exact(query, key, value, causal=False):
    """The definition with the logarithms of weights, for any features."""
    logs = np.logaddexp.reduce(query[:, :, None] + key[:, None], axis=-1)
    if causal:
        seen = np.tri(query.shape[1], dtype=bool)[None, ..., None]
        logs = np.where(seen, logs, -np.inf)
    weights = np.exp(logs - np.logaddexp.reduce(logs, axis=2, keepdims=True))
    return np.einsum("btsn,bsnv->btnv", weights, value)  # (B, T, N, V)


@pytest.mark.parametrize("length", [LENGTH, 300], ids=["short", "chunks"])
def test_features_too_far_apart_for_any_number(length):
    """Feature by feature, a query and the keys may be large in turn."""
    for size in (50.0, 200.0):
        tensors = as_float32(inputs(length, size))
        expected = exact(**{n: x.astype("float64") for n, x in tensors.items()})
        output = attend(False, **tensors)
        np.testing.assert_allclose(array(output), expected, atol=2e-4)
        for name in ("query", "key"):
            tensors[name] = elu_logarithms(tensors[name])
        tensors64 = {n: x.astype("float64") for n, x in tensors.items()}
        for causal in (False, True):
            output = attend(causal, **tensors)
            expected = exact(**tensors64, causal=causal)
            np.testing.assert_allclose(array(output), expected, atol=2e-4)


def test_query_that_sees_a_key_finds_something():
    tensors = as_float32(inputs(300, size=200.0))
    tensors["value"] = np.ones_like(tensors["value"])
    for causal in (False, True):
        output = attend(causal, **tensors)
        np.testing.assert_allclose(array(output), 1.0, atol=1e-5)


def test_padding_may_hold_anything():
    tensors, mask = as_float32(inputs()), lengths_mask(LENGTH)
    for causal in (False, True):
        expected = attend(causal, **tensors, key_mask=mask)
        spoilt = {
            **tensors,
            "key": np.where(mask[..., None, None], tensors["key"], np.nan),
            "value": np.where(mask[..., None, None], tensors["value"], np.inf),
        }
        output = attend(causal, **spoilt, key_mask=mask)
        np.testing.assert_array_equal(array(output), array(expected))


def test_chunks_equal_steps_and_the_definition(monkeypatch):
    monkeypatch.setattr(linear, "CHUNK", 3)
    tensors, mask = inputs(), lengths_mask(LENGTH)
    expected = definition(**tensors, key_mask=mask, causal=True)
    tensors = as_float32(tensors)
    whole, last = linear.linear_attend_causal(**tensors, key_mask=mask)
    np.testing.assert_allclose(array(whole), expected, atol=1e-5)
    state = empty_state(BATCH, HEADS, FEATURES, VALUE_DIM)
    outputs = []
    for start, end in ((0, 2), (2, 3), (3, 7)):  # a step, and pieces
        piece = {name: x[:, start:end] for name, x in tensors.items()}
        output, state = linear.linear_attend_causal(
            **piece, key_mask=mask[:, start:end], state=state
        )
        outputs.append(array(output))
    joined = np.concatenate(outputs, axis=1)
    np.testing.assert_allclose(joined, expected, atol=1e-5)
    for name, part in state.items():
        np.testing.assert_allclose(array(part), array(last[name]), rtol=1e-4)


@pytest.mark.tensorflow_only  # lengths are known on JAX
def test_no_position_where_lengths_are_not_known():
    import tensorflow as tf

    def attend(query, value):
        given = {"query": query, "key": query, "value": value}
        return linear.linear_attend_causal(**given)

    sizes = [tf.TensorSpec((None, None, HEADS, n)) for n in (FEATURES, 2)]
    attend = tf.function(attend, input_signature=sizes, autograph=False)
    for shape in ((BATCH, 0, HEADS), (0, LENGTH, HEADS)):
        query, value = np.ones((*shape, FEATURES)), np.ones((*shape, 2))
        output, state = attend(np.float32(query), np.float32(value))
        assert output.shape == value.shape
        np.testing.assert_array_equal(state["sum"], 0)


def test_weights_are_those_of_the_output():
    tensors = as_float32(inputs())
    causal = np.tri(LENGTH, dtype=bool)[None, None]
    for visible in (None, causal):
        weights = linear.linear_weights(
            query=tensors["query"], key=tensors["key"], visible=visible
        )
        output = np.einsum("bnts,bsnv->btnv", array(weights), tensors["value"])
        expected = attend(visible is not None, **tensors)
        np.testing.assert_allclose(output, array(expected), atol=1e-5)


def gradients(function, tensors):
    names = list(tensors)
    if keras.backend.backend() == "jax":
        import jax

        found = jax.jit(jax.grad(lambda x: ops.sum(function(x))))(tensors)
    else:
        import tensorflow as tf

        signature = {
            name: tf.TensorSpec([None, None, *x.shape[2:]], x.dtype)
            for name, x in tensors.items()
        }

        @tf.function(
            input_signature=[signature], jit_compile=True, autograph=False
        )
        def run(tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                result = ops.sum(function(tensors))
            return tape.gradient(result, tensors)

        found = run({n: tf.constant(x) for n, x in tensors.items()})
    return {name: array(found[name]) for name in names}


@pytest.mark.parametrize("causal", [False, True])
def test_gradients_against_finite_differences(causal, monkeypatch):
    """Compiled, with lengths not known when it was traced."""
    monkeypatch.setattr(linear, "CHUNK", 3)
    tensors, mask = inputs(), lengths_mask(LENGTH)
    cotangent = random.normal(size=tensors["value"].shape)

    def loss(tensors):
        output = attend(causal, **tensors, key_mask=mask)
        return output * cotangent.astype("float32")

    found = gradients(loss, as_float32(tensors))

    def oracle(**tensors):
        output = definition(**tensors, key_mask=mask, causal=causal)
        return np.sum(output * cotangent)

    for name, x in tensors.items():
        direction = random.normal(size=x.shape)
        expected = numpy_reference.directional_derivative(
            oracle, tensors, name, direction
        )
        np.testing.assert_allclose(
            np.sum(found[name] * direction), expected, rtol=1e-3, atol=1e-3
        )


# --- feature maps ------------------------------------------------------------


def test_elu_features():
    x = np.array([-50.0, -1.0, 0.0, 2.0, 50.0])
    expected = np.where(x > 0, x + 1, np.exp(x))
    found = EluFeatures().log_features(x.astype("float32"))
    np.testing.assert_allclose(np.exp(array(found)), expected, rtol=1e-5)


def favor(num_features, tensors, seed=0):
    features = FavorFeatures(num_features, seed)
    projection = features.projection(FEATURES).astype("float32")
    query, key = (
        features.log_features(tensors[name].astype("float32"), projection)
        for name in ("query", "key")
    )
    return array(linear.linear_weights(query=query, key=key))


def test_favor_features_approach_softmax():
    tensors = inputs(size=0.3)  # large heads need more features
    scores = np.einsum("btnh,bsnh->bnts", tensors["query"], tensors["key"])
    expected = np.exp(scores / np.sqrt(FEATURES))
    expected /= expected.sum(-1, keepdims=True)
    errors = [
        np.mean(
            [np.abs(favor(size, tensors, s) - expected).mean() for s in seeds]
        )
        for size, seeds in ((25, range(8)), (400, range(4)), (6400, (0,)))
    ]
    # Sixteen times the features, about a quarter of the error.
    assert 2.5 < errors[0] / errors[1] < 6
    assert 2.5 < errors[1] / errors[2] < 8
    assert errors[2] < 0.002


def test_favor_projection_is_orthogonal_in_groups_and_normal():
    rows = FavorFeatures(5000, seed=1).projection(FEATURES).T
    for group in rows.reshape(-1, FEATURES, FEATURES)[:7]:
        products = group @ group.T
        np.testing.assert_allclose(
            products, np.diag(np.diag(products)), atol=1e-9
        )
    assert np.abs(rows.mean(0)).max() < 0.1
    np.testing.assert_allclose(np.cov(rows.T), np.eye(FEATURES), atol=0.1)
    again = FavorFeatures(5000, seed=1).projection(FEATURES).T
    np.testing.assert_array_equal(rows, again)


def test_favor_is_finite_at_extreme_heads():
    weights = favor(16, inputs(size=50.0))
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-4)


def test_favor_takes_no_row():
    features = FavorFeatures(3)
    heads = np.ones((0, LENGTH, HEADS, 4), "float32")
    found = features.log_features(heads, features.projection(4))
    assert found.shape == (0, LENGTH, HEADS, 3)


def test_favor_refuses_no_features():
    with pytest.raises(ValueError, match="`num_features` must be a positive"):
        FavorFeatures(0)
