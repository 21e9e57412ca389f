"""What holds for every search: paths, rows, ends and alignments."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
from keras import ops
from markov_decoders import LookedUpMemory
from markov_decoders import MovedMemory
from markov_decoders import alignment_of
from markov_decoders import log_probability_of
from markov_decoders import random_models
from markov_decoders import run

from keras_attention.decoding import EOS
from keras_attention.decoding import Beam
from keras_attention.decoding import Decoded
from keras_attention.decoding import Greedy
from keras_attention.decoding import MinLength
from keras_attention.decoding import NoRepeatNgram
from keras_attention.decoding import RepetitionPenalty
from keras_attention.decoding import Sample
from keras_attention.decoding import decode

SEARCHES = {
    "greedy": Greedy(),
    "sample": Sample(temperature=1.3, top_k=4, top_p=0.9, min_p=0.01, seed=5),
    "samples": Sample(num_samples=3, seed=5),
    "beam": Beam(width=5, num_hypotheses=3),
    "beam-coverage": Beam(width=3, num_hypotheses=2, coverage_penalty=0.3),
}
MAX_LENGTH = 11

every_search = pytest.mark.parametrize(
    "search", SEARCHES.values(), ids=SEARCHES.keys()
)


@functools.cache
def decode_random(search, mode="eager", decoder_class=MovedMemory, **arguments):
    """What several tests look at is decoded once."""
    decoder = decoder_class()

    def decode_batch(encoded, source_mask):
        return decode(decoder, encoded, source_mask, search, MAX_LENGTH)

    return run(mode, decode_batch, *random_models(**arguments))


def check_same(actual, expected, rows=slice(None)):
    for name, tensor, wanted in zip(
        Decoded._fields, actual, expected, strict=True
    ):
        np.testing.assert_allclose(
            tensor, wanted[rows], rtol=1e-5, atol=1e-6, err_msg=name
        )


@every_search
@pytest.mark.parametrize("mode", ["graph", "compiled"])
def test_decode_is_the_same_traced_and_compiled(search, mode):
    check_same(decode_random(search, mode), decode_random(search))


@every_search
@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_decode_is_the_same_with_moved_and_with_looked_up_state(search, mode):
    looked_up = decode_random(search, mode, LookedUpMemory)
    check_same(looked_up, decode_random(search, mode))


@every_search
def test_decode_returns_documented_shapes_and_dtypes(search):
    count = getattr(search, "num_samples", 1)
    count = getattr(search, "num_hypotheses", count)
    decoded = decode_random(search, batch=3, source_length=7)
    assert decoded.tokens.shape == (3, count, MAX_LENGTH)
    assert decoded.scores.shape == (3, count)
    assert decoded.lengths.shape == (3, count)
    assert decoded.alignments.shape == (3, count, MAX_LENGTH, 7)
    dtypes = [str(tensor.dtype) for tensor in decoded]
    assert dtypes == ["int32", "float32", "int32", "float32"]


@every_search
def test_decode_pads_after_eos_and_counts_it(search):
    decoded = decode_random(search, batch=13)
    ended = 0
    for tokens, length in zip(
        decoded.tokens.reshape(-1, MAX_LENGTH),
        decoded.lengths.ravel(),
        strict=True,
    ):
        ends = np.flatnonzero(tokens == EOS)
        ended += len(ends)
        assert length == (ends[0] + 1 if len(ends) else MAX_LENGTH)
        assert not tokens[length:].any()
    assert ended > 0


@every_search
@pytest.mark.parametrize("decoder_class", [MovedMemory, LookedUpMemory])
def test_decode_returns_the_alignment_of_each_hypothesis(search, decoder_class):
    encoded, source_mask = random_models()
    decoded = decode_random(search, "eager", decoder_class)
    for row, hypothesis in np.ndindex(*decoded.lengths.shape):
        length = decoded.lengths[row, hypothesis]
        tokens = tuple(decoded.tokens[row, hypothesis, :length])
        expected = np.zeros((MAX_LENGTH, source_mask.shape[1]))
        expected[:length] = alignment_of(encoded[row], source_mask[row], tokens)
        np.testing.assert_allclose(
            decoded.alignments[row, hypothesis], expected, atol=1e-5
        )


@every_search
def test_decode_of_a_row_is_independent_of_its_batch_mates(search):
    """Named after KerasHub's beam, where batch-mates change a row."""
    encoded, source_mask = random_models()
    together = decode_random(search)
    for row in range(3):
        one = slice(row, row + 1)
        alone = decode(
            MovedMemory(),
            encoded[one],
            source_mask[one],
            search,
            MAX_LENGTH,
            row_seeds=np.array([row]),
        )
        check_same(alone, together, rows=one)


@pytest.mark.tensorflow_only
@every_search
@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_decode_of_an_empty_batch_is_empty(search, mode):
    encoded, source_mask = random_models(batch=2)

    def decode_batch(encoded, source_mask):
        return decode(MovedMemory(), encoded, source_mask, search, MAX_LENGTH)

    decoded = run(mode, decode_batch, encoded[:0], source_mask[:0])
    assert decoded.tokens.shape[::2] == (0, MAX_LENGTH)
    assert decoded.alignments.shape[::2] == (0, MAX_LENGTH)


@pytest.mark.tensorflow_only
@every_search
def test_decode_stops_when_every_row_is_done(search):
    class CountsSteps(MovedMemory):
        steps = 0

        def step(self, tokens, state, index, ancestors=None):
            self.steps += 1
            logits, state, alignment = super().step(tokens, state, index)
            # From the fourth token on, EOS is all but certain.
            late = np.where(np.arange(5) == EOS, 60.0, 0.0) * (int(index) >= 3)
            return logits + late.astype("float32"), state, alignment

    decoder = CountsSteps()
    decoded = decode(decoder, *random_models(), search, MAX_LENGTH)
    assert np.max(decoded.lengths) == 4
    assert decoder.steps == 4


@pytest.mark.parametrize("mode", ["eager", "graph", "compiled"])
def test_decode_without_eos_ends_at_max_length(mode):
    class NeverEnds(MovedMemory):
        def step(self, tokens, state, index, ancestors=None):
            logits, state, alignment = super().step(tokens, state, index)
            never = np.where(np.arange(5) == EOS, -60.0, 0.0)
            return logits + never.astype("float32"), state, alignment

    for search in (Greedy(), Beam(width=3, num_hypotheses=3)):
        decoded = decode_random(search, mode, NeverEnds)
        assert (decoded.lengths == MAX_LENGTH).all()
        assert not (decoded.tokens == EOS).any()
        assert np.isfinite(decoded.scores).all()
        assert (np.diff(decoded.scores, axis=1) <= 0).all()


def test_greedy_takes_the_most_probable_token_and_sums_its_log_probability():
    encoded, source_mask = random_models(batch=7)
    decoded = decode_random(Greedy(), batch=7)
    for row in range(7):
        length = decoded.lengths[row, 0]
        tokens = tuple(decoded.tokens[row, 0, :length])
        np.testing.assert_allclose(
            decoded.scores[row, 0],
            log_probability_of(encoded[row], source_mask[row], tokens),
            rtol=1e-5,
        )
        for position, token in enumerate(tokens):
            others = [
                log_probability_of(
                    encoded[row],
                    source_mask[row],
                    (*tokens[:position], other),
                )
                for other in range(5)
            ]
            assert token == np.argmax(others)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_greedy_is_a_beam_of_width_one(length_penalty):
    beam = Beam(width=1, length_penalty=length_penalty)
    one = decode_random(beam, batch=29)
    greedy = decode_random(Greedy(), batch=29)
    np.testing.assert_array_equal(one.tokens, greedy.tokens)
    np.testing.assert_array_equal(one.lengths, greedy.lengths)
    divisor = ((5 + greedy.lengths) / 6) ** length_penalty
    np.testing.assert_allclose(one.scores, greedy.scores / divisor, rtol=1e-5)


@pytest.mark.tensorflow_only
@every_search
def test_decode_traces_to_operations_that_any_server_runs(search):
    """A stock server has no XLA, so no operation may need it."""
    import tensorflow as tf

    constrained = dataclasses.replace(
        search,
        constraints=[MinLength(3), NoRepeatNgram(2), RepetitionPenalty(1.3)],
    )

    @tf.function
    def decode_batch(encoded, source_mask):
        prefix = tf.ones_like(source_mask, tf.int32)
        return decode(
            MovedMemory(), encoded, source_mask, constrained, 5, prefix=prefix
        )

    graph = decode_batch.get_concrete_function(*random_models()).graph
    definition = graph.as_graph_def()
    nodes = list(definition.node)
    for function in definition.library.function:
        nodes += function.node_def
    kinds = {node.op for node in nodes}
    assert kinds & {"While", "StatelessWhile"}
    assert not [
        kind
        for kind in kinds
        if kind.startswith(("Xla", "TensorArray", "TensorList", "Random"))
    ]


class Table:
    """The logits and the attention follow from the last token alone."""

    vocabulary = 293  # so large that a beam search looks at groups

    def start(self, encoded, source_mask, max_length, beams=1):
        return {"tables": encoded}  # (B, V, V + S)

    def step(self, tokens, state, index, ancestors=None):
        last = ops.one_hot(tokens, self.vocabulary, dtype="float32")
        table = state["tables"][..., : self.vocabulary]
        logits = ops.einsum("bkv,bwv->bkw", last, table)
        attention = state["tables"][..., self.vocabulary :]
        scores = ops.einsum("bkv,bvs->bks", last, attention)
        return logits, state, ops.softmax(scores, axis=-1)

    def reorder(self, state, parents):
        return state


@pytest.fixture(params=["float16", "float64"])
def floatx(request):
    before = keras.config.floatx()
    keras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx(before)


@functools.cache
def decode_from_tables(name, floatx):
    assert keras.config.floatx() == floatx
    constraints = (MinLength(3), NoRepeatNgram(2), RepetitionPenalty(1.5))
    search = dataclasses.replace(SEARCHES[name], constraints=constraints)

    def decode_batch(tables, source_mask):
        return decode(Table(), tables, source_mask, search, 5)

    inputs = random_models(vocabulary=Table.vocabulary)
    return run("graph", decode_batch, *inputs)


@pytest.mark.parametrize("name", ["greedy", "samples", "beam-coverage"])
def test_decode_is_the_same_whatever_floatx(name, floatx):
    found = decode_from_tables(name, floatx)
    keras.config.set_floatx("float32")
    expected = decode_from_tables(name, "float32")
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
