import io
import sys

import numpy as np
import pytest

from keras_attention import plots
from keras_attention.plots import labels

pytest.importorskip("matplotlib")
# Chinese labels are drawn with the fonts of the machine, or as escapes.
pytestmark = pytest.mark.filterwarnings("ignore:No installed font has")

HEADS, TARGET, SOURCE = 5, 3, 7
PNG = b"\x89PNG\r\n\x1a\n"


def weights_of(*shape):
    raw = np.random.default_rng(11).random(shape)
    return raw / raw.sum(axis=-1, keepdims=True)


def texts_of(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def pixels_of(figure):
    import matplotlib.image

    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    file.seek(0)
    return matplotlib.image.imread(file)


def test_alignment_shows_the_weights_with_their_labels():
    weights = weights_of(TARGET, SOURCE)
    figure = plots.plot_alignment(weights, "example", ["EH", "G", "Z"], "words")
    axes, colour_bar = figure.axes
    (image,) = axes.get_images()
    np.testing.assert_allclose(image.get_array(), weights, rtol=1e-6)
    assert texts_of(axes.xaxis) == list("example")
    assert texts_of(axes.yaxis) == ["EH", "G", "Z"]
    assert axes.get_title() == "words"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("source", "target")
    assert colour_bar.get_ylim() == pytest.approx((0, weights.max()))


def test_missing_font_is_named(monkeypatch):
    latin = frozenset(range(0x250))
    monkeypatch.setattr(labels, "_known_characters", lambda: latin)
    with pytest.warns(UserWarning, match="'安'.* fonts-noto-cjk"):
        figure = plots.plot_alignment([[1.0, 0.0]], "a安", ["哥"])
    assert texts_of(figure.axes[0].xaxis) == ["a", r"\u5b89"]
    plots.plot_alignment([[1.0, 0.0]], "aé", ["A"])  # warns of nothing


def test_alignment_reads_downwards():
    weights = np.zeros((TARGET, SOURCE))
    weights[0, SOURCE - 1] = 1.0
    axes = plots.plot_alignment(weights).axes[0]
    bottom, top = axes.get_ylim()
    left, right = axes.get_xlim()
    assert bottom > top and left < right
    pixels = pixels_of(axes.figure)[::-1, :, :3].sum(axis=-1)

    def brightness(source, target):
        place = axes.transData.transform((source, target))
        x, y = (place * 40 / axes.figure.dpi).astype(int)
        return pixels[y, x]

    dark = brightness(SOURCE - 1, 0)
    light = brightness(0, TARGET - 1)
    assert dark < light - 1.0


def test_alignment_without_labels_numbers_the_positions():
    figure = plots.plot_alignment(weights_of(TARGET, SOURCE))
    pixels_of(figure)
    axes = figure.axes[0]
    numbers = [float(text) for text in texts_of(axes.xaxis) if text.isdigit()]
    assert set(numbers) >= {0.0, 2.0, 4.0, 6.0}


@pytest.mark.parametrize(
    "tokens",
    [
        ["a", "b", "c"],
        [b"a", b"b", b"c"],
        np.array([b"a", b"b", b"c"], object),
        np.array(["a", "b", "c"]),
        "abc",
    ],
    ids=["str", "bytes", "objects", "array", "one"],
)
def test_alignment_takes_any_labels(tokens):
    figure = plots.plot_alignment(weights_of(TARGET, SOURCE), None, tokens)
    assert texts_of(figure.axes[0].yaxis) == ["a", "b", "c"]


def test_alignment_draws_on_given_axes():
    from matplotlib.figure import Figure

    figure = Figure()
    left, right = figure.subplots(1, 2)
    weights = weights_of(TARGET, SOURCE)
    assert plots.plot_alignment(weights, axes=right) is figure
    assert plots.plot_mask(np.eye(SOURCE), axes=left) is figure
    assert figure.axes == [left, right]
    assert len(left.get_images()) == len(right.get_images()) == 1


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_alignment_takes_backend_tensors(dtype):
    import keras

    weights = weights_of(TARGET, SOURCE)
    tensor = keras.ops.cast(keras.ops.convert_to_tensor(weights), dtype)
    (image,) = plots.plot_alignment(tensor).axes[0].get_images()
    np.testing.assert_allclose(image.get_array(), weights, rtol=1e-2)


def test_alignment_without_any_weight_is_a_picture():
    figure = plots.plot_alignment(np.zeros((TARGET, SOURCE)))
    assert pixels_of(figure).ndim == 3


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("é", "é"),
        ("$x_1$", "$x_1$"),
        ("a b", "a b"),
        (" ", "␣"),
        ("", ""),
        ("\n", r"\n"),
        ("\x00", r"\x00"),
        ("\u200d", r"\u200d"),
        ("\U0002a6d6", r"\U0002a6d6"),
        ("\ud800", r"\ud800"),
        (b"a\xff", "a\ufffd"),
        (7, "7"),
    ],
    ids=repr,
)
def test_labels_can_always_be_drawn(token, expected):
    figure = plots.plot_alignment([[1.0]], [token], [token], title=token)
    axes = figure.axes[0]
    assert texts_of(axes.xaxis) == texts_of(axes.yaxis) == [expected]
    assert axes.get_title() == expected
    assert pixels_of(figure).ndim == 3


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("a" * 20, "a" * 20),
        ("a" * 21, "a" * 19 + "…"),
        ("\x1b" * 11, r"\x1b" * 4 + "…"),
        ("e\u0301" * 20, "e\u0301" * 20),
    ],
    ids=["fits", "long", "escapes", "combining"],
)
def test_long_labels_end_in_an_ellipsis(token, expected):
    figure = plots.plot_alignment([[1.0]], [token], [token])
    assert texts_of(figure.axes[0].xaxis) == [expected]
    assert texts_of(figure.axes[0].yaxis) == [expected]


def test_long_titles_are_broken_and_end_in_an_ellipsis():
    words = [f"word{number}" for number in range(53)]
    figure = plots.plot_alignment([[1.0]], title=" ".join(words))
    lines = figure.axes[0].get_title().split("\n")
    assert len(lines) == 3 and lines[-1].endswith("…")
    shown = " ".join(lines).removesuffix("…")
    assert " ".join(words).startswith(shown)


@pytest.mark.parametrize(
    ("height", "width", "letters"),
    [(11, 13, 41), (3, 61, 5), (79, 2, 7), (151, 149, 3), (2, 3, 1)],
)
def test_labels_neither_overlap_nor_leave_the_picture(height, width, letters):
    tokens = [f"{n:0{letters}}" for n in range(max(height, width))]
    figure = plots.plot_alignment(
        weights_of(height, width),
        tokens[:width],
        tokens[:height],
        title="too long a title for most of these pictures: it goes on",
    )
    figure.draw_without_rendering()
    axes = figure.axes[0]
    texts = [axes.title, axes.xaxis.label, axes.yaxis.label]
    for axis, start in ((axes.xaxis, "x0"), (axes.yaxis, "y0")):
        boxes = [x.get_window_extent() for x in axis.get_ticklabels()]
        boxes.sort(key=lambda box: getattr(box, start))
        pairs = zip(boxes, boxes[1:], strict=False)
        assert not any(one.overlaps(other) for one, other in pairs)
        texts += axis.get_ticklabels()
    for text in texts:
        box = text.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1


def test_labels_are_left_out_where_cells_are_smaller_than_text():
    tokens = [f"token {number}" for number in range(307)]
    figure = plots.plot_alignment(weights_of(307, 307), tokens, tokens)
    for axis in (figure.axes[0].xaxis, figure.axes[0].yaxis):
        places = axis.get_ticklocs().tolist()
        assert texts_of(axis) == [tokens[place] for place in places]
        assert places[0] == 0 and 50 < len(places) < 120
        assert len(set(np.diff(places))) == 1
    assert max(figure.get_size_inches()) <= 14


def test_labels_in_chinese_are_drawn_or_escaped():
    figure = plots.plot_alignment(weights_of(1, 2), "中国", "C")
    known = ord("中") in labels._known_characters()
    expected = ["中", "国"] if known else [r"\u4e2d", r"\u56fd"]
    assert texts_of(figure.axes[0].xaxis) == expected
    assert pixels_of(figure).ndim == 3


def test_labels_use_a_chinese_font_that_is_installed(monkeypatch):
    from matplotlib import font_manager

    names = ["SimHei", "Noto Sans CJK SC", "DejaVu Sans"]
    monkeypatch.setattr(font_manager, "get_font_names", lambda: names)
    labels._font_families.cache_clear()
    families = labels.text_style()["fontfamily"]
    labels._font_families.cache_clear()
    assert families == ["DejaVu Sans", "Noto Sans CJK SC"]


def test_heads_are_drawn_side_by_side_in_one_scale():
    weights = weights_of(HEADS, TARGET, SOURCE)
    figure = plots.plot_heads(weights, "example", "xyz", "layer 2", columns=2)
    grid, colour_bars = figure.axes[:HEADS], figure.axes[HEADS:]
    assert len(colour_bars) == 1
    assert figure.get_suptitle() == "layer 2"
    for head, axes in enumerate(grid):
        (image,) = axes.get_images()
        np.testing.assert_allclose(image.get_array(), weights[head], rtol=1e-6)
        assert image.get_clim() == pytest.approx((0, weights.max()))
        assert axes.get_title() == f"head {head}"
        assert texts_of(axes.xaxis) == list("example")
        assert texts_of(axes.yaxis) == list("xyz")
    shape = grid[0].get_subplotspec().get_gridspec().get_geometry()
    assert shape == (3, 2)
    assert pixels_of(figure).ndim == 3


def test_heads_are_at_most_columns_wide():
    figure = plots.plot_heads(weights_of(2, TARGET, SOURCE))
    spec = figure.axes[0].get_subplotspec().get_gridspec()
    assert spec.get_geometry() == (1, 2)


@pytest.mark.parametrize("dtype", [bool, int, "float32"])
def test_mask_is_drawn_cell_by_cell(dtype):
    mask = np.tri(TARGET, SOURCE, k=2, dtype=bool)
    figure = plots.plot_mask(mask.astype(dtype), title="causal")
    (axes,) = figure.axes
    (image,) = axes.get_images()
    np.testing.assert_array_equal(image.get_array(), mask)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("key", "query")
    assert axes.get_title() == "causal"
    darkness = pixels_of(figure)[..., 0]
    assert darkness.min() < 0.5 < darkness.max()


def test_mask_of_one_kind_keeps_its_colour():
    filled, empty = (
        pixels_of(plots.plot_mask(np.full((TARGET, SOURCE), value)))
        for value in (True, False)
    )
    middle = tuple(size // 2 for size in filled.shape[:2])
    near = (slice(middle[0] - 4, middle[0] + 4), slice(middle[1] - 4, None))
    assert filled[near][..., 0].min() < 0.5
    assert empty[near][..., 0].mean() > 0.9


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (
            lambda: plots.plot_alignment(weights_of(2, TARGET, SOURCE)),
            r"`weights` must have 2 axes.*\(2, 3, 7\).*Pick one example",
        ),
        (
            lambda: plots.plot_alignment(np.zeros((0, SOURCE))),
            r"`weights` must have 2 axes, none empty.*\(0, 7\)",
        ),
        (
            lambda: plots.plot_alignment([["a", "b"]]),
            "`weights` must be an array of numbers.*list",
        ),
        (
            lambda: plots.plot_alignment([[np.nan, 1.0]]),
            "`weights` must be finite.*NaN",
        ),
        (
            lambda: plots.plot_alignment(weights_of(TARGET, SOURCE), "short"),
            "`source_tokens` must have one label for each of the 7.*5 labels",
        ),
        (
            lambda: plots.plot_alignment(
                weights_of(TARGET, SOURCE), target_tokens=["a", "b"]
            ),
            "`target_tokens` must have one label for each of the 3.*2 labels",
        ),
        (
            lambda: plots.plot_heads(weights_of(TARGET, SOURCE)),
            r"`weights` must have 3 axes.*num_heads.*\(3, 7\)",
        ),
        (
            lambda: plots.plot_heads(
                weights_of(HEADS, TARGET, SOURCE), target_tokens="ab"
            ),
            "`target_tokens` must have one label",
        ),
        (
            lambda: plots.plot_heads(weights_of(2, 3, 7), columns=0),
            "`columns` must be a positive integer.*columns=0",
        ),
        (
            lambda: plots.plot_mask(np.zeros((2, 3, 5), bool)),
            r"`mask` must have 2 axes.*query_length.*\(2, 3, 5\)",
        ),
        (
            lambda: plots.plot_mask([[0.0, -1.5]]),
            "`mask` must hold True and False.*-1.5 to 0.0. Are these scores",
        ),
        (
            lambda: plots.plot_alignment(np.ones((2, 1201))),
            "`weights` must give at most 1200 cells.*2 x 1201.*Draw a part",
        ),
        (
            lambda: plots.plot_heads(np.ones((5, 2, 401)), columns=3),
            "`weights` must give at most 1200 cells.*2 x 3 panels.*fewer heads",
        ),
        (
            lambda: plots.plot_heads(np.ones((101, 2, 3)), columns=2),
            "`weights` must give.*panels 45 inches.*51 x 2 panels of 2 x 3",
        ),
        (
            lambda: plots.plot_mask(np.ones((1201, 2))),
            "`mask` must give at most 1200 cells.*1201 x 2",
        ),
    ],
    ids=range(15),
)
def test_bad_arguments_are_named(draw, message):
    with pytest.raises(ValueError, match=message):
        draw()


def test_save_figure_writes_a_picture(tmp_path):
    figure = plots.plot_alignment(weights_of(TARGET, SOURCE), "example")
    path = tmp_path / "alignment.png"
    path.write_bytes(b"an older file")
    assert plots.save_figure(figure, str(path)) == path
    assert path.read_bytes().startswith(PNG)
    assert [file.name for file in tmp_path.iterdir()] == ["alignment.png"]


def test_save_figure_scales_with_dpi(tmp_path):
    import matplotlib.image

    figure = plots.plot_mask(np.eye(SOURCE))
    sizes = []
    for dpi in (40, 80):
        path = plots.save_figure(figure, tmp_path / f"{dpi}.png", dpi=dpi)
        sizes.append(np.array(matplotlib.image.imread(path).shape[:2]))
    np.testing.assert_allclose(sizes[1], 2 * sizes[0], atol=2)


def test_failed_save_leaves_the_old_picture(tmp_path, monkeypatch):
    path = tmp_path / "mask.png"
    figure = plots.plot_mask(np.eye(SOURCE))
    path.write_bytes(b"an older file")

    def full_disk(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        plots.save_figure(figure, path)
    assert path.read_bytes() == b"an older file"
    assert [file.name for file in tmp_path.iterdir()] == ["mask.png"]


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", PNG), ("a.PDF", b"%PDF-"), ("a.svg", b"<?xml")],
)
def test_save_figure_writes_what_the_name_says(name, start, tmp_path):
    figure = plots.plot_alignment(weights_of(1, 3), "a中\x00", "b")
    path = plots.save_figure(figure, tmp_path / name)
    assert path.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("picture", r"`path` must be a name in .png, .pdf or .svg.*picture'"),
        ("picture.jpg", r"`path` must be a name in .png, .pdf or .svg"),
        ("folder.png", "`path` must be a file, not a folder"),
        ("none/a.png", "`path` must be in a folder that exists.*Make the f"),
        ("old.png/a.png", "`path` must be in a folder that exists"),
    ],
)
def test_names_of_pictures_are_checked(name, message, tmp_path):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "old.png").write_bytes(b"an older file")
    with pytest.raises(ValueError, match=message):
        plots.check_path(tmp_path / name)
    with pytest.raises(ValueError, match=message):
        plots.save_figure(plots.plot_mask(np.eye(SOURCE)), tmp_path / name)
    assert plots.check_path(str(tmp_path / "old.png")) == tmp_path / "old.png"


def test_a_folder_that_may_not_be_written_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)
    with pytest.raises(ValueError, match="in a folder that you may write to"):
        plots.check_path(tmp_path / "a.png")


def test_pictures_leave_pyplot_alone():
    import matplotlib.pyplot

    plots.plot_heads(weights_of(HEADS, TARGET, SOURCE))
    plots.plot_mask(np.eye(SOURCE))
    assert matplotlib.pyplot.get_fignums() == []


def test_missing_matplotlib_is_explained(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (
        lambda: plots.plot_alignment(weights_of(TARGET, SOURCE)),
        lambda: plots.plot_heads(weights_of(HEADS, TARGET, SOURCE)),
        lambda: plots.plot_mask(np.eye(SOURCE)),
    ):
        with pytest.raises(ImportError, match="pip install matplotlib"):
            draw()


def test_a_font_that_came_after_matplotlibs_list_is_found(monkeypatch):
    from matplotlib import font_manager

    paths = [font_manager.findfont("DejaVu Serif"), "/no/such/font.ttf"]
    others = [
        font
        for font in font_manager.fontManager.ttflist
        if font.name != "DejaVu Serif"
    ]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", others)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: paths)
    monkeypatch.setattr(labels, "CHINESE_FONTS", ("DejaVu Serif",))
    labels._font_families.cache_clear()
    try:
        assert labels._font_families() == ("DejaVu Sans", "DejaVu Serif")
    finally:
        labels._font_families.cache_clear()
