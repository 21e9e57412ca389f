"""Labelled spans: which pieces of a text a tagger found, and how many right."""

from collections.abc import Sequence

from keras_attention import validation

KINDS = ("B", "I", "O")


def spans_of(tags: Sequence[str]) -> set[tuple[str, int, int]]:
    """Returns the spans that tags mark, as (label, start, end).

    Tags are "O" outside, "B-x" where a span of the label x begins, and "I-x"
    inside it. An "I-x" that follows no x begins a span too, as in the
    evaluation of CoNLL-2000.

    Args:
        tags: list of tags, one for each token.

    Raises:
        ValueError: if a tag is none of these.

    Example:

    >>> from keras_attention.training import spans_of
    >>> sorted(spans_of(["B-artist", "I-artist", "O", "I-year"]))
    [('artist', 0, 2), ('year', 3, 4)]
    """
    spans, label, start = set(), None, 0
    for place, tag in enumerate([*tags, "O"]):
        kind, _, name = tag.partition("-")
        if kind not in KINDS or (kind == "O" and tag != "O"):
            raise validation.invalid("tags", "'O', 'B-x' or 'I-x'", repr(tag))
        if kind == "I" and name == label:
            continue
        if label is not None:
            spans.add((label, start, place))
        label, start = (name, place) if kind != "O" else (None, place)
    return spans


def span_f1(
    references: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]]
) -> float:
    """Returns the F1 of labelled spans, over all texts together.

    A span is right if its label, its start and its end are those of the
    reference. With P the share of the predicted spans that are right and R
    that of the spans of the references that were found, F1 = 2PR / (P + R);
    1.0 where neither has any.

    Args:
        references: list of the true tags of each text; see `spans_of`.
        predictions: list of the predicted tags, of the same lengths.

    Raises:
        ValueError: if the lengths differ, or a tag is none of those.

    Example:

    >>> from keras_attention.training import span_f1
    >>> span_f1([["B-a", "I-a", "O", "B-b"]], [["B-a", "I-a", "B-b", "O"]])
    0.5
    """
    lengths = [list(map(len, side)) for side in (references, predictions)]
    if lengths[0] != lengths[1]:
        raise validation.invalid(
            "predictions",
            f"as many tags for each text as `references`: {lengths[0]}",
            lengths[1],
        )
    right = counted = 0
    for wanted, found in zip(references, predictions, strict=True):
        wanted, found = spans_of(wanted), spans_of(found)
        right += len(wanted & found)
        counted += len(wanted) + len(found)
    return 2 * right / counted if counted else 1.0
