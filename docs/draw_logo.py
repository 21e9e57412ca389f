"""Draws docs/logo.svg: how a model read "I am a dog." to say 我是一隻狗。

    python docs/draw_logo.py

A row is a character said, a column a word read; the darker a square, the more
the character looked at the word.
"""

from pathlib import Path

import numpy as np

import keras_attention as ka
from keras_attention import files

ROOT = Path(__file__).parent.parent
SIDE, GAP = 20, 4
SQUARE = '<rect x="{}" y="{}" width="{}" height="{}" rx="4" opacity="{:.2f}"/>'


def alignment():
    """Returns the weights (characters, words)."""
    model = ka.load(ROOT / "saved_models" / "en_zh" / "model")
    result = model.generate(["I am a dog."], ka.Beam(5))
    said = int(result.lengths[0, 0]) - 1  # without the end
    return np.asarray(result.alignments)[0, 0, :said]


def to_svg(weights):
    """Returns the picture of weights, each row as strong as the others."""
    squares = []
    for row, shares in enumerate(weights / weights.max(axis=1, keepdims=True)):
        for column, share in enumerate(shares):
            x, y = column * (SIDE + GAP), row * (SIDE + GAP)
            opacity = 0.08 + 0.92 * share
            squares.append(SQUARE.format(x, y, SIDE, SIDE, opacity))
    height, width = (n * (SIDE + GAP) - GAP for n in weights.shape)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" '
        f'viewBox="0 0 {width} {height}" fill="#4a7de0">\n'
        + "\n".join(squares)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    files.write_text(ROOT / "docs" / "logo.svg", to_svg(alignment()))
