"""Pictures of attention weights and masks.

Every function takes arrays and gives back a matplotlib `Figure` that belongs
to the caller: no window, no pyplot, nothing to close. matplotlib is imported
when the first picture is drawn.
"""

import os
import pathlib

import numpy as np

from keras_attention import validation
from keras_attention.plots import labels

INCHES_PER_TOKEN = 0.3
MARGIN_INCHES = 1.6
SMALLEST_SIDE = 3.0
LARGEST_SIDE = 30.0
MOST_GRID_LINES = 64


def plot_alignment(
    weights, source_tokens=None, target_tokens=None, title=None, axes=None
):
    """Draws one alignment: which source token each target token looked at.

    Characters that no installed font has are written as Python escapes, and
    `$` is only a dollar sign, so any text can be a label.

    Args:
        weights: array `(target_length, source_length)`, each row the weights
            of one target token. The darkest cell is the largest weight.
        source_tokens: the `source_length` labels of the columns, str or
            bytes; a single str stands for its characters.
        target_tokens: the `target_length` labels of the rows.
        title: text above the picture.
        axes: matplotlib `Axes` to draw on. By default, a new figure with a
            colour bar.

    Returns:
        The matplotlib `Figure` that holds the picture.

    Raises:
        ValueError: `weights` has not two axes, or not one label for each row
            and column.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = plot_alignment([[0.9, 0.1], [0.2, 0.8]], "ab", "AB")
    >>> [label.get_text() for label in figure.axes[0].get_xticklabels()]
    ['a', 'b']
    """
    weights = _as_array("weights", weights, "(target_length, source_length)")
    source_tokens, target_tokens = labels.labels_of(
        weights.shape, source_tokens, target_tokens
    )
    own_figure = axes is None
    if own_figure:
        axes = _new_figure(*weights.shape).subplots()
    image = _draw_weights(axes, weights, source_tokens, target_tokens)
    _write_title(axes, title)
    if own_figure:
        axes.figure.colorbar(image, ax=axes)
    return axes.figure


def plot_heads(
    weights, source_tokens=None, target_tokens=None, title=None, columns=4
):
    """Draws the alignments of all heads side by side, in one colour scale.

    Args:
        weights: array `(num_heads, target_length, source_length)`.
        source_tokens: labels of the columns, as in `plot_alignment`.
        target_tokens: labels of the rows.
        title: text above the whole picture.
        columns: the most heads in a row of the grid.

    Returns:
        A matplotlib `Figure`; its first `num_heads` axes are the heads.

    Raises:
        ValueError: a wrong shape, or not one label for each row and column.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = plot_heads([[[0.9, 0.1]], [[0.5, 0.5]]], "ab", "A")
    >>> [axes.get_title() for axes in figure.axes[:2]]
    ['head 0', 'head 1']
    """
    meaning = "(num_heads, target_length, source_length)"
    weights = _as_array("weights", weights, meaning)
    validation.check_positive_integer("columns", columns)
    source_tokens, target_tokens = labels.labels_of(
        weights.shape[1:], source_tokens, target_tokens
    )
    num_heads = len(weights)
    columns = min(columns, num_heads)
    rows = -(-num_heads // columns)
    figure = _new_figure(*weights.shape[1:], rows=rows, columns=columns)
    grid = [figure.add_subplot(rows, columns, n + 1) for n in range(num_heads)]
    top = weights.max()
    for head, axes in enumerate(grid):
        image = _draw_weights(
            axes, weights[head], source_tokens, target_tokens, top
        )
        _write_title(axes, f"head {head}")
    figure.colorbar(image, ax=grid)
    if title is not None:
        figure.suptitle(labels.drawable(title), **labels.text_style())
    return figure


def plot_mask(mask, title=None, axes=None):
    """Draws a mask: a filled cell is a key that the query may attend to.

    Args:
        mask: boolean or 0/1 array `(query_length, key_length)`, True = may
            attend.
        title: text above the picture.
        axes: matplotlib `Axes` to draw on. By default, a new figure.

    Returns:
        The matplotlib `Figure` that holds the picture.

    Raises:
        ValueError: `mask` has not two axes or holds other numbers.
        ImportError: matplotlib is not installed.

    Example:

    >>> figure = plot_mask([[True, False], [True, True]], title="causal")
    >>> figure.axes[0].get_title()
    'causal'
    """
    mask = _as_array("mask", mask, "(query_length, key_length)")
    if not np.isin(mask, (0, 1)).all():
        raise ValueError(
            "`mask` must hold True and False, or 1 and 0. Received: values "
            f"from {mask.min()} to {mask.max()}. Are these scores?"
        )
    if axes is None:
        axes = _new_figure(*mask.shape).subplots()
    axes.imshow(mask, cmap="Blues", vmin=0.0, vmax=1.4)
    axes.set_xlabel("key", **labels.text_style())
    axes.set_ylabel("query", **labels.text_style())
    for axis, length in zip((axes.yaxis, axes.xaxis), mask.shape, strict=True):
        axis.get_major_locator().set_params(integer=True)
        if length <= MOST_GRID_LINES:
            axis.set_ticks(np.arange(length + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="minor", length=0)
    _write_title(axes, title)
    return axes.figure


def save_figure(figure, path, dpi=150):
    """Writes a figure as PNG. A crash leaves the old file or the new one.

    Args:
        figure: matplotlib `Figure`.
        path: name of the file, ending in `.png`.
        dpi: pixels per inch.

    Returns:
        The path, a `pathlib.Path`.

    Raises:
        ValueError: `path` does not end in `.png`.

    Example:

    >>> import tempfile
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = pathlib.Path(folder.name) / "causal.png"
    >>> save_figure(plot_mask([[True, False], [True, True]]), path).name
    'causal.png'
    >>> folder.cleanup()
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise validation.invalid("path", "a name in .png", repr(str(path)))
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        figure.savefig(beside, format="png", dpi=dpi)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _draw_weights(axes, weights, source_tokens, target_tokens, top=None):
    """Draws a heat map `(T, S)`: source from left to right, target down."""
    top = weights.max() if top is None else top
    image = axes.imshow(
        weights,
        cmap="Blues",
        vmin=0.0,
        vmax=top if top > 0 else 1.0,  # all-zero weights are no error
        aspect="auto",
        interpolation="nearest",
    )
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("source", **labels.text_style())
    axes.set_ylabel("target", **labels.text_style())
    for axis, tokens in (
        (axes.xaxis, source_tokens),
        (axes.yaxis, target_tokens),
    ):
        if tokens is None:
            axis.get_major_locator().set_params(integer=True)
        else:
            axis.set_ticks(
                range(len(tokens)), labels=tokens, **labels.text_style()
            )
    for label in axes.get_xticklabels() if source_tokens else ():
        if len(label.get_text()) > 2:  # single letters stay upright
            label.set_rotation(90)
    return image


def _as_array(name, values, meaning):
    """Returns a float32 array with the axes that `meaning` names."""
    rank = meaning.count(",") + 1
    try:
        array = np.asarray(values).astype("float32")
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`{name}` must be an array of numbers, {meaning}. "
            f"Received: {name} of type {type(values).__name__}."
        ) from error
    if array.ndim != rank or array.size == 0:
        raise ValueError(
            f"`{name}` must have {rank} axes, none empty, {meaning}. "
            f"Received: {name}.shape={array.shape}. "
            "Pick one example of the batch."
        )
    if not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite. Received: {name} with NaN or infinity."
        )
    return array


def _write_title(axes, title):
    if title is not None:
        axes.set_title(labels.drawable(title), **labels.text_style())


def _new_figure(height, width, rows=1, columns=1):
    """Returns an empty figure sized for a grid of `(height, width)` cells."""
    labels.import_matplotlib()
    from matplotlib.figure import Figure

    sides = []
    for cells, count in ((width, columns), (height, rows)):
        side = count * (cells * INCHES_PER_TOKEN + MARGIN_INCHES)
        sides.append(min(max(side, SMALLEST_SIDE), LARGEST_SIDE))
    return Figure(figsize=tuple(sides), layout="constrained")
