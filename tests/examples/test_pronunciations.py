"""Pronunciations: two dictionaries, and their splits by a hash."""

import pytest

from keras_attention.examples import pronunciations as spoken

CMU_SHARES = {"test": 96, "dev": 22}


@pytest.fixture(scope="module")
def pronunciations():
    return spoken.load_pronunciations()


def test_pronunciations_are_without_stress_and_not_repeated(pronunciations):
    assert pronunciations["lead"] == ["L EH D", "L IY D"]
    # Its two entries differ in stress alone.
    assert len(pronunciations["import"]) == 1
    phonemes = {
        phoneme
        for listed in pronunciations.values()
        for one in listed
        for phoneme in one.split()
    }
    assert len(phonemes) == 39
    assert all(phoneme.isalpha() for phoneme in phonemes)


def test_split_is_the_hash_of_the_word_alone(pronunciations):
    # Their SHA-256 begin with 676cb750, 77af778b and e3456bc1.
    numbers = [n % 1000 for n in (0x676CB750, 0x77AF778B, 0xE3456BC1)]
    assert numbers == [64, 107, 601]
    found = [
        spoken.split_of(word, CMU_SHARES) for word in ("zebra", "cat", "lead")
    ]
    assert found == ["test", "dev", "train"]
    splits = spoken.split_pronunciations(pronunciations, CMU_SHARES)
    assert sum(map(len, splits.values())) == len(pronunciations)
    for name, share in (("test", 0.096), ("dev", 0.022), ("train", 0.882)):
        assert abs(len(splits[name]) / len(pronunciations) - share) < 2e-3
        assert {spoken.split_of(word, CMU_SHARES) for word in splits[name]} == {
            name
        }


def test_classic_lines_are_read_as_they_come(tmp_path):
    lines = "ABLE\tEY B AH L\nLEAD  L EH D\nLEAD\tL IY D\nLEAD\tL IY D\n"
    (tmp_path / "train.txt").write_text(lines + "A.B\tB IY\n")
    assert spoken.load_classic(tmp_path) == {
        "able": ["EY B AH L"],
        "lead": ["L EH D", "L IY D"],
    }
    with pytest.raises(ValueError, match="holds the file 'train.txt'"):
        spoken.load_classic(tmp_path / "none")


def test_classic_words_that_are_measured_are_neither_trained_nor_chosen_by(
    tmp_path,
):
    spoken.write_sample(tmp_path)
    dictionary = spoken.read_dictionary(tmp_path)
    splits = {name: set(words) for name, words in dictionary.splits.items()}
    assert (
        sum(map(len, splits.values()))
        == 180
        == len(set().union(*splits.values()))
    )
    assert all(splits.values())
    assert dictionary.measured == "dev words"
    word, *_ = splits["train"]
    assert word in dict(dictionary.pairs("train"))
