"""Writes the search of a model as a LiteRT file, checked by its runtime."""

import pathlib
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from keras_attention import validation
from keras_attention.decoding import Beam
from keras_attention.decoding.search import Search
from keras_attention.export import runtime_folder
from keras_attention.export import weights
from keras_attention.export.whole_search import trace_search
from keras_attention.models import LanguageModel
from keras_attention.models import Seq2Seq


def export_litert(
    model: Seq2Seq | LanguageModel,
    folder: str | pathlib.Path,
    search: Search = Beam(4),  # noqa: B008 (frozen)
    max_length: int | None = None,
    max_source_length: int = 512,
    batch_size: int | str | None = "auto",
    overwrite: bool = False,
) -> pathlib.Path:
    """Exports the search of a model for LiteRT, once called TensorFlow Lite.

    `model.tflite` holds the encoder, the decoder and the search with its
    loop, in operations that every LiteRT has: none of TensorFlow's ("Flex")
    is needed. Its one signature, `serving_default`, maps `ids` (batch,
    source_length) int32, padded with 0, or arrays `source`, and
    `source_mask` where the encoder needs it, to `tokens`, `scores`,
    `lengths` and `alignments`, as `export_onnx` says, which holds for text,
    searches and limits too.

    The source length may be any in each call: runtimes in other languages
    call `ResizeInputTensor` and `AllocateTensors` before. The batch is fixed
    unless `batch_size` is None, which recurrent encoders refuse: they loop
    over lists of tensors, and the converter lowers these only where the shape
    of an element, here (batch, units), is known (`TensorListReserve`). A
    `LanguageModel` takes any number alone.

    The file is asked for a few sources before it gets its place: where LiteRT
    answers otherwise than the model, nothing is written.

    Needs `ai-edge-litert`, the extra `litert`. Known to work together:
    ai-edge-litert 2.3.0 with TensorFlow 2.21 and NumPy 2.4. The file itself
    needs a LiteRT alone.

    Args:
        model: a `Seq2Seq` or a `LanguageModel` that computes in float32, of
            less than 2 GB.
        folder: path of the new folder, replaced in one atomic step.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted. Defaults to the model's.
        max_source_length: longest source in ids, EOS counted, or in
            positions of an array. Of a `LanguageModel` the most ids of a
            prompt, of which the last are read.
        batch_size: how many sources each call has, or None for any number.
            "auto" is 1 for a `Seq2Seq`, and None for a `LanguageModel`, which
            takes no other. A row of one EOS stands for no source.
        overwrite: whether to replace an earlier folder at this path. One
            that holds anything else is kept, with an error.

    Returns:
        The folder, a `pathlib.Path`.

    Raises:
        ValueError: if an argument is out of range; if the model holds an
            operation that LiteRT lacks, which the message names; or if the
            file would not answer as the model does.
        ImportError: if `ai-edge-litert` is not installed.

    Example:

    >>> import tempfile
    >>> import keras_attention as ka
    >>> from keras_attention.export import export_litert
    >>> letters = ka.Vocabulary.build(["abc"])
    >>> model = ka.build_seq2seq("transformer", letters, letters, units=4)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = export_litert(model, f"{parent}/1", ka.Greedy())
    ...     for path in sorted(folder.iterdir()):
    ...         print(path.name)
    README.md
    model.tflite
    source_vocabulary.json
    target_vocabulary.json
    """
    interpreter = _interpreter()
    batch_size = _checked_batch_size(model, batch_size)
    folder = pathlib.Path(folder)
    runtime_folder.check_free(folder, runtime_folder.LITERT, overwrite)
    traced = trace_search(
        model, search, max_length, max_source_length, batch_size
    )
    data = _converted(traced)
    traced.check(_runner(interpreter, data), "LiteRT")
    runtime_folder.write(folder, data, traced, runtime_folder.LITERT, overwrite)
    return folder


def _checked_batch_size(model, batch_size):
    """Returns the one number of rows, or None for any."""
    is_language_model = isinstance(model, LanguageModel)
    if isinstance(batch_size, str) and batch_size == "auto":
        return None if is_language_model else 1
    if batch_size is None:
        return None
    if not validation.is_integer(batch_size) or batch_size <= 0:
        raise validation.invalid(
            "batch_size", "a positive integer, None or 'auto'", repr(batch_size)
        )
    if is_language_model:
        raise validation.invalid(
            "batch_size",
            "None for a LanguageModel, whose file takes any number of prompts",
            batch_size,
        )
    return int(batch_size)


def _interpreter():
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise ImportError(
            "A LiteRT file is checked by the `ai-edge-litert` package: "
            "pip install ai-edge-litert"
        ) from error
    return Interpreter


def _converted(traced):
    """Returns the bytes of the LiteRT file."""
    held, _ = weights.unchanged(traced.model)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [traced.function], held
    )
    try:
        return converter.convert()
    # Its own class is private, and so are those of what it calls.
    except Exception as error:
        fix = ""
        if traced.batch_size is None and not isinstance(
            traced.model, LanguageModel
        ):
            fix = " A number as batch_size may help."
        raise ValueError(
            "`model` must be made of operations that LiteRT has. Received: "
            f"{_reason(str(error))}.{fix}"
        ) from error


def _runner(interpreter: Any, data: bytes) -> Callable:
    """Returns a function from arrays to answers, both by name."""
    answer = interpreter(model_content=data).get_signature_runner()

    def run(arrays):
        return answer(**arrays)

    return run


def _reason(message):
    """Returns what the converter says is wrong, of its pages of context."""
    lines = [line for line in message.splitlines() if "error: " in line]
    reasons = [line.partition("error: ")[2] for line in lines]
    return "; ".join(dict.fromkeys(reasons))[:500] or message[:500]
