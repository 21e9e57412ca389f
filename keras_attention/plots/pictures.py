"""Pictures of attention weights and masks.

Every function takes arrays and gives back a matplotlib `Figure` that belongs
to the caller: no window, no pyplot, nothing to close. matplotlib is imported
when the first picture is drawn.
"""

from typing import Any

import numpy as np

from keras_attention import validation
from keras_attention.plots import labels
from keras_attention.plots import sizes

MOST_GRID_LINES = 64
INCHES_PER_TITLE_COLUMN = 0.12


def plot_alignment(
    weights: Any,
    source_tokens: Any = None,
    target_tokens: Any = None,
    title: str | None = None,
    axes: Any = None,
) -> Any:
    """Draws one alignment: which source token each target token looked at.

    Any text can be a label. Control characters, and characters that no
    installed font has, are written as Python escapes. Labels of more than 20
    columns are cut and end in an ellipsis, the title after three lines; where
    cells are smaller than the text, only every second, third ... position has
    its label. matplotlib 3.11 and newer join the letters of right-to-left
    scripts such as Arabic and put them in order; older ones do not.

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
        ValueError: `weights` does not have two axes or one label for each
            row and column, or has more than 1200 of either.
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
        tokens = source_tokens, target_tokens
        axes = sizes.new_figure("weights", weights.shape, tokens).subplots()
    image = _draw_weights(axes, weights, source_tokens, target_tokens)
    _write_title(axes, title)
    if own_figure:
        axes.figure.colorbar(image, ax=axes, aspect=30)
    return axes.figure


def plot_heads(
    weights: Any,
    source_tokens: Any = None,
    target_tokens: Any = None,
    title: str | None = None,
    columns: int = 4,
) -> Any:
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
        ValueError: a wrong shape, not one label for each row and column, or
            more than 1200 cells along a side of the grid.
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
    tokens = source_tokens, target_tokens
    figure = sizes.new_figure(
        "weights", weights.shape[1:], tokens, rows, columns
    )
    grid = [figure.add_subplot(rows, columns, n + 1) for n in range(num_heads)]
    top = weights.max()
    for head, axes in enumerate(grid):
        image = _draw_weights(
            axes, weights[head], source_tokens, target_tokens, top
        )
        _write_title(axes, f"head {head}")
    figure.colorbar(image, ax=grid, aspect=30)
    if title is not None:
        columns = figure.get_figwidth() / INCHES_PER_TITLE_COLUMN
        figure.suptitle(labels.title_of(title, columns), **labels.text_style())
    return figure


def plot_mask(mask: Any, title: str | None = None, axes: Any = None) -> Any:
    """Draws a mask: a filled cell is a key that the query may attend to.

    Args:
        mask: boolean or 0/1 array `(query_length, key_length)`, True = may
            attend.
        title: text above the picture.
        axes: matplotlib `Axes` to draw on. By default, a new figure.

    Returns:
        The matplotlib `Figure` that holds the picture.

    Raises:
        ValueError: `mask` does not have two axes, has more than 1200 cells
            along one of them, or holds other numbers.
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
        tokens = None, None
        axes = sizes.new_figure("mask", mask.shape, tokens).subplots()
    _draw_cells(axes, mask, top=1.4)
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


def _draw_weights(axes, weights, source_tokens, target_tokens, top=None):
    """Draws a heat map `(T, S)`: source from left to right, target down."""
    top = weights.max() if top is None else top
    # All-zero weights are no error.
    image = _draw_cells(axes, weights, top if top > 0 else 1.0, aspect="auto")
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("source", **labels.text_style())
    axes.set_ylabel("target", **labels.text_style())
    height, width = sizes.cell_inches(axes, weights.shape)
    for axis, tokens, cell in (
        (axes.xaxis, source_tokens, width),
        (axes.yaxis, target_tokens, height),
    ):
        if tokens is None:
            axis.get_major_locator().set_params(integer=True)
        else:
            sizes.label_positions(axis, tokens, cell)
    return image


def _draw_cells(axes, values, top, aspect="equal"):
    return axes.imshow(
        values,
        cmap="Blues",
        vmin=0.0,
        vmax=top,
        aspect=aspect,
        interpolation="nearest",
        # Colours are found for cells, not for the many pixels of the picture.
        interpolation_stage="rgba",
    )


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
        inches = axes.get_window_extent().width / axes.figure.dpi
        columns = inches / INCHES_PER_TITLE_COLUMN
        axes.set_title(labels.title_of(title, columns), **labels.text_style())
