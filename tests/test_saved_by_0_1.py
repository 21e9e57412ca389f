"""What version 0.1.0 saved loads, and answers as it did."""

import keras
import numpy as np
import pytest
from models.small_models import assert_close
from saved_by_0_1 import write

import keras_attention as ka

pytestmark = pytest.mark.tensorflow_only


# Each class of encoder, decoder, cell and mechanism.
FEW = (
    "lstm_bahdanau",
    "gru-one-way_bahdanau-gru",
    "simple_luong",
    "cnn_self-attention",
    "transformer-post_transformer-moved",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[] if n in FEW else pytest.mark.exhaustive)
        for n in write.MODELS
    ],
)
def test_model_folder_answers_as_it_did(name):
    model = ka.load(write.HERE / name)
    with np.load(write.HERE / name / "answers.npz") as answers:
        logits = model({"source": write.SOURCE, "target": write.TARGET})
        assert_close(logits, answers["logits"])
        greedy = model.generate(write.SOURCE)
        np.testing.assert_array_equal(greedy.tokens, answers["greedy_tokens"])
        assert_close(greedy.alignments, answers["greedy_alignments"])
        beam = model.generate(write.SOURCE, ka.Beam(3, num_hypotheses=2))
        np.testing.assert_array_equal(beam.tokens, answers["beam_tokens"])
        assert_close(beam.scores, answers["beam_scores"])


def test_model_folder_has_its_vocabularies():
    model = ka.load(write.HERE / "lstm_bahdanau")
    assert len(model.source_vocabulary) == write.SOURCE_IDS
    assert model.target_vocabulary.unit == "symbols"


def layer_names():
    return sorted(path.stem for path in write.HERE.glob("*.keras"))


@pytest.mark.parametrize("name", layer_names())
def test_layer_answers_as_it_did(name):
    model = keras.models.load_model(write.HERE / f"{name}.keras")
    output = model(list(write.inputs_of_layers()))
    with np.load(write.HERE / "layers.npz") as answers:
        assert_close(output, answers[name])


def test_every_layer_is_there():
    assert len(layer_names()) == 12
