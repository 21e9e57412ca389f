"""The documentation site builds without a warning, and its links hold."""

import html.parser
import importlib.util
import inspect
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path

import pytest

import keras_attention as ka

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs" / "extensions"))

pytestmark = [pytest.mark.tensorflow_only, pytest.mark.exhaustive]
needs_sphinx = pytest.mark.skipif(
    importlib.util.find_spec("sphinx") is None
    or importlib.util.find_spec("furo") is None
    or importlib.util.find_spec("myst_nb") is None,
    reason="needs sphinx, furo and myst-nb: pip install '.[docs]'",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the site, its notebooks not run; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going"]
        + ["-c", "docs", "-d", folder / "doctrees", ".", folder / "html"],
        cwd=ROOT,
        env={**os.environ, "NOTEBOOKS": "off"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


class Links(html.parser.HTMLParser):
    """What a page links to and asks for, and the places it has."""

    def __init__(self, page):
        super().__init__()
        self.links, self.needed, self.places = set(), set(), {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if "id" in found:
            self.places.add(found["id"])
        if tag == "a" and "href" in found:
            self.links.add(found["href"])
        elif tag == "link" or "src" in found:
            self.needed.add(found.get("href") or found.get("src"))


@pytest.fixture(scope="module")
def pages(site):
    """Each page of the site, read."""
    return {path: Links(path) for path in site.rglob("*.html")}


def is_elsewhere(link):
    return bool(urllib.parse.urlsplit(link).scheme)


@needs_sphinx
def test_every_public_name_has_an_entry(site):
    from sphinx.util.inventory import InventoryFile

    content = (site / "objects.inv").read_bytes()
    found = InventoryFile.loads(content, uri="")
    entries = {
        name
        for kind in found.data
        if kind.startswith("py:")
        for name in found.data[kind]
    }
    areas = {
        name: getattr(ka, name)
        for name in ka.__all__
        if inspect.ismodule(getattr(ka, name))
    }
    missing = [
        f"keras_attention.{area}.{name}"
        for area, module in areas.items()
        for name in module.__all__
        if f"keras_attention.{area}.{name}" not in entries
    ]
    assert missing == [], "name them on a page of docs/reference"


@needs_sphinx
def test_fields_of_named_tuples_are_explained(site):
    # A comment that begins with `#:` explains one.
    texts = {
        page.name: page.read_text(encoding="utf-8")
        for page in (site / "docs" / "reference").glob("*.html")
    }
    assert "(batch, n) float32" in texts["decoding.html"]
    untold = [name for name, x in texts.items() if "Alias for field" in x]
    assert untold == []


@needs_sphinx
def test_every_option_of_the_command_line_has_an_entry(site):
    from command_line import commands
    from sphinx.util.inventory import InventoryFile

    content = (site / "objects.inv").read_bytes()
    options = InventoryFile.loads(content, uri="").data["std:cmdoption"]
    told = {
        f"{parser.prog}.{option}".replace(" ", "-")
        for parser in commands().values()
        for action in parser._actions
        for option in action.option_strings
        if action.dest != "help"
    }
    assert len(told) > 50
    assert told - {name.replace(" ", "-") for name in options} == set()


def broken_links(site, pages):
    """Returns (page, link) for each link to a page or place that is not."""
    broken = set()
    for page, found in pages.items():
        for link in found.links | found.needed:
            if is_elsewhere(link):
                continue
            parts = urllib.parse.urlsplit(urllib.parse.unquote(link))
            target = page
            if parts.path:
                target = (page.parent / parts.path).resolve()
            is_place = target not in pages or (
                parts.fragment in pages[target].places
            )
            if not target.is_file() or not is_place:
                broken.add((page.relative_to(site).as_posix(), link))
    return broken


@needs_sphinx
def test_links_inside_the_site_hold(site, pages):
    assert sum(len(found.links) for found in pages.values()) > 1000
    assert broken_links(site, pages) == set()


def test_a_broken_link_is_found(tmp_path):
    links = "b.html b.html#there b.html#not c.html #self https://c.html"
    page, other = tmp_path / "a.html", tmp_path / "b.html"
    page.write_text("".join(f'<a href="{x}">' for x in links.split()))
    other.write_text('<p id="there"><img src="gone.png">')
    pages = {path: Links(path) for path in (page, other)}
    assert broken_links(tmp_path, pages) == {
        *(("a.html", link) for link in ("b.html#not", "c.html", "#self")),
        ("b.html", "gone.png"),
    }


@needs_sphinx
def test_no_page_asks_the_network_for_anything(pages):
    needed = {name for found in pages.values() for name in found.needed}
    assert needed
    assert {n for n in needed if is_elsewhere(n) and n[:5] != "data:"} == set()


@needs_sphinx
def test_every_page_of_the_repository_is_on_the_site(site):
    names = ["index", "docs/index", "README", "SECURITY", "benchmarks/RESULTS"]
    for folder, end in (("docs", ".md"), ("notebooks", ".ipynb")):
        for path in (ROOT / folder).glob(f"*{end}"):
            names.append(f"{folder}/{path.stem}")
    missing = [n for n in names if not (site / f"{n}.html").is_file()]
    assert missing == []


@needs_sphinx
def test_formulas_of_the_notebooks_are_mathml(site):
    pages = (site / "notebooks").glob("01_*.html")
    (text,) = (page.read_text(encoding="utf-8") for page in pages)
    assert "<mfrac>" in text and "$" not in text.partition("<article")[2]


@needs_sphinx
def test_namesakes_of_other_packages_are_no_links(pages, site):
    found = pages[site / "docs" / "migrating.html"].links
    assert any("migration.from_torch" in link for link in found)
    assert not any("layers.MultiHeadAttention" in link for link in found)
    found = pages[site / "docs" / "which_attention.html"].links
    assert any("layers.MultiHeadAttention" in link for link in found)


def test_indented_blocks_of_a_docstring_become_code():
    from docstrings import to_restructured_text

    lines = ["The score is", "", "    q * k", "", "for all k."]
    assert to_restructured_text(lines) == [
        *["The score is", ""],
        *["", ".. code-block:: text", "", "    q * k", ""],
        *["", "for all k."],
    ]


def test_formulas_in_a_list_of_a_docstring_become_code():
    from docstrings import to_restructured_text

    lines = ["- one:", "    a = b", "  more", "- two"]
    assert to_restructured_text(lines) == [
        *["- one:", "", "  .. code-block:: text", "", "    a = b"],
        *["", "  more", "- two"],
    ]


@pytest.mark.parametrize(
    "written, read",
    [
        ("a `Mask` and", "a `Mask` and"),
        ("`masks.Causal` too", "`masks.Causal` too"),
        ("call `f(x, y)`.", "call ``f(x, y)``."),
        ("ends in `.model`", "ends in ``.model``"),
        ("|q - k|^2", r"\|q - k\|^2"),
        ("o_{t-1} and q*k", r"o\_{t-1} and q\*k"),
        ("(batch, *shape)", r"(batch, \*shape)"),
        ("**kwargs: as in Keras", "**kwargs: as in Keras"),
        (">>> f(a_, `b`)", ">>> f(a_, `b`)"),
    ],
)
def test_text_of_a_docstring_is_read_as_it_stands(written, read):
    from docstrings import to_restructured_text

    assert to_restructured_text([written]) == [read]


@needs_sphinx
@pytest.mark.parametrize(
    "text, entry",
    [
        ("ka.Beam(4)", "decoding.Beam"),
        ("masks.Causal", "masks.Causal"),
        ("AdditiveAttention(units)", "layers.AdditiveAttention"),
        ("ka.training.train", "training.train"),
        ("build_seq2seq", "models.build_seq2seq"),
        ("train", None),  # an argument may have this name
        ("model.generate", None),
        ("ka.Beam and more", None),
    ],
)
def test_what_becomes_a_link_to_the_reference(text, entry):
    from public_names import entry_of

    assert entry_of(text) == (entry and f"keras_attention.{entry}")
