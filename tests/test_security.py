"""SECURITY.md: each promise is held by a test, and its numbers are true."""

import ast
import re
from pathlib import Path

from keras_attention.models import archive
from keras_attention.models import config_scan
from keras_attention.models import model_file
from keras_attention.models import strict_json

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
TEST_NAME = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


def test_each_test_that_is_named_exists():
    named = TEST_NAME.findall(TEXT)
    missing = []
    for path, name in named:
        tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
        functions = [n.name for n in tree.body if type(n) is ast.FunctionDef]
        if name not in functions:
            missing.append((path, name))
    assert len(named) > 15
    assert missing == []


def test_each_promise_names_a_test():
    promises = TEXT.split("## What is promised")[1].split("## What is not")[0]
    points = re.split(r"^- ", promises, flags=re.MULTILINE)[1:]
    assert len(points) > 6
    assert [point for point in points if not TEST_NAME.search(point)] == []


def test_numbers_are_those_of_the_code():
    text = " ".join(TEXT.split())
    for number in (
        f"has at most {strict_json.MAX_BYTES // 2**20} MiB",
        f"nested at most {config_scan.MAX_DEPTH} deep",
        f"at most {archive.FREE_BYTES // 2**20} MiB",
        f"or {archive.MAX_RATIO} times the bytes",
        f"at most {model_file.FREE_NUMBERS:,} weights more",
    ):
        assert number in text
