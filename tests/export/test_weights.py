"""Smaller weights: the numbers of a model whose weights are that small."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention.export import weights

SOURCE = np.array([[5, 4, 7, 2], [6, 2, 0, 0]])
TARGET = np.array([[1, 6, 7, 5, 8], [1, 9, 4, 0, 0]])
INPUTS = {"source": SOURCE, "target": TARGET}


def small_model(kind, target_ids=13, **options):
    options = {"units": 6, "max_length": 5, **options}
    model = ka.build_seq2seq(kind, 11, target_ids, **options)
    random = np.random.default_rng(20231)
    model.set_weights([random.normal(0, 0.5, w.shape) for w in model.weights])
    return model


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_weights_are_rounded_weights_and_float32_maths(dtype):
    model = small_model("luong")
    _, held, scope = weights.stored(model, dtype)
    rounded = small_model("luong")
    rounded.set_weights([tf.cast(w, dtype) for w in model.get_weights()])
    with scope():
        found = model(INPUTS)
    np.testing.assert_allclose(found, rounded(INPUTS), atol=1e-6)
    difference = np.abs(found - model(INPUTS)).max()
    assert 1e-5 < difference < {"float16": 2e-3, "bfloat16": 2e-2}[dtype]
    assert {v.dtype.name for v in held.stored} == {dtype}


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "transformer", "num_heads": 2},
        pytest.param(
            {"kind": "transformer", "num_heads": 2, "tie_embeddings": True},
            marks=pytest.mark.exhaustive,
        ),
        *(
            pytest.param(
                {
                    "kind": "transformer",
                    "target_ids": 11,
                    "num_heads": 2,
                    "tie_embeddings": tied,
                    "share_embeddings": True,
                },
                marks=pytest.mark.exhaustive,
            )
            for tied in (True, False)
        ),
        pytest.param({"kind": "bahdanau"}, marks=pytest.mark.exhaustive),
    ],
    ids=["transformer", "tied", "shared-and-tied", "shared", "bahdanau"],
)
def test_int8_is_close_and_leaves_the_model_alone(options):
    model = small_model(**options)
    before, expected = model.get_weights(), np.array(model(INPUTS))
    small, held, _ = weights.stored(model, "int8")
    found = np.array(small(INPUTS))
    difference = np.abs(found - expected).max()
    assert 1e-4 < difference < 0.15 * np.abs(expected).max()
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(v.dtype == tf.int8 for v in held.stored)
    np.testing.assert_array_equal(model(INPUTS), expected)


@pytest.mark.parametrize(
    "kind",
    [pytest.param("transformer", marks=pytest.mark.exhaustive), "bahdanau"],
)
def test_int8_searches_with_the_numbers_of_the_whole_sequence(kind):
    options = {"num_heads": 2} if kind == "transformer" else {}
    model, *_ = weights.stored(small_model(kind, **options), "int8")
    found = model.generate(SOURCE)
    target = np.pad(found.tokens[:, 0, :-1], ((0, 0), (1, 0)))
    target[:, 0] = 1
    logits = model({"source": SOURCE, "target": target})
    scores = ka.decoding.score_tokens(logits, found.tokens[:, 0])
    np.testing.assert_allclose(found.scores[:, 0], scores, atol=1e-5)


def test_int8_holds_what_lora_has_learned():
    model = small_model("luong")
    model.decoder.readout.enable_lora(2)
    kernel = model.decoder.readout.lora_kernel_b
    kernel.assign(np.random.default_rng(7).normal(size=kernel.shape))
    expected = np.array(model(INPUTS))
    small, *_ = weights.stored(model, "int8")
    difference = np.abs(np.array(small(INPUTS)) - expected).max()
    assert difference < 0.15 * np.abs(expected).max()


def test_a_quantized_model_keeps_its_integers():
    model = small_model("luong")
    model.quantize("int8", filters="logits")
    same, held, _ = weights.stored(model, "float16")
    assert same is model
    assert len(held.stored) == len(model.weights)
    names = [variable.dtype.name for variable in held.stored]
    assert (names.count("int8"), set(names)) == (1, {"int8", "float16"})


def test_float16_refuses_what_it_cannot_hold():
    model = small_model("luong")
    kernel = model.decoder.logit_dense.kernel
    kernel.assign(keras.ops.full(kernel.shape, -7e4))
    with pytest.raises(ValueError, match="holds 70000, .*logits/kernel"):
        weights.stored(model, "float16")
    _, held, _ = weights.stored(model, "bfloat16")
    assert len(held.stored) == len(model.weights)


def test_the_exported_model_is_as_it_was(model):
    before, after = model["expected"]["caller's model"]
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
