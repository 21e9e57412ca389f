"""What older versions saved is read, and answers as it did.

Each folder in `old_formats` was written once by its `write_all.py`, with the
version that gave it its name.
"""

import json
import shutil

import numpy as np
import pytest
from old_formats import write_all as write

import keras_attention as ka
from keras_attention.text import read_vocabulary

pytestmark = pytest.mark.tensorflow_only

VERSIONS = sorted(
    path.parent.name for path in write.HERE.glob("*/answers.json")
)
each_version = pytest.mark.parametrize("version", VERSIONS)
TOLERANCE = {"rtol": 1e-4, "atol": 1e-4}


def answers_of(version):
    path = write.HERE / version / "answers.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_there_is_a_version():
    assert VERSIONS


@each_version
def test_vocabularies_encode_as_they_did(version):
    folder = write.HERE / version / "vocabularies"
    for name, ids in answers_of(version)["vocabularies"].items():
        vocabulary = read_vocabulary(folder / f"{name}.json")
        assert vocabulary.encode(write.TEXTS).numpy().tolist() == ids


@each_version
@pytest.mark.parametrize(
    "name",
    [
        "bahdanau",
        *(
            pytest.param(name, marks=pytest.mark.exhaustive)
            for name in write.MODELS
            if name != "bahdanau"
        ),
    ],
)
def test_model_answers_as_it_did(version, name):
    expected = answers_of(version)["models"][name]
    found = write.answers_of(ka.load(write.HERE / version / "models" / name))
    assert found["texts"] == expected["texts"]
    for key in ("scores", "logits"):
        np.testing.assert_allclose(found[key], expected[key], **TOLERANCE)


@each_version
def test_saved_model_answers_as_it_did(version):
    import tensorflow as tf

    expected = answers_of(version)["served"]
    loaded = tf.saved_model.load(str(write.HERE / version / "served"))
    texts = tf.constant([text.encode() for text in write.TEXTS])
    found = loaded.signatures["serving_default"](text=texts)
    assert [t.decode() for t in found["text"].numpy()] == expected["texts"]
    np.testing.assert_allclose(found["score"], expected["scores"], **TOLERANCE)


@pytest.mark.exhaustive
@each_version
def test_unfinished_training_goes_on_to_the_same_end(version, tmp_path):
    expected = answers_of(version)["training"]
    parent = tmp_path / "training"
    shutil.copytree(write.HERE / version / "training", parent)
    found = write.finish_training(parent / "model")
    for one, other in zip(found["weights"], expected["weights"], strict=True):
        np.testing.assert_allclose(one, other, **TOLERANCE)
    assert found["metrics"].keys() == expected["metrics"].keys()
    for name, value in expected["metrics"].items():
        if name.startswith("val_"):
            assert found["metrics"][name] == pytest.approx(value, abs=1e-4)
