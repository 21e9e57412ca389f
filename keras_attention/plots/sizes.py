"""How large a picture is, and which of its labels have room.

Cells shrink before a picture grows beyond 14 inches a side; where they are
smaller than the text, only every second, third ... position has a label.
"""

import math
from typing import Any

from keras_attention.plots import labels

INCHES_PER_TOKEN = 0.3
LARGEST_SIDE = 14.0  # that cells are shrunk to
LARGEST_FIGURE = 45.0  # of many heads, each of the smallest size
SMALLEST_PANEL = 1.4  # the cells of one head, without labels
SMALLEST_SIDE = 3.0
MOST_CELLS = 1200  # along a side: each takes at least one pixel

AXIS_NAME = 0.7  # inches that ticks and the name of an axis take
COLOUR_BAR = 0.9
TITLE = 0.7
INCHES_PER_COLUMN = 0.1  # of a label, in its font size
# Inches from one label to the next, and the font size that fits in there.
NORMAL_LINE, NORMAL_SIZE = 0.17, 10
SMALL_LINE, SMALL_SIZE = 0.12, 7
ROOM_FOR_TWO_LETTERS = 0.22


def new_figure(
    name: str, shape: tuple, tokens: tuple, rows: int = 1, columns: int = 1
) -> Any:
    """Returns an empty figure with room for a grid of labelled panels.

    Args:
        name: the argument that the panels show, for the message.
        shape: (height, width) of a panel in cells.
        tokens: (source labels, target labels) as `labels_of` returns them.
        rows: number of panels from top to bottom.
        columns: number of panels from left to right.

    Raises:
        ValueError: if cells or panels would be too small to be seen.
    """
    labels.import_matplotlib()
    from matplotlib.figure import Figure

    height, width = shape
    source_tokens, target_tokens = tokens
    sides = (
        _side(width, columns, AXIS_NAME + _longest(target_tokens), COLOUR_BAR),
        _side(height, rows, AXIS_NAME + _longest(source_tokens), TITLE),
    )
    most = max(width * columns, height * rows)
    if most > MOST_CELLS or max(sides) > LARGEST_FIGURE:
        raise ValueError(
            f"`{name}` must give at most {MOST_CELLS} cells along a side of "
            f"the picture, and its panels {LARGEST_FIGURE:g} inches: more "
            f"cannot be seen. Received: {rows} x {columns} panels of {height} "
            f"x {width} cells. Draw a part of the positions, or fewer heads."
        )
    return Figure(figsize=sides, layout="constrained")


def label_positions(axis: Any, tokens: list[str], cell: float) -> None:
    """Writes labels at an axis, as many as there is room for.

    Args:
        axis: matplotlib `XAxis` or `YAxis`.
        tokens: list of drawable labels.
        cell: inches from one position to the next.
    """
    step = max(1, math.ceil(SMALL_LINE / cell))
    is_small = step * cell < NORMAL_LINE
    axis.set_ticks(
        range(0, len(tokens), step),
        labels=tokens[::step],
        fontsize=SMALL_SIZE if is_small else NORMAL_SIZE,
        **labels.text_style(),
    )
    if axis.axis_name == "x":
        upright = 2 if step * cell >= ROOM_FOR_TWO_LETTERS else 1
        for label in axis.get_ticklabels():
            if labels.num_columns(label.get_text()) > upright:
                label.set_rotation(90)


def cell_inches(axes: Any, shape: tuple) -> tuple[float, float]:
    """Returns about how high and wide a cell is on axes in use, in inches."""
    box = axes.get_window_extent()
    dpi = axes.figure.dpi
    height, width = shape
    return box.height / dpi / height, box.width / dpi / width


def _side(cells, count, margin, once):
    """Inches of `count` panels, each with a margin, and what comes once."""
    room = (LARGEST_SIDE - once) / count - margin
    panel = min(cells * INCHES_PER_TOKEN, max(room, SMALLEST_PANEL))
    return max(count * (panel + margin) + once, SMALLEST_SIDE)


def _longest(tokens):
    columns = max(map(labels.num_columns, tokens or [""]))
    return columns * INCHES_PER_COLUMN
