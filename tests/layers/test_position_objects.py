"""Positions as objects: rotary and learned, in layers and in files."""

import keras
import layer_checks
import numpy as np
import pytest
from keras import ops
from layer_checks import run_layer_checks

from keras_attention import LearnedPositionalEncoding
from keras_attention import MultiHeadAttention
from keras_attention import RotaryEmbedding
from keras_attention.functional import attend
from keras_attention.functional import positions

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
    layer_checks.check_symbolic_output(case)
    layer_checks.check_half_precision(case, layer_checks.HALF_TOLERANCE)


@pytest.mark.parametrize("rotary_dim", [3, 10, None])
def test_rotary_embedding_wants_pairs_that_are_there(rotary_dim):
    with pytest.raises(ValueError, match="`rotary_dim` must be even"):
        RotaryEmbedding(rotary_dim=rotary_dim)(HEADS[..., :7])


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
