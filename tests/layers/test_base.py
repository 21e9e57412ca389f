"""The call that the single-head layers share: masks, dropout, bad input."""

import json

import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import mask_of

from keras_attention import AdditiveAttention
from keras_attention import DotProductAttention
from keras_attention import MultiHeadAttention
from keras_attention import SelfAttention
from keras_attention import masks

BATCH, QUERIES, KEYS, WIDTH, VALUE_WIDTH = 2, 3, 7, 5, 13
SCORES = (BATCH, 1, QUERIES, KEYS)

LAYERS = {
    "additive": lambda **kwargs: AdditiveAttention(11, **kwargs),
    "cosine": lambda **kwargs: DotProductAttention("cosine", **kwargs),
    "distance": lambda **kwargs: DotProductAttention("distance", **kwargs),
}
each_layer = pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
two_layers = pytest.mark.parametrize(
    "make",
    [LAYERS["additive"], LAYERS["distance"]],
    ids=["additive", "distance"],
)


def inputs():
    generator = np.random.default_rng(11)
    shapes = {
        "query": (BATCH, QUERIES, WIDTH),
        "value": (BATCH, KEYS, VALUE_WIDTH),
        "key": (BATCH, KEYS, WIDTH),
    }
    return {
        name: generator.normal(size=shape).astype("float32")
        for name, shape in shapes.items()
    }


def run(layer, arrays=None, **arguments):
    """Calls the layer; returns output and weights in float64."""
    arrays = inputs() if arrays is None else arrays
    results = layer(**arrays, **arguments, return_attention_scores=True)
    return tuple(as_float64(result) for result in results)


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def random_mask(*shape):
    mask = np.random.default_rng(5).random(shape) < 0.6
    mask[..., 1, :] = False  # a query with nothing to attend to
    return mask


def with_keras_mask(array, mask):
    """The array as a tensor that carries `mask` as its Keras mask."""
    marked = np.where(mask[..., None], array, -7.0).astype("float32")
    tensor = keras.layers.Masking(mask_value=-7.0)(marked)
    np.testing.assert_array_equal(mask_of(tensor), mask)
    return tensor


# --- mask objects at the boundary --------------------------------------------


def int32(*numbers):
    return np.array(numbers, "int32")


MASKS = {
    "causal": lambda: masks.Causal(),
    "causal with offsets": lambda: masks.Causal(int32(4, 1)),
    "window": lambda: masks.SlidingWindow(1, 2),
    "window with an offset": lambda: masks.SlidingWindow(1, 0, int32(2, 4)),
    "lengths": lambda: masks.Lengths(int32(5, 0)),
    "padding": lambda: masks.Padding(random_mask(BATCH, KEYS)),
    "query padding": lambda: masks.QueryPadding(random_mask(BATCH, QUERIES)),
    "segments": lambda: masks.Segments(
        int32([1, 1, 2], [1, 3, 3]),
        int32([1, 1, 1, 2, 2, 2, 3], [1, 1, 2, 2, 2, 3, 3]),
    ),
    "prefix": lambda: masks.PrefixLM(int32(2, 5)),
    "array": lambda: masks.Array(random_mask(BATCH, QUERIES, KEYS)),
    "and, or": lambda: (
        masks.Lengths(int32(5, 3))
        & (masks.Causal(1) | masks.Array(random_mask(QUERIES, KEYS)))
    ),
}
each_mask = pytest.mark.parametrize("make_mask", MASKS.values(), ids=MASKS)


def written_out(mask):
    """The mask by the loops of the reference, (B, T, S)."""
    return numpy_reference.dense_mask(mask, SCORES)[:, 0]


@each_mask
def test_mask_object_equals_the_mask_written_out(make_mask):
    layer = DotProductAttention()
    found = run(layer, attention_mask=make_mask())
    visible = written_out(make_mask())
    assert_same(found, run(layer, attention_mask=visible))
    assert np.all((found[1] > 0) == visible)


@each_mask
def test_mask_object_in_compiled_code(make_mask):
    layer, mask = DotProductAttention(), make_mask()
    expected = run(layer, attention_mask=mask)
    tensors = {k: ops.convert_to_tensor(a) for k, a in inputs().items()}

    def call(tensors):
        return layer(
            **tensors, attention_mask=mask, return_attention_scores=True
        )

    if keras.backend.backend() == "jax":
        import jax

        functions = [jax.jit(call)]
    else:
        import tensorflow as tf

        functions = [tf.function(call), tf.function(call, jit_compile=True)]
    for function in functions:
        assert_same(map(as_float64, function(tensors)), expected)


@two_layers
def test_mask_of_traced_tensors_in_compiled_code(make):
    layer = make()
    tensors = {k: ops.convert_to_tensor(a) for k, a in inputs().items()}

    def call(tensors, lengths):
        mask = masks.Lengths(lengths) & masks.Causal(lengths - 1)
        return layer(**tensors, attention_mask=mask)

    if keras.backend.backend() == "jax":
        import jax

        function = jax.jit(call)
    else:
        import tensorflow as tf

        function = tf.function(call, jit_compile=True, autograph=False)
    layer(**tensors)
    for lengths in (int32(5, 3), int32(1, 0)):
        found = function(tensors, ops.convert_to_tensor(lengths))
        np.testing.assert_allclose(found, call(tensors, lengths), atol=1e-6)


@two_layers
def test_mask_object_in_a_saved_functional_model(make, tmp_path):
    arrays = {**inputs(), "lengths": int32(5, 3)}
    symbolic = {
        name: keras.Input(
            (None, a.shape[2]) if a.ndim == 3 else (),
            dtype=str(a.dtype),
            name=name,
        )
        for name, a in arrays.items()
    }
    lengths = symbolic["lengths"]
    tensors = {k: symbolic[k] for k in ("query", "value", "key")}
    layer = make()
    output, weights = layer(
        **tensors,
        attention_mask=masks.Lengths(lengths) & masks.Causal(offset=1),
        return_attention_scores=True,
    )
    assert output.shape == (None, None, VALUE_WIDTH)
    assert weights.shape == (None, None, None)
    model = keras.Model(symbolic, [output, weights])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    mask = masks.Lengths(arrays["lengths"]) & masks.Causal(offset=1)
    expected = run(layer, attention_mask=mask)
    for one in (model, loaded):
        assert_same(map(as_float64, one(arrays)), expected)
        predicted = one.predict(arrays, verbose=0)
        assert_same(predicted, expected)


def test_mask_without_tensors_in_a_saved_functional_model(tmp_path):
    query = keras.Input((None, WIDTH))
    layer = DotProductAttention()
    model = keras.Model(
        query, layer(query, query, attention_mask=masks.SlidingWindow(1, 0))
    )
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    array = inputs()["query"]
    expected = layer(array, array, attention_mask=masks.SlidingWindow(1, 0))
    np.testing.assert_allclose(loaded(array), expected, atol=1e-6)


# --- masks as tensors --------------------------------------------------------


@each_layer
def test_shapes_of_one_attention_mask_agree(make):
    layer, mask = make(), random_mask(QUERIES, KEYS)
    expected = run(layer, attention_mask=mask)
    for shape in (
        (BATCH, QUERIES, KEYS),
        (1, QUERIES, KEYS),
        (BATCH, 1, QUERIES, KEYS),
        (1, 1, QUERIES, KEYS),
    ):
        same = np.broadcast_to(mask, shape)
        assert_same(run(layer, attention_mask=same), expected)
    for dtype in ("int32", "float32", "uint8"):
        same = mask.astype(dtype)
        assert_same(run(layer, attention_mask=same), expected)
    assert_same(run(layer, attention_mask=mask.tolist()), expected)


@each_layer
def test_query_with_nothing_to_attend_to_gets_zero(make):
    layer, arrays, mask = make(), inputs(), random_mask(QUERIES, KEYS)
    output, weights = run(layer, arrays, attention_mask=mask)
    assert np.all(output[:, 1] == 0)
    assert np.all(weights[:, 1] == 0)
    np.testing.assert_allclose(weights[:, ::2].sum(-1), 1.0, atol=1e-6)
    cotangent = np.zeros((BATCH, QUERIES, VALUE_WIDTH))
    cotangent[:, 1] = 1.0
    found = loss_gradients(layer, arrays, cotangent, attention_mask=mask)
    assert all(np.all(gradient == 0) for gradient in found.values())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_query_with_nothing_to_attend_to_in_half_precision(dtype):
    mask = random_mask(QUERIES, KEYS)
    for make in LAYERS.values():
        output, weights = run(make(dtype=dtype), attention_mask=mask)
        assert np.all(output[:, 1] == 0) and np.all(weights[:, 1] == 0)
        assert np.all(np.isfinite(output))


@each_layer
def test_causal_mask_is_aligned_top_left(make):
    layer = make()
    found = run(layer, use_causal_mask=True)
    expected = run(layer, attention_mask=np.tri(QUERIES, KEYS, dtype="bool"))
    assert_same(found, expected)


def test_all_masks_and_together():
    parts = {
        "query_mask": np.array([[1, 1, 0], [1, 1, 1]], "bool"),
        "value_mask": np.arange(BATCH * KEYS).reshape(BATCH, KEYS) % 3 > 0,
        "key_mask": np.arange(BATCH * KEYS).reshape(BATCH, KEYS) % 5 > 0,
        "attention_mask": np.random.default_rng(2).random((3, 7)) < 0.8,
    }
    visible = (
        parts["query_mask"][:, :, None]
        & parts["value_mask"][:, None]
        & parts["key_mask"][:, None]
        & parts["attention_mask"]
        & np.tri(QUERIES, KEYS, dtype="bool")
    )
    layer = DotProductAttention()
    _, weights = run(layer, **parts, use_causal_mask=True)
    np.testing.assert_array_equal(weights > 0, visible)


# --- Keras masks -------------------------------------------------------------


@each_layer
@pytest.mark.parametrize("name", ["query", "value", "key"])
def test_implicit_mask_equals_explicit_mask(make, name):
    arrays, layer = inputs(), make()
    mask = np.ones(arrays[name].shape[:2], bool)
    mask[0, -2:] = False
    marked = with_keras_mask(arrays[name], mask)
    explicit = {**arrays, name: as_float64(marked).astype("float32")}
    assert_same(
        run(layer, {**arrays, name: marked}),
        run(layer, explicit, **{f"{name}_mask": mask}),
    )


@each_layer
@pytest.mark.parametrize("name", ["query", "value", "key"])
def test_explicit_mask_replaces_the_implicit_one(make, name):
    arrays, layer = inputs(), make()
    implicit = np.ones(arrays[name].shape[:2], bool)
    implicit[0, -2:] = False
    explicit = np.ones_like(implicit)
    explicit[1, 0] = False
    marked = with_keras_mask(arrays[name], implicit)
    plain = as_float64(marked).astype("float32")
    given = {f"{name}_mask": explicit}
    assert_same(
        run(layer, {**arrays, name: marked}, **given),
        run(layer, {**arrays, name: plain}, **given),
    )


def test_mask_of_the_value_serves_its_keys():
    arrays = inputs()
    value, mask = arrays["key"], np.ones((BATCH, KEYS), bool)
    mask[1, 2:] = False
    marked = with_keras_mask(value, mask)
    layer = DotProductAttention()
    _, weights = run(layer, {"query": arrays["query"], "value": marked})
    np.testing.assert_array_equal(
        weights > 0, np.broadcast_to(mask[:, None], weights.shape)
    )


def test_implicit_masks_in_a_functional_model():
    source = keras.Input((None,), dtype="int32")
    target = keras.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(19, WIDTH, mask_zero=True)
    layer = DotProductAttention()
    query, value = embedding(target), embedding(source)
    results = layer(query, value, return_attention_scores=True)
    assert results[0]._keras_mask is not None
    model = keras.Model([target, source], results)
    ids = [int32([3, 5, 0], [7, 2, 4]), int32([2, 3, 0, 0], [5, 7, 11, 13])]
    _, weights = map(as_float64, model(ids))
    visible = (ids[0] != 0)[:, :, None] & (ids[1] != 0)[:, None]
    np.testing.assert_array_equal(weights > 0, visible)


@each_layer
def test_cyberzhg_self_attention_real_tokens_attend_to_padding(make):
    """There the mask hides only what padding sees of padding."""
    arrays, layer = inputs(), make()
    mask = np.ones((BATCH, KEYS), bool)
    mask[0, 4:] = False
    sequence = arrays["key"]
    output, weights = run(
        layer,
        {"query": sequence, "value": sequence},
        query_mask=mask,
        value_mask=mask,
    )
    np.testing.assert_array_equal(
        weights > 0, mask[:, :, None] & mask[:, None, :]
    )
    other = np.where(mask[..., None], sequence, 100.0)
    again, _ = run(
        layer,
        {"query": other, "value": other},
        query_mask=mask,
        value_mask=mask,
    )
    np.testing.assert_allclose(again, output, atol=1e-6)


# --- dropout -----------------------------------------------------------------


@two_layers
def test_dropout_drops_weights_as_the_reference_does(make):
    layer = make(dropout=0.4, seed=3)
    arrays = {**inputs(), "value": np.tile(np.eye(KEYS), (BATCH, 1, 1))}
    words = [int(word) for word in np.array(layer.seed_generator.state)]
    output, weights = run(layer, arrays, training=True)
    keep = numpy_reference.keep_bits(0.4, words, SCORES)[:, 0]
    # With the identity for values the output is the weights after dropout.
    np.testing.assert_allclose(output, weights * keep / 0.6, rtol=1e-5)
    np.testing.assert_allclose(weights.sum(-1), 1.0, atol=1e-6)
    plain, _ = run(layer, arrays, training=False)
    np.testing.assert_allclose(plain, weights, atol=1e-6)


def test_dropout_is_the_same_eager_and_compiled():
    tensors = {k: ops.convert_to_tensor(a) for k, a in inputs().items()}
    layer = DotProductAttention(dropout=0.4, seed=3)
    layer(**tensors)
    state = [ops.convert_to_tensor(np.array(layer.seed_generator.state))]

    def call(tensors):
        return layer.stateless_call([], state, **tensors, training=True)[0]

    if keras.backend.backend() == "jax":
        import jax

        functions = [jax.jit(call)]
    else:
        import tensorflow as tf

        functions = [tf.function(call), tf.function(call, jit_compile=True)]
    for function in functions:
        np.testing.assert_allclose(function(tensors), call(tensors), atol=1e-6)


# --- bad input ---------------------------------------------------------------

ONES = {name: np.ones(array.shape) for name, array in inputs().items()}
SCORE_SHAPE = r"\(batch, num_heads, query_length, key_length\)=\(2, 1, 3, 7\)"
BAD_CALLS = {
    "query of two axes": (
        {"query": np.ones((2, 5))},
        r"`query` must have shape \(batch, length, width\). Received: "
        r"query.shape=\(2, 5\)",
    ),
    "value of four axes": (
        {"value": np.ones((2, 7, 1, 13))},
        r"`value` must have shape \(batch, length, width\). Received: "
        r"value.shape=\(2, 7, 1, 13\)",
    ),
    "key of another length": (
        {"key": np.ones((2, 8, 5))},
        "`key` and `value` must have the same length. Received: "
        r"key.shape=\(2, 8, 5\), value.shape=\(2, 7, 13\)",
    ),
    "key of another batch": (
        {"key": np.ones((3, 7, 5)), "value": np.ones((3, 7, 13))},
        "`key` must have the batch size of `query`",
    ),
    "mask with its axes swapped": (
        {"attention_mask": np.ones((2, 7, 3), bool)},
        f"`attention_mask` must broadcast to {SCORE_SHAPE}. Received: "
        r"attention_mask.shape=\(2, 7, 3\). Did you swap the query and key",
    ),
    "mask of one axis": (
        {"attention_mask": np.ones(7, bool)},
        f"`attention_mask` must broadcast to {SCORE_SHAPE}. Received: "
        r"attention_mask.shape=\(7,\)",
    ),
    "mask of heads": (
        {"attention_mask": np.ones((2, 3, 3, 7), bool)},
        f"`attention_mask` must broadcast to {SCORE_SHAPE}",
    ),
    "mask of another batch": (
        {"attention_mask": np.ones((5, 3, 7), bool)},
        r"Received: attention_mask.shape=\(5, 3, 7\)",
    ),
    "query mask of the key length": (
        {"query_mask": np.ones((2, 7), bool)},
        r"`query_mask` must have shape \(batch, length\)=\(2, 3\). Received: "
        r"query_mask.shape=\(2, 7\)",
    ),
    "value mask of three axes": (
        {"value_mask": np.ones((2, 7, 1), bool)},
        r"`value_mask` must have shape \(batch, length\)=\(2, 7\). Received: "
        r"value_mask.shape=\(2, 7, 1\)",
    ),
    "key mask of another batch": (
        {"key_mask": np.ones((3, 7), bool)},
        r"`key_mask` must have shape \(batch, length\)=\(2, 7\)",
    ),
    "lengths of another batch": (
        {"attention_mask": masks.Lengths(int32(1, 2, 3))},
        r"`lengths` must broadcast to .* Received: lengths.shape=\(3,\)",
    ),
    "padding of the query length": (
        {"attention_mask": masks.Causal() & masks.Padding(np.ones((2, 3)))},
        r"`key_mask` must broadcast to .* Received: key_mask.shape=\(2, 3\)",
    ),
}


@two_layers
@pytest.mark.parametrize(
    ("arguments", "message"), BAD_CALLS.values(), ids=BAD_CALLS
)
def test_bad_call_is_an_error(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make()(**{**ONES, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"), BAD_CALLS.values(), ids=BAD_CALLS
)
def test_bad_call_is_an_error_in_a_built_layer(arguments, message):
    layer = AdditiveAttention(11)
    layer(**ONES)
    with pytest.raises(ValueError, match=message):
        layer(**{**ONES, **arguments})


def test_bad_shapes_are_an_error_in_a_symbolic_call_of_a_built_layer():
    layer = AdditiveAttention(11)
    layer(**ONES)
    with pytest.raises(ValueError, match="`key` and `value` must have the sam"):
        layer(
            keras.Input((QUERIES, WIDTH)),
            keras.Input((KEYS, VALUE_WIDTH)),
            keras.Input((KEYS + 1, WIDTH)),
        )


def test_unknown_length_fits_a_known_one():
    query, key = keras.Input((None, WIDTH)), keras.Input((None, WIDTH))
    output = DotProductAttention()(query, keras.Input((KEYS, 13)), key)
    assert output.shape == (None, None, 13)


@two_layers
def test_misspelt_arguments_are_errors(make):
    with pytest.raises(TypeError, match="attention_maks"):
        make()(**ONES, attention_maks=np.ones((3, 7), bool))
    with pytest.raises((TypeError, ValueError), match="droput"):
        make(droput=0.1)


@pytest.mark.parametrize("rate", [-0.1, 1.0, "0.1", True, None])
def test_bad_dropout_is_an_error(rate):
    message = r"`dropout` must be (in|a number in) \[0, 1\). Received: dropout"
    with pytest.raises(ValueError, match=message):
        DotProductAttention(dropout=rate)


@pytest.mark.parametrize(
    "make, arguments",
    [
        (AdditiveAttention, {"units": np.int64(11), "dropout": np.float64(0)}),
        (DotProductAttention, {"scale": np.float32(0.5)}),
        (
            MultiHeadAttention,
            {
                "num_heads": np.int32(6),
                "key_dim": np.int64(5),
                "output_shape": np.int64(7),
                "sliding_window": np.int8(3),
                "dropout": np.float16(0.25),
                "num_key_value_heads": np.int64(3),
                "logit_soft_cap": np.float64(2),
            },
        ),
    ],
)
def test_numpy_numbers_are_kept_as_numbers_of_python(make, arguments):
    config = make(**arguments).get_config()
    plain = {name: value.item() for name, value in arguments.items()}
    assert config == {**make(**plain).get_config(), "name": config["name"]}
    assert json.loads(json.dumps(config))["name"] == config["name"]


PADDED = np.arange(KEYS) >= np.array([[4], [7]])
WITH_PADDING = {
    **LAYERS,
    "general": lambda **kwargs: DotProductAttention("general", **kwargs),
    "self": lambda **kwargs: SelfAttention(11, **kwargs),
    "multi head": lambda **kwargs: MultiHeadAttention(3, 5, **kwargs),
    "gated": lambda: MultiHeadAttention(3, 5, use_gate=True),
}
MASK_ARGUMENTS = {
    "value mask": {"value_mask": ~PADDED},
    "key mask": {"key_mask": ~PADDED},
    "attention mask": {"attention_mask": masks.Padding(~PADDED)},
}


def slopes_with(layer, garbage, **arguments):
    """Output and gradients where padded keys and values hold `garbage`."""
    arrays = inputs()
    for name in ("key", "value"):
        arrays[name][PADDED] = garbage
    output, weights = run(layer, arrays, **arguments)
    slopes = loss_gradients(layer, arrays, np.ones(output.shape), **arguments)
    return {**slopes, "output": output, "weights": weights}


@pytest.mark.parametrize("masked", MASK_ARGUMENTS.values(), ids=MASK_ARGUMENTS)
@pytest.mark.parametrize("make", WITH_PADDING.values(), ids=WITH_PADDING)
def test_nan_at_padding_reaches_no_output_and_no_weight(make, masked):
    layer = make()
    run(layer, inputs())
    found, expected = (slopes_with(layer, x, **masked) for x in (np.nan, 0.0))
    for name, slope in expected.items():
        np.testing.assert_array_equal(found[name], slope, err_msg=name)
        assert np.isfinite(slope).all(), name


@pytest.mark.parametrize("make", WITH_PADDING.values(), ids=WITH_PADDING)
def test_nan_at_padded_queries_reaches_no_weight(make):
    layer = make()
    run(layer, inputs())
    mask = np.array([[True] * QUERIES, [True, False, True]])
    results = []
    for garbage in (np.nan, 0.0):
        arrays = inputs()
        arrays["query"][~mask] = garbage
        output, _ = run(layer, arrays, query_mask=mask)
        results.append(
            loss_gradients(
                layer, arrays, np.ones(output.shape), query_mask=mask
            )
        )
    for name, slope in results[1].items():
        np.testing.assert_array_equal(results[0][name], slope, err_msg=name)
        assert np.isfinite(slope).all(), name


# --- calls that other layers take --------------------------------------------

NAMES = {
    "attention_mask": (BATCH, QUERIES, KEYS),
    "query_mask": (BATCH, QUERIES),
    "value_mask": (BATCH, KEYS),
    "key_mask": (BATCH, KEYS),
}


@pytest.mark.parametrize("make", [LAYERS["additive"], WITH_PADDING["gated"]])
@pytest.mark.parametrize("name", NAMES)
def test_mask_that_is_added_to_scores_is_refused(name, make):
    added = np.zeros(NAMES[name], "float32")
    added[0, -1] = -1e9
    message = f"`{name}` must hold only booleans.*pass `{name} == 0`"
    with pytest.raises(ValueError, match=message):
        run(make(), **{name: added})


@pytest.mark.parametrize("axes", [None, (1, 2)])
def test_mask_that_is_added_is_refused_whatever_the_axes(axes):
    layer = MultiHeadAttention(3, 5, attention_axes=axes)
    x = np.ones((2, 3, 5, 7) if axes else (2, 3, 7), "float32")
    size = x[0, ..., 0].size if axes else 3
    mask = np.full((3, 5, 3, 5) if axes else (size, size), -1e9)
    with pytest.raises(ValueError, match="`attention_mask` must hold only"):
        layer(x, x, attention_mask=mask)


@pytest.mark.parametrize("symbolic", [False, True])
@pytest.mark.parametrize("make", WITH_PADDING.values(), ids=WITH_PADDING)
def test_list_of_inputs_is_refused(make, symbolic):
    x = keras.Input((7, WIDTH)) if symbolic else np.ones((2, 7, WIDTH))
    message = "`query` must be one tensor.*a list of 2.*query, value"
    with pytest.raises(ValueError, match=message):
        make()([x, x])
    with pytest.raises(ValueError, match=message):
        make()(query=[x, x])


@pytest.mark.parametrize("make", WITH_PADDING.values(), ids=WITH_PADDING)
def test_sequential_model_takes_self_attention_alone(make):
    layer = make()
    if isinstance(layer, SelfAttention):
        model = keras.Sequential([keras.Input((7, WIDTH)), layer])
        assert model.output_shape == (None, 7, 11)
        return
    message = r"`value` must be given.*Sequential.*functional API.*SelfAttent"
    with pytest.raises(ValueError, match=message):
        keras.Sequential([keras.Input((7, WIDTH)), layer])
    with pytest.raises(ValueError, match=message):
        keras.Sequential([make()])(np.ones((2, 7, WIDTH)))
