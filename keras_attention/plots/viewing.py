"""Attention weights as a page to look into: one file, no network."""

import functools
import html
import importlib.resources
import json
import os
import pathlib
from collections.abc import Mapping
from collections.abc import Sequence
from typing import Any

from keras_attention import files
from keras_attention.choices import PAGE_SUFFIXES
from keras_attention.plots import saving
from keras_attention.plots import viewed
from keras_attention.plots.viewed_text import viewed_steps
from keras_attention.plots.viewed_text import visible_text

PARTS = ("weights.js", "heat_map.js", "drawing.js", "controls.js")
FRAME = (
    '<iframe srcdoc="{page}" title="{title}" '
    'sandbox="allow-scripts allow-downloads" '
    'style="width:100%;height:680px;border:0"></iframe>'
)


class AttentionView:
    """A page that shows attention weights; `view` makes it.

    A notebook shows it where it is the value of a cell. Elsewhere, `save` it
    and open the file in a browser.

    Args:
        page: the text of the page.
        title: what the page is of.

    Example:

    >>> from keras_attention.plots import view
    >>> page = view([[0.9, 0.1], [0.2, 0.8]], "ab", "AB", title="letters")
    >>> page
    AttentionView('letters')
    >>> page.html[:15]
    '<!DOCTYPE html>'
    """

    def __init__(self, page: str, title: str = ""):
        self.html = page
        self.title = title

    def save(self, path: str | os.PathLike) -> pathlib.Path:
        """Writes the page; a crash leaves the old file or the new one.

        Args:
            path: name that ends in `.html`, in a folder that exists.

        Returns:
            The path, a `pathlib.Path`.

        Raises:
            ValueError: `path` is not such a name.
        """
        path = saving.checked_place(path, PAGE_SUFFIXES)
        files.write_text(path, self.html)
        return path

    def _repr_html_(self) -> str:
        page, title = html.escape(self.html), self.title or "attention"
        return FRAME.format(page=page, title=html.escape(title))

    def __repr__(self) -> str:
        return f"AttentionView({self.title!r})"


def view(
    weights: Any,
    source_tokens: Any = None,
    target_tokens: Any = None,
    *,
    path: str | os.PathLike | None = None,
    title: str | None = None,
    mask: Any = None,
    names: Sequence[str] | None = None,
    steps: Sequence[Sequence[tuple]] | None = None,
) -> AttentionView:
    """Makes an interactive page of attention weights.

    On the page one chooses the layer and the head (or the mean of the heads),
    points at a cell or a token to see its strongest partners, hides small
    weights, takes a logarithmic scale, walks through the steps of a search,
    and downloads the picture; `?` lists the keys. The page is one file that
    asks for nothing from the network. It keeps weights in float16, that is to
    0.05%; what is below 6e-8 is 0.

    Args:
        weights: array `(target_length, source_length)`, `(num_heads,
            target_length, source_length)` or `(num_layers, num_heads,
            target_length, source_length)`. Or a dict of arrays by the name of
            the layer, of any lengths each: what `read_attention` returns for
            a batch of one.
        source_tokens: the labels of the columns, str or bytes; a single str
            stands for its characters. Any text can be a label; control
            characters are written as Python escapes.
        target_tokens: the labels of the rows. Of a dict, an axis of a layer
            has the labels of its own side where their number fits, else
            those of the other side (as in self-attention), else numbers; a
            dict by the name of the layer says it for each.
        path: where to save the page, too; a name that ends in `.html`.
        title: text above the picture.
        mask: boolean or 0/1 array `(target_length, source_length)`, True =
            may attend, for all layers of this shape, or a dict of them. What
            is hidden is hatched.
        names: names of the layers of an array with four axes.
        steps: what a search held after each step: for each step a list of
            `(tokens, score)`, shown in this order. A str is shown as it is.

    Returns:
        An `AttentionView`.

    Raises:
        ValueError: an argument does not fit, or the weights are too many for
            a page.

    Example:

    >>> import numpy as np
    >>> from keras_attention.plots import view
    >>> heads = np.full((2, 3, 4), 0.25)  # 2 heads, 3 rows, 4 columns
    >>> view(heads, ["I", "am", "a", "dog"], "我是狗", title="a dog")
    AttentionView('a dog')
    """
    if path is not None:
        saving.checked_place(path, PAGE_SUFFIXES)
    layers = viewed.named_layers(weights, names)
    labels, sides = viewed.labels_of(layers, source_tokens, target_tokens)
    masks = viewed.masks_of(layers, mask)
    title = "" if title is None else visible_text(title)
    data = {
        "title": title,
        "labels": labels,
        "layers": [
            viewed.packed_layer(name, values, masks[name], *sides[name])
            for name, values in layers.items()
        ],
        "steps": viewed_steps(steps),
    }
    page = AttentionView(_page_of(data), title)
    if path is not None:
        page.save(path)
    return page


def _page_of(data: Mapping) -> str:
    """Returns the page; no text of `data` can end its script."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    page = _part("page.html")
    # The text of others comes last: nothing in it is taken for a place.
    before, after = page.split("{{data}}")
    program = "\n".join(map(_part, PARTS))
    after = after.replace("{{program}}", program)
    before = before.replace("{{style}}", _part("style.css"))
    start, end = before.split("{{title}}")
    title = html.escape(data["title"] or "Attention")
    return f"{start}{title}{end}{text}{after}"


@functools.cache
def _part(name):
    folder = importlib.resources.files("keras_attention.plots") / "viewer"
    return (folder / name).read_text(encoding="utf-8")
