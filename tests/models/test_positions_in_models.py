"""Positions inside models: trained, searched, prompted and saved."""

import keras
import language_models
import numpy as np
import pytest
from keras import ops
from language_models import PROMPTS
from language_models import READ
from small_models import randomize
from small_models import source_ids

import keras_attention as ka
from keras_attention.decoding import token_log_probabilities

STEPS = 4
BEAM = ka.Beam(3, num_hypotheses=2, length_penalty=0)
POSITIONS = {
    "t5": lambda: ka.RelativePositionBias(3, 8, 5),
    "shaw": lambda: ka.ShawRelativePosition(2),
    "alibi": lambda: ka.AlibiBias(3),
    "yarn": lambda: ka.RotaryEmbedding(scaling=ka.YaRNScaling(4.0, 8)),
    "rotary 2d": lambda: ka.RotaryEmbedding2D(2),
}
in_the_gate = pytest.mark.parametrize(
    "name",
    [
        name
        if name == "shaw"
        else pytest.param(name, marks=pytest.mark.exhaustive)
        for name in POSITIONS
    ],
)


@in_the_gate
def test_model_trains_says_what_it_scored_and_is_saved(name, tmp_path):
    model = ka.build_seq2seq(
        "transformer",
        11,
        13,
        units=12,
        num_heads=3,
        position=POSITIONS[name](),
        max_length=STEPS,
    )
    source = source_ids()
    target = np.array([[1, 5, 6, 7], [1, 8, 2, 0], [1, 2, 0, 0]])
    labels = np.array([[5, 6, 7, 2], [8, 2, 0, 0], [2, 0, 0, 0]])
    inputs = {"source": source, "target": target}
    model(inputs)
    randomize(model)
    assert model.encoder.position is not model.decoder.position
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    weights = model.decoder.position.weights
    before = [ops.convert_to_numpy(weight).copy() for weight in weights]
    model.fit(inputs, labels, batch_size=3, verbose=0)
    for old, new in zip(before, weights, strict=True):
        assert np.any(ops.convert_to_numpy(new) != old)
    found = model.generate(source, BEAM)
    for row, beam in np.ndindex(3, 2):
        ids = found.tokens[row, beam][: found.lengths[row, beam]]
        inputs = {"source": source[row : row + 1]}
        logits = model({**inputs, "target": np.array([[1, *ids[:-1]]])})
        told = ops.sum(token_log_probabilities(logits, ids[None]))
        np.testing.assert_allclose(found.scores[row, beam], told, atol=1e-4)
    model.save_folder(tmp_path / "model")
    again = ka.load(tmp_path / "model").generate(source, BEAM)
    np.testing.assert_array_equal(again.tokens, found.tokens)
    np.testing.assert_allclose(again.scores, found.scores, atol=1e-6)


def language_model(name):
    decoder = ka.DecoderOnlyTransformer(
        language_models.IDS,
        units=12,
        num_heads=3,
        feed_forward_units=7,
        num_layers=1,
        position=POSITIONS[name](),
    )
    model = ka.LanguageModel(decoder, max_length=STEPS)
    model(np.array([[1, 5]]))
    return randomize(model)


@pytest.mark.parametrize(
    "name",
    [
        "shaw",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in ("t5", "alibi", "yarn")
        ),
    ],
)
def test_prompts_of_many_lengths_are_gone_on_with(name):
    model = language_model(name)
    found = model.generate(PROMPTS, BEAM)
    for row, prompt in enumerate(READ):
        for beam in range(2):
            said = found.tokens[row, beam][: found.lengths[row, beam]]
            told = language_models.log_probability(model, prompt, said)
            score = found.scores[row, beam]
            np.testing.assert_allclose(score, told, atol=1e-4)


@pytest.mark.parametrize("name", ["t5", "shaw"])
def test_each_row_goes_on_at_a_position_of_its_own(name):
    decoder = language_model(name).decoder
    prompt = np.array([[0, 0, 1, 5, 4], [1, 7, 9, 4, 8]])
    state = decoder.start_rows(prompt, prompt != 0, 8)
    ids = [[1, 5, 4], [1, 7, 9, 4, 8]]
    for tokens in ([6, 3], [7, 5]):
        found, state = decoder.step_rows(np.array(tokens), state)
        for row in range(2):
            ids[row].append(tokens[row])
            expected = decoder(np.array([ids[row]]))[0, -1]
            np.testing.assert_allclose(found[row], expected, atol=1e-5)
