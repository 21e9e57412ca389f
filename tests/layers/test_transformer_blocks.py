"""Transformer blocks: their formula, their masks, their step."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import assert_all_close
from layer_checks import loss_gradients
from layer_checks import run_layer_checks

from keras_attention import TransformerDecoderBlock
from keras_attention import TransformerEncoderBlock
from keras_attention import masks

BATCH, TARGET, SOURCE, WIDTH, SOURCE_WIDTH = 2, 5, 7, 6, 11
HEADS, HIDDEN = 3, 13

each_order = pytest.mark.parametrize(
    "normalize_first", [True, False], ids=["pre-norm", "post-norm"]
)


def normal(*shape, seed=3):
    generator = np.random.default_rng([seed, *shape])
    return generator.normal(size=shape).astype("float32")


INPUTS = normal(BATCH, TARGET, WIDTH)
ENCODED = normal(BATCH, SOURCE, SOURCE_WIDTH)
INPUTS_MASK = np.arange(TARGET) < np.array([[5], [3]])
ENCODED_MASK = np.arange(SOURCE) < np.array([[4], [7]])


def built_block(block_class, **options):
    """A block with weights of some size, biases and norms too."""
    block = block_class(HEADS, HIDDEN, **options)
    is_decoder = block_class is TransformerDecoderBlock
    block(INPUTS, ENCODED) if is_decoder else block(INPUTS)
    for number, weight in enumerate(block.trainable_variables):
        weight.assign(0.5 * normal(*weight.shape, seed=number))
    return block


def attention_weights(name, width):
    heads = (HEADS, WIDTH // HEADS)
    shapes = {}
    for part, wide in (("query", WIDTH), ("key", width), ("value", width)):
        shapes[f"{name}/{part}/kernel"] = (wide, *heads)
        shapes[f"{name}/{part}/bias"] = heads
    shapes[f"{name}/attention_output/kernel"] = (*heads, WIDTH)
    shapes[f"{name}/attention_output/bias"] = (WIDTH,)
    return shapes


def other_weights(*names):
    shapes = {
        "feed_forward_hidden/kernel": (WIDTH, HIDDEN),
        "feed_forward_hidden/bias": (HIDDEN,),
        "feed_forward_output/kernel": (HIDDEN, WIDTH),
        "feed_forward_output/bias": (WIDTH,),
    }
    for name in (*names, "feed_forward"):
        shapes[f"{name}_normalization/gamma"] = (WIDTH,)
        shapes[f"{name}_normalization/beta"] = (WIDTH,)
    return shapes


def test_mask_of_another_length_is_named():
    block = TransformerEncoderBlock(HEADS, HIDDEN)
    x = np.zeros((2, 5, 4 * HEADS), "float32")
    with pytest.raises(ValueError, match="`inputs_mask` must have shape"):
        block(x, inputs_mask=np.ones((2, 3), "bool"))


def test_encoder_block_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        TransformerEncoderBlock,
        {
            "num_heads": HEADS,
            "feed_forward_units": HIDDEN,
            "dropout": 0.1,
            "activation": "tanh",
            "seed": 5,
            "flash_attention": False,
        },
        {
            "inputs": INPUTS,
            "attention_mask": normal(BATCH, TARGET, TARGET) > -1,
            "use_causal_mask": True,
            "return_attention_scores": True,
        },
        [(BATCH, TARGET, WIDTH), (BATCH, HEADS, TARGET, TARGET)],
        {
            **attention_weights("self_attention", WIDTH),
            **other_weights("self_attention"),
        },
        tmp_path=tmp_path,
    )


def test_decoder_block_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        TransformerDecoderBlock,
        {
            "num_heads": HEADS,
            "feed_forward_units": HIDDEN,
            "key_dim": WIDTH // HEADS,
            "dropout": 0.1,
            "normalize_first": False,
            "layer_norm_epsilon": 1e-5,
        },
        {
            "inputs": INPUTS,
            "encoded": ENCODED,
            "encoded_mask": ENCODED_MASK,
            "return_attention_scores": True,
        },
        [(BATCH, TARGET, WIDTH), (BATCH, HEADS, TARGET, SOURCE)],
        {
            **attention_weights("self_attention", WIDTH),
            **attention_weights("cross_attention", SOURCE_WIDTH),
            **other_weights("self_attention", "cross_attention"),
        },
        tmp_path=tmp_path,
    )


# --- against the formula, in float64 -----------------------------------------


class Formula:
    """Vaswani et al. 2017, 3.1 to 3.3, one row, from a block's weights."""

    def __init__(self, block):
        self.block = block
        prefix = block.name + "/"
        self.weights = {
            w.path.removeprefix(prefix): as_float64(w) for w in block.weights
        }

    def dense(self, x, name, equation):
        kernel = self.weights[f"{name}/kernel"]
        return np.einsum(equation, x, kernel) + self.weights[f"{name}/bias"]

    def attention(self, name, x, source, visible):
        query = self.dense(x, f"{name}/query", "td,dnh->tnh")
        key = self.dense(source, f"{name}/key", "sd,dnh->snh")
        value = self.dense(source, f"{name}/value", "sd,dnh->snh")
        scores = np.einsum("tnh,snh->nts", query, key)
        scores = scores / np.sqrt(WIDTH // HEADS)
        odds = np.where(visible, np.exp(scores), 0.0)
        weights = odds / np.maximum(odds.sum(axis=-1, keepdims=True), 1e-300)
        heads = np.einsum("nts,snh->tnh", weights, value)
        output = self.dense(heads, f"{name}/attention_output", "tnh,nhd->td")
        return output, weights

    def normalize(self, name, x):
        mean = x.mean(axis=-1, keepdims=True)
        variance = x.var(axis=-1, keepdims=True)
        x = (x - mean) / np.sqrt(variance + self.block.layer_norm_epsilon)
        gamma, beta = (
            self.weights[f"{name}_normalization/{part}"]
            for part in ("gamma", "beta")
        )
        return x * gamma + beta

    def residual(self, name, x, sublayer):
        if self.block.normalize_first:
            return x + sublayer(self.normalize(name, x))
        return self.normalize(name, x + sublayer(x))

    def feed_forward(self, x):
        hidden = np.tanh(self.dense(x, "feed_forward_hidden", "td,du->tu"))
        return self.dense(hidden, "feed_forward_output", "tu,ud->td")

    def encoder(self, x, visible):
        x = self.residual(
            "self_attention",
            x,
            lambda x: self.attention("self_attention", x, x, visible)[0],
        )
        return self.residual("feed_forward", x, self.feed_forward)

    def decoder(self, x, source, visible, source_visible):
        x = self.residual(
            "self_attention",
            x,
            lambda x: self.attention("self_attention", x, x, visible)[0],
        )
        found = []

        def attend_to_source(x):
            output, weights = self.attention(
                "cross_attention", x, source, source_visible
            )
            found.append(weights)
            return output

        x = self.residual("cross_attention", x, attend_to_source)
        return self.residual("feed_forward", x, self.feed_forward), found[0]


# A block reads padding as zeros, whatever lies there.
REAL_INPUTS = np.where(INPUTS_MASK[..., None], INPUTS, 0)


@each_order
def test_encoder_block_is_the_formula(normalize_first):
    block = built_block(
        TransformerEncoderBlock,
        activation="tanh",
        normalize_first=normalize_first,
    )
    outputs = as_float64(block(INPUTS, inputs_mask=INPUTS_MASK))
    for row in range(BATCH):
        expected = Formula(block).encoder(
            REAL_INPUTS[row].astype("float64"),
            INPUTS_MASK[row][:, None] & INPUTS_MASK[row],
        )
        assert_all_close([outputs[row]], [expected])


@each_order
def test_decoder_block_is_the_formula(normalize_first):
    block = built_block(
        TransformerDecoderBlock,
        activation="tanh",
        normalize_first=normalize_first,
    )
    outputs, weights = block(
        INPUTS,
        ENCODED,
        inputs_mask=INPUTS_MASK,
        encoded_mask=ENCODED_MASK,
        return_attention_scores=True,
    )
    causal = np.tril(np.ones((TARGET, TARGET), bool))
    for row in range(BATCH):
        expected = Formula(block).decoder(
            REAL_INPUTS[row].astype("float64"),
            ENCODED[row].astype("float64"),
            causal & INPUTS_MASK[row][:, None] & INPUTS_MASK[row],
            INPUTS_MASK[row][:, None] & ENCODED_MASK[row],
        )
        assert_all_close([outputs[row], weights[row]], expected)


# --- masks -------------------------------------------------------------------


@each_order
def test_padding_changes_nothing_in_the_second_block_of_a_stack(
    normalize_first,
):
    """Keras strips the mask: there, the second layer attends to padding."""

    class Stack(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            options = {"normalize_first": normalize_first}
            self.blocks = [
                built_block(TransformerDecoderBlock, **options),
                built_block(TransformerDecoderBlock, **options),
            ]
            self.encoder_blocks = [
                built_block(TransformerEncoderBlock, **options),
                built_block(TransformerEncoderBlock, **options),
            ]
            self.widen = keras.layers.Dense(SOURCE_WIDTH)

        def call(self, inputs, source):
            for block in self.encoder_blocks:
                source = block(source)
            encoded = self.widen(source)
            for block in self.blocks:
                inputs = block(inputs, encoded)
            return inputs

    stack, masking = Stack(), keras.layers.Masking()
    source = np.where(INPUTS_MASK[..., None], normal(2, 5, 6, seed=8), 0)
    padded = stack(INPUTS, masking(source))
    for row, length in enumerate((5, 3)):
        alone = stack(
            INPUTS[row : row + 1], masking(source[row : row + 1, :length])
        )
        assert_all_close([padded[row]], [alone[0]])


def test_keras_mask_is_the_mask_given():
    encoder_block = built_block(TransformerEncoderBlock)
    decoder_block = built_block(TransformerDecoderBlock)
    masking = keras.layers.Masking()
    inputs = masking(np.where(INPUTS_MASK[..., None], INPUTS, 0))
    encoded = masking(np.where(ENCODED_MASK[..., None], ENCODED, 0))
    plain = ops.convert_to_numpy(inputs)
    assert_all_close(
        [encoder_block(inputs)],
        [encoder_block(plain, inputs_mask=INPUTS_MASK)],
        tolerance=0,
    )
    assert_all_close(
        [decoder_block(inputs, encoded)],
        [
            decoder_block(
                plain,
                ops.convert_to_numpy(encoded),
                inputs_mask=INPUTS_MASK,
                encoded_mask=ENCODED_MASK,
            )
        ],
        tolerance=0,
    )


def test_encoder_block_takes_mask_objects_in_a_functional_model():
    block = built_block(TransformerEncoderBlock)
    ids = np.array([[1, 1, 2, 2, 2], [1, 2, 2, 3, 3]])
    inputs = keras.Input((None, WIDTH))
    segments = keras.Input((None,), dtype="int32")
    outputs = block(inputs, attention_mask=masks.Segments(segments))
    model = keras.Model([inputs, segments], outputs)
    expected = block(INPUTS, attention_mask=ids[:, :, None] == ids[:, None])
    assert_all_close([model([INPUTS, ids])], [expected])


def test_source_mask_is_one_for_each_source_position():
    """KerasHub documents (source, source) and uses (target, source)."""
    block = built_block(TransformerDecoderBlock)
    _, weights = block(
        INPUTS,
        ENCODED,
        encoded_mask=ENCODED_MASK,
        return_attention_scores=True,
    )
    assert tuple(weights.shape) == (BATCH, HEADS, TARGET, SOURCE)
    assert (ops.convert_to_numpy(weights)[0, ..., 4:] == 0).all()
    with pytest.raises(ValueError, match=r"shape \(batch, length\)=\(2, 7\)"):
        block(INPUTS, ENCODED, encoded_mask=INPUTS_MASK)


# --- step --------------------------------------------------------------------


@each_order
@pytest.mark.parametrize("mode", [None, "int8"])
def test_steps_with_a_cache_are_the_call(normalize_first, mode):
    block = built_block(
        TransformerDecoderBlock, normalize_first=normalize_first
    )
    for layer in block._flatten_layers() if mode else ():
        if isinstance(layer, keras.layers.EinsumDense):
            layer.quantize(mode)
    expected, expected_weights = block(
        INPUTS,
        ENCODED,
        encoded_mask=ENCODED_MASK,
        return_attention_scores=True,
    )
    room = TARGET + 2
    state = block.start(ops.convert_to_tensor(ENCODED), room)
    for index in range(TARGET):
        output, state, weights = block.step(
            ops.convert_to_tensor(INPUTS[:, index : index + 1]),
            state,
            ops.convert_to_tensor(index, "int32"),
            ops.convert_to_tensor(ENCODED_MASK),
        )
        assert_all_close([output[:, 0]], [expected[:, index]])
        assert_all_close([weights[:, :, 0]], [expected_weights[:, :, index]])
    width = WIDTH // HEADS
    length = 8  # `room` and what fills it up to parts of the same length
    assert state["key"].shape == (length, BATCH, 1, HEADS, width)
    assert state["cross_key"].shape == (BATCH, HEADS, SOURCE, width)


# --- long sequences ----------------------------------------------------------


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "block_class", [TransformerEncoderBlock, TransformerDecoderBlock]
)
def test_flash_attention_goes_by_blocks_where_lengths_are_unknown(
    block_class,
):
    import tensorflow as tf

    arrays = [INPUTS]
    if block_class is TransformerDecoderBlock:
        arrays.append(ENCODED)

    def traced(flash_attention):
        block = built_block(block_class, flash_attention=flash_attention)
        specs = [tf.TensorSpec((None, None, a.shape[-1])) for a in arrays]
        run = tf.function(
            lambda *x: block(*x), input_signature=specs, jit_compile=True
        )
        tensors = [tf.constant(array) for array in arrays]
        program = run.experimental_get_compiler_ir(*tensors)(stage="hlo")
        return run(*tensors), "while(" in program

    (by_blocks, has_loop), (dense, other_has_loop) = map(traced, (True, None))
    assert_all_close([by_blocks], [dense])
    assert has_loop
    assert not other_has_loop


def test_flash_attention_is_checked_when_the_block_is_made():
    with pytest.raises(ValueError, match="`flash_attention` must be"):
        TransformerEncoderBlock(HEADS, HIDDEN, flash_attention="yes")


# --- dropout -----------------------------------------------------------------


@pytest.mark.parametrize(
    "block_class", [TransformerEncoderBlock, TransformerDecoderBlock]
)
def test_dropouts_of_one_block_do_not_drop_alike(block_class):
    block = built_block(block_class, dropout=0.5, seed=3)
    ones = np.ones((BATCH, TARGET, WIDTH), "float32")
    kept = [np.array(layer(ones, training=True)) for layer in block.dropouts]
    assert len({array.tobytes() for array in kept}) == len(block.dropouts)
    attentions = [
        layer
        for layer in block._flatten_layers()
        if hasattr(layer, "dropout_for")
    ]
    seeds = [layer.seed for layer in (*block.dropouts, *attentions)]
    assert len(set(seeds)) == len(seeds)


def test_same_seed_drops_alike_and_only_in_training():
    outputs = {}
    for seed in (3, 4):
        for turn in range(2):
            block = built_block(TransformerEncoderBlock, dropout=0.5, seed=seed)
            outputs[seed, turn] = np.array(block(INPUTS, training=True))
    np.testing.assert_array_equal(outputs[3, 0], outputs[3, 1])
    assert np.abs(outputs[3, 0] - outputs[4, 0]).max() > 1e-2
    plain = built_block(TransformerEncoderBlock)(INPUTS)
    assert_all_close([block(INPUTS, training=False)], [plain])


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("block_class", "arrays"),
    [
        (TransformerEncoderBlock, [INPUTS]),
        (TransformerDecoderBlock, [INPUTS, ENCODED]),
    ],
)
def test_heads_that_do_not_divide_are_refused(block_class, arrays):
    """KerasHub floors the width of a head, and says nothing."""
    message = "`num_heads` must be a divisor of the input width 6.*key_dim"
    with pytest.raises(ValueError, match=message):
        block_class(num_heads=4, feed_forward_units=HIDDEN)(*arrays)
    block = block_class(num_heads=4, feed_forward_units=HIDDEN, key_dim=5)
    assert block(*arrays).shape == INPUTS.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_heads": 0}, "`num_heads` must be a positive integer"),
        ({"feed_forward_units": 1.5}, "`feed_forward_units` must be a posit"),
        ({"key_dim": -1}, "`key_dim` must be a positive integer or None"),
        ({"dropout": 1.0}, r"`dropout` must be in \[0, 1\)"),
        ({"layer_norm_epsilon": 0}, "`layer_norm_epsilon` must be a number"),
    ],
    ids=["heads", "feed-forward", "key_dim", "dropout", "epsilon"],
)
@pytest.mark.parametrize(
    "block_class", [TransformerEncoderBlock, TransformerDecoderBlock]
)
def test_bad_arguments_are_refused(block_class, options, message):
    arguments = {"num_heads": 2, "feed_forward_units": 7, **options}
    with pytest.raises(ValueError, match=message):
        block_class(**arguments)


@pytest.mark.parametrize(
    "block_class", [TransformerEncoderBlock, TransformerDecoderBlock]
)
def test_wrong_rank_is_refused(block_class):
    arrays = [INPUTS[0], ENCODED][
        : 1 + (block_class is not TransformerEncoderBlock)
    ]
    with pytest.raises(ValueError, match=r"`inputs` must have shape \(batch, "):
        block_class(2, 7)(*arrays)


@pytest.mark.parametrize(
    "normalize_first",
    [True, pytest.param(False, marks=pytest.mark.exhaustive)],
)
def test_nan_at_padding_reaches_no_weight_of_a_block(normalize_first):
    """A padded position of a batch may hold anything, in both blocks."""
    mask = np.array([[True, True, True, True, False], [True] * 5])
    source_mask = np.array([[True] * 7, [True] * 3 + [False] * 4])
    blocks = {
        "encoder": TransformerEncoderBlock,
        "decoder": TransformerDecoderBlock,
    }
    for name, block_class in blocks.items():
        block = block_class(2, 11, normalize_first=normalize_first)
        results = []
        for garbage in (np.nan, 0.0):
            generator = np.random.default_rng(3)
            arrays = {"inputs": generator.normal(size=(2, 5, 14))}
            masks_given = {"inputs_mask": mask}
            arrays["inputs"][~mask] = garbage
            if name == "decoder":
                arrays["encoded"] = generator.normal(size=(2, 7, 13))
                arrays["encoded"][~source_mask] = garbage
                masks_given["encoded_mask"] = source_mask
            arrays = {k: a.astype("float32") for k, a in arrays.items()}
            output = np.array(block(**arrays, **masks_given))
            seen = np.broadcast_to(mask[..., None], output.shape)
            slopes = loss_gradients(
                block, arrays, seen.astype("float32"), **masks_given
            )
            results.append({**slopes, "output": output})
        for what, slope in results[1].items():
            np.testing.assert_array_equal(results[0][what], slope, what)
            assert np.isfinite(slope).all(), what
