"""A language model whose texts are cut into pieces."""

import language_models
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.text import PieceVocabulary

pytestmark = pytest.mark.tensorflow_only

PIECES = ["▁", "a", "b", "c", "▁a", "▁ab", "bc", "ca", "abc"]


def test_language_model_speaks_in_pieces(tmp_path):
    scores = [-1.0 - number / 3 for number in range(len(PIECES))]
    vocabulary = PieceVocabulary(PIECES, scores)
    model = language_models.language_model(vocabulary=vocabulary)
    texts = ["ab", "c a", ""]
    search = ka.Greedy()
    said = model.generate(texts, search, max_length=11)
    ids = [row[row != 0][:-1] for row in vocabulary.encode(texts).numpy()]
    one_by_one = language_models.said_one_by_one(model, ids[0].tolist(), 11)
    end = one_by_one.index(2) if 2 in one_by_one else None
    expected = vocabulary.decode([one_by_one[:end]]).numpy()[0].decode()
    assert np.ravel(said.texts)[0] == expected
    for row, text in enumerate(texts[:2]):
        streamed = "".join(
            model.stream(text, search, row_seed=row, max_length=11)
        )
        assert streamed == np.ravel(said.texts)[row]
    model.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    assert loaded.vocabulary.to_dict() == vocabulary.to_dict()
