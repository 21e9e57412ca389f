"""Each file that is read, damaged: its meaning, or an error that names it.

What has a checksum never changes its meaning unnoticed. What has none, as
lines of text, may be read as what another file could hold.
"""

import gzip
import json
import pathlib
import random
import shutil
import typing
from collections.abc import Callable

import keras
import numpy as np
import pytest
from damages import damages_of
from damages import try_all
from old_formats import write_all
from text import piece_lines

from keras_attention.models import read_card
from keras_attention.text import PieceVocabulary
from keras_attention.text import Vocabulary
from keras_attention.text import read_vocabulary
from keras_attention.training import HistoryFile
from keras_attention.training import read_pairs
from keras_attention.training.archives import read_archive
from keras_attention.training.archives import write_archive

pytestmark = pytest.mark.tensorflow_only

TEXTS = ["ab cd", "Köln ﬁ\u0301", "", "\U0001f600 a", "x" * 99]
ROWS = [("ab cd", "C D"), ("köln", "K L N"), ("a, b\tc", 'say "a"')]
LINES = piece_lines.lines_of(97)


class Format(typing.NamedTuple):
    """A kind of file: how it is written and read."""

    name: str
    write: Callable  # (path)
    read: Callable  # (path) -> what it holds
    detected: bool = False  # by a checksum in it or beside it


def write_a_card(path):
    card = {"kind": "luong", "metrics": {"val_loss": 1.25}, "note": "für"}
    path.write_text(json.dumps(card, indent=2, ensure_ascii=False))


def write_a_history(path):
    rows = [{"epoch": n, "seconds": 0.5, "loss": 1 / n} for n in range(1, 7)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def go_on_with_history(path):
    """Reads a history as a training does that goes on in its third epoch."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    history = HistoryFile(path)
    history.set_model(model)
    rows = history.rows()
    history.on_epoch_end(2, {"loss": 0.1})
    return rows, [row["epoch"] for row in history.rows()]


def write_an_archive(path):
    arrays = [np.arange(97.0), np.ones((3, 5), "int32")]
    write_archive(path, arrays, {"position": [1, 2, False]})


def read_an_archive(path):
    arrays, facts = read_archive(path)
    return [array.tolist() for array in arrays], facts


def read_encoder(path):
    """Reads a vocabulary that is used, too."""
    vocabulary = read_vocabulary(path)
    return vocabulary.to_dict(), vocabulary.encode(TEXTS).numpy().tolist()


def read_entries(path):
    return read_vocabulary(path).to_dict()


def write_sentencepiece(path):
    path.write_bytes(
        piece_lines.model_of(
            LINES, vocab_size=97, normalization_rule_name="nfkc"
        )
    )


def write_tokenizer(path, **options):
    import tokenizers
    from tokenizers import pre_tokenizers
    from tokenizers import trainers

    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=61, special_tokens=["<unk>"], show_progress=False
    )
    tokenizer.train_from_iterator(LINES, trainer)
    path.write_text(tokenizer.to_str(pretty=True))


def write_table(path):
    path.write_text("".join(f"{s.split(',')[0]}\t{t}\n" for s, t in ROWS))


def write_csv(path):
    path.write_text("en,fr\n" + '"a, b","say ""c"""\nköln,K\n')


def write_json_lines(path):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))


def pairs_in(path):
    return list(read_pairs(path))


FORMATS = [
    Format("a.npz", write_an_archive, read_an_archive, detected=True),
    Format("history.jsonl", write_a_history, go_on_with_history),
    Format("card.json", write_a_card, lambda path: read_card(path.parent)),
    Format(
        "vocabulary.json",
        lambda path: Vocabulary.build(TEXTS[:2]).save(path),
        read_encoder,
    ),
    Format(
        "pieces.json",
        lambda path: PieceVocabulary(["▁a", "b", "ö"], [-1, -2, -3]).save(path),
        read_entries,
    ),
    Format("a.model", write_sentencepiece, read_entries),
    Format("tokenizer.json", write_tokenizer, read_entries),
    Format("a.tsv", write_table, pairs_in),
    Format("a.csv", write_csv, pairs_in),
    Format("a.jsonl", write_json_lines, pairs_in),
    Format(
        "a.tsv.gz",
        lambda path: path.write_bytes(gzip.compress(("a\tb\n" * 99).encode())),
        pairs_in,
        detected=True,
    ),
]


def check_damages(kind, folder, count, seed):
    path = pathlib.Path(folder) / kind.name
    kind.write(path)
    damages = damages_of(path.read_bytes(), count, random.Random(seed))
    outcomes = try_all(path, kind.read, damages, kind.detected)
    assert outcomes.refused > 3
    return outcomes


def names(kinds):
    return {"argvalues": kinds, "ids": [kind.name for kind in kinds]}


@pytest.mark.filterwarnings("ignore:.* names the columns")
@pytest.mark.parametrize("kind", **names(FORMATS))
def test_damaged_file_is_read_as_a_whole_one_or_refused(
    kind, tmp_path, record_property
):
    check_damages(kind, tmp_path, 31, seed=3)
    record_property("damaged files tried", 31)


BROKEN_HISTORIES = [b"[]", b"{}", b'{"epoch": "1"}', b'{"epoch": 1, "a": NaN}']


@pytest.mark.parametrize("line", BROKEN_HISTORIES)
def test_history_without_its_epochs_is_refused(line, tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + line)
    with pytest.raises(ValueError, match="jsonl' must hold .*each with its ep"):
        HistoryFile(path).rows()


SERVED = sorted(write_all.HERE.glob("*/served"))[-1]
WEIGHTS = ["variables.data-00000-of-00001", "variables.index"]


def weights_in(folder):
    """Returns what a server reads of the weights of a SavedModel."""
    import tensorflow as tf

    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    names = sorted(reader.get_variable_to_shape_map())
    return [(n, np.asarray(reader.get_tensor(n)).tobytes()) for n in names]


@pytest.mark.parametrize("name", WEIGHTS)
def test_damage_to_the_weights_of_a_saved_model_is_noticed(
    name, tmp_path, record_property
):
    """By TensorFlow, which knows no checksum of `saved_model.pb`, though."""
    import tensorflow as tf

    folder = shutil.copytree(SERVED, tmp_path / "served")
    path, wanted = folder / "variables" / name, weights_in(SERVED)
    noticed = 0
    for what, content in damages_of(path.read_bytes(), 97, random.Random(5)):
        path.write_bytes(content)
        try:
            assert weights_in(folder) == wanted, what
        except (tf.errors.OpError, IndexError):
            noticed += 1
    assert noticed > 80
    record_property("damaged files tried", 97)


def test_damage_to_the_records_of_a_warm_up_is_noticed(
    tmp_path, record_property
):
    """By TensorFlow: what a server reads are whole records, up to the harm."""
    import tensorflow as tf

    from keras_attention.export import warm_up

    path = tmp_path / "tf_serving_warmup_requests"
    logs = [
        warm_up.prediction_log("tokens", {"ids": tf.constant([[4, n, 2]])})
        for n in range(5)
    ]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for log in logs:
            writer.write(log)
    noticed = 0
    for what, content in damages_of(path.read_bytes(), 97, random.Random(5)):
        path.write_bytes(content)
        read = []
        try:
            for record in tf.data.TFRecordDataset(str(path)):
                read.append(record.numpy())
        except tf.errors.DataLossError:
            noticed += 1
        assert read == logs[: len(read)], what
    assert noticed > 80
    record_property("damaged files tried", 97)


SOAKED = [
    *((kind, 2000) for kind in FORMATS),
    # Each is traced anew, to find out whether it ends.
    (Format("used.model", write_sentencepiece, read_encoder), 50),
]


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.* names the columns")
@pytest.mark.parametrize(
    ("kind", "count"), SOAKED, ids=[kind.name for kind, _ in SOAKED]
)
def test_file_is_read_or_refused_however_it_is_damaged(
    kind, count, tmp_path, record_property
):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed={seed}")
    outcomes = check_damages(kind, tmp_path, count, seed)
    record_property("damaged files tried", count)
    record_property("damaged files refused", outcomes.refused)
