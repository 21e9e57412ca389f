"""What to search for: small frozen objects that hold options and no tensors.

A search object is only a description, so it compares, hashes, prints and
travels to the command line or an exported model. `decode` runs it.
"""

import dataclasses
from typing import Any

from keras_attention import validation


@dataclasses.dataclass(frozen=True)
class Search:
    """What every search has: constraints on what it may say."""

    # Any callable, also one that has no hash.
    constraints: tuple = dataclasses.field(default=(), kw_only=True, hash=False)

    def __post_init__(self):
        given = self.constraints
        listed = isinstance(given, (tuple, list))
        if not listed or not all(map(callable, given)):
            raise validation.invalid(
                "constraints",
                "a tuple or list of callables such as MinLength(3)",
                repr(given),
            )
        object.__setattr__(self, "constraints", tuple(given))
        for field in dataclasses.fields(self):
            value = validation.without_numpy(getattr(self, field.name))
            object.__setattr__(self, field.name, value)


@dataclasses.dataclass(frozen=True)
class Greedy(Search):
    """Takes the most probable token at each step.

    The score is the plain sum of log probabilities.

    Args:
        constraints: keyword-only; tuple or list of `MinLength`, `Suppress`,
            `NoRepeatNgram`, `RepetitionPenalty` or callables like them,
            applied in this order. Where they leave no token a row ends with
            what it has said, and scores -inf.

    Raises:
        ValueError: if `constraints` holds something else.

    Example:

    >>> from keras_attention.decoding import Greedy
    >>> Greedy()
    Greedy(constraints=())
    """


@dataclasses.dataclass(frozen=True)
class Sample(Search):
    """Draws each token from the model's distribution, or from its head.

    The filters apply in the order temperature, `top_k`, `top_p`, `min_p`.
    Random bits hash (seed, row, position, sample, token) and nothing else:
    they are the same in eager, graph, XLA and JAX, and no row sees its
    batch-mates. The row is its index in the batch unless `decode` is given
    `row_seeds`. The score is the sum of the log probabilities before
    temperature and filters.

    Args:
        temperature: number above 0 that divides the log probabilities; below
            1 sharpens, above 1 flattens.
        top_k: keep the `top_k` most probable tokens; None keeps all. Tokens
            that tie with the last one kept stay too, here and below.
        top_p: keep the smallest head of the distribution that holds at least
            this probability (nucleus sampling, Holtzman et al. 2020), in
            (0, 1]; None keeps all.
        seed: integer. The same seed gives the same samples.
        min_p: keep the tokens at least `min_p` times as probable as the best
            one (Nguyen et al. 2024), in (0, 1]; None keeps all.
        num_samples: how many samples to draw for each row, on axis 1 of the
            result, in the order drawn.
        constraints: as for `Greedy`; they come before the temperature.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_attention.decoding import Sample
    >>> Sample(top_k=5, seed=7).temperature
    1.0
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    seed: int = 0
    min_p: float | None = None
    num_samples: int = 1

    def __post_init__(self):
        super().__post_init__()
        validation.check_positive_number("temperature", self.temperature)
        validation.check_positive_integer("top_k", self.top_k, optional=True)
        _check_share("top_p", self.top_p)
        _check_share("min_p", self.min_p)
        if not validation.is_integer(self.seed):
            raise validation.invalid(
                "seed",
                "an integer",
                repr(self.seed),
                "For one seed per row, give `row_seeds` to `decode`.",
            )
        validation.check_positive_integer("num_samples", self.num_samples)


@dataclasses.dataclass(frozen=True)
class Beam(Search):
    """Keeps the `width` most probable beginnings at each step (beam search).

    Wu et al. 2016, equation 14, with finished hypotheses kept apart: once
    ended they are frozen, and a row stops when no beginning can still beat
    its n-th best. A hypothesis y of n tokens, EOS counted, scores

        log P(y) / ((5 + n) / 6)^length_penalty
            + coverage_penalty * sum_s log(min(sum_t alignment[t, s], 1))

    with s over the real source positions. Beginnings are compared by log P
    alone. Only an EOS among the `width` best continuations of its step ends a
    hypothesis, so a beam of width 1 is greedy search.

    With several groups it is diverse (Vijayakumar et al. 2016, arXiv
    1610.02424, algorithm 1, Hamming diversity): each group is a beam of
    `width / num_groups` beginnings, and the groups choose one after the
    other. At each step a group ranks its continuations by

        log P - diversity_strength * (how many beginnings of the groups
                                      before chose the same token now)

    The penalty ranks, and enters no score: results come best first by the
    score above, whatever their group, and none twice. For a diverse list let
    `num_hypotheses` be `width`.

    Args:
        width: number of beginnings kept.
        length_penalty: exponent, at least 0. At 0 the score is log P, which
            favours short hypotheses; larger values favour long ones. The
            paper takes 0.2, Vaswani et al. 2017 take 0.6.
        coverage_penalty: weight, at least 0, of the penalty for source
            positions that received little attention; 0.2 in the paper.
        num_hypotheses: how many hypotheses to return, at most `width`, best
            first on axis 1 of the result. The places that finished
            hypotheses do not fill follow in the order of their own scores:
            beginnings that reached `max_length` without EOS, then empty
            ones (length 0, score -inf) where nothing else exists.
        num_groups: number of groups, a divisor of `width`; 1 for a beam that
            is not diverse.
        diversity_strength: at least 0, the log probability that a token
            loses for each beginning that chose it before. With one group it
            does nothing.
        constraints: as for `Greedy`.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> from keras_attention.decoding import Beam
    >>> Beam(width=5, num_hypotheses=3).length_penalty
    1.0
    """

    width: int = 4
    length_penalty: float = 1.0
    coverage_penalty: float = 0.0
    num_hypotheses: int = 1
    num_groups: int = 1
    diversity_strength: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        validation.check_positive_integer("width", self.width)
        _check_at_least_zero("length_penalty", self.length_penalty)
        _check_at_least_zero("coverage_penalty", self.coverage_penalty)
        validation.check_positive_integer("num_hypotheses", self.num_hypotheses)
        if self.num_hypotheses > self.width:
            raise validation.invalid(
                "num_hypotheses",
                f"at most width={self.width}",
                self.num_hypotheses,
                "Widen the beam.",
            )
        validation.check_divisor(
            "num_groups", self.num_groups, "width", self.width
        )
        _check_at_least_zero("diversity_strength", self.diversity_strength)


def _check_share(name, value):
    if value is not None and not (
        validation.is_number(value) and 0 < value <= 1
    ):
        raise validation.invalid(name, "in (0, 1] or None", repr(value))


def _check_at_least_zero(name, value):
    if not (validation.is_number(value) and 0 <= value < float("inf")):
        raise validation.invalid(name, "a number of at least 0", repr(value))


def check_search(search: Any) -> Search:
    """Returns `search` if it is an object that says what to search for."""
    if not isinstance(search, Search):
        raise validation.invalid(
            "search", "a Greedy(), Sample() or Beam() object", repr(search)
        )
    return search
