"""ONNX: ids to ids with the loop inside, as `generate` answers."""

import sys

import numpy as np
import onnxruntime
import other_runtimes
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.decoding import NoRepeatNgram
from keras_attention.export import export_onnx
from keras_attention.export import onnx_operations

IN_GATE = "cnn beam"


@pytest.fixture(scope="module", params=other_runtimes.cases(IN_GATE))
def case(request, tmp_path_factory):
    """A model, its search, its folder, and a function that asks the file."""
    build, search = other_runtimes.CASES[request.param]
    model = build()
    folder = export_onnx(
        model,
        tmp_path_factory.mktemp("onnx") / "1",
        search,
        max_source_length=other_runtimes.MAX_SOURCE_LENGTH,
    )
    return model, search, folder, session_of(folder)


def session_of(folder):
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    names = [output.name for output in session.get_outputs()]

    def answer(ids):
        found = session.run(names, {"ids": ids})
        return dict(zip(names, found, strict=True))

    return answer


def test_it_answers_as_generate(case):
    model, search, _, answer = case
    other_runtimes.check_answers(model, search, answer)
    other_runtimes.check_wild_ids(model, answer)


def test_no_row_changes_another(case):
    model, _, _, answer = case
    ids = model.source_vocabulary.encode(["feedbad", "a"]).numpy()
    one, both = answer(ids[1:, :2]), answer(ids)
    np.testing.assert_array_equal(one["tokens"][0], both["tokens"][1])
    np.testing.assert_allclose(one["scores"][0], both["scores"][1], atol=1e-5)


@pytest.mark.parametrize("case", [IN_GATE], indirect=True)
def test_program_in_the_guide_answers_without_tensorflow(case):
    model, search, folder, _ = case
    other_runtimes.check_guide(model, search, folder, rows=1)


@pytest.mark.parametrize("case", [IN_GATE], indirect=True)
def test_sizes_have_names(case):
    *_, folder, _ = case
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    (ids,) = session.get_inputs()
    assert (ids.name, ids.type) == ("ids", "tensor(int32)")
    assert ids.shape == ["batch", "source_length"]
    shapes = {o.name: o.shape for o in session.get_outputs()}
    assert shapes["tokens"][0] == "batch"
    assert shapes["alignments"][-1] == "source_length"


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "search", other_runtimes.SEARCHES, ids=["greedy", "beam"]
)
def test_prompts_of_a_language_model(search, tmp_path):
    model = other_runtimes.language_model()
    folder = export_onnx(model, tmp_path / "1", search)
    other_runtimes.check_prompts(model, search, session_of(folder), folder)


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("operation", "build", "search"),
    [
        ("SelectV2", lambda: other_runtimes.build("luong"), ka.Greedy()),
        (
            "ScatterNd",
            lambda: other_runtimes.build("luong"),
            ka.Greedy(constraints=[NoRepeatNgram(2)]),
        ),
        ("FloorDiv", other_runtimes.language_model, ka.Greedy()),
        ("Reshape", other_runtimes.language_model, ka.Beam(2)),
    ],
    ids=["SelectV2", "ScatterNd", "FloorDiv", "Reshape"],
)
def test_other_numbers_of_tf2onnx_are_refused(
    operation, build, search, tmp_path, monkeypatch
):
    """And so the handlers are needed."""
    kept = onnx_operations.handlers()
    del kept[operation]
    monkeypatch.setattr(onnx_operations, "handlers", lambda: kept)
    with pytest.raises(ValueError, match="must (answer|run) in onnxruntime"):
        export_onnx(build(), tmp_path / "1", search)
    assert not (tmp_path / "1").exists()


@pytest.mark.exhaustive
def test_operations_that_onnx_lacks_are_refused(tmp_path):
    model = other_runtimes.with_operation(tf.math.bessel_i0e)
    with pytest.raises(ValueError, match="operations that ONNX has.*BesselI0e"):
        export_onnx(model, tmp_path / "1", ka.Greedy())
    assert not (tmp_path / "1").exists()


@pytest.mark.parametrize("package", ["tf2onnx.tfonnx", "onnxruntime"])
def test_packages_that_are_missing_are_named(package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match="pip install tf2onnx onnx onnxr"):
        export_onnx(None, tmp_path / "1")


def test_what_is_there_is_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="`folder` must be a path where noth"):
        export_onnx(None, tmp_path)
    with pytest.raises(ValueError, match="`folder` must be"):
        export_onnx(None, tmp_path, overwrite=True)
    assert (tmp_path / "mine.txt").read_text() == "mine"
