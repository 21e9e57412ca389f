"""Model folders: whole or not there at all."""

import hashlib
import json

import keras
import numpy as np
import pytest
from small_models import SOURCE_IDS
from small_models import TARGET_IDS
from small_models import small_model
from small_models import source_ids
from small_models import target_ids

import keras_attention as ka
from keras_attention.models import folders
from keras_attention.models import read_card


@pytest.fixture(scope="module")
def model():
    return small_model("cnn", "luong", max_length=6)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def outputs_of(model):
    inputs = {"source": source_ids(), "target": target_ids()}
    return keras.ops.convert_to_numpy(model(inputs))


@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [("rnn", "bahdanau"), ("transformer", "transformer-moved")],
)
def test_loaded_model_gives_the_same_numbers(encoder, decoder, tmp_path):
    model = small_model(encoder, decoder, max_length=6)
    model.save_folder(tmp_path / "new" / "model")
    loaded = ka.load(tmp_path / "new" / "model")
    assert type(loaded) is ka.Seq2Seq
    assert (loaded.max_length, loaded.source_vocabulary) == (6, None)
    np.testing.assert_array_equal(outputs_of(loaded), outputs_of(model))
    assert names_in(tmp_path / "new") == ["model"]
    assert names_in(tmp_path / "new" / "model") == ["card.json", "model.keras"]


@pytest.mark.tensorflow_only
def test_vocabularies_travel_with_the_model(tmp_path):
    model = small_model(
        "cnn",
        "luong",
        max_length=6,
        source_vocabulary=ka.Vocabulary.build(["abcdefg"]),
        target_vocabulary=ka.Vocabulary.build(["А Б В Г D E F G H"], "symbols"),
    )
    model.save_folder(tmp_path / "model")
    loaded = ka.load(str(tmp_path / "model"))
    assert len(loaded.source_vocabulary) == SOURCE_IDS
    assert len(loaded.target_vocabulary) == TARGET_IDS
    texts = ["abc", "gg", "f"]
    search = ka.Beam(width=3, num_hypotheses=2)
    expected = model.generate(texts, search)
    found = loaded.generate(texts, search)
    np.testing.assert_array_equal(found.texts, expected.texts)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.tensorflow_only
def test_vocabulary_of_another_model_is_noticed(model, tmp_path):
    model.save_folder(tmp_path / "model")
    other = ka.Vocabulary.build(["abc"])
    other.save(tmp_path / "model" / "source_vocabulary.json")
    with pytest.raises(ValueError, match=r"source_vocabulary\.json' .*another"):
        ka.load(tmp_path / "model")


def test_state_of_the_optimizer_is_left_out(model, tmp_path):
    model.save_folder(tmp_path / "plain")
    trained = small_model("cnn", "luong", max_length=6)
    trained.compile("adam", "sparse_categorical_crossentropy")
    trained.optimizer.build(trained.trainable_variables)
    trained.save_folder(tmp_path / "trained")
    plain, trained = (
        (tmp_path / name / "model.keras").stat().st_size
        for name in ("plain", "trained")
    )
    assert trained < 1.1 * plain


def test_lora_is_saved_with_its_kernels(tmp_path):
    model = small_model("cnn", "luong", max_length=6)
    model.decoder.logit_dense.enable_lora(2)
    for weight in model.decoder.logit_dense.trainable_weights:
        weight.assign(keras.ops.ones(weight.shape) / 7)
    model.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    np.testing.assert_allclose(outputs_of(loaded), outputs_of(model), 1e-5)
    names = ["card.json", "model.keras"]
    assert names_in(tmp_path / "model") == names


def test_quantized_model_is_not_saved(tmp_path):
    model = small_model("cnn", "luong", max_length=6)
    model.decoder.logit_dense.quantize("int8")
    with pytest.raises(ValueError, match="one after quantize. Save it before"):
        model.save_folder(tmp_path / "model")
    assert names_in(tmp_path) == []


def test_card_comes_back(model, tmp_path):
    card = {"data": {"pairs": 11}, "rates": [0.5, None], "note": "安哥拉"}
    model.save_folder(tmp_path / "model", card=card)
    assert read_card(tmp_path / "model") == card
    text = (tmp_path / "model" / "card.json").read_text(encoding="utf-8")
    assert "安哥拉" in text
    assert read_card(tmp_path) == {}


def test_existing_folder_is_kept_unless_overwritten(model, tmp_path):
    folder = tmp_path / "model"
    model.save_folder(folder, card={"number": 1})
    with pytest.raises(ValueError, match="`folder` must be a path where noth"):
        model.save_folder(folder, card={"number": 2})
    assert read_card(folder) == {"number": 1}
    model.save_folder(folder, card={"number": 3}, overwrite=True)
    assert read_card(folder) == {"number": 3}
    assert names_in(tmp_path) == ["model"]


def test_model_beside_other_things_is_kept(model, tmp_path):
    folder = tmp_path / "model"
    model.save_folder(folder, card={"number": 1})
    for name in ("history.jsonl", "training.toml", "vocabulary.json"):
        (folder / name).touch()  # what a training or another model wrote
    model.save_folder(folder, card={"number": 2}, overwrite=True)
    (folder / "1").mkdir()  # such as an export
    with pytest.raises(ValueError, match="with '1'. Move that elsewhere"):
        model.save_folder(folder, card={"number": 3}, overwrite=True)
    assert read_card(folder) == {"number": 2}


def test_empty_folder_is_filled(model, tmp_path):
    (tmp_path / "model").mkdir()
    model.save_folder(tmp_path / "model")
    assert "model.keras" in names_in(tmp_path / "model")


@pytest.mark.parametrize("content", ["thesis.txt", "model.keras"])
def test_foreign_folder_is_never_replaced(model, content, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / content).write_text("years of work")
    with pytest.raises(ValueError, match="Nothing else is ever replaced"):
        model.save_folder(folder, overwrite=True)
    assert (folder / content).read_text() == "years of work"
    assert names_in(tmp_path) == ["mine"]


def test_file_is_never_replaced(model, tmp_path):
    path = tmp_path / "model"
    path.write_text("a file")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="`folder` must be a"):
            model.save_folder(path, overwrite=overwrite)
    assert path.read_text() == "a file"


def test_crash_while_writing_leaves_nothing(model, tmp_path, monkeypatch):
    monkeypatch.setattr(folders.json, "dumps", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        model.save_folder(tmp_path / "model")
    assert names_in(tmp_path) == []


def test_card_may_hold_numbers_of_numpy_and_no_arrays(model, tmp_path):
    numbers = {"tokens": np.int64(5), "rates": (np.float32(0.5), np.True_)}
    model.save_folder(tmp_path / "model", card={**numbers, 3: None})
    card = {"tokens": 5, "rates": [0.5, True], "3": None}
    assert read_card(tmp_path / "model") == card
    with pytest.raises(ValueError, match=r"a ndarray at card\['a'\]\[1\]"):
        model.save_folder(tmp_path / "other", card={"a": [1, np.ones(2)]})
    assert names_in(tmp_path) == ["model"]


def test_load_says_what_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"a folder that holds model\.keras"):
        ka.load(tmp_path)
    with pytest.raises(ValueError, match=r"a folder that holds model\.keras"):
        ka.load(tmp_path / "nothing")


def test_load_refuses_another_kind_of_model(tmp_path):
    other = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    other.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="a Seq2Seq.*holds a Sequential"):
        ka.load(tmp_path)


def test_card_is_json_for_people(model, tmp_path):
    model.save_folder(tmp_path / "model", card={"kind": "luong"})
    text = (tmp_path / "model" / folders.CARD).read_text(encoding="utf-8")
    content = (tmp_path / "model" / "model.keras").read_bytes()
    digests = {"model.keras": hashlib.sha256(content).hexdigest()}
    card = {"kind": "luong", "format": 1, "sha256": digests}
    assert text == json.dumps(card, indent=2) + "\n"


@pytest.mark.parametrize(
    ("card", "entry"),
    [
        ({"loss": float("nan")}, r"nan at card\['loss'\]"),
        ({"a": [5, {"b": float("-inf")}]}, r"-inf at card\['a'\]\[1\]\['b'\]"),
    ],
)
def test_card_of_infinite_numbers_is_refused(model, card, entry, tmp_path):
    with pytest.raises(ValueError, match=f"`card` must be .*{entry}"):
        model.save_folder(tmp_path / "model", card=card)
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("key", ["sha256", "format"])
def test_key_of_ours_is_refused_in_cards(key, model, tmp_path):
    with pytest.raises(ValueError, match=f"`card` must be .*without.*'{key}'"):
        model.save_folder(tmp_path / "model", card={key: {}})
    assert names_in(tmp_path) == []


def test_infinite_weights_are_not_saved(tmp_path):
    model = small_model("cnn", "luong", max_length=6)
    weight = model.trainable_variables[-1]
    weight.assign(np.full(weight.shape, np.nan))
    with pytest.raises(ValueError, match="finite weights to be saved"):
        model.save_folder(tmp_path / "new" / "model")
    assert names_in(tmp_path) == []


def test_blocks_that_share_a_position_are_saved_and_loaded(tmp_path):
    position = ka.RelativePositionBias(2)
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(11, 8)(ids)
    for _ in range(2):
        x = ka.TransformerEncoderBlock(2, 8, position=position)(x)
    model = ka.Seq2Seq(keras.Model(ids, x), ka.RNNDecoder(13, 5))
    inputs = {"source": np.array([[5, 4]]), "target": np.array([[1, 6]])}
    model.compile("adam", "sparse_categorical_crossentropy")
    model.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    np.testing.assert_allclose(loaded(inputs), model(inputs), atol=1e-6)
    assert len(loaded.weights) == len(model.weights)
    assert getattr(loaded, "optimizer", None) is None
    assert names_in(tmp_path / "model") == ["card.json", "model.keras"]
