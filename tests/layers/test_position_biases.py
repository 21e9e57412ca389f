"""ALiBi, T5's buckets and Shaw's relative keys, pair by pair in NumPy."""

import inspect
import math

import keras
import layer_checks
import numpy as np
import numpy_reference
import pytest
from keras import ops

from keras_attention import AlibiBias
from keras_attention import MultiHeadAttention
from keras_attention import PositionalEncoding2D
from keras_attention import RelativePositionBias
from keras_attention import ShawRelativePosition
from keras_attention import TransformerStack
from keras_attention.functional import DistanceBias
from keras_attention.layers import AttentionPosition
from keras_attention.layers.positions.alibi import alibi_slopes
from keras_attention.layers.positions.relative_bias import relative_buckets

BATCH, LENGTH, WIDTH, HEADS, KEY_DIM = 2, 7, 11, 3, 5
random = np.random.default_rng(13)
INPUTS = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")


# --- ALiBi -------------------------------------------------------------------


def slopes_of_the_authors(count):
    """`get_slopes` of github.com/ofirpress/attention_with_linear_biases."""

    def of_a_power_of_2(n):
        start = 2 ** (-(2 ** -(math.log2(n) - 3)))
        return [start * start**i for i in range(n)]

    if math.log2(count).is_integer():
        return of_a_power_of_2(count)
    closest = 2 ** math.floor(math.log2(count))
    rest = slopes_of_the_authors(2 * closest)[0::2][: count - closest]
    return of_a_power_of_2(closest) + rest


@pytest.mark.parametrize("heads", [1, 2, 3, 6, 8, 11, 12, 16, 20])
def test_slopes_are_those_of_the_authors(heads):
    expected = slopes_of_the_authors(heads)
    np.testing.assert_allclose(alibi_slopes(heads), expected, rtol=1e-12)


class OfThreeHeads(AttentionPosition):
    """A user's position, which does not say how many heads it is for."""

    def bias(self, query_offset=0, key_offset=0):
        return DistanceBias(np.ones((3, 41)), 20 + key_offset - query_offset)


WAYS_OF_CALLING = {
    "whole": lambda layer: layer(INPUTS, INPUTS),
    "symbolic": lambda layer: layer(*[keras.Input(INPUTS.shape[1:])] * 2),
    "step": lambda layer: cached(layer, INPUTS[:, :1]),
    "several": lambda layer: cached(layer, INPUTS[:, :2]),
}


def cached(layer, new):
    layer.build(INPUTS.shape, INPUTS.shape)
    cache = layer.make_cache(len(INPUTS), 7)
    return layer(new, new, cache=cache, cache_index=0)


@pytest.mark.parametrize("way", WAYS_OF_CALLING)
def test_position_wants_as_many_heads_as_the_attention_has(way):
    message = "`position` must be for as many heads .*num_heads=2. .*Bias"
    for position in (AlibiBias(3), RelativePositionBias(3)):
        layer = MultiHeadAttention(2, 5, position=position)
        with pytest.raises(ValueError, match=message):
            WAYS_OF_CALLING[way](layer)
    layer = MultiHeadAttention(2, 5, position=OfThreeHeads())
    if way == "symbolic":  # no bias is made
        return
    with pytest.raises(ValueError, match="`bias.values` must broadcast to"):
        WAYS_OF_CALLING[way](layer)


def test_alibi_wants_a_number_of_heads():
    with pytest.raises(ValueError, match="`num_heads` must be a positive"):
        AlibiBias(0)


# --- T5 ----------------------------------------------------------------------


def bucket_of_t5(distance, num_buckets, max_distance, bidirectional):
    """`_relative_position_bucket` of mesh-tensorflow, for one distance."""
    bucket, n = 0, -distance
    if bidirectional:
        num_buckets //= 2
        bucket += num_buckets * int(n < 0)
        n = abs(n)
    else:
        n = max(n, 0)
    max_exact = num_buckets // 2
    if n < max_exact:
        return bucket + n
    share = np.log(np.float32(n) / np.float32(max_exact))
    share = share / np.float32(math.log(max_distance / max_exact))
    far = max_exact + int(share * np.float32(num_buckets - max_exact))
    return bucket + min(far, num_buckets - 1)


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(
    ("num_buckets", "max_distance"), [(32, 128), (8, 17), (4, 3), (64, 1024)]
)
def test_buckets_are_those_of_t5(num_buckets, max_distance, bidirectional):
    num_buckets += not bidirectional  # halves are of the other direction
    distances = np.arange(-2 * max_distance, 2 * max_distance + 1)
    rest = num_buckets, max_distance, bidirectional
    found = relative_buckets(distances, *rest)
    expected = [bucket_of_t5(int(d), *rest) for d in distances]
    assert found.tolist() == expected
    # What the table of the layer ends on is what all beyond have.
    ends = relative_buckets(np.array([-max_distance, max_distance]), *rest)
    assert found[0] == ends[0] and found[-1] == ends[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_buckets": 2}, "`num_buckets` must be even and at least 4"),
        ({"num_buckets": 9}, "`num_buckets` must be even and at least 4"),
        (
            {"num_buckets": 1, "bidirectional": False},
            "or at least 2 with bidirectional=False",
        ),
        ({"max_distance": 8}, "`max_distance` must be above 8, the number"),
        (
            {"bidirectional": False, "max_distance": 16},
            "`max_distance` must be above 16",
        ),
    ],
)
def test_bad_buckets(arguments, message):
    with pytest.raises(ValueError, match=message):
        RelativePositionBias(3, **arguments)


# --- against the formulas ----------------------------------------------------


def shaw_bias(query, vectors, max_distance):
    """q[t] . a[clip(s - t)] / sqrt(H), one pair after the other."""
    batch, length, heads, width = query.shape
    bias = np.zeros((batch, heads, length, length))
    for row, head, t, s in np.ndindex(*bias.shape):
        distance = min(max(s - t, -max_distance), max_distance)
        vector = vectors[head % len(vectors), distance + max_distance]
        bias[row, head, t, s] = sum(query[row, t, head] * vector)
    return bias / np.sqrt(width)


def distance_bias(function):
    return np.array(
        [
            [[function(n, s - t) for s in range(LENGTH)] for t in range(LENGTH)]
            for n in range(HEADS)
        ]
    )


def alibi(weights, query):
    slopes = slopes_of_the_authors(HEADS)
    return distance_bias(lambda n, d: -slopes[n] * abs(d))


def t5(weights, query):
    return distance_bias(lambda n, d: weights[bucket_of_t5(d, 8, 5, True), n])


def shaw(weights, query):
    return shaw_bias(query, weights, 3)


# name: a position, the bias that it is to give, and its weight.
POSITIONS = {
    "alibi": (lambda: AlibiBias(HEADS), alibi, None),
    "t5": (
        lambda: RelativePositionBias(HEADS, 8, 5),
        t5,
        lambda position: position.relative_bias,
    ),
    "shaw": (
        lambda: ShawRelativePosition(3),
        shaw,
        lambda position: position.key_embeddings,
    ),
    "shaw by head": (
        lambda: ShawRelativePosition(3, share_heads=False),
        shaw,
        lambda position: position.key_embeddings,
    ),
}


def built(name, **options):
    """Returns a layer with a position whose weights have some size."""
    make, formula, weight_of = POSITIONS[name]
    layer = MultiHeadAttention(HEADS, KEY_DIM, position=make(), **options)
    layer.build(INPUTS.shape, INPUTS.shape)
    weight = weight_of and weight_of(layer.position)
    if weight is not None:
        weight.assign(np.random.default_rng(5).normal(size=weight.shape))
    return layer, formula, weight


def expected_output(layer, formula, weight):
    """Returns the heads by the formula, in float64, as a function of it."""
    query, key, value = (
        np.asarray(ops.convert_to_numpy(dense(INPUTS)), "float64")
        for dense in (layer.query_dense, layer.key_dense, layer.value_dense)
    )
    bias = np.broadcast_to(
        formula(weight, query), (BATCH, HEADS, LENGTH, LENGTH)
    )
    return numpy_reference.attend(query, key, value, bias=bias)[0]


@pytest.mark.parametrize("flash_attention", [True, False])
@pytest.mark.parametrize("name", POSITIONS)
def test_bias_is_that_of_the_paper(name, flash_attention):
    layer, formula, weight = built(name, flash_attention=flash_attention)
    weight = None if weight is None else ops.convert_to_numpy(weight)
    expected = expected_output(layer, formula, weight)
    expected = layer.output_dense(expected.astype("float32"))
    np.testing.assert_allclose(layer(INPUTS, INPUTS), expected, atol=1e-5)


@pytest.mark.parametrize("flash_attention", [True, False])
@pytest.mark.parametrize("name", ["t5", "shaw", "shaw by head"])
def test_gradient_is_that_of_finite_differences(name, flash_attention):
    random = np.random.default_rng(17)
    layer, formula, weight = built(name, flash_attention=flash_attention)
    upstream = random.normal(size=(BATCH, LENGTH, WIDTH))
    at = ops.convert_to_numpy(weight).astype("float64")
    kernel = ops.convert_to_numpy(layer.output_dense.kernel)

    def loss_of(values):
        heads = expected_output(layer, formula, values)
        return np.sum(np.einsum("btnv,nvw->btw", heads, kernel) * upstream)

    direction = random.normal(size=at.shape)
    step = 1e-5 * direction
    expected = (loss_of(at + step) - loss_of(at - step)) / 2e-5
    gradient = gradient_of(layer, weight, upstream.astype("float32"))
    np.testing.assert_allclose(
        np.sum(gradient * direction), expected, rtol=1e-4, atol=1e-3
    )


def gradient_of(layer, weight, upstream):
    if keras.backend.backend() == "jax":
        import jax

        trainable = [v.value for v in layer.trainable_variables]
        number = [v is weight for v in layer.trainable_variables].index(True)

        def loss(values):
            rest = [v.value for v in layer.non_trainable_variables]
            output, _ = layer.stateless_call(values, rest, INPUTS, INPUTS)
            return ops.sum(output * upstream)

        return np.asarray(jax.grad(loss)(trainable)[number])
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = ops.sum(layer(INPUTS, INPUTS) * upstream)
    gradient = tape.gradient(loss, weight.value)
    return ops.convert_to_numpy(tf.convert_to_tensor(gradient))


# --- as parts of layers ------------------------------------------------------


def test_attention_with_relative_keys_is_a_good_layer(tmp_path):
    weights = {"shaw/key_embeddings": (1, 7, KEY_DIM)}
    for name in ("query", "key", "value"):
        weights[f"{name}/kernel"] = (WIDTH, HEADS, KEY_DIM)
    weights["attention_output/kernel"] = (HEADS, KEY_DIM, WIDTH)
    arguments = {"num_heads": HEADS, "key_dim": KEY_DIM, "use_bias": False}
    case = layer_checks.Case(
        lambda **given: MultiHeadAttention(
            **given, position=ShawRelativePosition(3, name="shaw")
        ),
        arguments,
        {"query": INPUTS, "value": INPUTS, "use_causal_mask": True},
        [INPUTS.shape],
    )
    layer = case.new_layer()
    before = layer_checks.as_json(layer.get_config())
    case.outputs(layer)
    assert layer_checks.as_json(layer.get_config()) == before
    layer_checks.check_weights(case, weights)
    layer_checks.check_symbolic_output(case)
    layer_checks.check_graph_and_compiled(case)
    layer_checks.check_half_precision(case, layer_checks.HALF_TOLERANCE)
    layer_checks.check_saved_model(case, tmp_path / "model.keras")
    layer_checks.check_training_step(case, ())


@pytest.mark.parametrize(
    "position",
    [
        AlibiBias(7),
        RelativePositionBias(3, 8, 21, False, "he_normal"),
        ShawRelativePosition(5, False, "he_normal"),
    ],
    ids=lambda position: type(position).__name__,
)
def test_config_holds_every_argument(position):
    config = position.get_config()
    arguments = inspect.signature(type(position).__init__).parameters
    assert set(arguments) - {"self", "kwargs"} <= set(config)
    again = type(position).from_config(config)
    assert again.get_config() == config
    if "initializer" in arguments:
        assert isinstance(again.initializer, keras.initializers.HeNormal)
    for name in ("num_heads", "num_buckets", "max_distance", "share_heads"):
        assert getattr(again, name, 0) == getattr(position, name, 0)
    assert getattr(again, "bidirectional", False) is False


@pytest.mark.parametrize("name", ["t5", "shaw"])
def test_weights_stay_float32_and_scores_too(name):
    make, _, weight_of = POSITIONS[name]
    layer = MultiHeadAttention(
        HEADS, KEY_DIM, position=make(), dtype="mixed_bfloat16"
    )
    found = {}
    bias_of = layer.bias
    layer.bias = lambda *given: found.update(bias_of(*given)) or found
    layer(INPUTS, INPUTS)
    dtype = found["bias"].values.dtype
    assert keras.backend.standardize_dtype(dtype) == "float32"
    assert weight_of(layer.position).dtype == "float32"


def test_blocks_of_a_stack_share_their_position():
    position = RelativePositionBias(HEADS)
    stack = TransformerStack(2, HEADS, 5, key_dim=4, position=position)
    stack.build((None, None, WIDTH))
    shapes = [tuple(w.shape) for w in stack.weights]
    assert shapes.count((32, HEADS)) == 1
    assert position.built


def test_relative_keys_are_shared_by_heads_of_one_shape_alone():
    position = ShawRelativePosition(3)
    MultiHeadAttention(HEADS, KEY_DIM, position=position)(INPUTS, INPUTS)
    other = MultiHeadAttention(HEADS, KEY_DIM + 1, position=position)
    with pytest.raises(ValueError, match="`position` must be built for heads"):
        other(INPUTS, INPUTS)


# --- images ------------------------------------------------------------------


def test_2d_encoding_is_a_good_layer(tmp_path):
    random = np.random.default_rng(17)
    shape = (2, 3, 5, 14)
    case = layer_checks.Case(
        PositionalEncoding2D,
        {"max_wavelength": 1000.0},
        {"inputs": random.normal(size=shape)},
        [shape],
    )
    # All but the mask: it has an axis more than that of a sequence.
    layer_checks.check_config_holds_every_argument(case)
    layer_checks.check_config_round_trip(case)
    layer_checks.check_build_from_shapes(case)
    layer_checks.check_symbolic_output(case)
    layer_checks.check_graph_and_compiled(case)
    layer_checks.check_half_precision(case, layer_checks.HALF_TOLERANCE)
    layer_checks.check_saved_model(case, tmp_path / "model.keras")


def test_2d_encoding_is_rows_in_one_half_and_columns_in_the_other():
    random = np.random.default_rng(17)
    image = random.normal(size=(2, 3, 5, 14)).astype("float32")
    found = PositionalEncoding2D(max_wavelength=50.0)(image) - image

    def wave(position, place):
        angle = position / 50.0 ** (place // 2 * 2 / 7)
        return math.cos(angle) if place % 2 else math.sin(angle)

    for row, column, place in np.ndindex(3, 5, 7):
        both = found[:, row, column]
        np.testing.assert_allclose(both[:, place], wave(row, place), atol=1e-5)
        expected = wave(column, place)
        np.testing.assert_allclose(both[:, 7 + place], expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 3, 14), (2, 3, 5, 7)])
def test_2d_encoding_wants_images_of_even_depth(shape):
    with pytest.raises(ValueError, match="`inputs` must have shape .batch, h"):
        PositionalEncoding2D()(np.zeros(shape))
