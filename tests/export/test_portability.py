"""What a stock server does not run is found before anything is written."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka
from keras_attention import export
from keras_attention.export import portability


@tf.function(jit_compile=True)
def compiled(x):
    return x + 1.0


@tf.function
def calls_compiled(x):
    return compiled(x) * 2.0


def in_a_loop(x):
    return tf.while_loop(lambda x: tf.reduce_sum(x) < 9.0, calls_compiled, [x])


def python(x):
    return tf.numpy_function(np.sin, [x], tf.float32)


def eager_python(x):
    return tf.py_function(tf.sin, [x], tf.float32)


def plain(x):
    return tf.while_loop(lambda x: tf.reduce_sum(x) < 9.0, tf.exp, [x])


def traced(function):
    spec = tf.TensorSpec((3,), tf.float32)
    return tf.function(function).get_concrete_function(spec)


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (compiled.python_function, None),
        (calls_compiled.python_function, "_XlaMustCompile"),
        (in_a_loop, "_XlaMustCompile"),
        (python, "PyFunc"),
        (eager_python, "EagerPyFunc"),
        (plain, None),
    ],
    ids=["uncompiled", "compiled", "in_a_loop", "numpy", "eager", "plain"],
)
def test_operations_that_are_not_portable_are_found(function, operation):
    graph = traced(function).graph.as_graph_def()
    found = {text.split(" ")[0] for text in export_faults(graph)}
    assert found == ({operation} if operation else set())


def export_faults(graph):
    return portability.non_portable_operations(graph)


@pytest.mark.parametrize("operation", ["CudnnRNNV3", "XlaDynamicSlice"])
def test_kernels_of_other_devices_are_found_in_functions(operation):
    graph = tf.compat.v1.GraphDef()
    for name in ("outer", "inner", "never_called"):
        graph.library.function.add().signature.name = name
    outer, inner, _ = graph.library.function
    graph.node.add(op="StatefulPartitionedCall", name="call").attr[
        "f"
    ].func.name = "outer"
    case = outer.node_def.add(op="Case", name="branch")
    case.attr["branches"].list.func.add().name = "inner"
    inner.node_def.add(op=operation, name="kernel")
    assert export_faults(graph) == [f"{operation} (inner/kernel)"]


def test_check_portable_names_operation_and_signature():
    message = r"in signature 'tokens'\. Received: EagerPyFunc \(EagerPyFunc\)"
    with pytest.raises(ValueError, match=message):
        export.check_portable("tokens", traced(eager_python))


class CompiledEncoder(ka.RNNEncoder):
    """An encoder with a part that only XLA can run."""

    def call(self, source, training=None):
        return compiled(super().call(source, training=training))


def test_export_refuses_a_model_with_a_compiled_part(tmp_path):
    keras.utils.set_random_seed(20231)
    vocabulary = ka.Vocabulary.build(["ab"])
    encoder = CompiledEncoder(vocabulary_size=len(vocabulary), units=2)
    decoder = ka.RNNDecoder(vocabulary_size=len(vocabulary), units=3)
    model = ka.Seq2Seq(
        encoder, decoder, 5, vocabulary, vocabulary, name="compiled"
    )
    message = r"signature 'serving_default'\. Received: _XlaMustCompile"
    with pytest.raises(ValueError, match=message):
        export.export_saved_model(model, tmp_path / "1")
    assert list(tmp_path.iterdir()) == []
