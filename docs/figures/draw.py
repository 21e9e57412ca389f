"""Draws the figures of the guide.

`python docs/figures/draw.py` writes them beside this file, as SVG whose
letters are paths, so that a reader needs no font; who draws them needs one with
Chinese characters. The background is transparent and text is grey, to be read
on light and on dark pages. The same versions write the same bytes.
"""

import pathlib
import sys
import typing

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import keras_attention as ka
from keras_attention import masks
from keras_attention import plots

HERE = pathlib.Path(__file__).parent
MODEL = HERE.parent.parent / "saved_models" / "en_zh" / "model"

GREY, BLUE, ORANGE, PALE = "#82868c", "#3d85c6", "#d9822b", "#9fc5e8"
# matplotlib finds the first face of the file, which has all characters.
CHINESE = "NotoSansCJK-Regular.ttc"
STYLE = {
    "font.family": ["DejaVu Sans", "Noto Sans CJK JP"],
    "font.size": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "keras_attention",
    "savefig.transparent": True,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.titlecolor": GREY,
    "axes.edgecolor": GREY,
    "axes.titlesize": 9,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
}

TEXT = "I am a dog."
WORDS = ["i", "am", "a", "dog", "."]
CHARACTERS = list("我是一隻狗。")
TWO_TEXTS = [*WORDS, "hello", "!"]
PADDED = [*WORDS, "pad", "pad"]
WIDTH, MAX_LENGTH = 3, 12


class DrawnMask(typing.NamedTuple):
    """A mask, and the labels of queries and keys or their number."""

    mask: masks.Mask
    queries: list | int
    keys: list | int


WINDOW = masks.SlidingWindow(left=1, right=1)
MASKS = {
    "causal": DrawnMask(masks.Causal(), WORDS, WORDS),
    "window": DrawnMask(WINDOW, WORDS, WORDS),
    "window_left": DrawnMask(masks.SlidingWindow(2, 0), WORDS, WORDS),
    "prefix": DrawnMask(masks.PrefixLM([3]), WORDS, WORDS),
    "lengths": DrawnMask(masks.Lengths([5]), CHARACTERS, PADDED),
    "padding": DrawnMask(
        masks.Padding([[0, 1, 1, 1, 1, 1, 0]]),
        CHARACTERS,
        ["pad", *WORDS, "pad"],
    ),
    "query_padding": DrawnMask(
        masks.QueryPadding([[1] * 6 + [0] * 2]),
        [*CHARACTERS, "pad", "pad"],
        WORDS,
    ),
    "segments": DrawnMask(
        masks.Segments([[0, 0, 0, 0, 0, 1, 1]]), TWO_TEXTS, TWO_TEXTS
    ),
    "global_tokens": DrawnMask(masks.GlobalTokens(1), WORDS, WORDS),
    "random_blocks": DrawnMask(
        masks.RandomBlocks(num_blocks=2, block_size=3, length=24), 24, 24
    ),
    "array": DrawnMask(masks.Array(np.eye(5, dtype=bool)[::-1]), WORDS, WORDS),
    "and": DrawnMask(
        masks.Causal() & masks.Segments([[0, 0, 0, 0, 0, 1, 1]]),
        TWO_TEXTS,
        TWO_TEXTS,
    ),
    "or": DrawnMask(WINDOW | masks.GlobalTokens(1), WORDS, WORDS),
    "not": DrawnMask(
        masks.Array(~np.asarray(WINDOW.dense(5, 5))), WORDS, WORDS
    ),
    "empty_row": DrawnMask(
        masks.Causal() & masks.Padding([[0, 0, 1, 1, 1]]), WORDS, WORDS
    ),
}


def draw_mask(drawn):
    """Draws one row of a batch of masks."""
    labels = [
        range(side) if isinstance(side, int) else side
        for side in (drawn.queries, drawn.keys)
    ]
    block = np.asarray(drawn.mask.dense(*map(len, labels)))
    block = block.reshape(block.shape[-2:])
    height, width = block.shape
    cell = 0.28 if max(block.shape) < 12 else 0.12
    wide, high = cell * width + 0.95, cell * height + 0.95  # inches
    figure = Figure((wide, high))
    box = (0.75 / wide, 0.1 / high, cell * width / wide, cell * height / high)
    axes = figure.add_axes(box)
    plots.plot_mask(block, axes=axes)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    for axis, side in ((axes.yaxis, labels[0]), (axes.xaxis, labels[1])):
        if not isinstance(side, range):
            axis.set_ticks(range(len(side)), side)
    if not isinstance(labels[1], range):
        axes.tick_params("x", labelrotation=45)
    return figure


class WatchedDecoder:
    """A decoder that notes what a search asks of it."""

    def __init__(self, decoder):
        self.decoder, self.start = decoder, decoder.start
        self.tokens, self.logits, self.ancestors, self.parents = [], [], [], []

    def step(self, tokens, state, index, ancestors=None):
        result = self.decoder.step(tokens, state, index, ancestors=ancestors)
        self.tokens.append(np.asarray(tokens)[0])
        self.logits.append(np.asarray(result[0])[0].astype("float64"))
        self.ancestors.append(np.asarray(ancestors)[0])
        return result

    def reorder(self, state, parents):
        self.parents.append(np.asarray(parents)[0])
        return self.decoder.reorder(state, parents)


class Searched(typing.NamedTuple):
    """A beam search of the sentence that all pages have."""

    model: ka.Seq2Seq
    watched: WatchedDecoder
    found: typing.Any  # `decoding.Decoded`
    totals: list  # log probabilities of the live beams before each step

    def names(self, ids):
        strings = self.model.target_vocabulary.token_strings(np.asarray(ids))
        return [name.decode() for name in strings.numpy()]

    def hypotheses(self):
        """Yields tokens without EOS, score and slots of each, best first."""
        tokens, scores, lengths, _ = (np.asarray(x)[0] for x in self.found)
        for said, score, length in zip(tokens, scores, lengths, strict=True):
            said = said[: length - 1]
            paths = self.watched.ancestors[length - 1][:, :length]
            fed = np.array(self.watched.tokens[:length])
            places = range(1, length)
            (slot,) = [
                slot
                for slot, path in enumerate(paths)
                if all(fed[i, path[i]] == said[i - 1] for i in places)
            ]
            yield said, score, paths[slot]


def search_sentence():
    """Runs the search, and sums the log probabilities of its beams anew."""
    model = ka.load(MODEL)
    encoded = model.encode(
        model.source_vocabulary.encode([TEXT]), training=False
    )
    watched = WatchedDecoder(model.decoder)
    search = ka.Beam(
        WIDTH,
        num_hypotheses=WIDTH,
        constraints=[ka.decoding.Suppress((0, 1))],
    )
    mask = encoded.mask_or_ones()
    found = ka.decoding.decode(
        watched, encoded.values, mask, search, MAX_LENGTH
    )
    totals = [np.array([0.0, -np.inf, -np.inf])]
    for step, tokens in enumerate(watched.tokens[1:]):
        logits, parents = watched.logits[step], watched.parents[step]
        added = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        totals.append(totals[-1][parents] + added[parents, tokens])
    return Searched(model, watched, found, totals)


def empty_axes(width, height):
    figure = Figure((width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    return figure, axes


def write_box(axes, place, text, colour=GREY, width=0.72, height=0.62):
    x, y = place
    corner = (x - width / 2, y - height / 2)
    box = Rectangle(corner, width, height, facecolor="none", edgecolor=colour)
    axes.add_patch(box)
    axes.text(x, y, text, ha="center", va="center", color=colour, fontsize=8)


def draw_arrow(axes, start, end, colour=GREY, **style):
    style = {"arrowstyle": "->", "color": colour, **style}
    axes.annotate("", end, start, arrowprops=style)


def row_of(slot):
    return WIDTH - 1.0 - slot


def draw_beam(searched):
    """Live beams from left to right, what has ended below them."""
    watched = searched.watched
    found = list(searched.hypotheses())
    best = found[0][2]
    steps = len(watched.tokens)
    figure, axes = empty_axes(8, 3.7)
    axes.set_xlim(-0.6, steps + 0.2)
    axes.set_ylim(-2.4, WIDTH - 0.1)
    axes.text(-0.5, row_of(0) + 0.55, "live", color=GREY)
    for step in range(steps):
        axes.text(step, row_of(0) + 0.55, f"step {step}", ha="center")
        for slot in range(WIDTH if step else 1):
            name = searched.names([watched.tokens[step][slot]])[0]
            total = searched.totals[step][slot]
            colour = BLUE if slot == best[step] else GREY
            write_box(
                axes, (step, row_of(slot)), f"{name}\n{total:.2f}", colour
            )
            if step:
                start = (step - 0.64, row_of(watched.parents[step - 1][slot]))
                end = (step - 0.36, row_of(slot))
                draw_arrow(axes, start, end, colour)
    axes.axhline(-0.6, color=GREY, linewidth=0.6, linestyle="--")
    axes.text(-0.5, -0.95, "finished", color=GREY)
    in_time = sorted(enumerate(found), key=lambda pair: len(pair[1][0]))
    for row, (rank, (said, score, slots)) in enumerate(in_time):
        colour, length = (ORANGE if rank else BLUE), len(said) + 1
        slot, y = slots[-1], -0.95 - 0.5 * row
        text = "".join(searched.names(said))
        total = score * (5 + length) / 6
        sum_of = f"{text}   {total:.2f} / ((5 + {length}) / 6) = {score:.2f}"
        corner = (length - 1 + 0.36, row_of(slot) - 0.2)
        end = (length - 1 + 0.45 + 0.15 * (WIDTH - slot), y + 0.05)
        draw_arrow(axes, corner, end, colour, linestyle="dotted")
        axes.text(length - 0.72, y, sum_of, ha="right", color=colour)
    return figure


def draw_ancestors(searched):
    """Which slot holds the keys of each position of a beam's history."""
    watched = searched.watched
    *_, (_, _, path) = searched.hypotheses()
    step = len(path) - 1
    figure, axes = empty_axes(7, 2.6)
    axes.set_xlim(-1.6, step + 1.2)
    axes.set_ylim(-1.4, WIDTH + 0.3)
    for slot in range(WIDTH):
        axes.text(-1.5, row_of(slot), f"slot {slot}", va="center")
        for place in range(step + 1):
            name = searched.names([watched.tokens[place][slot]])[0]
            on_path = path[place] == slot
            colour = BLUE if on_path else GREY
            write_box(axes, (place, row_of(slot)), name, colour, 0.8, 0.8)
    axes.text(-1.5, -0.9, f"ancestors\nof slot {path[-1]}", va="center")
    for place, slot in enumerate(path):
        axes.text(place, -0.9, str(slot), ha="center", va="center", color=BLUE)
    for place in range(step + 1):
        axes.text(place, row_of(0) + 0.55, str(place), ha="center")
    return figure


def draw_length_penalty(searched):
    """The order of the hypotheses by the exponent of the length penalty."""
    figure = Figure((5, 2.8), layout="constrained")
    axes = figure.subplots()
    exponents = np.linspace(0, 2, 41)
    colours = (BLUE, ORANGE, GREY)
    for (said, score, _), colour in zip(
        searched.hypotheses(), colours, strict=True
    ):
        length = len(said) + 1
        total = score * (5 + length) / 6
        text = "".join(searched.names(said))
        scores = total / ((5 + length) / 6) ** exponents
        axes.plot(exponents, scores, color=colour, label=f"{text} {length}")
    axes.set_xlabel("length_penalty")
    axes.set_ylabel("score")
    axes.legend(loc="lower right")
    return figure


def draw_alignment(searched):
    """What each character of the best hypothesis was read from."""
    said, *_ = next(searched.hypotheses())
    weights = np.asarray(searched.found.alignments)[0, 0]
    weights = weights[: len(said) + 1]
    return plots.plot_alignment(
        weights, [*WORDS, "<eos>"], [*searched.names(said), "<eos>"]
    )


def draw_blocks(_):
    """Tiles of a causal score matrix: computed, on the diagonal, skipped."""
    figure, axes = empty_axes(6.2, 3.2)
    axes.set_xlim(-1.3, 11)
    axes.set_ylim(5.6, -1.0)
    for row in range(5):
        for column in range(5):
            face = "none" if column > row else (BLUE if column < row else PALE)
            axes.add_patch(
                Rectangle(
                    (column, row), 0.94, 0.94, facecolor=face, edgecolor=GREY
                )
            )
    axes.text(2.5, -0.4, "blocks of keys", ha="center")
    axes.text(-0.4, 2.5, "blocks of queries", rotation=90, va="center")
    draw_arrow(axes, (0.1, 3.47), (3.85, 3.47), ORANGE, linewidth=1.5)
    running = (
        "running, for each query:\nmaximum m\nsum l of exp(score - m)\noutput o"
    )
    axes.text(5.5, 3.2, running, color=ORANGE, va="center")
    draw_arrow(axes, (4.0, 3.47), (5.4, 3.3), ORANGE, linewidth=1.5)
    axes.text(5.5, 0.5, "empty: ruled out, not computed")
    axes.text(5.5, 1.3, "dark: all visible, no mask applied", color=BLUE)
    axes.text(5.5, 1.8, "pale: mask applied")
    return figure


def draw_additive(_):
    """How exact the two ways to tanh(q + k) are in float32."""
    figure = Figure((5, 2.8), layout="constrained")
    axes = figure.subplots()
    sums = np.linspace(-40, 40, 4001)
    half = (sums / 2).astype("float32")
    powers = np.exp(2 * half)
    trick = 1 - 2 / (1 + powers * powers)
    exact = np.tanh(2 * half.astype("float64"))
    axes.plot(sums, np.abs(trick - exact), color=BLUE, linewidth=0.8)
    axes.axhline(2.0**-24, color=ORANGE, linewidth=0.8)
    note = "half a unit in the\nlast place of 1"
    axes.text(14, 2.0**-24 * 1.05, note, color=ORANGE)
    axes.set_xlabel("q + k")
    axes.set_ylabel("error, float32")
    return figure


def draw_dropout(_):
    """A block of keep bits is that block of all keep bits."""
    figure = Figure((5.4, 2.5), layout="constrained")
    whole, part = figure.subplots(1, 2, width_ratios=(18, 6))
    dropout = ka.functional.Dropout(rate=0.3, seed=7)
    bits = np.asarray(dropout.keep((1, 1, 12, 18)))[0, 0]
    block = np.asarray(dropout.keep((1, 1, 4, 6), (0, 0, 4, 6)))[0, 0]
    plots.plot_mask(bits, axes=whole)
    plots.plot_mask(block, axes=part)
    whole.set_title("keep((1, 1, 12, 18))")
    part.set_title("keep((1, 1, 4, 6),\nstarts=(0, 0, 4, 6))")
    outline = {"facecolor": "none", "edgecolor": ORANGE, "linewidth": 2}
    whole.add_patch(Rectangle((5.5, 3.5), 6, 4, **outline, zorder=3))
    part.add_patch(Rectangle((-0.5, -0.5), 6, 4, **outline, zorder=3))
    return figure


def draw_half(_):
    """What is lost where half precision computes the scores, too."""
    figure = Figure((5, 2.8), layout="constrained")
    axes = figure.subplots()
    sizes = [1, 2, 4, 8, 16, 32, 64, 128]
    generator = np.random.default_rng(0)
    shape = (1, 64, 1, 32)
    query, key, value = (generator.normal(size=shape) for _ in range(3))
    errors = {"all in float16": [], "scores and softmax in float32": []}
    for size in sizes:
        heads = [x.astype("float16") for x in (query * size, key, value)]
        exact = numpy_attention(*heads, "float64")
        names = ("query", "key", "value")
        ours = ka.functional.attend(**dict(zip(names, heads, strict=True)))
        half = numpy_attention(*heads, "float16")
        for name, found in zip(errors, (half, ours), strict=True):
            error = np.abs(np.asarray(found, "float64") - exact).max()
            errors[name].append(error)
    colours = (ORANGE, BLUE)
    for (name, series), colour in zip(errors.items(), colours, strict=True):
        axes.plot(sizes, series, marker="o", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("size of the scores (standard deviation)")
    axes.set_ylabel("largest error of the output")
    axes.legend()
    return figure


def numpy_attention(query, key, value, dtype):
    """Dot-product attention of one head, every step rounded to `dtype`."""
    query, key, value = (x[0, :, 0].astype(dtype) for x in (query, key, value))
    scores = (query / np.sqrt(query.shape[1]).astype(dtype)) @ key.T
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights = powers / powers.sum(axis=1, keepdims=True)
    return (weights @ value)[None, :, None]


def draw_serving(_):
    """From a request to its answer, all of it in one SavedModel."""
    figure, axes = empty_axes(7.8, 2.2)
    axes.set_xlim(-0.4, 15.9)
    axes.set_ylim(-1.6, 2.3)
    parts = [
        (0.9, 'text\n"I am a dog."', GREY),
        (3.7, "source\nvocabulary", BLUE),
        (6.3, "encoder", BLUE),
        (9.1, "search loop\nand decoder", BLUE),
        (11.8, "target\nvocabulary", BLUE),
        (14.6, "text\n我是一隻狗。", GREY),
    ]
    for place, text, colour in parts:
        write_box(axes, (place, 0), text, colour, 2.1, 1.3)
    for (start, *_), (end, *_) in zip(parts, parts[1:], strict=False):
        draw_arrow(axes, (start + 1.05, 0), (end - 1.05, 0))
    outline = Rectangle(
        (2.4, -1.2), 10.7, 2.6, facecolor="none", edgecolor=GREY, linestyle="--"
    )
    axes.add_patch(outline)
    axes.text(
        7.75, 1.75, "one SavedModel: TensorFlow operations alone", ha="center"
    )
    return figure


PICTURES = {
    "beam": draw_beam,
    "ancestors": draw_ancestors,
    "length_penalty": draw_length_penalty,
    "alignment": draw_alignment,
    "blocks": draw_blocks,
    "additive": draw_additive,
    "dropout": draw_dropout,
    "half_precision": draw_half,
    "serving": draw_serving,
}


def find_chinese_font():
    """Tells matplotlib of a font that may be newer than its list of fonts."""
    for path in font_manager.findSystemFonts():
        if path.endswith(CHINESE):
            font_manager.fontManager.addfont(path)
            return
    raise SystemExit(
        f"{CHINESE} is not installed. On Debian: apt install fonts-noto-cjk"
    )


def main(folder=HERE):
    folder = pathlib.Path(folder)
    find_chinese_font()
    searched = search_sentence()
    with matplotlib.rc_context(STYLE):
        figures = {f"mask_{n}": draw_mask(drawn) for n, drawn in MASKS.items()}
        figures |= {name: draw(searched) for name, draw in PICTURES.items()}
        for name, figure in figures.items():
            path = folder / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
