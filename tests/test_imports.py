"""Rules of the whole code base, checked on its syntax trees.

One test for each rule: it lists all that break it, as `file:line: what`.
"""

import ast
import functools
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
    {"training", "export", "migration"},
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


@functools.cache
def text_of(path):
    return path.read_text(encoding="utf-8")


@functools.cache
def parse(path):
    return ast.parse(text_of(path), filename=str(path))


@functools.cache
def nodes_of(path):
    return tuple(ast.walk(parse(path)))


def place(path, line):
    """As editors and terminals know it: file:line."""
    return f"{name_of(path)}:{line}"


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
    """(line, name) of all imported in a file, inside functions too."""
    return [
        (node.lineno, name)
        for node in nodes_of(path)
        for name in imported_names(node, path)
    ]


def top_imports(path):
    """(line, name) imported when the module is: not inside functions."""
    found = []
    pending = [parse(path)]
    while pending:
        node = pending.pop()
        found += [(node.lineno, name) for name in imported_names(node, path)]
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            pending += ast.iter_child_nodes(node)
    return found


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


PACKAGE_FILES = source_files(PACKAGE)
TEST_FILES = source_files(TESTS)


def test_every_unit_has_a_floor():
    units = {unit_of(path) for path in PACKAGE_FILES} - {"__init__"}
    assert units - set(FLOOR_OF) == set(), "add them to FLOORS"


def test_imports_go_down_only():
    upwards = [
        f"{place(path, line)}: {unit_of(path)} imports {name}"
        for path in PACKAGE_FILES
        if path != PACKAGE / "__init__.py"
        for line, name in all_imports(path)
        if forbidden_units(unit_of(path), [name])
    ]
    assert upwards == []


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


def test_third_party_imports_at_top_are_few():
    def is_allowed(unit, package):
        if package == "tensorflow":
            return unit in TENSORFLOW_AT_TOP
        ours = {"keras_attention", "keras", "numpy"}
        return package in ours | sys.stdlib_module_names

    others = [
        f"{place(path, line)}: {name}"
        for path in PACKAGE_FILES
        for line, name in top_imports(path)
        if not is_allowed(unit_of(path), name.split(".")[0])
    ]
    assert others == []


def lines_with(pattern, path):
    lines = enumerate(text_of(path).splitlines(), start=1)
    return [
        f"{place(path, number)}: {line.strip()}"
        for number, line in lines
        if re.search(pattern, line)
    ]


def test_no_private_imports():
    private = [
        f"{place(path, line)}: {name}"
        for path in PACKAGE_FILES
        for line, name in all_imports(path)
        if is_under(name, "keras.src", "tensorflow.python", "tensorflow.keras")
    ]
    for path in PACKAGE_FILES:
        pattern = r"\b(keras\.src|tf\.keras|tensorflow\.python)\."
        private += lines_with(pattern, path)
    assert private == []


def test_no_assert_in_package():
    asserts = [
        place(path, node.lineno)
        for path in PACKAGE_FILES
        for node in nodes_of(path)
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []


def test_nothing_is_left_undone():
    pattern = r"\b(TODO|FIXME|XXX|NotImplementedError)\b"
    unfinished = [
        line for path in PACKAGE_FILES for line in lines_with(pattern, path)
    ]
    assert unfinished == []


def test_no_drawer_modules():
    found = [p for p in PACKAGE_FILES if p.stem in DRAWERS]
    folders = [
        p for p in PACKAGE.rglob("*") if p.is_dir() and p.name in DRAWERS
    ]
    assert found + folders == []


def test_every_folder_is_a_package():
    folders = {path.parent for path in PACKAGE_FILES}
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
    return [node for node in nodes_of(path) if isinstance(node, kinds)]


def test_every_test_asserts_something():
    empty = [
        f"{place(path, function.lineno)}: {function.name}"
        for path in TEST_FILES
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


def test_every_raises_has_match():
    bare = [
        place(path, node.lineno)
        for path in TEST_FILES
        for node in nodes_of(path)
        if called_name(node) == "raises"
        and "SystemExit" not in ast.unparse(node.args)
        and "match" not in {keyword.arg for keyword in node.keywords}
    ]
    assert bare == []


def test_test_files_have_unique_names():
    names = [path.name for path in TEST_FILES]
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
