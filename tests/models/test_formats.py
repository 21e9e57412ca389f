"""Folders of an older format are loaded with the names of today."""

import io
import json
import shutil
import zipfile

import h5py
import keras
import numpy as np
import pytest
from small_models import small_model
from small_models import source_ids
from small_models import target_ids

import keras_attention as ka
from keras_attention.models import folders
from keras_attention.models import formats
from keras_attention.models import read_card
from keras_attention.models.digests import digest_of


def outputs_of(model):
    inputs = {"source": source_ids(), "target": target_ids()}
    return keras.ops.convert_to_numpy(model(inputs))


@pytest.fixture(scope="module")
def model():
    return small_model("cnn", "luong", max_length=6)


def rewritten(folder, change_config, change_weights):
    """Rewrites model.keras as an older version might have, digest and all."""
    path = folder / folders.MODEL
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change_config(config["config"])
    members["config.json"] = json.dumps(config).encode()
    weights = io.BytesIO(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        change_weights(file)
    members["model.weights.h5"] = weights.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    card = json.loads((folder / folders.CARD).read_text())
    del card[formats.KEY]
    card[folders.DIGESTS][folders.MODEL] = digest_of(path)
    (folder / folders.CARD).write_text(json.dumps(card))


def old_names(config):
    decoder = config["decoder"]["config"]
    decoder["query"] = decoder.pop("query_state")


def old_paths(weights):
    weights.move("decoder/readout", "decoder/output")
    weights.move("encoder/convolutions", "encoder/stack/layers")


CHANGES = {
    1: formats.Change(
        paths=(
            ("decoder/output", "decoder/readout"),
            ("encoder/stack/layers", "encoder/convolutions"),
            ("decoder/blocks", "decoder/stack/blocks"),  # it has none
        ),
        arguments={"RNNDecoder": {"query": "query_state"}},
    )
}


@pytest.fixture(params=[{}, {2: formats.Change()}], ids=["last", "earlier"])
def changes(request, monkeypatch):
    all_changes = {**CHANGES, **request.param}
    monkeypatch.setattr(formats, "CHANGES", all_changes)
    monkeypatch.setattr(formats, "FORMAT", max(all_changes))


def test_old_paths_and_arguments_are_translated(model, changes, tmp_path):
    folder = tmp_path / "model"
    model.save_folder(folder, card={"kind": "luong"})
    rewritten(folder, old_names, old_paths)
    before = digest_of(folder / folders.MODEL)
    loaded = ka.load(folder)
    np.testing.assert_array_equal(outputs_of(loaded), outputs_of(model))
    assert digest_of(folder / folders.MODEL) == before
    assert read_card(folder) == {"kind": "luong"}


def test_what_is_loaded_of_an_old_folder_is_checked(model, changes, tmp_path):
    def outside(weights):
        weights["decoder/linked"] = h5py.ExternalLink("/etc/passwd", "/")

    def harmful(config):
        config["encoder"]["class_name"] = "Lambda"
        config["encoder"]["module"] = "keras.layers"
        config["encoder"]["registered_name"] = None

    for name, change_config, change_weights, message in (
        ("links", old_names, outside, "ExternalLink"),
        ("code", harmful, old_paths, "Lambda"),
    ):
        folder = tmp_path / name
        model.save_folder(folder)
        rewritten(folder, change_config, change_weights)
        with pytest.raises(ValueError, match=message):
            ka.load(folder)


def test_folder_of_today_is_loaded_as_it_is(model, changes, tmp_path):
    model.save_folder(tmp_path / "model")
    path = tmp_path / "model" / folders.MODEL
    with formats.translated(path, formats.FORMAT) as found:
        assert found == path


def test_folder_of_a_newer_format_is_refused(model, tmp_path):
    model.save_folder(tmp_path / "model")
    path = tmp_path / "model" / folders.CARD
    card = json.loads(path.read_text())
    path.write_text(json.dumps({**card, "format": formats.FORMAT + 1}))
    with pytest.raises(
        ValueError, match=f"its format is {formats.FORMAT + 1}.*newer"
    ):
        ka.load(tmp_path / "model")


def test_entry_of_that_name_in_an_older_card_is_the_users(model, tmp_path):
    model.save_folder(tmp_path / "model")
    path = tmp_path / "model" / folders.CARD
    path.write_text(json.dumps({"format": "tab-separated"}))
    assert read_card(tmp_path / "model") == {"format": "tab-separated"}
    assert ka.load(tmp_path / "model").max_length == 6
    shutil.rmtree(tmp_path / "model")
