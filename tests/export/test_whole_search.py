"""What is traced for other runtimes, and how their answers are compared."""

import numpy as np
import other_runtimes
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export.whole_search import trace_search


@pytest.fixture(scope="module")
def traced():
    model = other_runtimes.build("cnn-luong")
    return trace_search(model, ka.Greedy(), None, 23)


def answers(traced):
    """Returns a function from arrays to the right answers, in NumPy."""

    def run(arrays):
        found = traced.function(ids=tf.constant(arrays["ids"]))
        return {name: tensor.numpy() for name, tensor in found.items()}

    return run


def test_samples_are_ragged_known_and_of_several_shapes(traced):
    samples = [sample["ids"] for sample in traced.samples()]
    assert len({ids.shape[0] for ids in samples}) > 1
    assert len({ids.shape[1] for ids in samples}) > 1
    for ids in samples:
        real = ids != 0
        assert (ids >= 0).all() and (ids < 12).all()
        assert (np.diff(real.astype(int)) <= 0).all()  # padding is last
        assert real.any(axis=1).all()
    assert len(set(np.sum(samples[0] != 0, axis=1))) == len(samples[0])


def test_the_right_answers_pass(traced):
    assert traced.check(answers(traced), "a runtime") is None


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("tokens", 1),
        ("lengths", 1),
        ("scores", 1e-2),
        ("alignments", 1e-2),
        ("scores", np.nan),
    ],
)
def test_other_answers_are_refused(traced, name, change):
    right = answers(traced)

    def run(arrays):
        found = right(arrays)
        found[name][-1, -1] += change
        return found

    with pytest.raises(ValueError, match=f"`model` must.*other {name}"):
        traced.check(run, "a runtime")


def test_a_shape_that_was_frozen_is_refused(traced):
    right = answers(traced)

    def run(arrays):
        found = right(arrays)
        found["scores"] = np.resize(found["scores"], (3, 1))
        return found

    with pytest.raises(ValueError, match="other scores"):
        traced.check(run, "a runtime")


def test_a_file_that_does_not_run_is_refused(traced):
    def run(arrays):
        raise RuntimeError(f"no kernel for {list(arrays)}")

    with pytest.raises(ValueError, match="must run in a runtime.*no kernel"):
        traced.check(run, "a runtime")


def test_other_models_and_dtypes_are_refused():
    with pytest.raises(ValueError, match="`model` must be a Seq2Seq or a Lang"):
        trace_search("a model", ka.Greedy(), 3, 5)
    half = other_runtimes.build("cnn-luong", dtype="mixed_bfloat16")
    with pytest.raises(ValueError, match="computes in bfloat16"):
        trace_search(half, ka.Greedy(), 3, 5)
