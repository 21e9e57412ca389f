"""Models after `quantize`: near what they were with float weights."""

import warnings

import numpy as np
import pytest
from small_models import randomize

import keras_attention as ka

SOURCE, TARGET = np.array([[5, 4, 2]]), np.array([[1, 6, 7, 4]])

pytestmark = pytest.mark.tensorflow_only


def seq2seq(**options):
    return ka.build_seq2seq(
        "transformer", 13, 13, units=8, num_heads=2, num_layers=1, **options
    )


def language_model():
    return ka.LanguageModel(
        ka.DecoderOnlyTransformer(
            *(13, 8), num_heads=2, num_layers=1, tie_embeddings=True
        )
    )


MODELS = {
    "apart": seq2seq,
    "tied": lambda: seq2seq(tie_embeddings=True),
    "shared and tied": lambda: seq2seq(
        tie_embeddings=True, share_embeddings=True
    ),
    "language model": language_model,
}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_a_quantized_model_says_what_it_said(kind, mode):
    model = randomize(MODELS[kind](), scale=0.5)
    inputs = {"source": SOURCE, "target": TARGET}
    if kind == "language model":
        inputs = TARGET
    expected = np.asarray(model(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the layers that Keras skips
        model.quantize(mode)
    found = np.asarray(model(inputs))
    error = np.abs(found - expected).max()
    assert error < {"int8": 0.05, "int4": 0.5}[mode] * np.ptp(expected)
    found, expected = (x - x.mean(-1, keepdims=True) for x in (found, expected))
    slope = np.vdot(found, expected) / np.vdot(expected, expected)
    assert abs(slope - 1) < {"int8": 0.03, "int4": 0.3}[mode]
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.8


def test_float8_is_refused_where_a_loop_would_add_up_its_scales():
    model = ka.build_seq2seq("luong", 13, 13, units=4)
    with pytest.raises(ValueError, match="`mode` must be 'int8' or 'int4'"):
        model.quantize("float8")
