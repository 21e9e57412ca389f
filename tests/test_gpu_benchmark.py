"""benchmarks/gpu.py without a GPU: its definition, its plan, its rehearsal."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import lowered

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def part():
    """Imports a module of the benchmark that needs NumPy alone."""
    sys.path.insert(0, str(BENCHMARKS))
    yield lambda name: importlib.import_module(f"gpu_parts.{name}")
    sys.path.remove(str(BENCHMARKS))


# --- the definition that results are compared with ---------------------------


def attention(case, tensors):
    """Attention of all rows and heads, written without the benchmark."""
    query, key, value, *vector = tensors
    if vector:
        pairs = query[:, :, None] + key[:, None]  # (B, T, S, N, H)
        scores = np.einsum("btsnh,h->bnts", np.tanh(pairs), *vector)
    else:
        scores = np.einsum("btnh,bsnh->bnts", query, key) / case.width**0.5
    for row in range(case.length):
        for column in range(case.length):
            first = 0 if case.window is None else row - case.window + 1
            is_seen = case.mask == "full" or first <= column <= row
            if not is_seen:
                scores[:, :, row, column] = -np.inf
    weights = np.exp(scores)
    weights /= weights.sum(axis=-1, keepdims=True)
    return np.einsum("bnts,bsnh->btnh", weights, value)


def slopes(function, tensors):
    """Central differences of a scalar by each entry of each tensor."""
    found = []
    for number, tensor in enumerate(tensors):
        slope = np.zeros_like(tensor)
        for place in np.ndindex(tensor.shape):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in tensors]
                moved[number][place] += step
                ends.append(function(moved))
            slope[place] = (ends[0] - ends[1]) / 2e-5
        found.append(slope)
    return found


@pytest.mark.parametrize(
    "mask, window, score, heads",
    [
        ("full", None, "dot", 2),
        ("causal", None, "dot", 2),
        ("window", 3, "dot", 2),
        ("full", None, "additive", 1),
    ],
)
def test_reference_is_the_definition_and_its_slopes(
    part, mask, window, score, heads
):
    cases = part("cases")
    case = cases.Case("", 2, 7, heads, 3, mask, window, score, backward=True)
    generator = np.random.default_rng(5)
    *tensors, upstream = [generator.normal(size=x) for x in case.shapes]
    upstream = upstream * cases.is_checked(case)
    gradients = slopes(
        lambda moved: np.sum(attention(case, moved) * upstream), tensors
    )
    wanted = cases.cut(case, [attention(case, tensors), *gradients])
    found = cases.reference(case, [*tensors, upstream])
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-8)


@pytest.mark.parametrize("wrong", [0.1, np.nan])
def test_error_is_that_of_the_worst_row(part, wrong):
    expected = [np.ones((5, 4)), 2 * np.ones((3, 4))]
    found = [x.copy() for x in expected]
    assert part("cases").error_of(found, expected) == 0
    found[1][2] += wrong
    error = part("cases").error_of(found, expected)
    np.testing.assert_allclose(error, wrong / 2)


def test_operations_are_those_of_the_usual_formula(part):
    make = part("cases").attention_case
    # 16k positions of 2,048 numbers: 4 x 16,384 x 4,096 x 2,048.
    full = make(4, "full").operations
    assert full == 549_755_813_888
    assert make(4, "causal").operations == full / 2
    assert make(4, "full", 64, backward=True).operations == 3.5 * full
    assert make(32, "window").operations == 4 * 4 * 32768 * 256 * 128


# --- what is run, and what it is to reach ------------------------------------


def test_what_a_target_asks_for_is_among_the_first_forty(part):
    first = [
        (group.key, name)
        for group in part("plan").plan()
        for name in group.names
        # One that has no room, and one that is the program of another.
        if (group.key, name) != ("64k causal, d128, forward", "dense XLA")
    ][:40]
    targets = part("targets")
    wanted = {
        (key, name)
        for key, *names in [
            *(row[:3] for row in targets.SPEED + targets.MEMORY),
            *targets.RUNS_ALONE,
        ]
        for name in names
    }
    wanted.remove(("64k causal, d128, forward", "dense XLA"))
    assert wanted <= set(first)


def test_targets_are_judged_by_ratios_of_one_run(part):
    targets = part("targets")
    key, name, peer, wanted = targets.SPEED[0]
    for milliseconds, verdict in ((0.9 / wanted, "met"), (2.0, "not met")):
        records = {(key, name): {"ms": milliseconds}, (key, peer): {"ms": 1.0}}
        rows = targets.judged(records)
        assert rows[0][2:] == [f"{1 / milliseconds:.2f}x", verdict]
        assert {row[3] for row in rows[1:]} == {"not run"}
        assert targets.judged(records, True)[0][3] == "rehearsed"


def test_what_has_no_room_is_a_target_met(part):
    targets = part("targets")
    key, name, peer = targets.RUNS_ALONE[0]
    records = {(key, name): {"ms": 1.0}}
    place = len(targets.SPEED) + len(targets.MEMORY)
    for other, verdict in (
        ({"no_room": True}, "met"),
        ({"ms": 2.0}, "not met"),
        ({"note": "it failed"}, "not run"),
    ):
        rows = targets.judged({**records, (key, peer): other})
        assert rows[place][3] == verdict


def test_budget_starts_nothing_beyond_it(part):
    clock = part("clock")
    budget = clock.Budget(seconds=60, programs=1)
    budget.check()
    budget.started += 1
    with pytest.raises(clock.LeftOut, match="at most 1 programs"):
        budget.check()
    with pytest.raises(clock.LeftOut, match="the 0 s are used up"):
        clock.Budget(seconds=0, programs=1).check()


def test_a_program_that_fails_stops_no_other(part):
    clock = part("clock")

    def fails():
        raise ValueError("no kernel")

    def waits(_):
        pass

    programs = {
        "good": clock.Program(lambda: 1, waits, list),
        "bad": clock.Program(fails, waits, list),
    }
    medians, failed = clock.time_in_turns(programs, (), rounds=5)
    assert medians.keys() == {"good"} and medians["good"] >= 0
    assert str(failed["bad"]) == "no kernel"


@pytest.mark.tensorflow_only
def test_float32_is_multiplied_as_a_case_says(part):
    from keras_attention.functional import target_device

    make, programs = part("cases").attention_case, part("tensorflow_programs")
    for precision, is_exact in (("float32", True), ("tensorfloat32", False)):
        case = make(
            4, "causal", tiny=True, dtype="float32", precision=precision
        )
        with target_device("gpu"):
            function, arguments = programs.traced(case, "blockwise")
            program = lowered(function, *arguments, platform="GPU")
        assert ("highest" in program) == is_exact


# --- the rehearsal -----------------------------------------------------------


def rehearsed(tmp_path, *options):
    """Returns what a tiny run printed, and its records by case and program."""
    log = tmp_path / "records.jsonl"
    command = [sys.executable, BENCHMARKS / "gpu.py", "--tiny", "--json", log]
    done = subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    device, *records = map(json.loads, log.read_text().splitlines())
    assert device["device"] == "cpu (cpu)" and device["tflops"] > 0
    return done.stdout, {(x["case"], x["program"]): x for x in records}


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_rehearsal_checks_and_times(tmp_path):
    printed, records = rehearsed(tmp_path, "--only", "2k additive")
    key = "2k additive, forward + backward"
    for name in ("ours, auto", "dense XLA", "TensorFlow, ours auto"):
        assert records[key, name]["error"] < 2e-5
        assert records[key, name]["ms"] > 0
        assert records[key, name]["memory"] > 0
    rows = [x for x in printed.splitlines() if x.startswith(f"| {key}: ours")]
    assert len(rows) == 1 and "rehearsed" in rows[0]


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_rehearsal_of_everything(tmp_path):
    _, records = rehearsed(tmp_path)
    unavailable = ("fused", "cudnn", "PyTorch")
    for (key, name), record in records.items():
        if any(word in name for word in unavailable):
            assert record["note"] or record["ms"] > 0
        else:
            assert record["ms"] > 0, (key, name, record)
    reasons = [x["note"] for x in records.values() if "fused" in x["program"]]
    assert len(reasons) == 6  # four of the dot product, two additive
    assert all("there is no NVIDIA GPU to run it" in x for x in reasons)


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_without_time_everything_is_left_out(tmp_path):
    printed, records = rehearsed(tmp_path, "--budget", "0")
    assert len(records) > 20 and "\n0 programs." in printed
    reason = "not started: the 0 s are used up"
    assert {x["note"] for x in records.values()} == {reason}
