"""LiteRT: ids to ids with the loop inside, as `generate` answers."""

import sys

import numpy as np
import other_runtimes
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import keras_attention as ka
from keras_attention.export import export_litert

IN_GATE = "bahdanau greedy"
ROWS = 5


@pytest.fixture(scope="module", params=other_runtimes.cases(IN_GATE))
def case(request, tmp_path_factory):
    """A model, its search, its folder, and a function that asks the file."""
    build, search = other_runtimes.CASES[request.param]
    model = build()
    folder = export_litert(
        model,
        tmp_path_factory.mktemp("litert") / "1",
        search,
        max_source_length=other_runtimes.MAX_SOURCE_LENGTH,
        batch_size=ROWS,
    )
    return model, search, folder, asked(folder)


def asked(folder):
    """Returns the signature of a file, in the plain runtime: without Flex."""
    interpreter = Interpreter(str(folder / "model.tflite"))
    names = interpreter.get_signature_list()["serving_default"]["inputs"]
    assert names == ["ids"]
    return lambda ids: interpreter.get_signature_runner()(ids=ids)


def test_it_answers_as_generate(case):
    model, search, _, answer = case
    other_runtimes.check_answers(model, search, answer)
    other_runtimes.check_wild_ids(model, answer)


@pytest.mark.parametrize("case", [IN_GATE], indirect=True)
def test_program_in_the_guide_answers_without_tensorflow(case):
    model, search, folder, _ = case
    other_runtimes.check_guide(model, search, folder, rows=ROWS)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["transformer", "cnn-luong"])
def test_any_number_of_rows_without_a_recurrent_encoder(kind, tmp_path):
    model = other_runtimes.build(kind)
    folder = export_litert(model, tmp_path / "1", ka.Beam(2), batch_size=None)
    answer = asked(folder)
    for rows in (5, 2):
        ids = model.source_vocabulary.encode(["cab", "a", "", "h", "fe"])[:rows]
        expected = model.generate(ids.numpy(), ka.Beam(2))
        found = answer(ids.numpy())
        np.testing.assert_array_equal(found["tokens"], expected.tokens)
        np.testing.assert_allclose(found["scores"], expected.scores, atol=1e-5)


@pytest.mark.exhaustive
def test_a_recurrent_encoder_refuses_any_number_of_rows(tmp_path):
    model = other_runtimes.build("luong")
    with pytest.raises(ValueError, match="TensorListReserve.*A number as"):
        export_litert(model, tmp_path / "1", ka.Greedy(), batch_size=None)
    assert not (tmp_path / "1").exists()


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    "search", other_runtimes.SEARCHES, ids=["greedy", "beam"]
)
def test_prompts_of_a_language_model(search, tmp_path):
    model = other_runtimes.language_model()
    folder = export_litert(model, tmp_path / "1", search)
    other_runtimes.check_prompts(model, search, asked(folder), folder)


@pytest.mark.exhaustive
def test_operations_that_litert_lacks_are_refused(tmp_path):
    model = other_runtimes.with_operation(tf.math.bessel_i0e)
    with pytest.raises(ValueError, match="operations that LiteRT has.*Bessel"):
        export_litert(model, tmp_path / "1", ka.Greedy())
    assert not (tmp_path / "1").exists()


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match="pip install ai-edge-litert"):
        export_litert(None, tmp_path / "1")


def test_a_number_of_rows_is_checked(tmp_path):
    with pytest.raises(ValueError, match="`batch_size` must be a positive"):
        export_litert(None, tmp_path / "1", batch_size=0)
    with pytest.raises(ValueError, match="None or 'auto'. Received: .*'all'"):
        export_litert(None, tmp_path / "1", batch_size="all")
    model = ka.LanguageModel(ka.DecoderOnlyTransformer(11, 4, num_heads=2))
    with pytest.raises(ValueError, match="`batch_size` must be None for a La"):
        export_litert(model, tmp_path / "1", batch_size=1)
