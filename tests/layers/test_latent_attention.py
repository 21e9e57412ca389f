"""LatentAttention: the paper's equations, and its two forms."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.layers import AlibiBias
from keras_attention.layers import LatentAttention
from keras_attention.layers import RotaryEmbedding
from keras_attention.layers import YaRNScaling
from keras_attention.layers.attention import cached_call

BATCH, LENGTH, KEYS, WIDTH, VALUE_WIDTH = 2, 7, 5, 13, 17
HEADS, KEY_DIM, LATENT, ROTARY, VALUE_DIM, QUERY_LATENT = 3, 5, 11, 4, 6, 8
MAX_LENGTH = 10
random = np.random.default_rng(23)
QUERY = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
VALUE = random.normal(size=(BATCH, KEYS, VALUE_WIDTH)).astype("float32")
SIZES = {
    "num_heads": HEADS,
    "key_dim": KEY_DIM,
    "latent_dim": LATENT,
    "rotary_dim": ROTARY,
    "value_dim": VALUE_DIM,
}
WEIGHTS = [
    "key_kernel",
    "value_kernel",
    "query_down/kernel",
    "query_norm/scale",
    "query/kernel",
    "latent/kernel",
    "latent_norm/scale",
    "rotary_key/kernel",
    "attention_output/kernel",
]


def array(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")


def new_layer(*inputs, **options):
    """A built layer whose weights are random, the norms' too."""
    layer = LatentAttention(**{**SIZES, **options})
    layer.build(*(x.shape for x in inputs))
    generator = np.random.default_rng(5)
    for weight in layer.weights:
        weight.assign(generator.normal(size=weight.shape, scale=0.5))
    return layer


def weights_of(layer):
    """The weights in float64, by name."""
    return {w.path.split("/", 1)[1]: array(w) for w in layer.weights}


# --- the oracle: DeepSeek-V2, one position and one head at a time -------------


def rms_norm(x, scale):
    return scale * x / np.sqrt(np.mean(x**2) + 1e-6)


def rope(x, position):
    """Neighbours are pairs (RoFormer, equation 34)."""
    rotated = np.zeros_like(x)
    for pair in range(len(x) // 2):
        angle = position * 10000.0 ** (-2 * pair / len(x))
        even, odd = x[2 * pair], x[2 * pair + 1]
        rotated[2 * pair] = even * np.cos(angle) - odd * np.sin(angle)
        rotated[2 * pair + 1] = even * np.sin(angle) + odd * np.cos(angle)
    return rotated


def softmax(scores, visible):
    if not np.any(visible):
        return np.zeros_like(scores)
    scores = np.where(visible, scores, -np.inf)
    weights = np.exp(scores - scores.max())
    return weights / weights.sum()


def by_the_equations(w, query, value, visible):
    """Output and weights; `visible` is (batch, query_length, key_length)."""
    scale = 1 / np.sqrt(KEY_DIM + ROTARY)  # equation 18
    output = np.zeros(query.shape)
    weights = np.zeros((BATCH, HEADS, query.shape[1], value.shape[1]))
    for b, t in np.ndindex(query.shape[:2]):
        c_q = query[b, t]
        if "query_down/kernel" in w:  # 12
            c_q = c_q @ w["query_down/kernel"]
            c_q = rms_norm(c_q, w["query_norm/scale"])
        for i in range(HEADS):
            q = c_q @ w["query/kernel"][:, i]  # 13 and 14
            q_content, q_rotary = q[:KEY_DIM], rope(q[KEY_DIM:], t)
            scores, values = [], []
            for s, h in enumerate(value[b]):
                c_kv = rms_norm(h @ w["latent/kernel"], w["latent_norm/scale"])
                k_content = c_kv @ w["key_kernel"][:, i]  # 10
                k_rotary = rope(h @ w["rotary_key/kernel"][:, 0], s)  # 15
                product = q_content @ k_content + q_rotary @ k_rotary
                scores.append(scale * product)
                values.append(c_kv @ w["value_kernel"][:, i])  # 11
            weights[b, i, t] = softmax(np.array(scores), visible[b, t])
            head = weights[b, i, t] @ np.array(values)
            output[b, t] += head @ w["attention_output/kernel"][i]  # 19
    return output, weights


CAUSAL = np.tri(LENGTH, dtype=bool)[None].repeat(BATCH, axis=0)
PADDING = np.arange(KEYS) < np.array([[4], [0]])


def test_latent_attention_checks(tmp_path):
    shapes = [
        (LATENT, HEADS, KEY_DIM),
        (LATENT, HEADS, VALUE_DIM),
        (WIDTH, QUERY_LATENT),
        (QUERY_LATENT,),
        (QUERY_LATENT, HEADS, KEY_DIM + ROTARY),
        (VALUE_WIDTH, LATENT),
        (LATENT,),
        (VALUE_WIDTH, 1, ROTARY),
        (HEADS, VALUE_DIM, WIDTH),
    ]
    run_layer_checks(
        LatentAttention,
        {
            **SIZES,
            "query_latent_dim": QUERY_LATENT,
            "dropout": 0.1,
            "seed": 3,
            "kernel_initializer": "he_normal",
            "position": RotaryEmbedding(max_wavelength=100.0),
        },
        {
            "query": QUERY,
            "value": VALUE,
            "value_mask": PADDING,
            "return_attention_scores": True,
        },
        [QUERY.shape, (BATCH, HEADS, LENGTH, KEYS)],
        expected_weights=dict(zip(WEIGHTS, shapes, strict=True)),
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize(
    ("query_latent_dim", "loudness"), [(None, 1), (QUERY_LATENT, 1), (None, 90)]
)
def test_latent_attention_against_the_equations(query_latent_dim, loudness):
    layer = new_layer(QUERY, VALUE, query_latent_dim=query_latent_dim)
    query = QUERY * loudness
    output, weights = layer(
        query, VALUE, value_mask=PADDING, return_attention_scores=True
    )
    visible = np.broadcast_to(PADDING[:, None], (BATCH, LENGTH, KEYS))
    expected = by_the_equations(weights_of(layer), query, VALUE, visible)
    np.testing.assert_allclose(array(output), expected[0], atol=2e-4)
    np.testing.assert_allclose(array(weights), expected[1], atol=1e-4)
    assert not np.any(array(output)[1]), "a row of padding alone"


def test_gradients_are_the_slope_of_the_equations():
    random = np.random.default_rng(17)
    layer = new_layer(QUERY, VALUE, query_latent_dim=QUERY_LATENT)
    upstream = random.normal(size=QUERY.shape)
    visible = np.broadcast_to(PADDING[:, None], (BATCH, LENGTH, KEYS))
    spoilt = np.where(PADDING[..., None], VALUE, np.nan).astype("float32")
    arrays = {"query": QUERY, "value": spoilt}
    found = loss_gradients(layer, arrays, upstream, value_mask=PADDING)
    assert not np.any(found["value"][~PADDING])
    at = {**weights_of(layer), "query": array(QUERY), "value": array(VALUE)}
    for name in ("query", "value", "key_kernel", "value_kernel"):
        direction = random.normal(size=at[name].shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = {**at, name: at[name] + step * direction}
            query, value = moved.pop("query"), moved.pop("value")
            output, _ = by_the_equations(moved, query, value, visible)
            ends.append(np.sum(output * upstream))
        slope = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(
            *(np.sum(found[name] * direction), slope),
            rtol=1e-3,
            atol=1e-3,
            err_msg=name,
        )


# --- the absorbed form: what is kept is [latent; rotary key] ------------------


def whole_and_cache(**call):
    layer = new_layer(QUERY, QUERY, query_latent_dim=QUERY_LATENT)
    whole = array(layer(QUERY, QUERY, use_causal_mask=True, **call))
    return layer, whole, layer.make_cache(BATCH, MAX_LENGTH)


def test_cached_calls_equal_the_whole_sequence():
    """With padding before row 1, which may hold anything."""
    real = np.arange(MAX_LENGTH) >= np.array([[0], [2]])
    layer, whole, cache = whole_and_cache(value_mask=real[:, :LENGTH])
    spoilt = np.where(real[:, :LENGTH, None], QUERY, np.nan).astype("float32")
    index = 0
    for size in (3, 1, 1, 2):
        now = slice(index, index + size)
        output, weights, cache = layer(
            QUERY[:, now],
            spoilt[:, now],
            value_mask=real,
            use_causal_mask=True,
            return_attention_scores=True,
            cache=cache,
            cache_index=index,
        )
        np.testing.assert_allclose(array(output), whole[:, now], atol=1e-5)
        assert weights.shape == (BATCH, HEADS, size, MAX_LENGTH)
        index += size
    assert cache["key"].shape == (MAX_LENGTH, BATCH, 1, 1, LATENT + ROTARY)


def test_forms_agree_in_their_gradients_where_every_query_sees_all():
    layer, _, cache = whole_and_cache()
    whole = array(layer(QUERY, QUERY))
    inputs = {"query": QUERY, "value": QUERY}
    absorbed = {"cache": cache, "cache_index": 0}
    output, _ = layer(**inputs, **absorbed)
    np.testing.assert_allclose(array(output), whole, atol=1e-5)
    upstream = np.random.default_rng(7).normal(size=QUERY.shape)
    expected = loss_gradients(layer, inputs, upstream)
    found = loss_gradients(layer, inputs, upstream, **absorbed)
    for name, gradient in expected.items():
        size = np.abs(gradient).max()
        assert size > 0
        np.testing.assert_allclose(
            found[name] / size, gradient / size, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("mode", ["graph", "XLA"])
def test_compiled_steps_with_an_index_per_row(mode):
    layer, whole, cache = whole_and_cache()

    def step(new, cache, index):
        return layer(
            new, new, use_causal_mask=True, cache=cache, cache_index=index
        )

    if keras.backend.backend() == "jax":
        if mode == "graph":
            return  # one way to compile
        import jax

        step = jax.jit(step)
    else:
        import tensorflow as tf

        step = tf.function(step, jit_compile=mode == "XLA")
    ahead = np.array([0, 3])
    index = ops.convert_to_tensor([0, 0], "int32")
    _, cache = layer(QUERY[:, :3], QUERY[:, :3], cache=cache, cache_index=index)
    rows = np.arange(BATCH)
    for position in range(LENGTH - 3):
        places = position + ahead
        new = ops.convert_to_tensor(QUERY[rows, places][:, None])
        now = ops.convert_to_tensor(places, "int32")
        output, cache = step(new, cache, now)
        np.testing.assert_allclose(
            array(output)[:, 0], whole[rows, places], atol=1e-5
        )


def test_beams_of_a_decoder_follow_their_ancestors():
    """Slot 1 becomes the child of slot 0 half-way."""
    layer, whole, _ = whole_and_cache()
    state = cached_call.start(layer, BATCH, MAX_LENGTH, 2)
    assert set(state) == {"key"}
    layout, half = layer.cache_layout, 4
    ancestors = np.arange(2)[None, :, None].repeat(MAX_LENGTH, -1)
    ancestors = ancestors.repeat(BATCH, 0)
    for position in range(LENGTH):
        new = QUERY[:, position][:, None]
        slots = np.concatenate([new, -new], axis=1)
        if position >= half:
            slots = slots[:, [0, 0]]
        if position == half:
            ancestors[:, 1, :half] = 0
        output, state = cached_call.step(
            layer,
            ops.convert_to_tensor(slots),
            state,
            position,
            ancestors=ops.convert_to_tensor(ancestors),
        )
        np.testing.assert_allclose(
            array(output)[:, 0], whole[:, position], atol=1e-5
        )
    np.testing.assert_allclose(array(output)[:, 1], whole[:, -1], atol=1e-5)
    moved = layout.reorder(state, ops.convert_to_tensor([[1, 1], [0, 0]]))
    kept = array(state["key"])
    np.testing.assert_array_equal(array(moved["key"])[:, 0, 0], kept[:, 0, 1])
    np.testing.assert_array_equal(array(moved["key"])[:, 1, 1], kept[:, 1, 0])


@pytest.mark.tensorflow_only
def test_step_makes_nothing_as_large_as_the_heads_of_all_keys():
    import tensorflow as tf

    length, heads = 101, 7
    layer = LatentAttention(heads, 6, 3, 2)
    layer.build((1, None, 5), (1, None, 5))

    def largest(function, *inputs):
        graph = tf.function(function).get_concrete_function(*inputs).graph
        shapes = [t.shape for op in graph.get_operations() for t in op.outputs]
        return max(shape.num_elements() or 0 for shape in shapes if shape)

    def step(new, cache, index):
        return layer(
            new, new, use_causal_mask=True, cache=cache, cache_index=index
        )

    cache = layer.make_cache(1, length)
    found = largest(step, tf.zeros((1, 1, 5)), cache, tf.constant(3))
    assert found == heads * length, "more than the weights of the step"
    inputs = tf.zeros((1, length, 5))
    assert largest(lambda x: layer(x, x), inputs) > heads * length * 6


def test_cache_of_half_precision_gives_its_numbers():
    layer, whole, _ = whole_and_cache()
    half = LatentAttention(
        **SIZES, query_latent_dim=QUERY_LATENT, dtype="mixed_bfloat16"
    )
    half.build(QUERY.shape, QUERY.shape)
    half.set_weights(layer.get_weights())
    cache = half.make_cache(BATCH, LENGTH)
    assert ops.dtype(cache["key"]) == "bfloat16"
    for position in range(LENGTH):
        new = QUERY[:, position : position + 1]
        output, cache = half(new, new, cache=cache, cache_index=position)
    assert ops.dtype(output) == "bfloat16"
    size = np.abs(whole).max()
    np.testing.assert_allclose(
        array(output)[:, 0] / size, whole[:, -1] / size, atol=3e-2
    )


@pytest.mark.exhaustive
def test_forms_agree_when_the_projections_are_integers():
    layer, whole, cache = whole_and_cache()
    for child in layer._flatten_layers(include_self=False):
        assert child.built
        if isinstance(child, keras.layers.EinsumDense):
            child.quantize("int8")
    rounded = array(layer(QUERY, QUERY, use_causal_mask=True))
    assert 0 < np.abs(rounded - whole).max() < 0.1 * np.abs(whole).max()
    output, _ = layer(
        QUERY, QUERY, use_causal_mask=True, cache=cache, cache_index=0
    )
    np.testing.assert_allclose(
        array(output), rounded, atol=0.02 * np.abs(whole).max()
    )


# --- edges --------------------------------------------------------------------


def test_masks_and_lengths_at_the_edges():
    layer = new_layer(QUERY, QUERY)
    visible = CAUSAL & (np.arange(LENGTH) < np.array([[7], [3]]))[:, None]
    mask = masks.Lengths([7, 3]) & masks.Causal()
    found = layer(QUERY, QUERY, QUERY, attention_mask=mask)
    expected, _ = by_the_equations(weights_of(layer), QUERY, QUERY, visible)
    np.testing.assert_allclose(array(found), expected, atol=2e-5)
    one = layer(QUERY[:, :1], QUERY[:, :1])
    np.testing.assert_allclose(array(one), expected[:, :1], atol=2e-5)
    for queries, keys in ((0, 0), (0, 3), (3, 0)):
        found = layer(QUERY[:, :queries], QUERY[:, :keys])
        assert found.shape == (BATCH, queries, WIDTH)
        assert not np.any(array(found))


def test_symbolic_cache_keeps_its_shapes():
    layer = new_layer(QUERY, QUERY)
    buffer = layer.make_cache(BATCH, MAX_LENGTH)["key"]
    new = keras.Input((1, WIDTH))
    outputs = layer(
        new,
        new,
        cache={"key": keras.Input(batch_shape=buffer.shape)},
        cache_index=keras.Input((), dtype="int32"),
        return_attention_scores=True,
    )
    assert outputs[0].shape == (None, 1, WIDTH)
    assert outputs[1].shape == (None, HEADS, 1, MAX_LENGTH)
    assert outputs[2]["key"].shape == buffer.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be a positive integer"),
        ({"rotary_dim": 3}, "`rotary_dim` must be an even number"),
        ({"rotary_dim": None, "key_dim": 1}, "`rotary_dim` must be an even"),
        ({"query_latent_dim": 2.5}, "`query_latent_dim` must be a positive"),
        ({"position": AlibiBias(3)}, "`position` must be a rotation"),
    ],
)
def test_arguments_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        LatentAttention(**{**SIZES, **options})


def test_calls_that_do_not_fit():
    layer = new_layer(QUERY, QUERY)
    with pytest.raises(ValueError, match="`key` must be None or the very"):
        layer(QUERY, QUERY, -QUERY)
    with pytest.raises(ValueError, match="`cache` must be a dict of key"):
        layer(QUERY, QUERY, cache={"value": QUERY}, cache_index=0)
    with pytest.raises(ValueError, match="`value` must be given: LatentAtt"):
        layer(QUERY)


class WithoutTemperature(YaRNScaling):
    """The waves of YaRN alone."""

    magnitude = 1.0


def test_temperature_of_a_scaling_is_that_of_the_whole_score():
    """DeepSeek-V2, 3.1.4: the logits, those of what is not rotated, too."""
    found = []
    for kind in (YaRNScaling, WithoutTemperature):
        scaling = kind(40.0, original_length=64, mscale=0.707)
        position = RotaryEmbedding(interleaved=True, scaling=scaling)
        layer = new_layer(QUERY, QUERY, position=position)
        options = {"return_attention_scores": True, "use_causal_mask": True}
        output, weights = layer(QUERY, QUERY, **options)
        found.append(array(weights))
        cache = layer.make_cache(BATCH, LENGTH)
        again, *_ = layer(QUERY, QUERY, cache=cache, cache_index=0, **options)
        np.testing.assert_allclose(array(again), array(output), atol=2e-4)
    magnitude = 0.1 * 0.707 * np.log(40.0) + 1
    powers = found[1] ** magnitude**2  # exp(m^2 score), but for a factor
    expected = powers / powers.sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 0.01
