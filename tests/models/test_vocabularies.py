"""Vocabularies stay with a model that is copied, cloned, pickled and saved."""

import copy
import json
import pickle

import keras
import numpy as np
import pytest
from small_models import small_model

from keras_attention import Seq2Seq

pytestmark = pytest.mark.tensorflow_only

TEXTS = ["abc", "g", "fa?"]


def letters(ids):
    from keras_attention.text import Vocabulary

    return Vocabulary.build(["abcdefghijklmnopqrstuvwxyz"[: ids - 4]])


@pytest.fixture(scope="module")
def model():
    return small_model(
        "cnn",
        "luong",
        max_length=5,
        source_vocabulary=letters(11),
        target_vocabulary=letters(13),
    )


class Tokenizer:
    """Letters by another class than ours, without a config."""

    def __init__(self, size):
        self.size = size
        self.encode = letters(size).encode
        self.decode = letters(size).decode
        self.token_strings = letters(size).token_strings

    def __len__(self):
        return self.size


@keras.saving.register_keras_serializable(package="tests")
class ConfiguredTokenizer(Tokenizer):
    def get_config(self):
        return {"size": self.size}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def reload(model, folder):
    model.save(folder / "model.keras")
    return keras.saving.load_model(folder / "model.keras")


COPIES = {
    "deepcopy": lambda model, folder: copy.deepcopy(model),
    "pickle": lambda model, folder: pickle.loads(pickle.dumps(model)),
    "keras file": reload,
}


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
def test_a_copy_answers_alike_and_is_on_its_own(model, make, tmp_path):
    expected = model.generate(TEXTS)
    again = make(model, tmp_path)
    found = again.generate(TEXTS)
    assert found.texts.tolist() == expected.texts.tolist()
    np.testing.assert_array_equal(found.scores, expected.scores)
    for weight in again.trainable_variables:
        weight.assign(0 * weight)
    assert (again.generate(TEXTS).scores != expected.scores).all()
    np.testing.assert_array_equal(model.generate(TEXTS).scores, found.scores)


def test_a_clone_reads_and_writes_the_same_text(model):
    again = keras.models.clone_model(model)
    assert again.source_vocabulary.tokens == model.source_vocabulary.tokens
    assert again.target_vocabulary.tokens == model.target_vocabulary.tokens
    again.set_weights(model.get_weights())
    expected = model.generate(TEXTS).texts.tolist()
    assert again.generate(TEXTS).texts.tolist() == expected


def test_vocabularies_are_plain_dicts_in_the_config(model):
    config = json.loads(json.dumps(model.get_config()))
    assert config["source_vocabulary"] == model.source_vocabulary.to_dict()
    config = small_model("cnn", "luong").get_config()
    assert config["source_vocabulary"] is config["target_vocabulary"] is None


def test_a_config_without_vocabularies_makes_a_model_of_ids(model):
    config = model.get_config()
    del config["source_vocabulary"], config["target_vocabulary"]
    again = Seq2Seq.from_config(config)
    assert again.source_vocabulary is again.target_vocabulary is None


def test_a_tokenizer_with_a_config_travels(model, tmp_path):
    tokenizers = ConfiguredTokenizer(11), ConfiguredTokenizer(13)
    again = keras.models.clone_model(model)
    again.set_vocabularies(*tokenizers)
    again = reload(again, tmp_path)
    assert type(again.target_vocabulary) is ConfiguredTokenizer
    assert len(again.target_vocabulary) == 13


def test_a_tokenizer_without_a_config_is_shared_by_deepcopy_alone(model):
    model = copy.deepcopy(model)
    model.set_vocabularies(Tokenizer(11), Tokenizer(13))
    again = copy.deepcopy(model)
    assert again.source_vocabulary is model.source_vocabulary
    assert again.generate(TEXTS).texts.tolist() == (
        model.generate(TEXTS).texts.tolist()
    )
    for refuse in (pickle.dumps, keras.models.clone_model):
        with pytest.raises(ValueError, match="`source_vocabulary` must be a t"):
            refuse(model)
