"""Rules of the whole code base, checked on its syntax trees."""

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

import keras_attention

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "keras_attention"
TESTS = ROOT / "tests"

# Arrows only point down. Units of one floor do not know each other.
FLOORS = [
    {"choices", "validation", "special_ids", "files"}
    | {"masks", "text", "plots"},
    {"functional"},
    {"layers", "decoding"},
    {"models"},
    {"training", "export"},
    {"cli", "registration"},
    {"examples", "__main__"},
]
# The whole ground floor stands on these, and `files` on `validation`.
FOUNDATIONS = {"choices", "validation", "special_ids", "files"}
FLOOR_OF = {unit: level for level, units in enumerate(FLOORS) for unit in units}
# They use the package as its users do.
TOP_FLOORS = FLOORS[-2] | FLOORS[-1]
TENSORFLOW_AT_TOP = {"text", "training", "export"}
DRAWERS = {"utils", "util", "helpers", "helper", "common", "misc", "tools"}


def source_files(folder):
    return sorted(folder.rglob("*.py"))


def name_of(path):
    return str(path.relative_to(ROOT))


def unit_of(path):
    """First name below the package: keras_attention/layers/x.py -> layers."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_names(node, path):
    """Full dotted names that one import statement asks for."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        folders = path.relative_to(ROOT).with_suffix("").parts[: -node.level]
        base = ".".join([*folders, *([base] if base else [])])
    return [f"{base}.{alias.name}" for alias in node.names]


def all_imports(path):
    """Names imported anywhere in a file, inside functions too."""
    return [
        n for node in ast.walk(parse(path)) for n in imported_names(node, path)
    ]


def top_imports(path):
    """Names imported when the module is: not those inside functions."""
    names = []
    pending = [parse(path)]
    while pending:
        node = pending.pop()
        names += imported_names(node, path)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending += ast.iter_child_nodes(node)
    return names


def is_under(name, *packages):
    return any(name == p or name.startswith(p + ".") for p in packages)


def forbidden_units(unit, names):
    """Units of the package among `names` that `unit` may not import."""
    wrong = set()
    for name in names:
        if not is_under(name, "keras_attention"):
            continue
        other = ".".join(name.split(".")[1:2])
        if other not in FLOOR_OF:  # the package itself
            allowed = unit in TOP_FLOORS
        else:
            below = FLOOR_OF[other] < FLOOR_OF[unit]
            allowed = other in {unit, *FOUNDATIONS} or below
        if not allowed:
            wrong.add(other or "keras_attention")
    return wrong


each_module = pytest.mark.parametrize(
    "path",
    [path for path in source_files(PACKAGE) if path != PACKAGE / "__init__.py"],
    ids=name_of,
)
each_package_file = pytest.mark.parametrize(
    "path", source_files(PACKAGE), ids=name_of
)
each_file_of_tests = pytest.mark.parametrize(
    "path", source_files(TESTS), ids=name_of
)


@each_module
def test_imports_go_down_only(path):
    unit = unit_of(path)
    assert unit in FLOOR_OF, f"{name_of(path)} needs a floor in FLOORS"
    assert forbidden_units(unit, all_imports(path)) == set()


@pytest.mark.parametrize(
    ("unit", "name", "wrong"),
    [
        ("layers", "keras_attention.functional.attention.attend", set()),
        ("layers", "keras_attention.layers.attention", set()),
        ("masks", "keras_attention.validation", set()),
        ("layers", "keras_attention.decoding", {"decoding"}),
        ("decoding", "keras_attention.layers.x", {"layers"}),
        ("masks", "keras_attention.text", {"text"}),
        ("functional", "keras_attention.models", {"models"}),
        ("models", "keras_attention.Seq2Seq", {"Seq2Seq"}),
        ("models", "keras_attention", {"keras_attention"}),
        ("examples", "keras_attention", set()),
        ("validation", "keras.ops", set()),
    ],
)
def test_forbidden_units_on_known_cases(unit, name, wrong):
    assert forbidden_units(unit, [name]) == wrong


def test_imported_names_resolves_relative_imports():
    path = PACKAGE / "layers" / "attention.py"
    (node,) = ast.parse("from ..functional import attend").body
    assert imported_names(node, path) == ["keras_attention.functional.attend"]
    (node,) = ast.parse("from . import block").body
    assert imported_names(node, path) == ["keras_attention.layers.block"]


@each_package_file
def test_third_party_imports_at_top_are_few(path):
    allowed = {"keras_attention", "keras", "numpy"}
    if unit_of(path) in TENSORFLOW_AT_TOP:
        allowed.add("tensorflow")
    outside = {name.split(".")[0] for name in top_imports(path)}
    assert outside - allowed - sys.stdlib_module_names == set()


@each_package_file
def test_no_private_imports(path):
    private = [
        name
        for name in all_imports(path)
        if is_under(name, "keras.src", "tensorflow.python", "tensorflow.keras")
    ]
    assert private == []
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\b(keras\.src|tf\.keras|tensorflow\.python)\.", text)


@each_package_file
def test_no_assert_in_package(path):
    asserts = [n.lineno for n in ast.walk(parse(path)) if type(n) is ast.Assert]
    assert asserts == []


@each_package_file
def test_nothing_is_left_undone(path):
    unfinished = r"\b(TODO|FIXME|XXX|NotImplementedError)\b"
    assert re.findall(unfinished, path.read_text(encoding="utf-8")) == []


def test_no_drawer_modules():
    found = [p for p in source_files(PACKAGE) if p.stem in DRAWERS]
    folders = [
        p for p in PACKAGE.rglob("*") if p.is_dir() and p.name in DRAWERS
    ]
    assert found + folders == []


def test_every_folder_is_a_package():
    folders = {path.parent for path in source_files(PACKAGE)}
    assert [f for f in folders if not (f / "__init__.py").exists()] == []


def called_name(node):
    """`f` for f(...) and for a.b.f(...); empty for other nodes."""
    if not isinstance(node, ast.Call):
        return ""
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def asserts_something(function):
    """True if the function holds an assert or a call that checks."""
    checking = re.compile(r"(assert_|check_|run_)\w+|raises|warns")
    return any(
        isinstance(node, ast.Assert) or checking.fullmatch(called_name(node))
        for node in ast.walk(function)
    )


def functions_of(path):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(parse(path)) if isinstance(node, kinds)]


@each_file_of_tests
def test_every_test_asserts_something(path):
    empty = [
        function.name
        for function in functions_of(path)
        if function.name.startswith("test_") and not asserts_something(function)
    ]
    assert empty == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("assert x", True),
        ("np.testing.assert_allclose(x, y)", True),
        ("run_layer_checks(layer)", True),
        ("with pytest.raises(ValueError, match='a'):\n  f()", True),
        ("f(x)", False),
        ("subprocess.run(x)", False),
        ("pass", False),
    ],
)
def test_asserts_something_on_known_cases(body, expected):
    assert asserts_something(ast.parse(body)) is expected


@each_file_of_tests
def test_every_raises_has_match(path):
    bare = [
        node.lineno
        for node in ast.walk(parse(path))
        if called_name(node) == "raises"
        and "SystemExit" not in ast.unparse(node.args)
        and "match" not in {keyword.arg for keyword in node.keywords}
    ]
    assert bare == []


def test_test_files_have_unique_names():
    names = [path.name for path in source_files(TESTS)]
    names = [name for name in names if name != "conftest.py"]
    assert len(set(names)) == len(names)
    assert not list(TESTS.rglob("__init__.py"))


def test_public_names_resolve():
    names = keras_attention.__all__
    missing = [name for name in names if not hasattr(keras_attention, name)]
    assert missing == []
    assert len(set(names)) == len(names)


def test_public_names_are_documented_with_an_example():
    undocumented = []
    for name in keras_attention.__all__:
        thing = getattr(keras_attention, name)
        if not (inspect.isclass(thing) or inspect.isroutine(thing)):
            continue
        # Not inspect.getdoc, which would find the docstring of a base class.
        text = thing.__doc__ or ""
        if "Example" not in text or ">>> " not in text:
            undocumented.append(name)
    assert undocumented == []
