"""What every guide says of a search."""

from keras_attention.decoding import Sample
from keras_attention.decoding.search import Search

BEST_FIRST = """\
The n targets of a source come best first. Where a search found fewer, the
others are empty and score `-Infinity`."""
AS_DRAWN = "The n targets of a source come in the order drawn."


def order_of(search: Search) -> str:
    """Returns a sentence on the order of the targets of one source."""
    return AS_DRAWN if isinstance(search, Sample) else BEST_FIRST
