"""What every guide says of a search."""

import textwrap

from keras_attention.decoding import Sample
from keras_attention.decoding.search import Search

BEST_FIRST = """\
The n targets of a source come best first. Where a search found fewer, the
others are empty and score `-Infinity`."""
AS_DRAWN = "The n targets of a source come in the order drawn."

WIDTH = 79


def order_of(search: Search) -> str:
    """Returns a sentence on the order of the targets of one source."""
    return AS_DRAWN if isinstance(search, Sample) else BEST_FIRST


def scores_of(search: Search) -> str:
    """Returns sentences on how a target that was found scores."""
    text = "A score is the sum of the log probabilities of the tokens"
    penalty = getattr(search, "length_penalty", 0.0)
    if penalty:
        text += (
            f", divided by ((5 + t) / 6)^{penalty:g} where it has t tokens, "
            "the end counted"
        )
    coverage = _coverage_penalty_of(search)
    if coverage:
        text += (
            f", plus {coverage:g} times the sum, over all positions of the "
            "source, of log(min(a, 1)), where a is the attention that the "
            "position received in all, at least 1e-6"
        )
    text += "."
    if search.constraints:
        text += (
            " The log probabilities are those that the constraints of the "
            "search leave."
        )
    return _filled(text)


def given_scores_of(search: Search) -> str:
    """Returns what the signature `score` leaves out, "" if nothing."""
    parts = ["the attention"] if _coverage_penalty_of(search) else []
    parts += ["the constraints"] if search.constraints else []
    if not parts:
        return ""
    return _filled(
        f"The signature `score` leaves {' and '.join(parts)} out: its scores "
        "of the same targets may differ from those of the search."
    )


def _coverage_penalty_of(search):
    return getattr(search, "coverage_penalty", 0.0)


def _filled(text):
    return textwrap.fill(text, WIDTH, break_on_hyphens=False)
