"""Writes the search of a model as an ONNX file, checked by onnxruntime."""

import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_attention.decoding import Beam
from keras_attention.decoding.search import Search
from keras_attention.export import onnx_operations
from keras_attention.export import runtime_folder
from keras_attention.export.records import BATCH
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import TARGET_LENGTH
from keras_attention.export.whole_search import trace_search
from keras_attention.models import LanguageModel
from keras_attention.models import Seq2Seq

# The highest that tf2onnx 1.17 knows.
OPERATOR_SET = 18


def export_onnx(
    model: Seq2Seq | LanguageModel,
    folder: str | pathlib.Path,
    search: Search = Beam(4),  # noqa: B008 (frozen)
    max_length: int | None = None,
    max_source_length: int = 512,
    overwrite: bool = False,
) -> pathlib.Path:
    """Exports the search of a model as ONNX: ids in, ids out, loop included.

    `model.onnx` maps `ids` (batch, source_length) int32, padded with 0, or
    arrays `source` as the model's `source_signature` says, with `source_mask`
    where the encoder needs it, to what `generate` returns for them:

    - `tokens` (batch, n, max_length) int32, EOS kept, padded with 0.
    - `scores` (batch, n) float32 and `lengths` (batch, n) int32.
    - `alignments` (batch, n, max_length, source_length) float32, but for a
      `LanguageModel`, whose `ids` are prompts.

    Batch and length may be any of at least 1 in each call; no source changes
    the answer to another. n is the `num_hypotheses` of a beam, the
    `num_samples` of a sample. Ids outside of the vocabulary are read as
    unknown, and sources cut to `max_source_length`. Attention is dense, so a
    very long source takes memory that is quadratic in its length. With
    `Sample` the random bits of a row depend on its source and the seed alone,
    as in a SavedModel.

    Text stays outside. The vocabularies lie beside the file, as
    `source_vocabulary.json` and `target_vocabulary.json` (`vocabulary.json`
    of a `LanguageModel`), and a `README.md` with a whole program from text to
    text that needs neither TensorFlow nor this package.

    The file is asked for a few sources before it gets its place: where
    onnxruntime answers otherwise than the model, nothing is written.

    Needs `tf2onnx`, `onnx` and `onnxruntime`, the extra `onnx`. Versions
    known to work together: tf2onnx 1.17.0, onnx 1.23.2 and onnxruntime 1.32.0
    with TensorFlow 2.21 and NumPy 2.4. The file itself needs onnxruntime
    alone.

    Args:
        model: a `Seq2Seq` or a `LanguageModel` that computes in float32, of
            less than 2 GB.
        folder: path of the new folder, replaced in one atomic step.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted. Defaults to the model's.
        max_source_length: longest source in ids, EOS counted, or in
            positions of an array. Of a `LanguageModel` the most ids of a
            prompt, of which the last are read.
        overwrite: whether to replace an earlier folder at this path. One
            that holds anything else is kept, with an error.

    Returns:
        The folder, a `pathlib.Path`.

    Raises:
        ValueError: if an argument is out of range; if the model holds an
            operation that ONNX lacks, which the message names; or if the file
            would not answer as the model does.
        ImportError: if one of the packages is not installed.

    Example:

    >>> import tempfile
    >>> import keras_attention as ka
    >>> from keras_attention.export import export_onnx
    >>> letters = ka.Vocabulary.build(["abc"])
    >>> model = ka.build_seq2seq("luong", letters, letters, units=3)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = export_onnx(model, f"{parent}/1", ka.Greedy())
    ...     for path in sorted(folder.iterdir()):
    ...         print(path.name)
    README.md
    model.onnx
    source_vocabulary.json
    target_vocabulary.json
    """
    onnxruntime, tf2onnx = _packages()
    folder = pathlib.Path(folder)
    runtime_folder.check_free(folder, runtime_folder.ONNX, overwrite)
    traced = trace_search(model, search, max_length, max_source_length)
    try:
        data = _converted(tf2onnx, traced)
        run = _runner(onnxruntime, data)
    # Each of the packages has exceptions of its own.
    except Exception as error:
        raise ValueError(
            "`model` must be made of operations that ONNX has, and tf2onnx "
            f"converts. Received: {type(error).__name__}: {str(error)[:500]}"
        ) from error
    traced.check(run, "onnxruntime")
    runtime_folder.write(folder, data, traced, runtime_folder.ONNX, overwrite)
    return folder


def _packages():
    try:
        import onnx  # noqa: F401 (tf2onnx and a handler import it later)
        import onnxruntime
        import tf2onnx.handler
        import tf2onnx.optimizer.merge_duplicated_nodes_optimizer
        import tf2onnx.tf_loader
        import tf2onnx.tfonnx
    except ImportError as error:
        raise ImportError(
            "An ONNX file is made by the `tf2onnx` and `onnx` packages, and "
            "checked by `onnxruntime`: pip install tf2onnx onnx onnxruntime"
        ) from error
    return onnxruntime, tf2onnx


def _converted(tf2onnx, traced):
    """Returns the bytes of the ONNX file."""
    function = traced.function
    inputs = {
        tensor.name: record.name
        for tensor, record in zip(function.inputs, traced.inputs, strict=False)
    }
    outputs = {t.name: n for n, t in function.structured_outputs.items()}
    # Those of the vocabularies, which the search does not look into, and of
    # which TensorFlow warns that it cannot write them.
    function.graph.clear_collection("table_initializer")
    with tf.device("CPU"):
        frozen = tf2onnx.tf_loader.from_function(
            function, list(inputs), list(outputs)
        )
    _check_known(tf2onnx.handler.tf_op, frozen)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        converted = tf2onnx.tfonnx.process_tf_graph(
            graph,
            input_names=list(inputs),
            output_names=list(outputs),
            tensors_to_rename=inputs | outputs,
            opset=OPERATOR_SET,
            custom_op_handlers=onnx_operations.handlers(),
        )
    # Of the optimizers of tf2onnx, the one that stores no weight twice. All of
    # them take ten times as long as the rest, and onnxruntime has its own.
    merging = tf2onnx.optimizer.merge_duplicated_nodes_optimizer
    converted = tf2onnx.optimizer.optimize_graph(
        converted,
        optimizers={"merge": merging.MergeDuplicatedNodesOptimizer},
    )
    file = converted.make_model("keras_attention")
    _name_sizes(file.graph, traced.inputs)
    return file.SerializeToString()


def _check_known(handlers, graph_def):
    """Raises a ValueError with the operations that have no handler, if any.

    tf2onnx trips over some of them before it says which they are.
    """
    nodes = list(graph_def.node)
    for function in graph_def.library.function:
        nodes.extend(function.node_def)
    known = handlers.create_mapping(OPERATOR_SET, [])
    unknown = {node.op for node in nodes} - set(known)
    if unknown:
        raise ValueError(f"not known are {', '.join(sorted(unknown))}")


def _name_sizes(graph, inputs):
    """Names the sizes that may be any, which tf2onnx numbers."""
    axes = {record.name: record.axes for record in inputs}
    of_outputs = (BATCH, "n", TARGET_LENGTH, SOURCE_LENGTH)
    for value in (*graph.input, *graph.output):
        sizes = value.type.tensor_type.shape.dim
        names = axes.get(value.name, of_outputs)
        for size, name in zip(sizes, names, strict=False):
            if not size.dim_value:
                size.dim_param = str(name).replace(" ", "_")


def _runner(onnxruntime: Any, data: bytes) -> Callable:
    """Returns a function from arrays to answers, both by name."""
    session = onnxruntime.InferenceSession(
        data, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def run(arrays):
        return dict(zip(names, session.run(names, arrays), strict=True))

    return run
