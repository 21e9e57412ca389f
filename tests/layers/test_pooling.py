"""Pooling and sets against their equations, in float64 NumPy."""

import keras
import layer_checks
import numpy as np
import numpy_reference
import pytest
from keras import ops
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import masks
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import AttentionPooling
from keras_attention.layers import InducedSetAttentionBlock
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import MultiHeadAttentionBlock
from keras_attention.layers import PerceiverEncoder
from keras_attention.layers import PoolingByMultiHeadAttention
from keras_attention.layers import SetAttentionBlock

BATCH, LENGTH, WIDTH, HEADS, KEY_DIM = 3, 7, 10, 2, 5
random = np.random.default_rng(5)
INPUTS = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
MASK = np.arange(LENGTH) < np.array([[7], [4], [0]])


def array(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


# --- the equations -----------------------------------------------------------


def multi_head(layer, query, value, mask=None):
    """Returns the output and the weights of a `MultiHeadAttention`."""
    kernels = [array(x) for x in layer.weights]
    (w_q, b_q), (w_k, b_k), (w_v, b_v), (w_o, b_o) = zip(
        kernels[::2], kernels[1::2], strict=True
    )
    heads, weights = numpy_reference.attend(
        np.einsum("btd,dnh->btnh", query, w_q) + b_q,
        np.einsum("bsd,dnh->bsnh", value, w_k) + b_k,
        np.einsum("bsd,dnh->bsnh", value, w_v) + b_v,
        mask=None if mask is None else masks.Padding(mask),
    )
    return np.einsum("btnh,nhd->btd", heads, w_o) + b_o, weights


def layer_norm(layer, x):
    gamma, beta = (array(w) for w in layer.weights)
    mean = x.mean(-1, keepdims=True)
    variance = ((x - mean) ** 2).mean(-1, keepdims=True)
    return gamma * (x - mean) / np.sqrt(variance + 1e-6) + beta


def dense(layer, x):
    kernel, bias = (array(w) for w in layer.weights)
    return x @ kernel + bias


def feed_forward(hidden, output, x):
    return dense(output, np.maximum(dense(hidden, x), 0))


def attention_block(block, x, y, mask=None):
    """Equations 6 and 7 of Lee et al. 2019; pre-norm as Perceiver has it."""
    first, second = block.normalizations
    before = block.normalize_first
    query = layer_norm(first, x) if before else x
    value = layer_norm(block.value_normalization, y) if before else y
    h = x + multi_head(block.attention, query, value, mask)[0]
    h = h if before else layer_norm(first, h)
    z = layer_norm(second, h) if before else h
    z = h + feed_forward(block.hidden_dense, block.output_dense, z)
    return z if before else layer_norm(second, z)


def rows(vectors):
    return np.repeat(array(vectors)[None], BATCH, axis=0)


# --- AttentionPooling --------------------------------------------------------


def test_attention_pooling_checks(tmp_path):
    run_layer_checks(
        AttentionPooling,
        {"num_queries": 3, "num_heads": 2, "dropout": 0.0, "seed": 7},
        {"inputs": INPUTS},
        (BATCH, 3, WIDTH),
        expected_weights={
            "queries": (3, WIDTH),
            "attention/query/kernel": (WIDTH, HEADS, KEY_DIM),
            "attention/query/bias": (HEADS, KEY_DIM),
            "attention/key/kernel": (WIDTH, HEADS, KEY_DIM),
            "attention/key/bias": (HEADS, KEY_DIM),
            "attention/value/kernel": (WIDTH, HEADS, KEY_DIM),
            "attention/value/bias": (HEADS, KEY_DIM),
            "attention/attention_output/kernel": (HEADS, KEY_DIM, WIDTH),
            "attention/attention_output/bias": (WIDTH,),
        },
        weights_without_gradient=("attention/key/bias",),
        tmp_path=tmp_path,
        passes_mask_on=False,
    )


@pytest.mark.parametrize("num_queries", [1, 3])
def test_attention_pooling_against_the_formula(num_queries):
    layer = AttentionPooling(num_queries, HEADS)
    output, weights = layer(INPUTS, mask=MASK, return_attention_scores=True)
    layer._multi_head.output_dense.bias.assign(np.arange(WIDTH))
    output = layer(INPUTS, mask=MASK)
    expected, expected_weights = multi_head(
        layer._multi_head, rows(layer.queries), INPUTS, MASK
    )
    if num_queries == 1:
        expected, expected_weights = expected[:, 0], expected_weights[:, :, 0]
    np.testing.assert_allclose(array(output), expected, atol=1e-5)
    np.testing.assert_allclose(array(weights), expected_weights, atol=1e-6)
    # A row of padding: no weights, and no output before the bias.
    assert not np.any(array(weights)[2])
    np.testing.assert_array_equal(
        array(output)[2], np.broadcast_to(np.arange(WIDTH), output.shape[1:])
    )


def test_one_additive_query_is_the_pooling_of_hierarchical_attention():
    """Yang et al. 2016, equations 5 to 7, word by word."""
    attention = AdditiveAttention(units=11)
    layer = AttentionPooling(attention=attention)
    output, weights = layer(INPUTS, mask=MASK, return_attention_scores=True)
    query, kernel, vector = (array(w) for w in attention.weights)
    bias = array(layer.queries)[0] @ query
    for b, length in enumerate([7, 4, 0]):
        words = INPUTS[b, :length].astype("float64")
        scores = [vector @ np.tanh(h @ kernel + bias) for h in words]
        powers = np.exp(scores)
        alpha = powers / powers.sum()
        np.testing.assert_allclose(array(weights)[b, :length], alpha, atol=1e-6)
        expected = sum(
            (a * h for a, h in zip(alpha, words, strict=True)), np.zeros(WIDTH)
        )
        np.testing.assert_allclose(array(output)[b], expected, atol=1e-5)
        assert not np.any(array(weights)[b, length:])


def test_attention_inside_is_saved_with_the_pooling():
    layer = AttentionPooling(attention=AdditiveAttention(11, normalize=True))
    again = AttentionPooling.from_config(layer.get_config())
    assert again.attention.get_config() == layer.attention.get_config()


def test_words_and_then_sentences_are_pooled_as_by_yang():
    inputs = keras.Input((5, 3, WIDTH))
    sentences = keras.layers.TimeDistributed(AttentionPooling())(inputs)
    assert sentences.shape == (None, 5, WIDTH)
    model = keras.Model(inputs, AttentionPooling()(sentences))
    assert model(np.ones((2, 5, 3, WIDTH))).shape == (2, WIDTH)


@pytest.mark.parametrize(
    "layer",
    [
        AttentionPooling(3, 2),
        AttentionPooling(attention=AdditiveAttention(4)),
        PoolingByMultiHeadAttention(1, 2),
        PoolingByMultiHeadAttention(3, 2),
        PerceiverEncoder(3, 1, 2, latent_width=6),
    ],
)
def test_shape_is_known_before_the_first_call(layer):
    expected = layer.compute_output_shape(INPUTS.shape)
    assert tuple(layer(INPUTS).shape) == expected


def test_sequential_model_pools_what_a_recurrent_layer_returns():
    model = keras.Sequential(
        [
            keras.layers.Embedding(13, 6, mask_zero=True),
            keras.layers.LSTM(4, return_sequences=True, use_cudnn=False),
            AttentionPooling(),
            keras.layers.Dense(1),
        ]
    )
    ids = np.array([[3, 8, 5, 0, 0], [2, 2, 9, 12, 1]])
    output = array(model(ids))
    assert output.shape == (2, 1)
    # Padding says nothing: without it the answer is the same.
    np.testing.assert_allclose(array(model(ids[:1, :3])), output[:1], atol=1e-6)


@pytest.mark.parametrize("length", [0, 1])
def test_empty_and_single_sequences(length):
    layer = AttentionPooling(num_heads=HEADS)
    layer.build((None, None, WIDTH))
    output, weights = layer(INPUTS[:, :length], return_attention_scores=True)
    expected, _ = multi_head(
        layer._multi_head, rows(layer.queries), INPUTS[:, :length]
    )
    np.testing.assert_allclose(array(output), expected[:, 0], atol=1e-6)
    assert weights.shape == (BATCH, HEADS, length)
    np.testing.assert_allclose(array(weights), 1.0, atol=1e-6)


# --- blocks on sets ----------------------------------------------------------


MEMORY = random.normal(size=(BATCH, 5, 11)).astype("float32")


@pytest.mark.parametrize("normalize_first", [False, True])
def test_multi_head_attention_block_is_equations_6_and_7(normalize_first):
    block = MultiHeadAttentionBlock(HEADS, 13, normalize_first=normalize_first)
    mask = np.arange(5) < np.array([[5], [2], [0]])
    output, weights = block(
        INPUTS, MEMORY, value_mask=mask, return_attention_scores=True
    )
    memory = np.where(mask[..., None], MEMORY, 0.0)
    expected = attention_block(block, INPUTS, memory, mask)
    np.testing.assert_allclose(array(output), expected, atol=1e-5)
    assert weights.shape == (BATCH, HEADS, LENGTH, 5)
    assert not np.any(array(weights)[2])


@pytest.mark.exhaustive  # ISAB and Perceiver are made of it
def test_multi_head_attention_block_checks(tmp_path):
    run_layer_checks(
        MultiHeadAttentionBlock,
        {
            "num_heads": HEADS,
            "feed_forward_units": 13,
            "dropout": 0.0,
            "seed": 3,
        },
        {"query": INPUTS, "value": MEMORY},
        INPUTS.shape,
        expected_weights=block_weights("", WIDTH, 11, pre_norm=True),
        weights_without_gradient=("attention/key/bias",),
        tmp_path=tmp_path,
    )


def block_weights(prefix, width, value_width, pre_norm=False):
    head = (HEADS, width // HEADS)
    shapes = {
        "attention/query/kernel": (width, *head),
        "attention/query/bias": head,
        "attention/key/kernel": (value_width, *head),
        "attention/key/bias": head,
        "attention/value/kernel": (value_width, *head),
        "attention/value/bias": head,
        "attention/attention_output/kernel": (*head, width),
        "attention/attention_output/bias": (width,),
        "feed_forward_hidden/kernel": (width, 13),
        "feed_forward_hidden/bias": (13,),
        "feed_forward_output/kernel": (13, width),
        "feed_forward_output/bias": (width,),
        "attention_normalization/gamma": (width,),
        "attention_normalization/beta": (width,),
        "feed_forward_normalization/gamma": (width,),
        "feed_forward_normalization/beta": (width,),
    }
    if pre_norm:
        shapes["value_normalization/gamma"] = (value_width,)
        shapes["value_normalization/beta"] = (value_width,)
    return {f"{prefix}{name}": shape for name, shape in shapes.items()}


def test_induced_set_attention_block_checks(tmp_path):
    run_layer_checks(
        InducedSetAttentionBlock,
        {
            "num_inducing_points": 3,
            "num_heads": HEADS,
            "feed_forward_units": 13,
            "dropout": 0.0,
            "seed": 3,
        },
        {"inputs": INPUTS},
        INPUTS.shape,
        expected_weights={
            "inducing_points": (3, WIDTH),
            **block_weights("inducing/", WIDTH, WIDTH),
            **block_weights("block/", WIDTH, WIDTH),
        },
        weights_without_gradient=(
            "inducing/attention/key/bias",
            "block/attention/key/bias",
        ),
        tmp_path=tmp_path,
    )


@pytest.mark.exhaustive  # its block is that of the test above
def test_set_attention_block_checks(tmp_path):
    run_layer_checks(
        SetAttentionBlock,
        {"num_heads": HEADS, "feed_forward_units": 13, "seed": 3},
        {"inputs": INPUTS, "return_attention_scores": True},
        [INPUTS.shape, (BATCH, HEADS, LENGTH, LENGTH)],
        expected_weights=block_weights("block/", WIDTH, WIDTH),
        weights_without_gradient=("block/attention/key/bias",),
        tmp_path=tmp_path,
    )


@pytest.mark.exhaustive  # its block is that of ISAB, its seeds are as there
def test_pooling_by_multi_head_attention_checks(tmp_path):
    run_layer_checks(
        PoolingByMultiHeadAttention,
        {
            "num_seeds": 1,
            "num_heads": HEADS,
            "feed_forward_units": 13,
            "dropout": 0.0,
            "seed": 3,
        },
        {"inputs": INPUTS},
        (BATCH, WIDTH),
        expected_weights={
            "seeds": (1, WIDTH),
            "hidden/kernel": (WIDTH, 13),
            "hidden/bias": (13,),
            "element/kernel": (13, WIDTH),
            "element/bias": (WIDTH,),
            **block_weights("block/", WIDTH, WIDTH),
        },
        weights_without_gradient=("block/attention/key/bias",),
        tmp_path=tmp_path,
        passes_mask_on=False,
    )


QUICK = {
    "MAB": (
        MultiHeadAttentionBlock,
        {"num_heads": HEADS, "feed_forward_units": 13, "key_dim": 3},
        {"query": INPUTS, "value": MEMORY},
        [INPUTS.shape],
    ),
    "SAB": (
        SetAttentionBlock,
        {"num_heads": HEADS, "feed_forward_units": 13, "dropout": 0.1},
        {"inputs": INPUTS, "return_attention_scores": True},
        [INPUTS.shape, (BATCH, HEADS, LENGTH, LENGTH)],
    ),
    "PMA": (
        PoolingByMultiHeadAttention,
        {"num_seeds": 1, "num_heads": HEADS, "feed_forward_units": 13},
        {"inputs": INPUTS, "return_attention_scores": True},
        [(BATCH, WIDTH), (BATCH, HEADS, LENGTH)],
    ),
}


@pytest.mark.parametrize("case", QUICK.values(), ids=QUICK)
def test_config_and_shapes_of_blocks(case):
    case = layer_checks.Case(*case)
    layer_checks.check_config_holds_every_argument(case)
    layer_checks.check_config_round_trip(case)
    layer_checks.check_symbolic_output(case)


def test_set_blocks_are_equations_8_to_11():
    real = np.where(MASK[..., None], INPUTS, 0.0)
    layer = SetAttentionBlock(HEADS)
    output = array(layer(INPUTS, mask=MASK))
    expected = attention_block(layer.block, real, real, MASK)
    np.testing.assert_allclose(output[MASK], expected[MASK], atol=1e-5)

    layer = InducedSetAttentionBlock(3, HEADS)
    output = array(layer(INPUTS, mask=MASK))
    points = rows(layer.inducing_points)
    points = attention_block(layer.inducing_block, points, real, MASK)
    expected = attention_block(layer.block, real, points)
    np.testing.assert_allclose(output[MASK], expected[MASK], atol=1e-5)

    layer = PoolingByMultiHeadAttention(2, HEADS, 13)
    output, weights = layer(INPUTS, mask=MASK, return_attention_scores=True)
    elements = feed_forward(layer.hidden_dense, layer.element_dense, real)
    expected = attention_block(layer.block, rows(layer.seeds), elements, MASK)
    np.testing.assert_allclose(array(output), expected, atol=1e-5)
    assert weights.shape == (BATCH, HEADS, 2, LENGTH)
    assert not np.any(array(weights)[1, ..., 4:])


PERMUTATION = np.array([3, 6, 0, 2, 5, 1, 4])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SetAttentionBlock(HEADS),
        lambda: InducedSetAttentionBlock(3, HEADS),
    ],
    ids=["SAB", "ISAB"],
)
def test_blocks_on_sets_are_equivariant(make):
    layer = make()
    output = array(layer(INPUTS, mask=MASK))
    permuted = layer(INPUTS[:, PERMUTATION], mask=MASK[:, PERMUTATION])
    np.testing.assert_allclose(
        array(permuted), output[:, PERMUTATION], atol=1e-5
    )


POOLINGS = {
    "AttentionPooling": lambda: AttentionPooling(2, HEADS),
    "PMA": lambda: PoolingByMultiHeadAttention(2, HEADS),
    "Perceiver": lambda: PerceiverEncoder(2, 1, HEADS),
}
each_pooling = pytest.mark.parametrize("make", POOLINGS.values(), ids=POOLINGS)


@each_pooling
def test_poolings_are_invariant_and_read_no_padding(make):
    layer = make()
    output = array(layer(INPUTS, mask=MASK))
    spoilt = np.where(MASK[..., None], INPUTS, np.nan)[:, PERMUTATION]
    permuted = layer(spoilt, mask=MASK[:, PERMUTATION])
    np.testing.assert_allclose(array(permuted), output, atol=1e-5)
    # The Keras mask of the input says the same.
    masked = keras.layers.Masking()(np.where(MASK[..., None], INPUTS, 0.0))
    np.testing.assert_allclose(array(layer(masked)), output, atol=1e-5)


@each_pooling
def test_padding_has_no_gradient(make):
    layer = make()
    layer.build(INPUTS.shape)
    spoilt = np.where(MASK[..., None], INPUTS, np.nan).astype("float32")
    found = loss_gradients(
        layer, {"inputs": spoilt}, np.ones((BATCH, 2, WIDTH)), mask=MASK
    )
    assert all(np.all(np.isfinite(gradient)) for gradient in found.values())
    assert not np.any(found["inputs"][~MASK])


# --- PerceiverEncoder --------------------------------------------------------


def test_perceiver_encoder_checks(tmp_path):
    stack = block_weights("stack/block_0/", WIDTH, WIDTH)
    stack = {
        name.replace("/attention", "/self_attention", 1): shape
        for name, shape in stack.items()
    }
    run_layer_checks(
        PerceiverEncoder,
        {
            "num_latents": 5,
            "num_layers": 1,
            "num_heads": HEADS,
            "latent_width": WIDTH,
            "feed_forward_units": 13,
            "dropout": 0.0,
            "seed": 3,
        },
        {"inputs": MEMORY, "return_attention_scores": True},
        [(BATCH, 5, WIDTH), (BATCH, HEADS, 5, 5)],
        expected_weights={
            "latents": (5, WIDTH),
            **block_weights("reading/", WIDTH, 11, pre_norm=True),
            **stack,
            "stack/normalization/gamma": (WIDTH,),
            "stack/normalization/beta": (WIDTH,),
        },
        weights_without_gradient=(
            "reading/attention/key/bias",
            "stack/block_0/self_attention/key/bias",
        ),
        tmp_path=tmp_path,
        passes_mask_on=False,
    )


def test_perceiver_reads_and_then_thinks():
    layer = PerceiverEncoder(5, 1, HEADS, latent_width=WIDTH)
    mask = np.arange(5) < np.array([[5], [2], [0]])
    output = array(layer(MEMORY, mask=mask))
    real = np.where(mask[..., None], MEMORY, 0.0)
    latents = attention_block(
        layer.reading_block, rows(layer.latents), real, mask
    )
    (block,) = layer.stack.blocks
    first, second = block.normalizations
    x = layer_norm(first, latents)
    h = latents + multi_head(block.self_attention, x, x)[0]
    x = layer_norm(second, h)
    h = h + feed_forward(block.hidden_dense, block.output_dense, x)
    expected = layer_norm(layer.stack.normalization, h)
    np.testing.assert_allclose(output, expected, atol=1e-5)


# --- errors and results ------------------------------------------------------


def test_arguments_that_do_not_fit():
    with pytest.raises(ValueError, match="`num_heads` must be a divisor of"):
        AttentionPooling(num_heads=3).build((None, None, WIDTH))
    with pytest.raises(ValueError, match="`attention` must be None where"):
        AttentionPooling(num_heads=3, attention=AdditiveAttention(2))
    with pytest.raises(ValueError, match="`attention` must be an attention"):
        AttentionPooling(attention="additive")
    with pytest.raises(ValueError, match="`num_queries` must be a positive"):
        AttentionPooling(num_queries=0)
    with pytest.raises(ValueError, match="`num_inducing_points` must be"):
        InducedSetAttentionBlock(0, 1)
    with pytest.raises(ValueError, match="`num_latents` must be a positive"):
        PerceiverEncoder(-1, 1, 1)
    with pytest.raises(ValueError, match=r"`inputs` must have shape \(batch"):
        SetAttentionBlock(2).build((None, WIDTH))
    with pytest.raises(ValueError, match="`mask` must have shape"):
        PoolingByMultiHeadAttention(1, 2)(INPUTS, mask=MASK[:, 1:])


@pytest.mark.exhaustive
def test_maximum_of_a_set_of_numbers():
    """The task of Lee et al. 2019, 5.1: mean pooling does not learn it."""

    def sets(generator, count):
        numbers = generator.uniform(0, 100, size=(count, 10, 1))
        return numbers.astype("float32"), numbers.max(axis=1)

    def mean_error(pooling):
        keras.utils.set_random_seed(1)
        model = keras.Sequential(
            [
                keras.layers.Rescaling(0.01),
                keras.layers.Dense(32, "relu"),
                keras.layers.Dense(32, "relu"),
                *pooling,
                keras.layers.Dense(32, "relu"),
                keras.layers.Dense(1),
                keras.layers.Rescaling(100),
            ]
        )
        rate = keras.optimizers.schedules.CosineDecay(2e-3, 8 * 157)
        model.compile(keras.optimizers.Adam(rate), "mae")
        generator = np.random.default_rng(2)
        model.fit(*sets(generator, 20000), batch_size=128, epochs=8, verbose=0)
        return model.evaluate(*sets(generator, 2000), verbose=0)

    # When written: 5.2 for the mean, 0.42 and 0.20 for the others.
    mean = mean_error([keras.layers.GlobalAveragePooling1D()])
    assert mean > 3
    assert mean_error([PoolingByMultiHeadAttention(1, 4)]) < mean / 5
    assert mean_error([AttentionPooling(1, 4)]) < mean / 5


def test_shape_of_a_pooling_by_heads_of_several_axes_is_known():
    attention = MultiHeadAttention(2, 4, output_shape=(3, 5))
    for count, expected in ((1, (2, 3, 5)), (7, (2, 7, 3, 5))):
        layer = AttentionPooling(num_queries=count, attention=attention)
        x = np.ones((2, 11, 8), "float32")
        assert layer.compute_output_shape(x.shape) == expected
        assert tuple(layer(x).shape) == expected


DROPPING = {
    "pooling": lambda **options: AttentionPooling(3, HEADS, **options),
    "block": lambda **options: SetAttentionBlock(HEADS, 13, **options),
    "inducing": lambda **options: InducedSetAttentionBlock(
        3, HEADS, 13, **options
    ),
    "seeds": lambda **options: PoolingByMultiHeadAttention(
        2, HEADS, 13, **options
    ),
    "perceiver": lambda **options: PerceiverEncoder(
        5, 1, HEADS, latent_width=WIDTH, feed_forward_units=13, **options
    ),
}


@pytest.mark.parametrize("kind", DROPPING)
def test_dropout_is_on_in_training_alone(kind):
    layer = DROPPING[kind](dropout=0.5, seed=3)
    plain = DROPPING[kind](dropout=0.0, seed=3)
    for one in (layer, plain):
        one.build(INPUTS.shape)
    for mine, theirs in zip(
        plain.trainable_weights, layer.trainable_weights, strict=True
    ):
        mine.assign(theirs)
    still = array(layer(INPUTS, training=False))
    found = array(plain(INPUTS, training=True))
    np.testing.assert_allclose(found, still, atol=1e-5)
    one, other = (array(layer(INPUTS, training=True)) for _ in range(2))
    assert np.abs(one - still).max() > 1e-3
    assert np.abs(one - other).max() > 1e-3
