"""The lines of the original formats, read by the examples."""

import gzip
import json
import math
import wave

import numpy as np
import pytest

from keras_attention import Vocabulary
from keras_attention.examples import babi_stories
from keras_attention.examples import film_reviews
from keras_attention.examples import image_files
from keras_attention.examples import multi30k
from keras_attention.examples import pronunciations
from keras_attention.examples import snips
from keras_attention.examples import speech_files
from keras_attention.examples import text_lines
from keras_attention.examples.ngrams import WittenBellModel

pytestmark = pytest.mark.tensorflow_only

STORIES = """\
1 Mary moved to the bathroom.
2 Mary got the milk there.
3 Where is the milk? \tbathroom\t2 1
1 The office is north of the kitchen.
2 What is north of the kitchen?\toffice\t1
"""


def test_questions_come_with_the_story_so_far(tmp_path):
    path = tmp_path / "qa.txt"
    path.write_text(STORIES)
    milk, office = babi_stories.read_questions(path)
    story = ["mary moved to the bathroom", "mary got the milk there"]
    assert milk == (story, "where is the milk", "bathroom")
    assert office[1:] == ("what is north of the kitchen", "office")
    words = Vocabulary.build([" ".join(story), milk[1]], unit="symbols")
    inputs, labels = babi_stories.encode([milk, office], words, ["bathroom"], 3)
    assert labels.tolist() == [0, -1]
    assert inputs["story"].shape == (2, 3, babi_stories.WORDS)
    # The last sentence first, then padding.
    read = [words.decode(row[None])[0].numpy() for row in inputs["story"][0]]
    assert read == [story[1].encode(), story[0].encode(), b""]
    last, _ = babi_stories.encode([milk], words, [], 1)
    assert (last["story"][0, 0] == inputs["story"][0, 0]).all()


def test_sentences_are_those_before_the_last_tab(tmp_path):
    path = tmp_path / "train.tsv"
    path.write_text("One Long string\t0\nlovely\t1\n\n")
    sentences, labels = film_reviews.read_sentences(path)
    assert sentences == ["one long string", "lovely"]
    assert labels.tolist() == [0, 1]


def commands_of(tmp_path, chunks, encoding="utf-8"):
    text = json.dumps({"PlayMusic": [{"data": chunks}]}, ensure_ascii=False)
    path = tmp_path / "train_PlayMusic_full.json"
    path.write_bytes(text.encode(encoding))
    return snips.read_commands(tmp_path, "train", ("PlayMusic",))


def test_words_are_cut_before_anyone_asks_for_their_slots(tmp_path):
    chunks = [
        {"text": "Play "},
        {"text": "Ann", "entity": "artist"},
        {"text": "'s "},
        {"text": "red car", "entity": "track"},
        {"text": "blue", "entity": "track"},
    ]
    (command,) = commands_of(tmp_path, chunks)
    # "carblue" is one word: its slot is that of its first letter.
    assert command.words == ("play", "ann", "'", "s", "red", "carblue")
    assert command.tags == ("O", "B-artist", "O", "O", "B-track", "I-track")
    assert command.intent == "PlayMusic"


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_commands_may_be_of_either_encoding(tmp_path, encoding):
    (command,) = commands_of(tmp_path, [{"text": "fantasía"}], encoding)
    assert command.words == ("fantasía",)
    mixed = "í".encode() + "í".encode("latin-1")
    assert snips.text_of(mixed) == "íí"


def test_commands_are_encoded_word_by_word(tmp_path):
    commands = commands_of(tmp_path, [{"text": "go", "entity": "x"}]) * 2
    vocabularies = snips.make_vocabularies(commands)
    inputs, labels = snips.encode(commands, vocabularies)
    assert inputs["words"].shape == (2, snips.LENGTH)
    spelt = inputs["letters"][0]
    letters = vocabularies["letters"]
    assert letters.decode(spelt[:1])[0].numpy() == b"go"
    assert not spelt[1:].any()
    names = np.array(vocabularies["tags"].tokens)[labels["tags"][0, :3]]
    assert names.tolist() == ["B-x", "<eos>", "<pad>"]
    assert labels["intent"].tolist() == [0, 0]


def test_lines_of_files_are_read_once(tmp_path):
    (tmp_path / "a.tsv").write_text("hello\t你好\nhello\nbye\n\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"night\n"))
    (tmp_path / "LICENSE").write_text("none\n")
    assert text_lines.read_lines(tmp_path) == ["hello", "bye", "night"]
    assert text_lines.read_lines(tmp_path / "LICENSE") == ["none"]
    lines = [f"line {number}" for number in range(2000)]
    parts = text_lines.split_lines(lines)
    assert sorted(sum(parts, [])) == sorted(lines)
    assert [abs(len(part) - 100) < 40 for part in parts] == [False, True, True]
    assert text_lines.split_lines(lines[::-1])[2] == parts[2][::-1]


def test_blocks_are_the_joined_lines_and_labels_come_one_later():
    vocabulary = Vocabulary.build(["abc"])
    rows = text_lines.rows_of(["ab", "c"], vocabulary)
    assert [row.tolist() for row in rows] == [[1, 4, 5, 2], [1, 6, 2]]
    inputs, labels = text_lines.blocks_of(rows, 3)
    assert inputs.tolist() == [[1, 4, 5], [2, 1, 6]]
    assert labels.tolist() == [[4, 5, 2], [1, 6, 2]]


def test_ngrams_sum_to_one_and_are_those_of_the_formula():
    model = WittenBellModel(["abab", "ac"], 3, vocabulary_size=5)
    for history in ((), ("a",), ("a", "b"), ("c", "a"), ("z",)):
        chances = [model.probability(history, c) for c in "abcde"]
        assert sum(chances) == pytest.approx(1.0)
    # After "a": b twice, c once; over all: b twice, a and c once.
    empty = (2 + 3 / 5) / (4 + 3)
    after_a = (2 + 2 * empty) / (3 + 2)
    assert model.probability((), "b") == pytest.approx(empty)
    assert model.probability(("a",), "b") == pytest.approx(after_a)
    assert model.bits(["ab"]) == pytest.approx(-math.log2(after_a))


def test_an_answer_that_was_never_trained_on_is_wrong():
    class Model:
        def predict(self, inputs, **options):
            del options
            return np.eye(3)[inputs]  # the logits of three answers

    assert babi_stories.share_right(
        Model(), [0, 1, 2, 2], np.array([0, 1, 1, -1])
    ) == (1 / 2)


@pytest.mark.parametrize(
    ("read", "name", "content", "message"),
    [
        (
            film_reviews.read_sentences,
            "train.tsv",
            b"sentence\tlabel\nlovely\t1\n",
            "train.tsv' must hold lines .*0 or 1. Received: 'label'",
        ),
        (film_reviews.read_sentences, "dev.tsv", b"", "Received: nothing"),
        (
            babi_stories.read_questions,
            "qa.txt",
            b"1 Mary went home.\n2 Where?\thome\n",
            "qa.txt' must hold stories of bAbI",
        ),
        (
            lambda path: pronunciations.load_classic(path.parent),
            "train.txt",
            b"cat\n",
            "train.txt' must hold lines of a word and its phonemes",
        ),
        (
            lambda path: snips.read_commands(path.parent, "train", ("Go",)),
            "train_Go_full.json",
            b'{"go": []}',
            "full.json' must hold the commands of Go as JSON",
        ),
        (
            image_files.read_idx,
            "a.gz",
            gzip.compress(b"", mtime=0),
            "a.gz' must hold arrays in the format of MNIST",
        ),
        (
            lambda path: speech_files.read_sides(path.parent),
            "0_a_10.wav",
            b"RIFF",
            "0_a_10.wav' must hold samples of 16 bits, 8 kHz",
        ),
        (
            text_lines.read_lines,
            "a.gz",
            b"not compressed",
            "a.gz' must hold text in UTF-8",
        ),
    ],
)
def test_files_of_another_kind_are_named(
    tmp_path, read, name, content, message
):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / name)


def test_recordings_of_another_rate_are_refused(tmp_path):
    with wave.open(str(tmp_path / "0_a_10.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", None))
        file.writeframes(b"\0\0" * 99)
    with pytest.raises(ValueError, match="8 kHz.*framerate=16000"):
        speech_files.read_sides(tmp_path)


def test_sides_of_different_lengths_are_told(tmp_path):
    for language, lines in (("en", b"a\n"), ("de", b"a\nb\n")):
        path = tmp_path / f"val.{language}.gz"
        path.write_bytes(gzip.compress(lines))
    with pytest.raises(ValueError, match=r"'val' must have as many.*\[1, 2\]"):
        multi30k.read_split(tmp_path, "val")


def test_too_few_lines_are_told():
    with pytest.raises(ValueError, match="enough lines.*2 different lines"):
        text_lines.split_lines(["one", "two"])


def test_no_short_sentence_is_no_picture(tmp_path, capsys):
    path = tmp_path / "words.png"
    film_reviews.draw(None, None, ["too short"], None, path)
    assert "No picture: no sentence has" in capsys.readouterr().out
    assert not path.exists()
