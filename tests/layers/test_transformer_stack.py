"""The stack: its blocks, its positions, its options, and its steps."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import assert_all_close
from layer_checks import run_layer_checks

from keras_attention import DecoderOnlyTransformer
from keras_attention import LearnedPositionalEncoding
from keras_attention import PositionalEncoding
from keras_attention import RotaryEmbedding
from keras_attention import TransformerStack
from keras_attention.layers import AttentionOptions
from keras_attention.layers import MultiHeadAttention
from keras_attention.layers import TransformerDecoderBlock
from keras_attention.layers import TransformerEncoderBlock

BATCH, LENGTH, SOURCE, WIDTH, SOURCE_WIDTH = 2, 7, 5, 12, 11


def normal(*shape, seed=3):
    generator = np.random.default_rng([seed, *shape])
    return generator.normal(size=shape).astype("float32")


INPUTS = normal(BATCH, LENGTH, WIDTH)
ENCODED = normal(BATCH, SOURCE, SOURCE_WIDTH)
SOURCE_MASK = np.arange(SOURCE) < np.array([[5], [3]])
EVERYTHING = AttentionOptions(
    num_key_value_heads=1,
    sliding_window=3,
    logit_soft_cap=1.5,
    use_sink=True,
    use_gate=True,
    use_bias=False,
    query_key_norm="rms",
)
STACKS = {
    "sinusoids": {"position": PositionalEncoding()},
    "learned, post-norm": {
        "position": LearnedPositionalEncoding(9),
        "normalize_first": False,
    },
    "rotary": {"position": RotaryEmbedding(rotary_dim=4)},
    "everything": {
        "position": RotaryEmbedding(interleaved=True),
        "attention_options": EVERYTHING,
    },
}


def built_stack(kind, **options):
    stack = TransformerStack(2, 3, 13, **STACKS[kind], **options)
    stack.build(*shapes(options.get("cross_attention")))
    for number, weight in enumerate(stack.trainable_variables):
        weight.assign(0.5 * normal(*weight.shape, seed=number))
    return stack


def shapes(cross_attention):
    return (INPUTS.shape, *([ENCODED.shape] if cross_attention else []))


@pytest.mark.parametrize("is_compiled", [False, True], ids=["eager", "XLA"])
@pytest.mark.parametrize("cross_attention", [False, True])
@pytest.mark.parametrize("kind", STACKS)
def test_steps_are_the_whole_sequence(kind, cross_attention, is_compiled):
    stack = built_stack(kind, cross_attention=cross_attention)
    if cross_attention:
        call = {"encoded": ENCODED, "encoded_mask": SOURCE_MASK}
        start = {"encoded": ops.convert_to_tensor(ENCODED)}
        step_options = {"source_mask": ops.convert_to_tensor(SOURCE_MASK)}
        expected, expected_weights = stack(
            INPUTS, return_attention_scores=True, **call
        )
    else:
        start, step_options = {"batch_size": BATCH}, {}
        expected = stack(INPUTS, use_causal_mask=True)

    def step(inputs, state, index):
        return stack.step(inputs, state, index, **step_options)

    if is_compiled:
        step = compiled(step)
    state = stack.start(LENGTH + 2, **start)
    for index in range(LENGTH):
        output, state, weights = step(
            ops.convert_to_tensor(INPUTS[:, index : index + 1]),
            state,
            ops.convert_to_tensor(index, "int32"),
        )
        assert_all_close([output[:, 0]], [expected[:, index]])
        if cross_attention:
            now = expected_weights[:, :, index]
            assert_all_close([weights[:, :, 0]], [now])
        else:
            assert weights is None


def compiled(step):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(step)
    import tensorflow as tf

    return tf.function(step, jit_compile=True, autograph=False)


@pytest.mark.parametrize("kind", ["sinusoids", "everything"])
def test_moved_slots_and_looked_up_ancestors_agree(kind):
    """Slots take the places of others: their histories are their parents'."""
    stack, slots = built_stack(kind), 3
    random = np.random.default_rng(5)
    paths = random.integers(0, slots, (LENGTH, BATCH, slots))
    inputs = normal(LENGTH, BATCH, slots, WIDTH)
    moved = stack.start(LENGTH, slots, batch_size=BATCH)
    looked_up = stack.start(LENGTH, slots, batch_size=BATCH)
    ancestors = np.tile(np.arange(slots)[:, None], (BATCH, 1, LENGTH))
    rows = np.arange(BATCH)[:, None]
    for index in range(LENGTH):
        parents = paths[index].astype("int32")
        moved = stack.reorder(moved, ops.convert_to_tensor(parents))
        ancestors[..., :index] = ancestors[rows, parents, :index]
        now = ops.convert_to_tensor(index, "int32")
        tensor = ops.convert_to_tensor(inputs[index])
        first, moved, _ = stack.step(tensor, moved, now)
        second, looked_up, _ = stack.step(
            tensor,
            looked_up,
            now,
            ancestors=ops.convert_to_tensor(ancestors, "int32"),
        )
        assert_all_close([first], [second])


@pytest.mark.parametrize(
    "kind",
    [
        # "everything" is "rotary" too.
        pytest.param(
            kind,
            marks=[pytest.mark.exhaustive] * (kind in ("sinusoids", "rotary")),
        )
        for kind in STACKS
    ],
)
def test_rows_that_begin_later_are_extended_as_those_alone(kind):
    """A row's padding has positions below 0, or is told to each step."""
    stack, padding = built_stack(kind), np.array([0, 3], "int32")
    expected = [
        stack(INPUTS[row, n:][None], use_causal_mask=True)[0]
        for row, n in enumerate(padding)
    ]
    for first, told in ((-padding, None), (0, padding)):
        state = stack.start(LENGTH, batch_size=BATCH)
        before = ops.convert_to_tensor(INPUTS[:, :-1])
        mask = np.arange(LENGTH - 1) >= padding[:, None]
        x = stack.enter(before, ops.convert_to_tensor(-padding))
        output, state = stack.extend(x, state, first, mask)
        if told is None:
            last = ops.convert_to_tensor(INPUTS[:, -1:])
            index = ops.convert_to_tensor(LENGTH - 1 - padding)
            x = stack.enter(last, index)
            now, _ = stack.extend(x, state, index)
        else:
            last = ops.convert_to_tensor(INPUTS[:, -1:].repeat(2, axis=1))
            state = stack.repeat(state, 2)
            now, _, _ = stack.step(last, state, LENGTH - 1, padding=padding)
            assert_all_close([now[:, 1]], [now[:, 0]])
        for row, n in enumerate(padding):
            assert_all_close([output[row, n:]], [expected[row][:-1]])
            assert_all_close([now[row, 0]], [expected[row][-1]])


def test_a_window_is_a_ring_in_the_state():
    state = built_stack("everything").start(101, batch_size=BATCH)
    # Three positions, and what fills them up to eight parts.
    assert tuple(state[0]["key"].shape) == (8, BATCH, 1, 1, WIDTH // 3)


@pytest.mark.parametrize("kind", ["learned, post-norm", "everything"])
def test_stack_is_its_blocks(kind):
    stack = built_stack(kind)
    x = INPUTS
    if kind == "learned, post-norm":
        x = x + ops.convert_to_numpy(stack.position.embeddings)[:LENGTH]
    for block in stack.blocks:
        assert type(block) is TransformerEncoderBlock
        x = block(x)
    if kind == "everything":
        x = stack.normalization(x)
    assert_all_close([stack(INPUTS)], [x])


def test_options_reach_every_attention():
    stack = built_stack("everything", cross_attention=True)
    options = EVERYTHING.of_self_attention()
    for block in stack.blocks:
        assert type(block) is TransformerDecoderBlock
        config = block.self_attention.get_config()
        cross = block.cross_attention.get_config()
        assert block.self_attention.position is STACKS["everything"]["position"]
        for name in set(options) - {"position"}:
            assert config[name] == options[name]
            if name != "sliding_window":
                assert cross[name] == options[name]
        assert cross["sliding_window"] is cross["position"] is None


def test_stack_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        TransformerStack,
        {
            "num_layers": 1,
            "num_heads": 3,
            "dropout": 0.1,
            "position": RotaryEmbedding(max_wavelength=100.0),
            "attention_options": AttentionOptions(num_key_value_heads=1),
            "seed": 5,
        },
        {"inputs": INPUTS, "use_causal_mask": True},
        (BATCH, LENGTH, WIDTH),
        weights_of_one_block(),
        tmp_path=tmp_path,
    )


def weights_of_one_block():
    attention = "block_0/self_attention"
    shapes = {}
    for name, heads in (("query", 3), ("key", 1), ("value", 1)):
        shapes[f"{attention}/{name}/kernel"] = (WIDTH, heads, 4)
        shapes[f"{attention}/{name}/bias"] = (heads, 4)
    shapes[f"{attention}/attention_output/kernel"] = (3, 4, WIDTH)
    shapes[f"{attention}/attention_output/bias"] = (WIDTH,)
    shapes["block_0/feed_forward_hidden/kernel"] = (WIDTH, 4 * WIDTH)
    shapes["block_0/feed_forward_hidden/bias"] = (4 * WIDTH,)
    shapes["block_0/feed_forward_output/kernel"] = (4 * WIDTH, WIDTH)
    shapes["block_0/feed_forward_output/bias"] = (WIDTH,)
    for name in (
        "block_0/self_attention_normalization",
        "block_0/feed_forward_normalization",
        "normalization",
    ):
        shapes[f"{name}/gamma"] = shapes[f"{name}/beta"] = (WIDTH,)
    return shapes


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: MultiHeadAttention(3, 4, position=PositionalEncoding()),
            "`position` must be an object with `rotate` and `bias`",
        ),
        (
            lambda: TransformerEncoderBlock(
                3, 13, position=LearnedPositionalEncoding(5)
            ),
            "`position` must be an object with `rotate` and `bias`",
        ),
        (
            lambda: TransformerEncoderBlock(
                3,
                13,
                flash_attention=True,
                attention_options=AttentionOptions(flash_attention=False),
            ),
            "`flash_attention` must be given once",
        ),
        (
            lambda: TransformerStack(1, 3, attention_options={"use_sink": 1}),
            "`attention_options` must be an AttentionOptions",
        ),
        (
            lambda: TransformerStack(1, 3, position="rotary"),
            r"`position` must be a layer that adds .*position='rotary'",
        ),
        (
            lambda: DecoderOnlyTransformer(5, 8, position=RotaryEmbedding),
            "`position` must be a layer that adds .*position=<class",
        ),
        (
            lambda: TransformerEncoderBlock(3, 13, position=RotaryEmbedding),
            "`position` must be an object with .*position=<class",
        ),
        (
            lambda: TransformerStack(1, 3).start(5),
            "`batch_size` must be given, and `encoded` not, with cross_at.*=F",
        ),
        (
            lambda: TransformerStack(1, 3, cross_attention=True).start(
                5, batch_size=1
            ),
            "`encoded` must be given, and `batch_size` not, with cross_at.*=T",
        ),
        (
            lambda: TransformerStack(1, 3, cross_attention=True).extend(
                INPUTS, []
            ),
            "`cross_attention` must be False to run several .* with `step`",
        ),
        (
            lambda: TransformerStack(1, 3, cross_attention=True)(INPUTS),
            "`encoded` must be given with cross_attention=True",
        ),
        (
            lambda: TransformerStack(1, 3)(INPUTS, INPUTS),
            "`encoded` must be None with cross_attention=False",
        ),
        (
            lambda: TransformerStack(1, 3)(
                keras.KerasTensor((2, 5, 6)), keras.KerasTensor((2, 5, 6))
            ),
            "`encoded` must be None with cross_attention=False",
        ),
        (
            lambda: TransformerStack(0, 3),
            "`num_layers` must be a positive integer",
        ),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "layer",
    [
        lambda: TransformerStack(2, 2, 11),
        lambda: TransformerEncoderBlock(2, 11),
    ],
    ids=["stack", "block"],
)
def test_keras_mask_of_a_single_input_is_the_explicit_one(layer):
    """At padding too, whose inputs are read as zeros."""
    ids = np.array([[5, 3, 0, 0], [2, 4, 6, 0]])
    embedded = keras.layers.Embedding(7, 6, mask_zero=True)(ids)
    layer = layer()
    found = layer(embedded)
    explicit = layer(ops.convert_to_numpy(embedded), inputs_mask=ids != 0)
    np.testing.assert_allclose(found, explicit, atol=1e-6)
