"""cover: every combination of a few options in few cases."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from covering import cover

SIZES = {"a": 2, "b": 3, "c": 5, "d": 2}


def all_cases(sizes):
    for values in itertools.product(*map(range, sizes.values())):
        yield dict(zip(sizes, values, strict=True))


def combinations_in(cases, strength):
    return {
        found
        for case in cases
        for found in itertools.combinations(sorted(case.items()), strength)
    }


@pytest.mark.parametrize(("strength", "most"), [(1, 5), (2, 19), (3, 45)])
def test_cover_holds_every_combination_in_few_cases(strength, most):
    cases = list(all_cases(SIZES))
    chosen = [cases[position] for position in cover(cases, strength)]
    assert combinations_in(chosen, strength) == combinations_in(cases, strength)
    assert len(chosen) <= most


def test_cover_of_as_many_options_as_there_are_is_all():
    cases = list(all_cases(SIZES))
    for strength in (4, 7):
        assert cover(cases, strength) == list(range(len(cases)))


def test_a_list_written_by_hand_is_kept_whole():
    cases = [{("x", "y"): (i, i % 2)} for i in range(7)] + [{}]
    assert cover(cases, 1) == list(range(8))


def test_what_never_meets_need_not():
    cases = [{"a": 0, "b": 0}, {"a": 0, "b": 1}, {"a": 1, "b": 0}]
    assert cover(cases, 2) == [0, 1, 2]


def test_option_of_pytest_leaves_cases_out(tmp_path):
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture(params='xyz')\n"
        "def letter(request): return request.param\n"
        "pairs = [(3, 4), (5, 4), (5, 6), (7, 6)]\n"
        "@pytest.mark.parametrize('a', [[1], [2]])\n"
        "@pytest.mark.parametrize(('b', 'c'), pairs)\n"
        "def test_it(a, b, c, letter): pass\n"
        "def test_other(letter): pass\n"
    )
    tests = Path(__file__).parent
    shutil.copy(tests / "conftest.py", tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tests)}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q"]

    def collected(*options):
        done = subprocess.run(
            [*command, "-p", "no:cacheprovider", *options, "test_it.py"],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stdout
        return [x for x in done.stdout.splitlines() if "::" in x]

    assert len(collected()) == 2 * 4 * 3 + 3
    few = collected("--cover", "1")
    assert len(few) == 4 + 3
    for value in ("a0", "a1", "x", "y", "z", "3-4", "5-4", "5-6", "7-6"):
        assert any(value in name.partition("[")[2] for name in few)
    assert 12 + 3 <= len(collected("--cover", "2")) < 2 * 4 * 3 + 3
