"""The page of `plots.view`: what is in it, and what is refused."""

import html
import re

import numpy as np
import pytest
from pages import Elements
from pages import data_of
from pages import mask_in
from pages import random_weights
from pages import weights_in

from keras_attention import plots

LAYERS, HEADS, TARGET, SOURCE = 2, 3, 5, 7


def one_layer(view):
    (layer,) = data_of(view)["layers"]
    return layer


@pytest.mark.parametrize(
    "shape", [(TARGET, SOURCE), (1, TARGET, SOURCE), (HEADS, TARGET, SOURCE)]
)
def test_weights_are_kept_in_half_precision(shape):
    weights = random_weights(*shape)
    kept = weights_in(one_layer(plots.view(weights)))
    assert kept.shape == (*(1,) * (3 - len(shape)), *shape)
    np.testing.assert_allclose(kept.reshape(shape), weights, rtol=2.0**-11)


def test_the_smallest_weights_are_kept_too():
    weights = np.array([[1.0, 6.2e-5, 1e-7, 6e-9, 0.0, -0.25]])
    kept = weights_in(one_layer(plots.view(weights)))[0]
    np.testing.assert_allclose(kept, weights, rtol=2.0**-11, atol=2.0**-25)
    assert kept[0, 2] > 0 == kept[0, 3]


def test_layers_of_an_array_have_numbers_or_names():
    weights = random_weights(LAYERS, HEADS, TARGET, SOURCE)
    numbered = data_of(plots.view(weights))["layers"]
    assert [layer["name"] for layer in numbered] == ["layer 0", "layer 1"]
    named = data_of(plots.view(weights, names=["low", "high"]))["layers"]
    assert [layer["name"] for layer in named] == ["low", "high"]
    for layer, expected in zip(named, weights, strict=True):
        np.testing.assert_allclose(weights_in(layer), expected, rtol=2.0**-11)
    (only,) = data_of(plots.view(weights[0], names=["one"]))["layers"]
    assert only["name"] == "one"


def test_layers_of_a_dict_may_differ_in_shape():
    weights = {
        "encoder": random_weights(1, 2, SOURCE, SOURCE),  # a batch of one
        "decoder": random_weights(TARGET, SOURCE),
        "pooled": random_weights(HEADS, 2, 11),
    }
    page = data_of(plots.view(weights, "sources", "tokes"))
    shapes = {x["name"]: weights_in(x).shape for x in page["layers"]}
    assert shapes == {
        "encoder": (2, SOURCE, SOURCE),
        "decoder": (1, TARGET, SOURCE),
        "pooled": (HEADS, 2, 11),
    }

    def labels(layer, axis):
        number = layer[axis]
        return None if number is None else "".join(page["labels"][number])

    found = [
        (labels(layer, "row_labels"), labels(layer, "column_labels"))
        for layer in page["layers"]
    ]
    assert found == [("sources", "sources"), ("tokes", "sources"), (None, None)]


def test_labels_can_be_given_for_each_layer():
    weights = {name: random_weights(3, 3) for name in ("encoder", "decoder")}
    target = {"encoder": "abc", "decoder": "xyz"}
    page = data_of(plots.view(weights, "abc", target))
    rows = [page["labels"][x["row_labels"]] for x in page["layers"]]
    columns = [page["labels"][x["column_labels"]] for x in page["layers"]]
    assert rows == [list("abc"), list("xyz")]
    assert columns == [list("abc"), list("abc")]
    assert len(page["labels"]) == 2  # each list once


def test_layers_whose_names_cannot_be_seen_have_their_labels_and_masks():
    name = "10\u00a0000\tkm: alignment"
    weights = {name: random_weights(2, 3), "b": random_weights(2, 2)}
    mask = np.array([[True, False, True], [True, True, False]])
    page = data_of(
        plots.view(weights, {name: "abc"}, {name: "xy"}, mask={name: mask})
    )
    layer = page["layers"][0]
    assert layer["name"] == r"10\xa0000\tkm: alignment"
    assert page["labels"][layer["row_labels"]] == ["x", "y"]
    assert page["labels"][layer["column_labels"]] == ["a", "b", "c"]
    assert layer["mask"] is not None and page["layers"][1]["mask"] is None


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("狗", "狗"),
        (b"a\xff", "a\ufffd"),
        (" ", "␣"),
        ("", ""),
        ("\n\x00\x1b", r"\n\x00\x1b"),
        ("\u202eabc", r"\u202eabc"),
        ("שלום", "שלום"),
        ("\ud800", r"\ud800"),
        ("e\u0301", "e\u0301"),
        (7, "7"),
        ("a" * 201, "a" * 200 + "…"),
    ],
    ids=ascii,
)
def test_every_token_has_a_text_that_can_be_seen(token, expected):
    page = data_of(plots.view([[1.0]], [token], title=token))
    assert page["labels"] == [[expected]]
    assert page["title"] == expected


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>",
    "&lt;b&gt;",
    '"\\',
    "{{program}}",
    "{{data}}",
    "\u2028",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_breaks_out_of_the_page(text):
    usual = Elements(plots.view([[1.0]], ["a"], title="a").html)
    steps = [[([text], -1.0)]]
    page = plots.view({text: [[1.0]]}, [text], [text], title=text, steps=steps)
    found = Elements(page.html)
    assert found.names == usual.names
    assert found.scripts[1:] == usual.scripts[1:]
    assert not set(found.scripts[0]) & set("<>&")
    shown = text.replace("\u2028", r"\u2028")
    assert found.title == shown
    data = data_of(page)
    assert data["labels"] == [[shown]]
    assert data["layers"][0]["name"] == data["title"] == shown
    assert data["steps"] == [[{"tokens": [shown], "score": -1.0}]]


def test_the_page_asks_for_nothing():
    page = plots.view(random_weights(TARGET, SOURCE)).html
    assert "default-src 'none'" in page
    assert re.findall(r"https?:|url\(|@import|\ssrc=|<link", page) == []


def test_a_page_of_500_tokens_is_small():
    weights = random_weights(500, 500)
    assert len(plots.view(weights).html) < 750_000


def test_masks_are_kept_by_the_bit():
    mask = np.tri(TARGET, SOURCE, k=1, dtype=bool)
    weights = {
        "fits": random_weights(HEADS, TARGET, SOURCE),
        "other": random_weights(SOURCE, SOURCE),
    }
    for given in (mask, mask.astype(int).tolist(), {"fits": mask}):
        fits, other = data_of(plots.view(weights, mask=given))["layers"]
        np.testing.assert_array_equal(mask_in(fits), mask)
        assert other["mask"] is None


def test_steps_are_texts_or_tokens_with_scores():
    steps = [[("I", -0.5), (["a", b"b"], np.float32(-2))], []]
    data = data_of(plots.view([[1.0]], steps=steps))
    assert data["steps"] == [
        [
            {"tokens": ["I"], "score": -0.5},
            {"tokens": ["a", "b"], "score": -2.0},
        ],
        [],
    ]
    assert data_of(plots.view([[1.0]]))["steps"] == []


def test_backend_tensors_are_weights():
    import keras

    weights = random_weights(TARGET, SOURCE)
    tensor = keras.ops.cast(keras.ops.convert_to_tensor(weights), "bfloat16")
    kept = weights_in(one_layer(plots.view(tensor)))[0]
    np.testing.assert_allclose(kept, weights, rtol=1e-2)


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    view = plots.view([[1.0]], title='a "quoted" <title>')
    (page,) = re.findall(r'srcdoc="([^"]*)"', view._repr_html_())
    assert html.unescape(page) == view.html
    (allowed,) = re.findall(r'sandbox="([^"]*)"', view._repr_html_())
    assert "allow-scripts" in allowed and "same-origin" not in allowed
    assert '<title>"' not in view._repr_html_()


def test_a_page_is_saved_whole(tmp_path, monkeypatch):
    path = tmp_path / "attention.html"
    view = plots.view([[1.0]], title="mine", path=path)
    assert path.read_text(encoding="utf-8") == view.html
    assert view.save(str(path)) == path

    def full_disk(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        plots.view([[0.5]], path=path)
    assert path.read_text(encoding="utf-8") == view.html
    assert [file.name for file in tmp_path.iterdir()] == ["attention.html"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("page.png", r"`path` must be a name in .html or .htm.*page.png'"),
        ("none/page.html", "`path` must be in a folder that exists"),
    ],
)
def test_names_of_pages_are_checked_first(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        plots.view("no weights", path=tmp_path / name)
    with pytest.raises(ValueError, match=message):
        plots.view([[1.0]]).save(tmp_path / name)


TOO_MANY = np.broadcast_to(np.float32(0), (2, 4097, 2048))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": [1.0]}, r"`weights` must be \(target_length, sou.*\(1,\)"),
        ({"weights": np.zeros((2, 0, 3))}, r"no axis empty.*\(2, 0, 3\)"),
        ({"weights": np.zeros((1,) * 5)}, "Of a batch, take one example"),
        ({"weights": "words"}, "`weights` must be an array of numbers.*a str"),
        ({"weights": [[np.nan]]}, "`weights` must be finite.*NaN"),
        ({"weights": [[1e6]]}, "`weights` must be within.*1e.06.*softmax"),
        ({"weights": TOO_MANY}, r"at most 16,777,216 numbers.*16,781,312"),
        ({"weights": {}}, "`weights` must be at least one layer"),
        (
            {"weights": {"a": np.zeros((2, 3, 5, 7))}},
            r"`weights\['a'\]` must be.*\(2, 3, 5, 7\).*w\[0\] for name, w",
        ),
        ({"weights": {"a": [["b"]]}}, r"`weights\['a'\]` must be an array of"),
        ({"names": ["a", "b"]}, "`names` must be a list of.*layers, 1. Rec"),
        (
            {"weights": np.zeros((2, 1, 1, 1)), "names": ["a", "a"]},
            "`names` must be a list of.*layers, 2. Received: .*'a', 'a'",
        ),
        ({"names": "a"}, "`names` must be a list of.*names='a'"),
        ({"names": 1}, "`names` must be a list of.*names=1"),
        (
            {"weights": {"a": [[1.0]]}, "names": ["b"]},
            "`names` must be left out where `weights` is a dict",
        ),
        (
            {"source_tokens": "ab"},
            "`source_tokens` must have one label for each of the 3.*2 labels",
        ),
        (
            {"target_tokens": ["a"]},
            "`target_tokens` must have one label for each of the 2.*1 labels",
        ),
        (
            {"source_tokens": {"layer": "abc"}},
            "`source_tokens` must be a dict by the names of.*'attention'.*'lay",
        ),
        (
            {"source_tokens": {"attention": "ab"}},
            "`source_tokens` must have one label for each of the 3",
        ),
        (
            {"mask": np.ones((3, 2))},
            r"`mask` must be of the shape of.*\(2, 3\).*\(3, 2\)",
        ),
        ({"mask": np.full((2, 3), -1e9)}, "`mask` must be True and False.*-1e"),
        ({"mask": {"no": [[1]]}}, "`mask` must be a dict by the names of"),
        (
            {"mask": object()},
            "`mask` must be an array of numbers.*object.*dense",
        ),
        ({"steps": "words"}, "`steps` must be a list that has.*steps=str"),
        ({"steps": ["words"]}, "`steps` must be.*a str at step 0"),
        ({"steps": [[], [("a",)]]}, r"`steps` must be.*\('a',\) at step 1"),
        (
            {"steps": [[("a", float("nan"))]]},
            "`steps` must be.*the score nan at step 0",
        ),
    ],
    ids=range(27),
)
def test_bad_arguments_of_a_view_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        plots.view(**{"weights": np.full((2, 3), 0.5), **arguments})
