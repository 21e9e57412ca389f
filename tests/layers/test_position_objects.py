"""Positions as objects, on every way through attention and in files."""

import copy
import pickle

import keras
import layer_checks
import numpy as np
import pytest
from keras import ops
from layer_checks import run_layer_checks

from keras_attention import AlibiBias
from keras_attention import LearnedPositionalEncoding
from keras_attention import MultiHeadAttention
from keras_attention import PositionalEncoding
from keras_attention import PositionalEncoding2D
from keras_attention import RelativePositionBias
from keras_attention import RotaryEmbedding
from keras_attention import RotaryEmbedding2D
from keras_attention import ShawRelativePosition
from keras_attention import TransformerEncoderBlock
from keras_attention import TransformerStack
from keras_attention import YaRNScaling
from keras_attention import functional
from keras_attention.functional import attend
from keras_attention.functional import positions
from keras_attention.layers import AttentionOptions
from keras_attention.layers.attention import cached_call

random = np.random.default_rng(3)
INPUTS = random.normal(size=(2, 5, 7)).astype("float32")
HEADS = random.normal(size=(2, 5, 3, 8)).astype("float32")


def test_learned_encoding_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        LearnedPositionalEncoding,
        {"max_length": 11, "initializer": "he_normal"},
        {"inputs": INPUTS},
        INPUTS.shape,
        {"embeddings": (11, 7)},
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize("start", [0, 4, np.array([6, 2], "int32")], ids=str)
def test_learned_encoding_adds_the_vector_of_each_position(start):
    layer = LearnedPositionalEncoding(11, initializer="random_normal")
    found = layer(INPUTS, start_index=start)
    table = ops.convert_to_numpy(layer.embeddings)
    for row in range(2):
        first = np.broadcast_to(start, (2,))[row]
        expected = INPUTS[row] + table[first : first + 5]
        np.testing.assert_allclose(found[row], expected, atol=1e-6)


def test_learned_encoding_ends():
    layer = LearnedPositionalEncoding(6)
    layer(INPUTS, start_index=1)
    for call in (
        lambda: layer(INPUTS, start_index=2),
        lambda: layer(keras.Input((7, 7))),
    ):
        with pytest.raises(ValueError, match="reach past max_length=6"):
            call()
    with pytest.raises(ValueError, match="`max_length` must be a positive"):
        LearnedPositionalEncoding(0)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (PositionalEncoding(), (2, 3, 7)),
        (PositionalEncoding2D(), (1, 3, 2, 8)),
        (LearnedPositionalEncoding(5, "he_normal"), (2, 3, 7)),
        (RotaryEmbedding(), (2, 3, 2, 4)),
    ],
    ids=["sinusoids", "2d", "learned", "rotary"],
)
@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_integers_are_encoded_as_floats(layer, shape, dtype):
    x = np.random.default_rng(3).integers(0, 9, shape).astype(dtype)
    expected = layer(x.astype("float32"))
    np.testing.assert_array_equal(layer(x), expected)
    assert layer(keras.KerasTensor(shape, dtype)).dtype == "float32"
    assert ops.dtype(layer(x)) == "float32"


def test_rotary_embedding_is_a_good_layer():
    # All but the mask: heads have an axis more than it.
    case = layer_checks.Case(
        RotaryEmbedding,
        {"max_wavelength": 100.0, "rotary_dim": 4, "interleaved": True},
        {"inputs": HEADS},
        [HEADS.shape],
    )
    layer_checks.check_config_holds_every_argument(case)
    layer_checks.check_config_round_trip(case)
    layer_checks.check_build_from_shapes(case)
    layer_checks.check_output_shape(case)
    layer_checks.check_symbolic_output(case)
    layer_checks.check_half_precision(case, layer_checks.HALF_TOLERANCE)


@pytest.mark.parametrize("rotary_dim", [3, 10, None])
def test_rotary_embedding_wants_pairs_that_are_there(rotary_dim):
    with pytest.raises(ValueError, match="`rotary_dim` must be even"):
        RotaryEmbedding(rotary_dim=rotary_dim)(HEADS[..., :7])


@pytest.mark.parametrize(
    "layer", [RotaryEmbedding(), RotaryEmbedding2D(3)], ids=["1d", "2d"]
)
@pytest.mark.parametrize("shape", [(2, 5, 4), (2, 3, 5, 3, 4)], ids=str)
@pytest.mark.parametrize("of", ["array", "symbol"])
def test_rotary_embedding_wants_heads(layer, shape, of):
    inputs = np.ones(shape) if of == "array" else keras.KerasTensor(shape)
    with pytest.raises(
        ValueError, match=r"`inputs` must have shape .*num_heads.*2, "
    ):
        layer(inputs)


def test_rotary_attention_is_attention_of_rotated_heads():
    layer = MultiHeadAttention(
        6,
        8,
        num_key_value_heads=3,
        position=RotaryEmbedding(max_wavelength=50.0, rotary_dim=6),
    )
    output, weights = layer(INPUTS, INPUTS, return_attention_scores=True)
    angle = positions.angles(np.arange(5), positions.rotary_rates(6, 50.0))
    expected, expected_weights = attend(
        query=positions.rotate(layer.query_dense(INPUTS), angle),
        key=positions.rotate(layer.key_dense(INPUTS), angle),
        value=layer.value_dense(INPUTS),
        return_weights=True,
    )
    np.testing.assert_allclose(weights, expected_weights, atol=1e-6)
    np.testing.assert_allclose(output, layer.output_dense(expected), atol=1e-5)
    plain = MultiHeadAttention(6, 8, num_key_value_heads=3)
    plain(INPUTS, INPUTS)
    plain.set_weights(layer.get_weights())
    assert np.abs(plain(INPUTS, INPUTS) - output).max() > 1e-3


def test_position_goes_through_a_keras_file(tmp_path):
    layer = MultiHeadAttention(2, 4, position=RotaryEmbedding(rotary_dim=2))
    x = keras.Input((5, 7))
    model = keras.Model(x, layer(x, x))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.layers[-1].position.rotary_dim == 2
    np.testing.assert_allclose(again(INPUTS), model(INPUTS), atol=1e-6)


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


def random_inputs():
    generator = np.random.default_rng(17)
    return generator.normal(size=(2, 5, 8)).astype("float32")


def test_attentions_that_share_a_position_do_so_when_loaded(tmp_path):
    position, options = RelativePositionBias(2), ShawRelativePosition(3)
    options = AttentionOptions(position=options)
    x = inputs = keras.Input((5, 8))
    for _ in range(2):
        x = MultiHeadAttention(2, 4, position=position)(x, x)
    for _ in range(2):
        x = TransformerEncoderBlock(2, 8, attention_options=options)(x)
    model = keras.Model(inputs, x)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    one, other = again.layers[1:3]
    assert one.position is other.position
    x = random.normal(size=(2, 5, 8)).astype("float32")
    np.testing.assert_allclose(again(x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    "position", [RelativePositionBias(2), ShawRelativePosition(3)]
)
@pytest.mark.parametrize(
    "copied", [copy.deepcopy, pickled], ids=["copy", "pickle"]
)
def test_a_position_is_copied_with_its_weights(position, copied):
    x = random_inputs()
    layer = MultiHeadAttention(2, 4, position=position)
    layer(x, x)
    options = copied(AttentionOptions(position=position))
    assert options.position is not position
    again = MultiHeadAttention(2, 4, position=options.position)
    again.build(x.shape, x.shape)
    again.set_weights(layer.get_weights())
    for mine, theirs in zip(
        options.position.weights, position.weights, strict=True
    ):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_allclose(again(x, x), layer(x, x), atol=1e-6)


# --- one answer, on every way through the layer ------------------------------

BATCH, LENGTH, WIDTH, MAX_LENGTH = 2, 7, 7, 11
SEQUENCE = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
# The tokens of row 1 run this far ahead of those of row 0.
AHEAD = np.array([0, 3])
POSITIONS = {
    "yarn": lambda: RotaryEmbedding(
        rotary_dim=6, scaling=YaRNScaling(4.0, original_length=8)
    ),
    "rotary 2d": lambda: RotaryEmbedding2D(3),
    "alibi": lambda: AlibiBias(3),
    "t5": lambda: RelativePositionBias(3, 8, 5, False, "he_normal"),
    "shaw": lambda: ShawRelativePosition(2, False, "he_normal"),
}
# JAX compiles each operator anew for each shape.
IS_JAX = keras.backend.backend() == "jax"


@pytest.fixture(scope="module", params=["t5", "shaw"] if IS_JAX else POSITIONS)
def attention(request):
    """A layer, and what it says of the whole sequence, densely."""
    position = POSITIONS[request.param]()
    layer = MultiHeadAttention(3, 8, position=position, seed=1)
    return layer, layer(SEQUENCE, SEQUENCE, use_causal_mask=True)


def compiled_without_lengths(function, *arrays, jit_compile=False):
    """`function` as one graph for any batch and length."""
    if IS_JAX:
        import jax

        return jax.jit(function)(*arrays)
    import tensorflow as tf

    shapes = [(None, None, *array.shape[2:]) for array in arrays]
    signature = [tf.TensorSpec(shape, "float32") for shape in shapes]
    return tf.function(
        function, input_signature=signature, jit_compile=jit_compile
    )(*arrays)


@pytest.mark.parametrize("path", ["graph", "XLA", "blockwise"])
def test_whole_sequence_is_the_dense_one(attention, path):
    layer, expected = attention

    def run(inputs):
        return layer(inputs, inputs, use_causal_mask=True)

    if path == "blockwise":
        config = {**layer.get_config(), "flash_attention": True}
        other = MultiHeadAttention.from_config(config)
        other.build(SEQUENCE.shape, SEQUENCE.shape)
        other.set_weights(layer.get_weights())
        found = other(SEQUENCE, SEQUENCE, use_causal_mask=True)
    else:
        found = compiled_without_lengths(
            run, SEQUENCE, jit_compile=path == "XLA"
        )
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("index", ["scalar", "per row"])
def test_cached_steps_are_the_whole_sequence(attention, index):
    layer, expected = attention
    expected = ops.convert_to_numpy(expected)
    ahead = AHEAD if index == "per row" else np.zeros(2, int)
    cache, start = layer.make_cache(BATCH, MAX_LENGTH), max(ahead)
    rows = np.arange(BATCH)

    def call(inputs, index):
        return layer(
            inputs,
            inputs,
            use_causal_mask=True,
            cache=cache,
            cache_index=ops.convert_to_tensor(index, dtype="int32"),
        )

    if start:  # the first tokens of both rows, at once
        output, cache = call(SEQUENCE[:, :start], [0, 0])
        np.testing.assert_allclose(output, expected[:, :start], atol=2e-6)
    for position in range(LENGTH - start - 2):
        places = position + ahead
        now = places if index == "per row" else position
        output, cache = call(SEQUENCE[rows, places][:, None], now)
        wanted = expected[rows, places]
        np.testing.assert_allclose(output[:, 0], wanted, atol=2e-6)
    # The last two at once, where each row stands.
    places = LENGTH - start - 2 + ahead
    both = places[:, None] + np.arange(2)
    now = places if index == "per row" else places[0]
    output, cache = call(SEQUENCE[rows[:, None], both], now)
    wanted = expected[rows[:, None], both]
    np.testing.assert_allclose(output, wanted, atol=2e-6)


def test_window_meets_every_position(attention):
    layer, _ = attention
    config = {**layer.get_config(), "sliding_window": 3}
    other = MultiHeadAttention.from_config(config)
    expected = other(SEQUENCE, SEQUENCE, use_causal_mask=True)
    cache = other.make_cache(BATCH, MAX_LENGTH)
    for position in range(LENGTH):
        new = SEQUENCE[:, position : position + 1]
        output, cache = other(
            new,
            new,
            use_causal_mask=True,
            cache=cache,
            cache_index=np.array([position, position], "int32"),
        )
        wanted = expected[:, position : position + 1]
        np.testing.assert_allclose(output, wanted, atol=2e-6)


def test_slots_of_a_decoder_stand_at_one_position(attention):
    layer, expected = attention
    state = cached_call.start(layer, BATCH, LENGTH, 2)
    for position in range(LENGTH):
        new = SEQUENCE[:, position][:, None]
        slots = np.concatenate([new, -new], axis=1)  # two beams of their own
        output, state = cached_call.step(layer, slots, state, position)
        np.testing.assert_allclose(
            output[:, 0], expected[:, position], atol=2e-6
        )
    other = layer(-SEQUENCE, -SEQUENCE, use_causal_mask=True)
    np.testing.assert_allclose(output[:, 1], other[:, -1], atol=2e-6)


def test_stack_of_blocks_is_saved_with_its_position(attention, tmp_path):
    position = attention[0].position
    inputs = keras.Input((None, WIDTH))
    options = AttentionOptions(
        position=type(position).from_config(position.get_config())
    )
    stack = TransformerStack(2, 3, 5, 8, attention_options=options)
    model = keras.Model(inputs, stack(inputs, use_causal_mask=True))
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(SEQUENCE), model(SEQUENCE), atol=1e-5)
    loaded = again.layers[-1].attention_options.position
    assert type(loaded) is type(position)


def test_empty_sequences_and_one_entry(attention):
    layer, expected = attention
    one = layer(SEQUENCE[:, :1], SEQUENCE[:, :1])
    np.testing.assert_allclose(one, expected[:, :1], atol=2e-6)
    for query, key in ((0, 0), (0, 3), (3, 0)):
        found = layer(SEQUENCE[:, :query], SEQUENCE[:, :key])
        assert found.shape == (BATCH, query, WIDTH)
        nothing = np.zeros((BATCH, query, WIDTH))
        np.testing.assert_array_equal(found, nothing)


def test_object_of_the_old_protocol_still_works():
    class Near:
        def rotate(self, query, key, query_offset=0, key_offset=0):
            return query, key

        def bias(self, query_offset=0, key_offset=0):
            values = -np.abs(np.arange(-9, 10)) * np.ones((3, 1))
            zero = 9 + key_offset - query_offset
            return functional.DistanceBias(values.astype("float32"), zero)

    layer = MultiHeadAttention(3, 8, position=Near(), seed=1)
    expected = layer(SEQUENCE, SEQUENCE, use_causal_mask=True)
    index = np.array([0, 0], "int32")
    output, cache = layer(
        SEQUENCE[:, :5],
        SEQUENCE[:, :5],
        use_causal_mask=True,
        cache=layer.make_cache(BATCH, MAX_LENGTH),
        cache_index=index,
    )
    np.testing.assert_allclose(output, expected[:, :5], atol=2e-6)
    output, _ = layer(
        SEQUENCE[:, 5:6],
        SEQUENCE[:, 5:6],
        cache=cache,
        cache_index=index + 5,
        use_causal_mask=True,
    )
    np.testing.assert_allclose(output, expected[:, 5:6], atol=2e-6)
