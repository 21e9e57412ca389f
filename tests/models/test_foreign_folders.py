"""Folders of strangers: loaded as they were saved, or one ValueError."""

import json
import os
import tracemalloc
import zipfile

import keras
import numpy as np
import pytest
from hostile_files import CONFIG
from hostile_files import HOSTILE_WEIGHTS
from hostile_files import WEIGHTS
from hostile_files import folder_of
from hostile_files import members_of
from hostile_files import with_config
from hostile_files import with_weights
from hostile_files import write_members
from small_models import small_model
from small_models import source_ids
from small_models import target_ids

import keras_attention as ka
from keras_attention.models import folders
from keras_attention.models import read_card


@pytest.fixture(scope="module")
def model():
    return small_model("cnn", "luong", max_length=6)


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    model.save_folder(folder)
    return folder


@pytest.fixture(scope="module")
def members(saved):
    return members_of(saved / "model.keras")


def outputs_of(model):
    inputs = {"source": source_ids(), "target": target_ids()}
    return keras.ops.convert_to_numpy(model(inputs))


def test_folder_without_card_loads(model, members, tmp_path):
    loaded = ka.load(folder_of(tmp_path, members))
    np.testing.assert_array_equal(outputs_of(loaded), outputs_of(model))


def test_deflated_file_loads(model, members, tmp_path):
    folder = folder_of(tmp_path, members, compression=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(
        outputs_of(ka.load(folder)), outputs_of(model)
    )


def test_graph_of_a_stranger_is_refused(members, tmp_path):
    def change(config):
        config["config"]["encoder"] = {
            "module": "keras.layers",
            "class_name": "TFSMLayer",
            "config": {"filepath": str(tmp_path / "graph"), "name": "encoder"},
            "registered_name": None,
        }

    folder = folder_of(tmp_path, with_config(members, change))
    with pytest.raises(
        ValueError, match=r"model\.keras.*\['encoder'\].*TFSMLayer"
    ):
        ka.load(folder)


class Stranger(ka.CNNEncoder):
    """A class that nobody has registered."""


def test_class_in_custom_objects_loads(members, tmp_path):
    def change(config):
        encoder = config["config"]["encoder"]
        encoder.update(module="mine", registered_name="Encoder")

    folder = folder_of(tmp_path, with_config(members, change))
    with pytest.raises(ValueError, match="mine.CNNEncoder.*`custom_objects`"):
        ka.load(folder)
    loaded = ka.load(folder, custom_objects={"Encoder": Stranger})
    assert type(loaded.encoder) is Stranger


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "not a list"),
        (b"", "Expecting value"),
        (b"\xff\xfe\xfd", "codec can't decode"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"config": {}, "config": {}}', "'config' is there twice"),
        (b'{"a": %s}' % (b"7" * 10_000), "integer string conversion"),
        (b"{}", "KerasSaveable"),
        (b" " * 2**26 + b"{}", r"unpacks to 67,108,866 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_damaged_config_is_refused(content, message, members, tmp_path):
    folder = folder_of(tmp_path, {**members, CONFIG: content})
    with pytest.raises(ValueError, match=message):
        ka.load(folder)


@pytest.mark.parametrize("name", sorted(HOSTILE_WEIGHTS))
def test_weights_outside_of_the_file_are_refused(name, members, tmp_path):
    change, message = HOSTILE_WEIGHTS[name]
    folder = folder_of(tmp_path, with_weights(members, change))
    with pytest.raises(ValueError, match=message):
        ka.load(folder)


def test_groups_that_hold_each_other_do_no_harm(members, tmp_path):
    def change(file):
        file["decoder/around"] = file["/"]

    folder = folder_of(tmp_path, with_weights(members, change))
    assert type(ka.load(folder)) is ka.Seq2Seq


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ((CONFIG, b"{}"), "holds 'config.json' twice"),
        ((WEIGHTS, b""), "holds 'model.weights.h5' twice"),
        (("assets/vocabulary.txt", b"a"), "not 'assets/vocabulary.txt'"),
        (("../config.json", b"{}"), "not '../config.json'"),
        (("/tmp/config.json", b"{}"), "not '/tmp/config.json'"),
        (("model.weights.npz", b""), "not 'model.weights.npz'"),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_other_members_are_refused(extra, message, members, tmp_path):
    folder = folder_of(tmp_path, [*members.items(), extra])
    with pytest.raises(ValueError, match=message):
        ka.load(folder)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_missing_member_is_refused(name, members, tmp_path):
    folder = folder_of(
        tmp_path, {k: v for k, v in members.items() if k != name}
    )
    with pytest.raises(ValueError, match=f"lacks '{name}'"):
        ka.load(folder)


@pytest.mark.parametrize(
    "compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA], ids=["bzip2", "lzma"]
)
def test_compression_without_bounds_is_refused(compression, members, tmp_path):
    folder = folder_of(tmp_path, members, compression=compression)
    with pytest.raises(ValueError, match="must be stored or deflated"):
        ka.load(folder)


@pytest.mark.parametrize("name", [CONFIG, "metadata.json", WEIGHTS])
def test_bomb_is_refused_before_it_is_unpacked(name, members, tmp_path):
    bomb = {**members, name: bytes(2**27)}
    folder = folder_of(tmp_path, bomb, compression=zipfile.ZIP_DEFLATED)
    assert (folder / "model.keras").stat().st_size < 2**20
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="unpacks to 134,217,728 bytes"):
            ka.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 2**22
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [7, 2**24])
def test_size_that_lies_is_refused(size, members, tmp_path):
    folder = folder_of(
        tmp_path,
        {**members, CONFIG: bytes(2**26)},
        compression=zipfile.ZIP_DEFLATED,
    )
    path = folder / "model.keras"
    content = path.read_bytes().replace(
        (2**26).to_bytes(4, "little"), size.to_bytes(4, "little")
    )
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Bad CRC-32 for file 'config.json'"):
        ka.load(folder)


def test_encrypted_member_is_refused(members, tmp_path):
    folder = folder_of(tmp_path, members)
    path = folder / "model.keras"
    with zipfile.ZipFile(path, "a") as archive:
        archive.getinfo(CONFIG).flag_bits |= 1
        archive.comment = b"written anew"
    with pytest.raises(ValueError, match="'config.json' must be stored"):
        ka.load(folder)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("vocabulary_size", "asks for 9,000,000,.* weights, and it holds 1,78"),
        ("units", "asks for 12,000,000,.* weights, and it holds 1,78"),
        ("num_layers", "a part of it has 1,000,000,000,000 layers"),
    ],
)
def test_config_that_asks_for_memory_is_refused(
    key, message, members, tmp_path
):
    def change(config):
        config["config"]["encoder"]["config"][key] = 10**12

    folder = folder_of(tmp_path, with_config(members, change))
    with pytest.raises(ValueError, match=message):
        ka.load(folder)
    # Were the weights remembered, the end of this scope would make them.
    with keras.StatelessScope() as scope:
        assert scope.initialize_variables


def test_error_is_short_and_holds_nothing_that_a_terminal_obeys(
    saved, monkeypatch
):
    def fail(path, custom_objects):
        raise TypeError(f"the cause\x1b[2J {9999 * 'b'} the end\nof it")

    monkeypatch.setattr(folders, "check_model_file", fail)
    with pytest.raises(ValueError, match=r"(?s)the cause\?\[2J b.*\.\.\.") as e:
        ka.load(saved)
    assert "b the end\nof it" in str(e.value)
    assert len(str(e.value)) < 1500


@pytest.mark.parametrize("length", [0, 1, 100, 20_000, -1])
def test_truncated_file_is_refused(length, saved, tmp_path):
    content = (saved / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[:length])
    with pytest.raises(ValueError, match=r"model\.keras' cannot be loaded"):
        ka.load(tmp_path)


def test_flipped_bit_is_refused_or_does_nothing(model, saved, tmp_path):
    content = bytearray((saved / "model.keras").read_bytes())
    generator = np.random.default_rng(7)
    refused = 0
    for position in generator.choice(8 * len(content), 300, replace=False):
        flipped = content.copy()
        flipped[position // 8] ^= 1 << (position % 8)
        (tmp_path / "model.keras").write_bytes(flipped)
        try:
            loaded = ka.load(tmp_path)
        except ValueError as error:
            assert "model.keras' cannot be loaded" in str(error)
            refused += 1
        else:
            np.testing.assert_array_equal(outputs_of(loaded), outputs_of(model))
    assert refused > 250


def test_folder_as_model_file_is_refused(members, tmp_path):
    folder = tmp_path / "model.keras"
    folder.mkdir()
    for name, content in members.items():
        (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=r"a folder that holds model\.keras"):
        ka.load(tmp_path)


@pytest.mark.parametrize("name", ["card.json", "target_vocabulary.json"])
def test_pipe_is_not_waited_for(name, members, tmp_path):
    folder = folder_of(tmp_path, members)
    os.mkfifo(tmp_path / "pipe")
    (folder / name).symlink_to(tmp_path / "pipe")
    with pytest.raises(ValueError, match=f"{name}' .*not a regular file"):
        ka.load(folder)


def test_infinite_weights_load(members, tmp_path):
    def change(file):
        file["decoder/embedding/vars/0"][0, 0] = np.nan

    folder = folder_of(tmp_path, with_weights(members, change))
    loaded = ka.load(folder)
    assert not all(np.isfinite(w).all() for w in loaded.get_weights())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "not a list"),
        (b"{", "Expecting property name"),
        (b'{"a": [' * 100_000, "nested too deeply"),
        (b'{"sha256": []}', "'sha256' is not an object"),
        (b'{"a": 5, "a": 7}', "'a' is there twice"),
        (b" " * 2**26 + b"{}", "more than 67,108,864 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_damaged_card_is_refused(content, message, members, tmp_path):
    folder = folder_of(tmp_path, members)
    (folder / "card.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"card.json' .*{message}"):
        ka.load(folder)


def test_card_that_is_not_json_is_not_read(tmp_path):
    (tmp_path / "card.json").write_text('{"loss": NaN}')
    with pytest.raises(ValueError, match=r"card\.json' .*NaN is not a JSON"):
        read_card(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[]", "not a list"),
        (b"{}", "'version', 'unit' and 'tokens'"),
        (b'{"a": [' * 100_000, "nested too deeply"),
        (b'{"version": 1, "unit": [], "tokens": []}', "`unit` must be one of"),
        (b'{"version": 1, "unit": "words", "tokens": 5}', "a list of str"),
        (b'{"version": 1, "unit": "words", "tokens": [5]}', "a list of str"),
        (b'{"version": [], "unit": "words", "tokens": [5]}', "`version`"),
        (b'{"version": NaN}', "NaN is not a JSON number"),
        (b" " * 2**26 + b"{}", "more than 67,108,864 bytes"),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.tensorflow_only
def test_damaged_vocabulary_is_refused(content, message, members, tmp_path):
    folder = folder_of(tmp_path, members)
    (folder / "source_vocabulary.json").write_bytes(content)
    with pytest.raises(
        ValueError, match=f"source_vocabulary.json' .*{message}"
    ):
        ka.load(folder)


@pytest.mark.tensorflow_only
def test_size_of_vocabulary_is_compared(members, tmp_path):
    folder = folder_of(tmp_path, members)
    ka.Vocabulary.build(["abc"]).save(folder / "source_vocabulary.json")
    with pytest.raises(ValueError, match="vocabulary of another model"):
        ka.load(folder)


def test_file_that_was_not_saved_with_the_others_is_refused(saved, tmp_path):
    model = small_model("cnn", "luong", max_length=7)
    model.save_folder(tmp_path / "model")
    text = json.loads((tmp_path / "model" / "card.json").read_text())
    assert set(text["sha256"]) == {"model.keras"}
    (tmp_path / "model" / "model.keras").write_bytes(
        (saved / "model.keras").read_bytes()
    )
    with pytest.raises(ValueError, match=r"model\.keras' .*not the file that"):
        ka.load(tmp_path / "model")


def test_vocabulary_that_was_added_is_refused(saved, tmp_path):
    write_members(tmp_path / "model.keras", members_of(saved / "model.keras"))
    card = (saved / "card.json").read_bytes()
    (tmp_path / "card.json").write_bytes(card)
    (tmp_path / "model.keras").write_bytes((saved / "model.keras").read_bytes())
    (tmp_path / "target_vocabulary.json").write_text("{}")
    with pytest.raises(ValueError, match="target_vocabulary.*not the file"):
        ka.load(tmp_path)


@keras.saving.register_keras_serializable("tests")
class Configured(ka.Seq2Seq):
    """Its configuration holds the source vocabulary."""

    def get_config(self):
        vocabulary = self.source_vocabulary.to_dict()
        return {**super().get_config(), "source_vocabulary": vocabulary}

    @classmethod
    def from_config(cls, config):
        vocabulary = ka.Vocabulary.from_dict(config["source_vocabulary"])
        config = {**config, "source_vocabulary": None}
        model = super().from_config(config)
        model.set_vocabularies(vocabulary, None)
        return model


@pytest.mark.tensorflow_only
def test_vocabulary_of_the_config_and_of_the_file_must_agree(model, tmp_path):
    parts = model.get_config()
    tokens = ka.Vocabulary.build(["abcdefg"]).to_dict()
    config = {**parts, "source_vocabulary": tokens}
    folder = tmp_path / "model"
    Configured.from_config(config).save_folder(folder)
    (folder / "card.json").unlink()
    assert ka.load(folder).source_vocabulary.to_dict() == tokens
    other = ka.Vocabulary.build(["abcdefh"])
    other.save(folder / "source_vocabulary.json")
    with pytest.raises(ValueError, match="not the vocabulary that model.keras"):
        ka.load(folder)
    (folder / "source_vocabulary.json").unlink()
    assert ka.load(folder).source_vocabulary.to_dict() == tokens
