"""The signature `compiled` of a model that a GPU would fuse, on a processor."""

import keras
import numpy as np
import pytest
import served_models
import tensorflow as tf

import keras_attention as ka
from keras_attention import export
from keras_attention.export import shapes

MAX_SOURCE_LENGTH = 131
# Padded to 4 and to 256 positions; the latter is one of the declared shapes.
TEXTS = (["abc", "c"], ["ab" * 50, "cba" * 43, ""])
FUSED = "XlaCallModule"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    keras.utils.set_random_seed(20231)
    vocabulary = ka.Vocabulary.build(["abc"])
    model = ka.build_seq2seq(
        *("transformer", vocabulary, vocabulary),
        units=16,
        num_heads=2,
        max_length=5,
        dtype="mixed_bfloat16",
    )
    return export.export_saved_model(
        model,
        tmp_path_factory.mktemp("compiled") / "1",
        ka.Greedy(),
        max_source_length=MAX_SOURCE_LENGTH,
        signatures=("serving_default", "compiled"),
    )


def operations_of(function):
    graph = function.graph.as_graph_def()
    nodes = [*graph.node]
    for called in graph.library.function:
        nodes += called.node_def
    return {node.op for node in nodes}


def test_compiled_alone_may_be_fused_and_answers_alike(folder):
    loaded = tf.saved_model.load(str(folder))
    portable, compiled = (
        loaded.signatures[name] for name in ("serving_default", "compiled")
    )
    assert FUSED not in operations_of(portable)
    assert FUSED in operations_of(compiled)
    for texts in TEXTS:
        one, other = (f(text=tf.constant(texts)) for f in (portable, compiled))
        assert one["text"].numpy().tolist() == other["text"].numpy().tolist()
        np.testing.assert_allclose(one["score"], other["score"], rtol=0.02)


@pytest.mark.exhaustive
def test_the_rest_answers_where_xla_is_disabled(folder):
    request = {"inputs": {"text": TEXTS[1]}}
    requests = [
        {"signature": name, **request}
        for name in ("serving_default", "compiled")
    ]
    told = served_models._ask({str(folder): requests})
    answer, refusal = told["answers"][str(folder)]
    assert len(answer["text"]) == len(TEXTS[1])
    assert "XLA" in refusal or "Xla" in refusal


@pytest.mark.parametrize(
    ("longest", "lengths"),
    [
        (127, {128}),
        (131, {128, 256}),
        (64, set()),
        (1024, {128, 256, 512, 1024}),
    ],
)
def test_shapes_that_a_kernel_is_made_for(longest, lengths):
    found = shapes.compiled_shapes(longest)
    assert {length for _, length in found} == lengths
    assert {rows for rows, _ in found} <= {1, 2, 4, 8, 16, 32}
    assert len(found) == 6 * len(lengths)
