"""Scores of given sequences against the decoder's and against float64."""

import numpy as np
import pytest
from keras import ops
from markov_decoders import MovedMemory
from markov_decoders import log_probability_of
from markov_decoders import random_models

from keras_attention.decoding import BOS
from keras_attention.decoding import Beam
from keras_attention.decoding import decode
from keras_attention.decoding import score_tokens
from keras_attention.decoding import token_log_probabilities
from keras_attention.decoding.scoring import coverage_reward


def teacher_forced_logits(encoded, source_mask, tokens):
    """Steps through (B, K, T) given tokens -> logits (B, K, T, V)."""
    decoder = MovedMemory()
    width, length = tokens.shape[1:]
    state = decoder.start(encoded, source_mask, length, beams=width)
    inputs = np.full_like(tokens[..., :1], BOS)
    inputs = np.concatenate([inputs, tokens[..., :-1]], axis=-1)
    logits = []
    for index in range(length):
        step_logits, state, _ = decoder.step(inputs[..., index], state, index)
        logits.append(step_logits)
    return ops.stack(logits, axis=2)


@pytest.mark.parametrize("length_penalty", [0.0, 1.3])
def test_score_tokens_gives_the_scores_of_beam(length_penalty):
    # No search says PAD here, which could not be told from padding.
    encoded, source_mask = random_models(batch=3)
    encoded[..., 0] = -30.0
    search = Beam(5, length_penalty, num_hypotheses=3)
    decoded = decode(MovedMemory(), encoded, source_mask, search, 7)
    tokens = ops.convert_to_numpy(decoded.tokens)
    scores = score_tokens(
        teacher_forced_logits(encoded, source_mask, tokens),
        tokens,
        length_penalty,
    )
    assert scores.shape == (3, 3)
    np.testing.assert_allclose(scores, decoded.scores, rtol=1e-5)


def test_token_log_probabilities_are_those_of_the_model():
    encoded, source_mask = random_models(batch=2)
    tokens = np.array([[[3, 1, 4, 2, 0]], [[4, 2, 0, 0, 0]]], "int32")
    logits = teacher_forced_logits(encoded, source_mask, tokens)
    actual = ops.convert_to_numpy(token_log_probabilities(logits, tokens))
    for row, length in enumerate([4, 2]):
        said = tuple(tokens[row, 0])
        totals = [
            log_probability_of(encoded[row], source_mask[row], said[:end])
            for end in range(length + 1)
        ]
        np.testing.assert_allclose(
            actual[row, 0, :length], np.diff(totals), rtol=1e-4
        )
        assert not actual[row, 0, length:].any()


def test_score_tokens_of_nothing_but_padding_is_zero():
    logits = np.ones((2, 3, 5), "float16")
    scores = score_tokens(logits, np.zeros((2, 3), "int32"), 1.0)
    np.testing.assert_array_equal(scores, [0.0, 0.0])


def test_coverage_reward_by_hand():
    coverage = np.array([[[0.5, 1.7, 0.0], [1.0, 0.25, 9.0]]], "float32")
    source_mask = np.array([[True, True, False]])
    reward = coverage_reward(coverage, source_mask, 0.2)
    expected = [[0.2 * np.log(0.5), 0.2 * np.log(0.25)]]
    np.testing.assert_allclose(reward, expected, rtol=1e-6)


def test_coverage_reward_without_any_attention_is_finite():
    nothing = np.zeros((1, 1, 1), "float32")
    reward = coverage_reward(nothing, np.array([[True]]), 1.0)
    np.testing.assert_allclose(reward, [[np.log(1e-6)]], rtol=1e-6)
