"""The Python on the pages of docs/ runs, block after block."""

import re
from pathlib import Path

import pytest

import keras_attention as ka

DOCS = Path(__file__).parent.parent / "docs"
# The translation that the pages say a model of theirs gives.
SAID = "我是一隻狗。"
BUILT = DOCS / "_build"


def blocks_of(page):
    text = page.read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def pages():
    """Returns the pages with code, each as a parameter of a test."""
    found = [p for p in sorted(DOCS.rglob("*.md")) if BUILT not in p.parents]
    names = [p.relative_to(DOCS).with_suffix("").as_posix() for p in found]
    return [
        pytest.param(page, id=name)
        for page, name in zip(found, names, strict=True)
        if blocks_of(page)
    ]


PAGES = pages()


@pytest.mark.tensorflow_only
@pytest.mark.exhaustive
@pytest.mark.parametrize("page", PAGES)
def test_page_runs(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    promised = "\n".join(blocks_of(page)).count(f"  # {SAID}")
    for number, block in enumerate(blocks_of(page), start=1):
        exec(compile(block, f"{page.name}, block {number}", "exec"), names)
    assert capsys.readouterr().out.count(SAID) >= promised


@pytest.mark.parametrize("page", PAGES)
def test_names_on_the_page_exist(page):
    from documented_calls import check_calls_fit

    check_calls_fit("\n".join(blocks_of(page)), at_least=1)


def test_pages_with_code_are_found():
    names = {page.id for page in PAGES}
    assert {"tutorial", "migrating", "contracts/decoder"} <= names


TFA_NAMES = """
AttentionMechanism AttentionWrapper AttentionWrapperState BahdanauAttention
BahdanauMonotonicAttention LuongAttention LuongMonotonicAttention hardmax
monotonic_attention safe_cumprod BasicDecoder BasicDecoderOutput
BeamSearchDecoder BeamSearchDecoderOutput BeamSearchDecoderState
FinalBeamSearchDecoderOutput gather_tree gather_tree_from_array tile_batch
BaseDecoder Decoder dynamic_decode SequenceLoss sequence_loss CustomSampler
GreedyEmbeddingSampler InferenceSampler SampleEmbeddingSampler Sampler
ScheduledEmbeddingTrainingSampler ScheduledOutputTrainingSampler
TrainingSampler
""".split()


def rows_of(page):
    """Returns the cells of each row of a page's tables."""
    lines = page.read_text(encoding="utf-8").splitlines()
    rows = [line.strip("|").split("|") for line in lines if line[:1] == "|"]
    return [[cell.strip() for cell in row] for row in rows]


def test_each_name_of_tfa_has_a_row():
    first_cells = [row[0] for row in rows_of(DOCS / "from_tfa.md")]
    named = set(re.findall(r"\w+", " ".join(first_cells)))
    assert set(TFA_NAMES) - named == set()


@pytest.mark.parametrize("page", PAGES)
def test_tables_name_what_exists(page):
    text = " ".join(" ".join(row) for row in rows_of(page))
    dotted = set(re.findall(r"`ka\.([\w.]+)", text))
    missing = [name for name in dotted if not resolves(name)]
    assert missing == []


def resolves(dotted):
    found = ka
    for name in dotted.split("."):
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


@pytest.fixture(autouse=True)
def saved_models(tmp_path):
    """The pages ask the models of the repository, from its root."""
    (tmp_path / "saved_models").symlink_to(DOCS.parent / "saved_models")
