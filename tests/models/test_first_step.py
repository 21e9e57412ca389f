"""`fit` traces its step once."""

import keras
import numpy as np
import pytest

import keras_attention as ka

pytestmark = pytest.mark.tensorflow_only

IDS = np.array([[5, 4, 2], [6, 2, 0]])


def seq2seq():
    model = ka.Seq2Seq(ka.RNNEncoder(7, units=3), ka.RNNDecoder(11, units=5))
    target = np.array([[1, 5, 4], [1, 6, 0]])
    return model, {"source": IDS, "target": target}


def language_model():
    decoder = ka.DecoderOnlyTransformer(7, units=6, num_heads=2)
    return ka.LanguageModel(decoder), IDS


@pytest.mark.parametrize("make", [seq2seq, language_model])
def test_fit_traces_the_step_once(make, monkeypatch):
    model, inputs = make()
    traced = []
    call = model.call

    def counted(*arguments, **options):
        traced.append(1)
        return call(*arguments, **options)

    monkeypatch.setattr(model, "call", counted)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    model.fit(inputs, IDS, epochs=2, verbose=0)
    assert len(traced) == 1
