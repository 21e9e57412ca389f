"""Arrays in, and parts of other people, answered without Keras."""

import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from without_keras import ask_without_keras

import keras_attention as ka
from keras_attention import export
from keras_attention.export import records
from keras_attention.export.signatures import Signatures
from keras_attention.export.weights import unchanged

sys.path.append(str(Path(__file__).parent.parent / "models"))

import open_doors  # noqa: E402
from open_doors import CASES  # noqa: E402
from small_models import randomize  # noqa: E402

BEAM = ka.Beam(3, num_hypotheses=2)
# Name: the signatures that are exported, each of which takes seconds.
SIGNATURES = {
    "images": ("n_best", "encode", "decode_step"),
    "masked frames": ("serving_default", "tokens"),
    "decoder": ("serving_default", "decode_step"),
}


def model_of(name):
    return randomize(CASES[name][0](), seed=7)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(
            name, marks=[pytest.mark.exhaustive] * (name == "masked frames")
        )
        for name in SIGNATURES
    ],
)
def case(request, tmp_path_factory):
    """A model, what it is asked, its folder, and what that answers."""
    name = request.param
    model, inputs = model_of(name), CASES[name][1]
    folder = export.export_saved_model(
        model,
        tmp_path_factory.mktemp("served") / "1",
        BEAM,
        signatures=SIGNATURES[name],
        warm_up=export.WarmUp(inputs["source"]),
    )
    first = SIGNATURES[name][0]
    asked = [
        {
            "signature": first,
            "inputs": {n: a[rows].tolist() for n, a in inputs.items()},
        }
        for rows in (slice(None), slice(1))  # two sizes of batches
    ]
    answers = ask_without_keras(folder, asked)
    return model, inputs, folder, answers


@pytest.fixture(scope="module")
def loaded(case):
    """The signatures of the SavedModel, in this process."""
    return tf.saved_model.load(str(case[2])).signatures


def test_it_answers_as_generate(case):
    model, inputs, _, answers = case
    is_n_best = np.ndim(answers[0]["score"]) == 2
    search = BEAM if is_n_best else ka.Beam(3)
    expected = model.generate(**inputs, search=search)
    for told, rows in zip(answers, (slice(None), slice(1)), strict=True):
        scores, said = expected.scores[rows], expected[0][rows]
        if not is_n_best:
            scores, said = scores[:, 0], said[:, 0]
        np.testing.assert_allclose(told["score"], scores, atol=1e-5)
        np.testing.assert_array_equal(told.get("text", told.get("ids")), said)


def test_it_holds_the_signatures_that_were_chosen(case, loaded):
    model, *_ = case
    described = records.records_of(model, BEAM, model.max_length)
    chosen = [set(names) for names in SIGNATURES.values()]
    assert set(loaded) in chosen
    for name in loaded:
        traced = loaded[name]
        _, inputs = traced.structured_input_signature
        for tensors, recorded in (
            (inputs, described[name].inputs),
            (traced.structured_outputs, described[name].outputs),
        ):
            assert set(tensors) == {record.name for record in recorded}
            for record in recorded:
                assert tensors[record.name].dtype == record.spec.dtype
                shape = tensors[record.name].shape
                assert shape.is_compatible_with(record.spec.shape)


def test_the_guide_and_the_warm_up_speak_of_what_it_takes(case):
    model, inputs, folder, _ = case
    guide = (folder / "README.md").read_text(encoding="utf-8")
    assert "$" not in guide.replace("$PWD", "")
    assert "`source` " in guide and '"source"' in guide
    assert ("`source_mask` is true where" in guide) == ("source_mask" in inputs)
    assert "Text goes in" not in guide
    records_file = folder / "assets.extra" / "tf_serving_warmup_requests"
    assert records_file.stat().st_size > 0


def test_the_grpc_client_of_the_guide_sends_what_the_signature_takes(
    case, loaded
):
    _, _, folder, _ = case
    guide = (folder / "README.md").read_text(encoding="utf-8")
    # All of the client but the connection.
    client = guide[guide.index("import grpc") : guide.index("answer = service")]
    lines = [x for x in client.splitlines() if not x.startswith(("cha", "ser"))]
    names = {}
    exec("\n".join(lines), names)
    sent = {n: tf.make_ndarray(x) for n, x in names["request"].inputs.items()}
    asked = next(n for n in ("serving_default", "n_best") if n in loaded)
    answer = loaded[asked](**{n: tf.constant(x) for n, x in sent.items()})
    assert len(answer["score"]) == len(sent["source"])


def test_the_compiled_search_of_arrays_answers_alike():
    """Lengths are padded where a mask tells them; rows always."""
    model, inputs = model_of("masked frames"), CASES["masked frames"][1]
    inputs = {name: tf.constant(array) for name, array in inputs.items()}
    _, scope = unchanged(model)
    offered = Signatures(model, ka.Greedy(), 4, 512, scope)
    found = offered.best_compiled(inputs)
    expected = offered.best(inputs)
    np.testing.assert_array_equal(found["ids"], expected["ids"])
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)


def test_score_of_arrays_is_the_score_of_the_search():
    model, inputs = model_of("masked frames"), CASES["masked frames"][1]
    inputs = {name: tf.constant(array) for name, array in inputs.items()}
    _, scope = unchanged(model)
    offered = Signatures(model, BEAM, 4, 512, scope)
    best = offered.best(inputs)
    given = offered.score({**inputs, "target": best["ids"]})
    np.testing.assert_allclose(given["score"], best["score"], atol=1e-5)


def test_a_tokenizer_of_somebody_else_is_exported(tmp_path):
    model = randomize(open_doors.digits_model(), seed=7)
    folder = export.export_saved_model(
        model, tmp_path / "1", BEAM, signatures=["n_best"]
    )
    texts = ["12", "7x5", ""]
    asked = [{"signature": "n_best", "inputs": {"text": texts}}]
    (told,) = ask_without_keras(folder, asked)
    expected = model.generate(texts, BEAM)
    assert told["text"] == expected.texts.tolist()
    np.testing.assert_allclose(told["score"], expected.scores, atol=1e-5)
    assert told["source_tokens"][1][:3] == ["7", "?", "5"]
