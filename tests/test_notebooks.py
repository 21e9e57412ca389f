"""Notebooks run from top to bottom, and git holds them without outputs."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest
from documented_calls import check_calls_fit

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
# What a notebook imports that the extra `notebooks` has and `test` has not.
NOT_IN_TEST = {"03_search_architectures": ("keras_tuner", "tensorboard")}

pytestmark = pytest.mark.tensorflow_only
each_notebook = pytest.mark.parametrize(
    "notebook", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS]
)
# It shows in the gate that notebooks run. `make notebooks` runs all; what they
# call is checked below.
IN_THE_GATE = "01_attention_from_formula_to_layer"
each_notebook_or_one = pytest.mark.parametrize(
    "notebook",
    [
        pytest.param(
            path,
            marks=[] if path.stem == IN_THE_GATE else [pytest.mark.exhaustive],
        )
        for path in NOTEBOOKS
    ],
    ids=[path.stem for path in NOTEBOOKS],
)


def cells_of(notebook):
    return [
        (cell.cell_type, cell.source)
        for cell in notebook.cells
        if cell.source.strip()
    ]


def test_every_notebook_has_a_pair():
    scripts = sorted((ROOT / "notebooks").glob("[0-9]*.py"))
    assert [p.stem for p in scripts] == [p.stem for p in NOTEBOOKS]


@each_notebook
def test_notebook_agrees_with_its_script(notebook):
    import jupytext

    script = jupytext.read(notebook.with_suffix(".py"))
    assert cells_of(jupytext.read(notebook)) == cells_of(script)


@each_notebook
def test_notebook_is_stripped(notebook):
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert [cell.outputs for cell in code] == [[]] * len(code)
    assert {cell.execution_count for cell in code} <= {None}


@each_notebook
def test_calls_in_a_notebook_fit_the_functions(notebook):
    code = notebook.with_suffix(".py").read_text(encoding="utf-8")
    check_calls_fit(code, at_least=5)


@each_notebook_or_one
def test_notebook_runs(notebook, tmp_path, monkeypatch):
    import nbclient
    import nbformat

    for name in NOT_IN_TEST.get(notebook.stem, ()):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"needs {name}: pip install '.[notebooks]'")
    copy = Path(shutil.copy(notebook, tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
    # The kernel writes its history and settings below the home folder.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    content = nbformat.read(copy, as_version=4)
    nbclient.NotebookClient(
        content,
        timeout=600,  # one cell may train eight models
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    counts = [c.execution_count for c in content.cells if "outputs" in c]
    assert None not in counts
    check_figures_are_shown(content)


def check_figures_are_shown(content):
    """Each cell that ends in a figure has its picture, not its name."""
    drawn = [
        cell
        for cell in content.cells
        if cell.cell_type == "code" and cell.source.endswith("\nfigure")
    ]
    assert drawn
    for cell in drawn:
        (result,) = [o for o in cell.outputs if o.output_type != "stream"]
        assert "image/png" in result.data, cell.source
