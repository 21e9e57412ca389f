"""Models for other runtimes, and what is asked of the files made of them."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.decoding import MinLength
from keras_attention.decoding import NoRepeatNgram
from keras_attention.export import ids as export_ids

EXHAUSTIVE = pytest.mark.exhaustive
MAX_LENGTH, MAX_SOURCE_LENGTH = 7, 23
BATCHES = [
    ["cab", "a", "hgfe", "", "feedbad"],
    ["abcdefghabc", "hh", "", "c", "bad"],
]
# As `cut` and `join` in a guide are called: neither package is at hand.
PROGRAM = """
import re, sys
for name in ("tensorflow", "keras", "keras_attention"):
    sys.modules[name] = None
guide = open("README.md", encoding="utf-8").read()
exec(re.search(r"```python\\n(.*?)```", guide, re.DOTALL)[1])
"""


def build(kind, **options):
    """A model with random weights, large enough to tell its inputs apart."""
    source = ka.Vocabulary.build(["abcdefgh"])
    target = ka.Vocabulary.build(["a b c", "d e f g"], unit="symbols")
    if "transformer" in kind:
        options = {"num_heads": 2, **options}
    options = {"units": 6, "max_length": MAX_LENGTH, **options}
    model = ka.build_seq2seq(kind, source, target, **options)
    return randomize(model)


def monotonic():
    """A mechanism that moves on, under a cell of Keras."""
    source = ka.Vocabulary.build(["abcdefgh"])
    decoder = ka.RNNDecoder(
        11, 5, ka.MonotonicAttention(7, seed=3), cell=keras.layers.GRUCell(7)
    )
    encoder = ka.CNNEncoder(len(source), 11)
    model = ka.Seq2Seq(
        encoder, decoder, max_length=MAX_LENGTH, source_vocabulary=source
    )
    model.build({"source": (None, None), "target": (None, None)})
    return randomize(model)


def language_model():
    """Two layers over letters."""
    vocabulary = ka.Vocabulary.build(["abcdefgh"])
    decoder = ka.DecoderOnlyTransformer(
        len(vocabulary), 6, num_heads=2, num_layers=2
    )
    model = ka.LanguageModel(decoder, MAX_LENGTH, vocabulary=vocabulary)
    model.build((None, None))
    return randomize(model)


def randomize(model):
    random = np.random.default_rng(20231)
    model.set_weights([random.normal(0, 0.7, w.shape) for w in model.weights])
    return model


# Name: a model and a search. The gate has one of them for each runtime.
CASES = {
    "cnn beam": (lambda: build("cnn-luong"), ka.Beam(2, num_hypotheses=2)),
    "transformer greedy": (lambda: build("transformer"), ka.Greedy()),
    "transformer beam": (
        lambda: build("transformer"),
        ka.Beam(3, num_hypotheses=3),
    ),
    "bahdanau greedy": (lambda: build("bahdanau"), ka.Greedy()),
    "bahdanau beam": (
        lambda: build("bahdanau", num_layers=2, cell="gru"),
        ka.Beam(3, num_hypotheses=2),
    ),
    "luong coverage": (
        lambda: build("luong"),
        ka.Beam(3, length_penalty=0.6, coverage_penalty=0.2, num_hypotheses=3),
    ),
    "sample": (
        lambda: build("cnn-luong"),
        ka.Sample(top_p=0.9, num_samples=2, seed=5),
    ),
    # Two that are said twice fall on one place of a scatter.
    "constraints": (
        lambda: build("luong"),
        ka.Greedy(constraints=[MinLength(3), NoRepeatNgram(2)]),
    ),
    "groups": (
        lambda: build("rnn-transformer"),
        ka.Beam(4, num_hypotheses=2, num_groups=2),
    ),
    "monotonic": (monotonic, ka.Greedy()),
}


def cases(in_gate):
    """Returns the names of all cases, of which the gate runs one."""
    return [
        name if name == in_gate else pytest.param(name, marks=EXHAUSTIVE)
        for name in CASES
    ]


def with_operation(operation):
    """A model whose encoder has an operation that others lack."""

    class Encoder(keras.layers.Layer):
        def build(self, shape):
            self.embedding = keras.layers.Embedding(12, 5)
            self.embedding.build(shape)

        def call(self, source):
            return operation(self.embedding(source))

        def compute_mask(self, source, mask=None):
            return source != 0

    model = ka.Seq2Seq(Encoder(), ka.RNNDecoder(11, 5), MAX_LENGTH)
    model.build({"source": (None, None), "target": (None, None)})
    return model


SEARCHES = [ka.Greedy(), ka.Beam(2, num_hypotheses=2)]


def check_answers(model, search, answer):
    """Compares what a file answers with what `generate` does.

    Args:
        model: a `Seq2Seq` that reads text.
        search: the search in the file.
        answer: function from ids (5, source_length) to a dict.
    """
    for texts in BATCHES:
        ids = model.source_vocabulary.encode(texts).numpy()
        seeds = None
        if isinstance(search, ka.Sample):
            seeds = export_ids.row_seeds(tf.constant(ids)).numpy()
        expected = model.generate(ids, search, row_seeds=seeds)._asdict()
        found = dict(answer(ids))
        assert set(found) == set(expected)
        steps = expected["alignments"].shape[2]
        assert not found["alignments"][:, :, steps:].any()
        found["alignments"] = found["alignments"][:, :, :steps]
        for name in ("tokens", "lengths"):
            np.testing.assert_array_equal(found[name], expected[name])
        for name in ("scores", "alignments"):
            np.testing.assert_allclose(
                found[name], expected[name], rtol=1e-5, atol=1e-5
            )
        assert expected["lengths"].max() > 1


def check_prompts(model, search, answer, folder):
    """The same of a `LanguageModel`; the program in the guide, too."""
    for texts in (["cab", "a", "", "hgfe"], ["abcdefghabc", "hh"]):
        ids = model.vocabulary.encode(texts).numpy()
        expected = model.generate(ids, search)
        found = answer(ids)
        np.testing.assert_array_equal(found["tokens"], expected.tokens)
        np.testing.assert_allclose(found["scores"], expected.scores, rtol=1e-5)
        assert "alignments" not in found
    text, score = told_by_guide(folder)
    guide = (folder / "README.md").read_text(encoding="utf-8")
    (sample,) = re.findall(r"ids_of\(\['(\w+)'\]\)", guide)
    expected = model.generate([sample], search)
    assert text == expected.texts[0][0]
    assert abs(score - expected.scores[0, 0]) < 1e-4


def check_wild_ids(model, answer):
    """Ids outside of the vocabulary are unknown, and sources are cut."""
    wild, tame = np.full((2, 5, 30), 3, "int32")
    wild[:, ::2] = [[-1], [99], [2**31 - 1], [3], [-(2**31)]]
    tame[:, MAX_SOURCE_LENGTH:] = 4
    np.testing.assert_array_equal(
        answer(wild)["tokens"], answer(tame)["tokens"]
    )


def told_by_guide(folder):
    """Runs the program of a guide; returns the text and the score it prints."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    text, score = done.stdout.splitlines()[-1].rsplit(" ", 1)
    return text, float(score)


def check_guide(model, search, folder, rows):
    """The program in the guide answers, without TensorFlow, as `generate`."""
    guide = (folder / "README.md").read_text(encoding="utf-8")
    ((sample, *others),) = (
        re.findall(r"'(\w+)'", found)
        for found in re.findall(r"ids_of\(\[(.*?)\]\)", guide)
    )
    assert others == [sample] * (rows - 1)
    expected = model.generate([sample], search)
    text, score = told_by_guide(folder)
    assert text == expected.texts[0][0] != ""
    assert abs(score - expected.scores[0, 0]) < 1e-5
    for name in ("source_vocabulary", "target_vocabulary"):
        read = ka.text.read_vocabulary(folder / f"{name}.json")
        assert read.tokens == getattr(model, name).tokens
