"""The guide in docs/: its figures are there, and its lists are complete."""

import pathlib
import re
import subprocess
import sys
import xml.etree.ElementTree

import pytest

from keras_attention import decoding
from keras_attention import layers
from keras_attention import masks
from keras_attention import plots
from keras_attention import training

ROOT = pathlib.Path(__file__).parent.parent
DOCS, PACKAGE = ROOT / "docs", ROOT / "keras_attention"
FIGURES = DOCS / "figures"


def text_of(page):
    return (DOCS / page).read_text(encoding="utf-8")


def figures_shown():
    pages = "".join(page.read_text("utf-8") for page in DOCS.glob("*.md"))
    return set(re.findall(r"\]\(figures/([\w.]+)\)", pages))


def test_each_figure_is_shown_and_each_that_is_shown_is_there():
    drawn = {path.name for path in FIGURES.glob("*.svg")}
    assert len(drawn) > 20
    assert figures_shown() == drawn


def paths_in(page):
    """Returns the paths of this repository that a page has in backticks.

    They begin with a folder of it, or of the package. What follows `::` is
    the name of a test.
    """
    quoted = re.findall(
        r"`([\w.-]+/[\w./-]*)(?:::\w+)?`", page.read_text("utf-8")
    )
    return [
        (root, path)
        for path in quoted
        for root in (ROOT, PACKAGE)
        if (root / path.split("/")[0]).is_dir()
    ]


def test_paths_that_a_page_names_are_there():
    pages = [p for p in DOCS.rglob("*.md") if DOCS / "_build" not in p.parents]
    pages += [ROOT / "README.md", ROOT / "benchmarks" / "RESULTS.md"]
    found = {(page, *pair) for page in pages for pair in paths_in(page)}
    assert len(found) > 40
    missing = [x for x in found if not x[1].joinpath(x[2]).exists()]
    assert missing == []


def test_figures_need_no_font_and_no_network():
    # Their letters are paths, and their pictures lie inside.
    for path in FIGURES.glob("*.svg"):
        root = xml.etree.ElementTree.parse(path).getroot()
        tags = {element.tag.rpartition("}")[2] for element in root.iter()}
        assert "path" in tags and not tags & {"text", "script"}
        links = [
            value
            for element in root.iter()
            for name, value in element.attrib.items()
            if name.endswith("href")
        ]
        assert all(link.startswith(("#", "data:")) for link in links)


@pytest.mark.tensorflow_only
@pytest.mark.exhaustive
def test_script_draws_the_figures_that_are_there(tmp_path):
    pytest.importorskip("matplotlib")
    done = subprocess.run(
        [sys.executable, FIGURES / "draw.py", tmp_path],
        capture_output=True,
        text=True,
        timeout=600,
    )
    if "is not installed. On Debian" in done.stderr:
        pytest.skip("needs a font with Chinese characters")
    assert done.returncode == 0, done.stderr
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {path.name for path in FIGURES.glob("*.svg")}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("which_attention.md", layers.__all__),
        ("masks.md", masks.__all__),
        ("decoding.md", decoding.__all__),
        ("training.md", training.__all__),
        ("looking.md", plots.__all__),
    ],
    ids=["layers", "masks", "searches", "training", "pictures"],
)
def test_page_names_all_there_is(page, names):
    written = set(re.findall(r"\w+", text_of(page)))
    assert [name for name in names if name not in written] == []


@pytest.mark.parametrize(
    ("page", "heading"),
    [("from_tfa.md", "The tutorial's model")]
    + [
        ("migrating.md", heading)
        for heading in (
            "keras.layers",
            "KerasHub",
            "PyTorch",
            "Hugging Face",
            "OpenNMT-tf",
        )
    ],
)
def test_there_is_a_way_from_each_package(page, heading):
    sections = text_of(page).split("\n## ")
    (section,) = [s for s in sections if s.startswith(f"{heading}\n")]
    assert "```python\n" in section
