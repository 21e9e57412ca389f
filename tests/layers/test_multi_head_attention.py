"""MultiHeadAttention against Keras's layer, its listed bugs, and NumPy."""

import inspect

import keras
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import RotaryEmbedding
from keras_attention.layers.attention import multi_head

Theirs = keras.layers.MultiHeadAttention
BATCH, QUERIES, KEYS, HEADS = 2, 7, 5, 3
random = np.random.default_rng(11)
QUERY = random.normal(size=(BATCH, QUERIES, 11)).astype("float32")
VALUE = random.normal(size=(BATCH, KEYS, 13)).astype("float32")
KEY = random.normal(size=(BATCH, KEYS, 17)).astype("float32")
QUERY_MASK = np.arange(QUERIES) < np.array([[7], [3]])
KEY_MASK = np.arange(KEYS) < np.array([[2], [5]])
# Every query sees key 0, so that no row is left with nothing to attend to.
MASK = random.random((BATCH, HEADS, QUERIES, KEYS)) < 0.6
MASK[..., 0] = True


def array(tensor):
    return np.array(ops.convert_to_numpy(ops.cast(tensor, "float32")))


def with_random_weights(layer, *inputs, seed=3):
    """Builds the layer and sets weights and biases."""
    layer.build(*(x.shape for x in inputs))
    generator = np.random.default_rng(seed)
    layer.set_weights(
        [generator.normal(size=w.shape, scale=0.5) for w in layer.weights]
    )
    return layer


def theirs_and_ours(arguments, *inputs):
    """Keras's layer and ours with the same random weights."""
    pair = Theirs(**arguments), MultiHeadAttention(**arguments)
    for layer in pair:
        with_random_weights(layer, *inputs)
    pair[1].set_weights(pair[0].get_weights())
    return pair


def assert_same(actual, expected, tolerance=2e-6):
    actual = actual if isinstance(actual, tuple) else (actual,)
    expected = expected if isinstance(expected, tuple) else (expected,)
    for one, other in zip(actual, expected, strict=True):
        assert one.shape == other.shape
        one, other = array(one), array(other)
        np.testing.assert_allclose(one, other, rtol=2e-6, atol=tolerance)


def embedded(ids, width, seed):
    """Embedded ids of which 0 is padding, with their Keras mask."""
    return keras.layers.Embedding(
        10,
        width,
        mask_zero=True,
        embeddings_initializer=keras.initializers.RandomNormal(seed=seed),
    )(np.array(ids))


# --- drop-in for Keras's layer -----------------------------------------------

# Keras before 3.15 lacks some arguments: nothing to compare with there.
CONSTRUCTORS = {
    name: arguments
    for name, arguments in {
        "plain": {},
        "value_dim": {"value_dim": 7},
        "no bias": {"use_bias": False},
        "output width": {"output_shape": 19},
        "output widths": {"output_shape": (2, 3)},
        "gate": {"use_gate": True},
        "gate and value_dim": {"use_gate": True, "value_dim": 7},
        "dropout": {"dropout": 0.3},
    }.items()
    if set(arguments) <= set(inspect.signature(Theirs.__init__).parameters)
}
CALLS = {
    "plain": {},
    "causal": {"use_causal_mask": True},
    "(T, S) mask": {"attention_mask": MASK[0, 0]},
    "(B, T, S) mask": {"attention_mask": MASK[:, 0]},
    "per-head mask": {"attention_mask": MASK},
    "mask of numbers": {"attention_mask": MASK.astype("float32")},
    "mask and causal": {
        "attention_mask": MASK[:, 0],
        "use_causal_mask": True,
    },
    "key": {"key": KEY},
}


@pytest.mark.parametrize("with_scores", [False, True], ids=["", "scores"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
@pytest.mark.parametrize("given", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_same_numbers_as_keras(given, call, with_scores):
    arguments = {"num_heads": HEADS, "key_dim": 5, **given}
    key = call.get("key", VALUE)
    theirs, ours = theirs_and_ours(arguments, QUERY, VALUE, key)
    # With scores always: the fused kernel that Keras takes on JAX otherwise
    # has no room for a value_dim that is not key_dim.
    expected = theirs(QUERY, VALUE, return_attention_scores=True, **call)
    found = ours(QUERY, VALUE, return_attention_scores=with_scores, **call)
    assert_same(found, expected if with_scores else expected[0])


@pytest.mark.skipif(
    "sliding_window" not in inspect.signature(Theirs.__init__).parameters,
    reason="this Keras has no sliding window to compare with",
)
@pytest.mark.parametrize("window", [1, 2, 5])
@pytest.mark.parametrize("causal", [False, True], ids=["", "causal"])
def test_same_window_as_keras(causal, window):
    arguments = {"num_heads": HEADS, "key_dim": 5, "sliding_window": window}
    theirs, ours = theirs_and_ours(arguments, QUERY, QUERY)
    call = {"use_causal_mask": causal, "return_attention_scores": True}
    assert_same(ours(QUERY, QUERY, **call), theirs(QUERY, QUERY, **call))


def test_constructor_and_call_are_those_of_keras():
    for method in ("__init__", "call"):
        theirs = inspect.signature(getattr(Theirs, method)).parameters
        ours = inspect.signature(getattr(MultiHeadAttention, method)).parameters
        kept = [name for name in ours if name in theirs]
        assert kept == list(theirs)
        for name in theirs:
            assert ours[name].default == theirs[name].default
        added = {n: p for n, p in ours.items() if n not in theirs}
        newer = {"sliding_window", "use_gate"}  # of Keras 3.13 to 3.15
        for name in set(added) - newer:
            assert added[name].kind is inspect.Parameter.KEYWORD_ONLY


@pytest.mark.parametrize("given", CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_weights_have_the_names_and_shapes_of_keras(given):
    arguments = {"num_heads": HEADS, "key_dim": 5, "name": "attention", **given}
    theirs, ours = theirs_and_ours(arguments, QUERY, VALUE)
    expected = [(w.path, w.shape) for w in theirs.weights]
    assert [(w.path, w.shape) for w in ours.weights] == expected


def small_model(dropout):
    source = keras.Input((None, 11))
    attended = Theirs(HEADS, 5, dropout=dropout, name="attention")(
        source, source, use_causal_mask=True
    )
    return keras.Model(source, keras.layers.Dense(3)(attended))


def rebuilt_with_ours(model):
    def clone(layer):
        same = type(layer) is not Theirs
        layer_class = type(layer) if same else MultiHeadAttention
        return layer_class.from_config(layer.get_config())

    return keras.models.clone_model(model, clone_function=clone)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_saved_model_of_keras_gives_the_same_numbers(dropout, tmp_path):
    model = small_model(dropout)
    model.save(tmp_path / "theirs.keras")
    ours = rebuilt_with_ours(keras.saving.load_model(tmp_path / "theirs.keras"))
    assert type(ours.get_layer("attention")) is MultiHeadAttention
    ours.load_weights(tmp_path / "theirs.keras")
    assert_same(ours(QUERY), model(QUERY))
    ours.save_weights(tmp_path / "ours.weights.h5")
    again = small_model(dropout)
    again.load_weights(tmp_path / "ours.weights.h5")
    assert_same(again(QUERY), model(QUERY))


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have")
@pytest.mark.filterwarnings("ignore:.*1 layer.s. were skipped")  # Keras 3.16
def test_model_quantize_gives_int8_kernels():
    model = rebuilt_with_ours(small_model(0.0))
    expected = array(model(QUERY))
    model.quantize("int8")
    attention = model.get_layer("attention")
    for child in (attention.query_dense, attention.output_dense):
        assert keras.backend.standardize_dtype(child._kernel.dtype) == "int8"
    difference = array(model(QUERY)) - expected
    assert 0 < np.abs(difference).max() < 0.05 * np.abs(expected).max()


def test_every_projection_has_its_own_seeded_initializer():
    start = keras.initializers.GlorotUniform(seed=5)
    layer = MultiHeadAttention(HEADS, 11, kernel_initializer=start)
    layer.build(QUERY.shape, QUERY.shape)
    kernels = [child.kernel for child in (layer.query_dense, layer.key_dense)]
    theirs = Theirs(HEADS, 11, kernel_initializer=start)
    theirs.build(QUERY.shape, QUERY.shape)
    np.testing.assert_array_equal(kernels[0], theirs.query_dense.kernel)
    np.testing.assert_array_equal(kernels[1], theirs.key_dense.kernel)


# --- more axes ---------------------------------------------------------------

IMAGE = random.normal(size=(2, 3, 5, 11)).astype("float32")
MEMORY = random.normal(size=(2, 3, 7, 13)).astype("float32")


@pytest.mark.parametrize("axes", [None, 2, -2, (2,), (1, 2), [2, 1]], ids=str)
def test_attention_axes_as_keras(axes):
    arguments = {"num_heads": HEADS, "key_dim": 5, "attention_axes": axes}
    theirs, ours = theirs_and_ours(arguments, IMAGE, MEMORY)
    call = {"return_attention_scores": True}
    expected = theirs(IMAGE, MEMORY, **call)
    assert_same(ours(IMAGE, MEMORY, **call), expected)
    inputs = [keras.Input(batch_shape=x.shape) for x in (IMAGE, MEMORY)]
    symbolic = ours(*inputs, **call)
    assert [x.shape for x in symbolic] == [tuple(x.shape) for x in expected]


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        (2, (5, 7)),
        (2, (3, 5, 7)),
        (2, (2, 3, 5, 7)),
        (2, (2, 3, HEADS, 5, 7)),
        ((1, 2), (3, 5, 3, 7)),
        ((1, 2), (2, 3, 5, 3, 7)),
        ((1, 2), (2, HEADS, 3, 5, 3, 7)),
    ],
    ids=str,
)
def test_mask_with_attention_axes(axes, shape):
    if shape == (3, 5, 7):  # as a batch of 3, which may be 1
        shape = (1, 5, 7)
    mask = np.random.default_rng(2).random(shape) < 0.6
    mask[..., 0] = True
    arguments = {"num_heads": HEADS, "key_dim": 5, "attention_axes": axes}
    theirs, ours = theirs_and_ours(arguments, IMAGE, MEMORY)
    call = {"attention_mask": mask, "return_attention_scores": True}
    assert_same(ours(IMAGE, MEMORY, **call), theirs(IMAGE, MEMORY, **call))


def test_mask_with_attention_axes_must_fit():
    layer = MultiHeadAttention(HEADS, 5, attention_axes=2)
    with pytest.raises(ValueError, match="swap the query and key axes"):
        layer(IMAGE, MEMORY, attention_mask=np.ones((2, 3, 7, 5), bool))


def test_free_axes_are_rows_of_the_batch():
    layer = MultiHeadAttention(HEADS, 5, attention_axes=2, sliding_window=3)
    padding = random.random((2, 3, 7)) < 0.7
    call = {"use_causal_mask": True, "return_attention_scores": True}
    output, scores = layer(IMAGE, MEMORY, value_mask=padding, **call)
    flat = MultiHeadAttention(HEADS, 5, sliding_window=3)
    for column in range(3):
        inputs = IMAGE[:, column], MEMORY[:, column]
        flat(*inputs)
        flat.set_weights(layer.get_weights())
        expected = flat(*inputs, value_mask=padding[:, column], **call)
        assert_same((output[:, column], scores[:, column]), expected)


def test_two_free_axes_around_the_attended_one():
    query = random.normal(size=(2, 3, 5, 7, 11)).astype("float32")
    layer = MultiHeadAttention(HEADS, 5, attention_axes=2)
    output, scores = layer(query, query, return_attention_scores=True)
    assert scores.shape == (2, 3, 7, HEADS, 5, 5)
    flat = MultiHeadAttention(HEADS, 5)
    flat(query[:, 0, :, 0], query[:, 0, :, 0])
    flat.set_weights(layer.get_weights())
    for i, j in np.ndindex(3, 7):
        row = query[:, i, :, j]
        expected = flat(row, row, return_attention_scores=True)
        assert_same((output[:, i, :, j], scores[:, i, j]), expected)


def test_more_axes_of_unknown_size():
    inputs = keras.Input((None, None, 11)), keras.Input((3, None, 13))
    layer = MultiHeadAttention(HEADS, 5, attention_axes=2)
    model = keras.Model(inputs, layer(*inputs, return_attention_scores=True))
    model.compile()
    expected = layer(IMAGE, MEMORY, return_attention_scores=True)
    found = model.predict([IMAGE, MEMORY], verbose=0)
    assert_same(tuple(found), tuple(map(array, expected)))


@pytest.mark.parametrize("axes", [2, (1, 2), (2, 1)], ids=str)
def test_attention_axes_on_the_fast_path(axes):
    arguments = {"attention_axes": axes, "dropout": 0.3, "seed": 7}
    mask = np.random.default_rng(2).random((5, 7)) < 0.6
    if axes != 2:
        mask = np.random.default_rng(2).random((3, 5, 3, 7)) < 0.6
        mask = mask if axes == (1, 2) else mask.transpose(1, 0, 3, 2)
    fast, dense = (
        MultiHeadAttention(HEADS, 5, flash_attention=flash, **arguments)
        for flash in (True, False)
    )
    for layer in (fast, dense):
        layer.build(IMAGE.shape, MEMORY.shape)
    dense.set_weights(fast.get_weights())
    padding = random.random((2, 3, 7)) < 0.7
    for training in (False, True):
        call = {"attention_mask": mask, "value_mask": padding}
        call["training"] = training
        found = fast(IMAGE, MEMORY, **call)
        assert_same(found, dense(IMAGE, MEMORY, **call))


@pytest.mark.parametrize("axes", [0, 3, (1, 1), -1], ids=str)
def test_attention_axes_out_of_range(axes):
    layer = MultiHeadAttention(HEADS, 5, attention_axes=axes)
    with pytest.raises(ValueError, match="`attention_axes` must be distinct"):
        layer(IMAGE, IMAGE)


# --- bugs of Keras's layer that are not here ---------------------------------


def test_keras_bug_masks_stripped_from_inputs():
    memory = embedded([[4, 5, 6, 0, 0], [7, 0, 0, 0, 0]], 11, seed=1)
    first, second = (MultiHeadAttention(HEADS, 5) for _ in range(2))
    hidden = second(first(QUERY, memory), memory)
    changed = ops.where(KEY_MASK_OF_MEMORY, memory, memory + 1.0)
    keras_mask = {"value_mask": KEY_MASK_OF_MEMORY[..., 0]}
    expected = second(
        first(QUERY, changed, **keras_mask), changed, **keras_mask
    )
    assert memory._keras_mask is not None
    assert_same(hidden, expected)


KEY_MASK_OF_MEMORY = (np.arange(5) < np.array([[3], [1]]))[..., None]


def test_keras_bug_explicit_query_mask_ignored():
    layer = with_random_weights(MultiHeadAttention(HEADS, 5), QUERY, VALUE)
    output, scores = layer(
        QUERY, VALUE, query_mask=QUERY_MASK, return_attention_scores=True
    )
    assert not np.any(array(scores)[1, :, 3:])
    bias = array(layer.output_dense.bias)
    np.testing.assert_array_equal(array(output)[1, 3:], np.tile(bias, (4, 1)))
    assert_same(output[0], layer(QUERY, VALUE)[0])


def test_keras_bug_explicit_mask_and_keras_mask():
    query = embedded([[4, 5, 6, 0, 0, 0, 0], [7, 8, 9, 4, 5, 6, 0]], 11, 1)
    layer = MultiHeadAttention(HEADS, 5)
    expected = layer(array(query), VALUE, query_mask=QUERY_MASK)
    assert_same(layer(query, VALUE, query_mask=QUERY_MASK), expected)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("with_scores", [False, True], ids=["", "scores"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_keras_bug_fully_masked_row(dropout, with_scores, dtype):
    mask = MASK[:, 0].copy()
    mask[1, 3] = False
    layer = MultiHeadAttention(HEADS, 5, dropout=dropout, dtype=dtype)
    with_random_weights(layer, QUERY, VALUE)
    output = layer(
        QUERY, VALUE, attention_mask=mask, return_attention_scores=with_scores
    )
    output, scores = output if with_scores else (output, np.zeros((2, 1, 7)))
    bias = ops.cast(layer.output_dense.bias, layer.compute_dtype)
    np.testing.assert_array_equal(array(output)[1, 3], array(bias))
    assert not np.any(array(scores)[1, :, 3])


@pytest.mark.parametrize("heads", [BATCH, HEADS])
def test_keras_bug_per_head_mask_with_padding(heads):
    mask = np.random.default_rng(5).random((BATCH, heads, QUERIES, KEYS)) < 0.6
    layer = MultiHeadAttention(heads, 5)
    call = {"return_attention_scores": True}
    found = layer(
        QUERY, VALUE, attention_mask=mask, value_mask=KEY_MASK, **call
    )
    both = mask & KEY_MASK[:, None, None]
    assert_same(found, layer(QUERY, VALUE, attention_mask=both, **call))


def test_keras_bug_symbolic_scores_of_cross_attention():
    inputs = keras.Input((QUERIES, 11)), keras.Input((KEYS, 13))
    _, scores = MultiHeadAttention(HEADS, 5)(
        *inputs, return_attention_scores=True
    )
    assert scores.shape == (None, HEADS, QUERIES, KEYS)


def test_keras_bug_config_of_flash_attention_and_axes():
    layer = MultiHeadAttention(
        HEADS, 5, flash_attention=False, attention_axes=-2
    )
    layer(IMAGE, MEMORY)
    config = layer.get_config()
    assert config["flash_attention"] is False
    assert config["attention_axes"] == -2
    again = MultiHeadAttention.from_config(config)
    assert again.get_config() == config


class Attend:
    """Stands in for `attend` and keeps what it was called with."""

    def __init__(self, monkeypatch):
        self.calls = []
        monkeypatch.setattr(multi_head, "attend", self)

    def __call__(self, *, query, value, **arguments):
        self.calls.append(arguments)
        shape = (*query.shape[:3], value.shape[3])
        return ops.zeros(shape, dtype=query.dtype)


@pytest.mark.parametrize(
    ("flash_attention", "implementation"),
    [(None, "auto"), (True, "flash"), (False, "dense")],
)
def test_keras_bug_dropout_leaves_the_fused_path_at_inference(
    flash_attention, implementation, monkeypatch
):
    attend = Attend(monkeypatch)
    layer = MultiHeadAttention(
        HEADS, 5, dropout=0.3, flash_attention=flash_attention
    )
    layer(QUERY, VALUE)
    layer(QUERY, VALUE, training=True)
    inference, training = attend.calls
    assert inference["implementation"] == implementation
    assert training["implementation"] == implementation
    assert inference["dropout"] is None
    assert training["dropout"].rate == 0.3


def test_keras_bug_window_builds_a_matrix(monkeypatch):
    attend = Attend(monkeypatch)
    layer = MultiHeadAttention(HEADS, 5, sliding_window=3)
    layer(QUERY, VALUE, use_causal_mask=True, value_mask=KEY_MASK)
    padding, *positional = attend.calls[0]["mask"].masks
    assert type(padding.mask) is masks.Padding
    kinds = [type(mask) for mask in positional]
    assert kinds == [masks.Causal, masks.SlidingWindow]


def test_keras_bug_causal_is_top_left_only():
    layer = MultiHeadAttention(HEADS, 5)
    mask = masks.Causal(QUERY.shape[1] - KEYS)
    call = {"return_attention_scores": True}
    _, scores = layer(VALUE, QUERY, attention_mask=mask, **call)
    visible = np.tril(np.ones((KEYS, QUERIES), bool), QUERIES - KEYS)
    np.testing.assert_array_equal(
        array(scores) > 0, np.broadcast_to(visible, scores.shape)
    )


def repeated_heads(weights, groups):
    """Weights of a layer in which every query head has its own key head."""
    pairs = zip(weights[::2], weights[1::2], strict=True)
    grouped = dict(zip("qkvo", pairs, strict=True))
    for name in "kv":
        kernel, bias = grouped[name]
        grouped[name] = (
            np.repeat(kernel, groups, axis=1),
            np.repeat(bias, groups, axis=0),
        )
    return [part for pair in grouped.values() for part in pair]


@pytest.mark.parametrize("key_heads", [1, 2, 3])
def test_keras_bug_grouped_heads_are_repeated(key_heads, monkeypatch):
    grouped = MultiHeadAttention(6, 5, num_key_value_heads=key_heads)
    with_random_weights(grouped, QUERY, VALUE)
    full = MultiHeadAttention(6, 5)
    full(QUERY, VALUE)
    groups = 6 // key_heads
    full.set_weights(repeated_heads(grouped.get_weights(), groups))
    call = {"value_mask": KEY_MASK, "return_attention_scores": True}
    expected = full(QUERY, VALUE, **call)
    assert_same(grouped(QUERY, VALUE, **call), expected)
    attend = Attend(monkeypatch)
    grouped(QUERY, VALUE)
    assert attend.calls[0]["key"].shape[2] == key_heads


# --- against NumPy -----------------------------------------------------------


def heads_of(inputs, child):
    kernel, bias = array(child.kernel), array(child.bias)
    return np.einsum("btd,dnh->btnh", inputs.astype("float64"), kernel) + bias


def test_all_options_against_the_numpy_oracle():
    layer = MultiHeadAttention(
        6,
        5,
        value_dim=7,
        num_key_value_heads=2,
        sliding_window=3,
        use_gate=True,
        use_sink=True,
        logit_soft_cap=1.5,
    )
    with_random_weights(layer, QUERY, VALUE, KEY)
    output, scores = layer(
        QUERY,
        VALUE,
        KEY,
        value_mask=KEY_MASK,
        use_causal_mask=True,
        return_attention_scores=True,
    )
    expected, weights = numpy_reference.attend(
        heads_of(QUERY, layer.query_dense),
        heads_of(KEY, layer.key_dense),
        heads_of(VALUE, layer.value_dense),
        mask=masks.Causal()
        & masks.SlidingWindow(2, 2)
        & masks.Padding(KEY_MASK),
        logit_soft_cap=1.5,
        sink=array(layer.sink),
    )
    gate = 1 / (1 + np.exp(-heads_of(QUERY, layer._gate_dense)))
    expected = np.einsum(
        "btnv,nvo->bto", expected * gate, array(layer.output_dense.kernel)
    ) + array(layer.output_dense.bias)
    np.testing.assert_allclose(array(scores), weights, atol=1e-6)
    np.testing.assert_allclose(array(output), expected, atol=1e-5)


def root_mean_square(heads, scale):
    return scale * heads / np.sqrt(np.mean(heads**2, -1, keepdims=True) + 1e-6)


def mean_and_variance(heads, scale):
    heads = heads - np.mean(heads, -1, keepdims=True)
    return root_mean_square(heads, scale)


@pytest.mark.parametrize(
    ("kind", "norm"), [("rms", root_mean_square), ("layer", mean_and_variance)]
)
def test_query_key_norm_against_the_formula(kind, norm):
    """Projection, norm of each head, rotation, scores: Qwen3, ViT-22B."""
    layer = MultiHeadAttention(
        6,
        4,
        num_key_value_heads=2,
        query_key_norm=kind,
        position=RotaryEmbedding(),
    )
    with_random_weights(layer, QUERY, VALUE)
    names = [weight.path.split("/", 1)[1] for weight in layer.weights]
    norms = [name for name in names if "norm/" in name]
    assert names[-2:] == norms, "the weights of Keras come first"
    query, key = (
        norm(heads_of(inputs, child), array(layer.weights[at]))
        for inputs, child, at in (
            (QUERY, layer.query_dense, -2),
            (VALUE, layer.key_dense, -1),
        )
    )
    expected, weights = numpy_reference.attend(
        rotated(query),
        rotated(key),
        heads_of(VALUE, layer.value_dense),
        mask=masks.Padding(KEY_MASK),
    )
    expected = np.einsum(
        "btnv,nvo->bto", expected, array(layer.output_dense.kernel)
    ) + array(layer.output_dense.bias)
    output, scores = layer(
        QUERY, VALUE, value_mask=KEY_MASK, return_attention_scores=True
    )
    np.testing.assert_allclose(array(scores), weights, atol=1e-5)
    np.testing.assert_allclose(array(output), expected, atol=2e-5)


def rotated(heads):
    """Halves are pairs (RoFormer, equation 34), one position at a time."""
    heads = np.array(heads)
    half = heads.shape[-1] // 2
    for position in range(heads.shape[1]):
        for pair in range(half):
            angle = position * 10000.0 ** (-pair / half)
            x, y = (heads[:, position, :, i] for i in (pair, pair + half))
            x, y = (
                x * np.cos(angle) - y * np.sin(angle),
                x * np.sin(angle) + y * np.cos(angle),
            )
            heads[:, position, :, pair] = x
            heads[:, position, :, pair + half] = y
    return heads


def test_query_key_norm_bounds_the_scores_in_half_precision():
    """Products of heads of 1,000 would be inf in float16."""
    layer = MultiHeadAttention(
        HEADS, 5, query_key_norm="rms", dtype="mixed_float16"
    )
    loud, quiet = (
        array(layer(x * QUERY, x * QUERY, return_attention_scores=True)[1])
        for x in (1000.0, 1.0)
    )
    np.testing.assert_allclose(loud, quiet, atol=5e-3)


def test_sliding_window_is_the_band_of_keras():
    layer = MultiHeadAttention(HEADS, 5, sliding_window=2)
    _, scores = layer(VALUE, VALUE, return_attention_scores=True)
    band = [
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1],
    ]
    np.testing.assert_array_equal(
        array(scores) > 0, np.broadcast_to(np.array(band) > 0, scores.shape)
    )


@pytest.mark.parametrize("training", [False, True], ids=["", "dropout"])
def test_fast_path_gives_the_same_numbers(training):
    arguments = {"num_key_value_heads": 1, "sliding_window": 4, "dropout": 0.3}
    layers = [
        MultiHeadAttention(HEADS, 5, seed=7, flash_attention=flash, **arguments)
        for flash in (None, True, False)
    ]
    outputs = []
    for layer in layers:
        layer(QUERY, VALUE)
        layer.set_weights(layers[0].get_weights())
        outputs.append(
            layer(
                QUERY,
                VALUE,
                value_mask=KEY_MASK,
                use_causal_mask=True,
                training=training,
            )
        )
    assert_same(outputs[1], outputs[0])
    assert_same(outputs[2], outputs[0])


@pytest.mark.parametrize(
    "jit_compile",
    [pytest.param(False, marks=pytest.mark.exhaustive), True],
    ids=["", "compiled"],
)
def test_fast_path_trains_as_the_dense_one(jit_compile):
    histories, trained = [], []
    for flash_attention in (True, False):
        keras.utils.set_random_seed(3)
        inputs = keras.Input(VALUE.shape[1:])
        layer = MultiHeadAttention(
            HEADS, 5, dropout=0.3, seed=7, flash_attention=flash_attention
        )
        outputs = layer(inputs, inputs, use_causal_mask=True)
        model = keras.Model(inputs, outputs)
        model.compile("sgd", "mse", jit_compile=jit_compile)
        targets = np.ones(VALUE.shape, "float32")
        before = model.get_weights()
        history = model.fit(
            VALUE, targets, epochs=3, batch_size=len(VALUE), verbose=0
        )
        histories.append(history.history["loss"])
        trained.append(model.get_weights())
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-5)
    for fast, dense in zip(*trained, strict=True):
        np.testing.assert_allclose(fast, dense, rtol=0, atol=1e-5)
    # No gradient reaches a bias of the keys: it shifts all scores of a row.
    moved = [
        np.abs(new - old).max() > 1e-4
        for old, new in zip(before, trained[0], strict=True)
    ]
    assert sum(moved) == len(moved) - 1


def test_dropout_scales_what_it_keeps():
    layer = MultiHeadAttention(HEADS, 5, dropout=0.5, seed=7)
    layer(QUERY, VALUE)
    first, second = (layer(QUERY, VALUE, training=True) for _ in range(2))
    assert not np.allclose(array(first), array(second))
    again = MultiHeadAttention(HEADS, 5, dropout=0.5, seed=7)
    again(QUERY, VALUE)
    again.set_weights(layer.get_weights())
    assert_same(again(QUERY, VALUE, training=True), first)
    many = np.repeat(QUERY[:1], 499, axis=0), np.repeat(VALUE[:1], 499, axis=0)
    mean = np.mean(array(layer(*many, training=True)), axis=0)
    assert np.abs(mean - array(layer(QUERY, VALUE))[0]).max() < 0.1


# --- masks as objects, override, heads projected once ------------------------


@pytest.mark.parametrize(
    "mask",
    [
        masks.Lengths(np.array([2, 5])),
        masks.Causal() & masks.Padding(KEY_MASK),
        masks.Array(MASK),
    ],
    ids=["Lengths", "And", "Array"],
)
def test_mask_objects_equal_arrays(mask):
    layer = MultiHeadAttention(HEADS, 5)
    dense = array(mask.dense(QUERIES, KEYS)) > 0
    assert_same(
        layer(QUERY, VALUE, attention_mask=mask),
        layer(QUERY, VALUE, attention_mask=dense),
    )


def test_subclass_may_override_the_attention():
    class Uniform(MultiHeadAttention):
        def _compute_attention(self, query, key, value, *arguments):
            mean = ops.mean(value, axis=1, keepdims=True)
            return ops.broadcast_to(mean, query.shape), None

    layer = with_random_weights(Uniform(HEADS, 5), QUERY, VALUE)
    heads = np.mean(heads_of(VALUE, layer.value_dense), axis=1)
    expected = np.einsum(
        "bnv,nvo->bo", heads, array(layer.output_dense.kernel)
    ) + array(layer.output_dense.bias)
    for query in range(QUERIES):
        found = array(layer(QUERY, VALUE))[:, query]
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_heads_projected_once_serve_every_step():
    layer = MultiHeadAttention(6, 5, num_key_value_heads=2, use_gate=True)
    expected = layer(QUERY, VALUE, KEY, value_mask=KEY_MASK)
    key, value = layer.project_key_value(VALUE, KEY)
    assert key.shape == value.shape == (BATCH, KEYS, 2, 5)
    for step in range(QUERIES):
        output, scores = layer.attend_projected(
            QUERY[:, step : step + 1], key, value, masks.Padding(KEY_MASK)
        )
        assert scores is None
        assert_same(output[:, 0], expected[:, step])


# --- what every layer owes, and errors ---------------------------------------


@pytest.mark.parametrize(
    ("arguments", "call", "shapes", "untrained"),
    [
        pytest.param(
            {},
            {},
            (BATCH, QUERIES, 11),
            ["key/bias"],
            marks=pytest.mark.exhaustive,
        ),
        (
            {
                "value_dim": 7,
                "num_key_value_heads": 1,
                "output_shape": (19,),
                "sliding_window": 3,
                "use_gate": True,
                "use_sink": True,
                "logit_soft_cap": 2.5,
                "dropout": 0.1,
                "seed": 3,
                "flash_attention": False,
                "kernel_initializer": "he_normal",
                "kernel_regularizer": "l2",
                "query_key_norm": "rms",
            },
            {"key": KEY, "value_mask": KEY_MASK, "use_causal_mask": True},
            (BATCH, QUERIES, 19),
            [],
        ),
        (
            {"use_bias": False},
            {"attention_mask": MASK[:, 0], "return_attention_scores": True},
            [(BATCH, QUERIES, 11), (BATCH, HEADS, QUERIES, KEYS)],
            [],
        ),
    ],
    ids=["plain", "odd values", "scores"],
)
def test_layer_checks(arguments, call, shapes, untrained, tmp_path):
    arguments = {"num_heads": HEADS, "key_dim": 5, **arguments}
    value_dim = arguments.get("value_dim", 5)
    key_heads = arguments.get("num_key_value_heads", HEADS)
    widths = {
        "query": (11, HEADS, 5),
        "key": (17 if "key" in call else 13, key_heads, 5),
        "gate": (11, HEADS, value_dim),
        "value": (13, key_heads, value_dim),
        "attention_output": (
            HEADS,
            value_dim,
            *arguments.get("output_shape", (11,)),
        ),
    }
    if "use_gate" not in arguments:
        del widths["gate"]
    weights = {"sink": (HEADS,)} if "use_sink" in arguments else {}
    for name, shape in widths.items():
        weights[f"{name}/kernel"] = shape
        if arguments.get("use_bias", True):
            last = shape[2:] if name == "attention_output" else shape[1:]
            weights[f"{name}/bias"] = last
    if "query_key_norm" in arguments:
        weights |= {"query_norm/scale": (5,), "key_norm/scale": (5,)}
    run_layer_checks(
        MultiHeadAttention,
        arguments,
        {"query": QUERY, "value": VALUE, **call},
        shapes,
        weights,
        weights_without_gradient=untrained,
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_heads": 0}, "argument `num_heads` must be a positive integer"),
        ({"key_dim": 2.0}, "argument `key_dim` must be a positive integer"),
        ({"value_dim": -1}, "argument `value_dim` must be a positive integer"),
        ({"dropout": 1.0}, "`dropout` must be in"),
        ({"output_shape": 8.0}, "Invalid `output_shape`"),
        ({"output_shape": (3, 0)}, "`output_shape` must be a positive"),
        ({"sliding_window": 0}, "`sliding_window` must be a positive"),
        ({"flash_attention": "yes"}, "`flash_attention` must be one of"),
        ({"attention_axes": 1.5}, "`attention_axes` must be an int, list"),
        ({"num_key_value_heads": 2}, "must be a divisor of num_heads=3"),
        ({"logit_soft_cap": 0}, "`logit_soft_cap` must be a number above 0"),
        ({"query_key_norm": "l1"}, "`query_key_norm` must be one of"),
    ],
)
def test_bad_constructor_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**{"num_heads": HEADS, "key_dim": 5, **arguments})


@pytest.mark.parametrize(
    ("query", "value", "call", "message"),
    [
        (QUERY, VALUE, {"key": QUERY}, "must be equal"),
        (QUERY, IMAGE, {}, "same number of axes"),
        (
            QUERY,
            VALUE,
            {"attention_mask": np.ones((BATCH, KEYS, QUERIES))},
            "swap the query and key axes",
        ),
        (QUERY, VALUE, {"value_mask": QUERY_MASK}, "`value_mask` must have"),
        (QUERY, VALUE, {"cache_index": 3}, "`cache` must be a dict"),
    ],
)
def test_bad_calls(query, value, call, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(HEADS, 5)(query, value, **call)


def test_free_axes_must_agree():
    layer = MultiHeadAttention(HEADS, 5, attention_axes=2)
    with pytest.raises(ValueError, match="same size on axis 1"):
        layer(IMAGE, MEMORY[:, :2])


def test_scores_of_the_fast_path_are_refused():
    layer = MultiHeadAttention(HEADS, 5, flash_attention=True)
    with pytest.raises(ValueError, match="scores is not supported when flash"):
        layer(QUERY, VALUE, return_attention_scores=True)


@pytest.mark.parametrize("lengths", [(0, 7), (5, 0), (0, 0)])
@pytest.mark.parametrize("flash_attention", [None, True, False])
def test_length_of_zero_is_a_length(flash_attention, lengths):
    layer = MultiHeadAttention(3, 5, flash_attention=flash_attention)
    query, value = (np.ones((2, length, 11), "float32") for length in lengths)
    output = layer(query, value, use_causal_mask=True)
    assert output.shape == (2, lengths[0], 11)
    assert not np.any(output)  # no query, or the bias of the output: zero
