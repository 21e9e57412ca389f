"""What every guide says of a search."""

import numpy as np

import keras_attention as ka
from keras_attention.export import search_texts


def test_samples_come_in_the_order_drawn_and_a_beam_best_first():
    assert "in the order drawn" in search_texts.order_of(ka.Sample())
    for search in (ka.Greedy(), ka.Beam(3)):
        assert "best first" in search_texts.order_of(search)


def test_scores_are_told_of_what_the_search_has_alone():
    said = search_texts.scores_of(ka.Greedy())
    assert said == "A score is the sum of the log probabilities of the tokens."
    assert search_texts.scores_of(ka.Beam(3, length_penalty=0.0)) == said
    assert "/ 6)^0.5 where" in search_texts.scores_of(ka.Beam(3, 0.5))
    assert search_texts.given_scores_of(ka.Beam(3)) == ""
    for search, told, left_out in (
        (ka.Beam(3, coverage_penalty=0.25), "plus 0.25 times", "attention out"),
        (
            ka.Greedy(constraints=[ka.decoding.MinLength(3)]),
            "constraints",
            "ts out",
        ),
    ):
        assert told in search_texts.scores_of(search)
        assert left_out in search_texts.given_scores_of(search)


def test_the_formula_is_that_of_a_beam():
    """The score of what was found, made of what the formula names."""
    model = ka.build_seq2seq("luong", 11, 13, units=5, max_length=7)
    source = np.array([[5, 4, 7, 2]])
    search = ka.Beam(3, length_penalty=0.5, coverage_penalty=0.25)
    found = model.generate(source, search)
    length = found.lengths[0, 0]
    received = found.alignments[0, 0, :length].sum(axis=0)
    target = found.tokens[:, 0, :length]
    (total,) = model.score(source, target).log_probabilities
    expected = total / ((5 + length) / 6) ** 0.5
    expected += 0.25 * np.log(np.minimum(received, 1)).sum()
    np.testing.assert_allclose(found.scores[0, 0], expected, rtol=1e-5)
