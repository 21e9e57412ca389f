"""States, masks and sources of a fixed length, given to `generate` and `score`.

The oracle is `call` of the model, which neither cuts nor groups its sources.
"""

import keras
import ml_dtypes
import numpy as np
import pytest
from small_models import randomize

import keras_attention as ka
from keras_attention.decoding import token_log_probabilities

SOURCE = np.array([[5, 4, 3, 0, 0, 0, 0, 0], [7, 2, 3, 4, 5, 0, 0, 0]], "int32")
LABELS = np.array([[5, 6, 2], [7, 2, 0]])
TARGET = np.array([[1, 5, 6], [1, 7, 2]])
BEAM = ka.Beam(3, num_hypotheses=2)

pytestmark = pytest.mark.tensorflow_only


def with_encoder(encoder):
    decoder = ka.RNNDecoder(13, units=6, attention=ka.AdditiveAttention(5))
    model = ka.Seq2Seq(encoder, decoder, max_length=3)
    randomize(model, scale=1.5)
    return model


def log_probabilities(model, inputs):
    """What `score` is to say, from one pass over everything given."""
    logits = model({**inputs, "target": TARGET}, training=False)
    return np.sum(token_log_probabilities(logits, LABELS), axis=1)


def check_score(model, inputs):
    expected = log_probabilities(model, inputs)
    for batch_size in (1, 2):
        found = model.score(**inputs, target=LABELS, batch_size=batch_size)
        np.testing.assert_allclose(
            found.log_probabilities, expected, rtol=0, atol=2e-5
        )


def check_rows_alone(model, inputs):
    together = model.generate(**inputs, search=BEAM)
    alone = model.generate(**inputs, search=BEAM, batch_size=1)
    np.testing.assert_array_equal(together.tokens, alone.tokens)
    np.testing.assert_allclose(together.scores, alone.scores, atol=2e-5)


def check_prefers(model, found, inputs):
    """Teacher forcing prefers each token that a greedy search said."""
    tokens = found.tokens[:, 0]
    target = np.pad(tokens, [(0, 0), (1, 0)], constant_values=1)[:, :-1]
    logits = np.array(model({**inputs, "target": target}, training=False))
    logits[..., :2] = -np.inf
    np.testing.assert_array_equal(
        np.where(tokens == 0, 0, logits.argmax(-1)), tokens
    )


@pytest.mark.parametrize("kind", ["luong", "bahdanau", "rnn-rnn"])
def test_first_states_of_a_recurrent_decoder_are_those_given(kind):
    model = ka.build_seq2seq(kind, 11, 13, units=4, max_length=3)
    model({"source": SOURCE, "target": TARGET})
    randomize(model, scale=1.5)
    draw = np.random.default_rng(7).normal
    states = [draw(size=(2, 4)).astype("float32") for _ in range(2)]
    inputs = {"source": SOURCE, "initial_state": states}
    for jit_compile in (False, True):
        found = model.generate(**inputs, jit_compile=jit_compile)
        check_prefers(model, found, inputs)
    others = model.generate(SOURCE, initial_state=[-x for x in states])
    assert np.abs(others.scores - found.scores).max() > 0.01
    check_score(model, inputs)
    # Other float dtypes ask the same graph.
    rounded = [state.astype(ml_dtypes.bfloat16) for state in states]
    found = model.generate(SOURCE, initial_state=rounded)
    wide = [state.astype("float64") for state in rounded]
    expected = model.generate(SOURCE, initial_state=wide)
    np.testing.assert_array_equal(found.scores, expected.scores)


def test_first_states_of_other_widths_are_refused():
    model = ka.build_seq2seq("luong", 11, 13, units=4, max_length=3)
    states = [np.zeros((2, 4), "float32")] * 2
    model.generate(SOURCE, initial_state=states)
    wide = [np.zeros((2, 5), "float32")] * 2
    with pytest.raises(ValueError, match=r"states .* with size in \[4, 4\]"):
        model.generate(SOURCE, initial_state=wide)
    with pytest.raises(ValueError, match="`initial_state` must be of one row"):
        model.generate(SOURCE, initial_state=[state[:1] for state in states])


def fixed_ids():
    inputs = keras.Input((8,), dtype="int32")
    embedding = keras.layers.Embedding(11, 6, mask_zero=True)
    return keras.Model(inputs, embedding(inputs)), {"source": SOURCE}


def fixed_frames():
    inputs = keras.Input((8, 4))
    encoder = keras.Model(inputs, keras.layers.Dense(6)(inputs))
    frames = np.random.default_rng(3).normal(size=(2, 8, 4))
    mask = np.arange(8) < np.array([[3], [5]])
    return encoder, {"source": frames.astype("float32"), "source_mask": mask}


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("make", [fixed_ids, fixed_frames])
def test_an_encoder_of_one_length_reads_that_length(make, jit_compile):
    encoder, inputs = make()
    model = with_encoder(encoder)
    found = model.generate(**inputs, search=BEAM, jit_compile=jit_compile)
    assert found.alignments.shape[-1] == 8
    assert np.all(found.alignments[0, ..., 3:] == 0)
    check_rows_alone(model, inputs)
    check_score(model, inputs)


def text_model_of_one_length(vocabulary, length=8):
    inputs = keras.Input((length,), dtype="int32")
    embedding = keras.layers.Embedding(len(vocabulary), 6, mask_zero=True)
    decoder = ka.RNNDecoder(
        len(vocabulary), units=6, attention=ka.AdditiveAttention(5)
    )
    encoder = keras.Model(inputs, embedding(inputs))
    model = ka.Seq2Seq(encoder, decoder, 3, vocabulary, vocabulary)
    return randomize(model, scale=1.5)


class Protocol:
    """A tokenizer with what the protocol names, and nothing more."""

    def __init__(self, vocabulary):
        self.of = vocabulary

    def __len__(self):
        return len(self.of)

    def encode(self, texts):
        return self.of.encode(texts)

    def decode(self, ids):
        return self.of.decode(ids)

    def token_strings(self, ids):
        return self.of.token_strings(ids)


def test_texts_of_an_encoder_of_one_length_are_padded_or_cut():
    letters = ka.Vocabulary.build(["abcdefghi"])
    model = text_model_of_one_length(letters)
    ids = np.array([[4, 5, 2, 0, 0, 0, 0, 0], [4, 5, 6, 7, 8, 9, 10, 2]])
    expected = model.generate(ids)
    texts = letters.decode(expected.tokens[:, 0]).numpy()
    for vocabulary in (letters, Protocol(letters)):
        model.set_vocabularies(vocabulary, vocabulary)
        with pytest.warns(UserWarning, match="1 of 2 texts have more than 7"):
            found = model.generate(["ab", "abcdefghi"])
        assert found.texts[:, 0].tolist() == [t.decode() for t in texts]
        np.testing.assert_array_equal(found.scores, expected.scores)
    for wrong in (ids[:, :3], np.pad(ids, ((0, 0), (0, 1)))):
        with pytest.raises(ValueError, match=r"`source` must be .*, 8\), as"):
            model.generate(wrong)
    assert len(model.generate(np.zeros((0, 3), int)).tokens) == 0


def test_pictures_of_an_encoder_of_one_length_have_its_tokens():
    model = text_model_of_one_length(ka.Vocabulary.build(["abcdefghi"]))
    axes = model.plot_alignment("ab").axes[0]
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ["a", "b", "<eos>"]
    assert r"\u003ceos\u003e" in model.view_attention("ab").html


def test_pictures_of_an_encoder_that_shortens_have_no_tokens_of_the_source():
    letters = ka.Vocabulary.build(["abcdefghi"])
    encoder = keras.Sequential(
        [
            keras.layers.Embedding(len(letters), 6),
            keras.layers.AveragePooling1D(2),
        ]
    )
    decoder = ka.RNNDecoder(
        len(letters), units=6, attention=ka.AdditiveAttention(5)
    )
    model = ka.Seq2Seq(encoder, decoder, 3, letters, letters)
    axes = model.plot_alignment("abcdef").axes[0]
    assert not {"a", "b"} & {x.get_text() for x in axes.get_xticklabels()}
    assert len(axes.get_yticklabels()) > 0
    assert '"name":"alignment"' in model.view_attention("abcdef").html


def convolutions():
    return keras.Sequential(
        [
            keras.layers.Embedding(11, 6),
            keras.layers.Conv1D(
                6, 3, padding="same", activation="relu", bias_initializer="ones"
            ),
            keras.layers.Conv1D(6, 3, padding="same"),
        ]
    )


def test_padding_that_an_encoder_reads_is_not_cut():
    model = with_encoder(convolutions())
    inputs = {"source": SOURCE}
    check_rows_alone(model, inputs)
    check_score(model, inputs)


@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
def test_frames_that_an_encoder_reads_are_not_cut():
    inputs = keras.Input((None, 4))
    outputs = keras.layers.Conv1D(6, 3, padding="same")(inputs)
    encoder = keras.Model(inputs, outputs)
    with_encoder(encoder)
    model = with_encoder(encoder)  # the second to read by it
    _, given = fixed_frames()
    check_rows_alone(model, given)
    check_score(model, given)


def test_a_source_mask_is_read_as_everywhere():
    model = ka.build_seq2seq("luong", 11, 13, units=4, max_length=3)
    to_add = np.where(SOURCE == 0, -1e9, 0.0)
    calls = (
        lambda mask: model.generate(SOURCE, source_mask=mask),
        lambda mask: model.score(SOURCE, LABELS, source_mask=mask),
    )
    for call in calls:
        with pytest.raises(ValueError, match="`source_mask` must hold only"):
            call(to_add)
        for width in (5, 9):
            with pytest.raises(ValueError, match=r"`source_mask` must be of s"):
                call(np.ones((2, width), bool))
    hidden = SOURCE != 0
    hidden[:, 0] = False
    found = model.generate(SOURCE, source_mask=hidden.astype("float32"))
    assert np.all(found.alignments[..., 0] == 0)
