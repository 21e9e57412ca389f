"""The whole search of a model as one function, for the runtimes of others.

Ids or arrays of sources go in; tokens, scores, lengths and alignments come
out. Strings stay outside: neither ONNX nor LiteRT has lookup tables of them.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention import functional
from keras_attention import validation
from keras_attention.decoding.search import Search
from keras_attention.export import ids
from keras_attention.export.arguments import checked_max_length
from keras_attention.export.language_signatures import LanguageSignatures
from keras_attention.export.portability import check_portable
from keras_attention.export.records import BATCH
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import TensorRecord
from keras_attention.export.signatures import Signatures
from keras_attention.functional.compiling import forward_only
from keras_attention.models import Seq2Seq
from keras_attention.models.tracing import parts_of
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID
from keras_attention.special_ids import UNKNOWN_ID

# Of the sources that a written file is asked: rows where any number may come,
# and positions. Two shapes, so that neither size can have been frozen.
SAMPLE_SHAPES = ((3, 5), (1, 2))
TOLERANCE = 1e-4
OUTPUTS = ("tokens", "scores", "lengths", "alignments")
FREE_SIZE = 7  # of an axis of any size that is neither batch nor length


@dataclasses.dataclass(frozen=True)
class WholeSearch:
    """A traced search, and what its inputs are.

    Args:
        model: a `Seq2Seq` or a `LanguageModel`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted.
        max_source_length: longest source.
        batch_size: the one number of rows it takes, or None for any.
        inputs: a `TensorRecord` of each input.
        function: the concrete function, from inputs to a dict of `tokens`,
            `scores`, `lengths` and, of a `Seq2Seq`, `alignments`.
    """

    model: Any
    search: Search
    max_length: int
    max_source_length: int
    batch_size: int | None
    inputs: tuple[TensorRecord, ...]
    function: Any

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs."""
        return list(self.function.structured_outputs)

    @property
    def num_hypotheses(self) -> int:
        """How many targets a source gets."""
        found = self.function.structured_outputs["scores"]  # (B, n)
        return found.shape[1]

    def check(self, run: Callable, runtime: str) -> None:
        """Compares what a written file answers with what the model answers.

        Args:
            run: function from arrays by name to arrays by name.
            runtime: who runs the file, for the message.

        Raises:
            ValueError: it does not run, tokens or lengths differ, or scores
                by more than rounding.
        """
        for arrays in self.samples():
            tensors = {name: tf.constant(x) for name, x in arrays.items()}
            expected = self.function(**tensors)
            try:
                found = run(arrays)
            except Exception as error:  # each runtime has its own
                raise ValueError(
                    f"`model` must run in {runtime}. Received: "
                    f"{type(error).__name__}: {str(error)[:500]}"
                ) from error
            for name, tensor in expected.items():
                _compare(name, found[name], tensor.numpy(), runtime)

    def samples(self) -> list[dict[str, np.ndarray]]:
        """Returns sources to ask for: ragged rows, in more than one shape."""
        random = np.random.default_rng(0)
        return [
            self._sample(random, self.batch_size or rows, length)
            for rows, length in SAMPLE_SHAPES
        ]

    def _sample(self, random, rows, length):
        length = min(length, self.max_source_length)
        # The rows end at different places, and none is empty.
        real = np.maximum(length - np.arange(rows), 1)[:, None]
        sizes = {BATCH: rows, SOURCE_LENGTH: length}
        made = {}
        for record in self.inputs:
            shape = [
                axis if isinstance(axis, int) else sizes.get(axis, FREE_SIZE)
                for axis in record.axes
            ]
            place = np.arange(shape[1])
            if record.dtype == "bool":
                made[record.name] = place < real
            elif record.name == "ids":
                said = random.integers(UNKNOWN_ID, self._count_of_ids(), shape)
                said = np.where(place == real - 1, EOS_ID, said)
                said = np.where(place < real, said, PAD_ID)
                made[record.name] = said.astype("int32")
            else:
                values = random.normal(size=shape)
                made[record.name] = values.astype(record.dtype)
        return made

    def _count_of_ids(self):
        """Returns a number that all ids of the source are below."""
        part = getattr(self.model, "encoder", self.model.decoder)
        size = getattr(part, "vocabulary_size", None)
        if size is None:  # an encoder of Keras does not tell
            vocabulary = self.model.source_vocabulary
            size = 0 if vocabulary is None else len(vocabulary)
        return max(size, UNKNOWN_ID + 1)


def trace_search(
    model: Any,
    search: Search,
    max_length: int | None,
    max_source_length: int,
    batch_size: int | None = None,
) -> WholeSearch:
    """Traces the search that `generate` does, of plain operations alone.

    Attention is dense at every length: what chooses by length is an operation
    that the other runtimes lack.

    Args:
        model: a `Seq2Seq` or a `LanguageModel`, whose sources are prompts.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted; None for the model's.
        max_source_length: sources are cut to this many positions.
        batch_size: the only number of rows it will take, or None for any.

    Raises:
        ValueError: an argument is out of range, the model does not compute in
            float32, or it holds an operation of XLA, of a GPU or of Python.
    """
    max_length = checked_max_length(
        model, search, max_length, max_source_length
    )
    _check_float32(model)
    of_seq2seq = isinstance(model, Seq2Seq)
    kind = Signatures if of_seq2seq else LanguageSignatures
    signatures = kind(
        model, search, max_length, max_source_length, contextlib.nullcontext
    )
    inputs = signatures.records["tokens"].inputs
    outputs = OUTPUTS if of_seq2seq else OUTPUTS[:-1]

    def run(*tensors):
        sources = [record.name for record in inputs]
        arrays = signatures.read(dict(zip(sources, tensors, strict=True)))
        if of_seq2seq:  # what is made of prompts loses the number again
            arrays = {n: _of_rows(batch_size, x) for n, x in arrays.items()}
        seeds = ids.row_seeds(arrays["source"])
        decoded = signatures.search_for(arrays, search, seeds)
        return {name: getattr(decoded, name) for name in outputs}

    specs = [_with_rows(record.spec, batch_size) for record in inputs]
    function = tf.function(run, input_signature=specs, autograph=False)
    # One position: what is dense for it is dense whatever comes.
    dense = functional.declared_batches([(batch_size or 1, 1)])
    with forward_only(), functional.portable(), dense:
        function = function.get_concrete_function()
    check_portable("tokens", function)
    return WholeSearch(
        model,
        search,
        max_length,
        max_source_length,
        batch_size,
        inputs,
        function,
    )


def _with_rows(spec, rows):
    return tf.TensorSpec([rows, *spec.shape[1:]], spec.dtype, spec.name)


def _of_rows(rows, tensor):
    """Returns a tensor whose number of rows, if it is fixed, is known."""
    if rows is None:
        return tensor
    sizes = [-1 if size is None else size for size in tensor.shape[2:]]
    return tf.reshape(tensor, [rows, -1, *sizes])


def _check_float32(model):
    for part in parts_of(model):
        dtype = getattr(part, "compute_dtype", "float32")
        if dtype not in ("float32", None):
            raise validation.invalid(
                "model",
                "one that computes in float32",
                f"one whose {part.name} computes in {dtype}",
                'Build it with dtype="float32" and give it the weights: '
                "copy.set_weights(model.get_weights()).",
            )


def _compare(name, found, expected, runtime):
    if expected.dtype.kind == "f":
        same = found.shape == expected.shape and np.allclose(
            found, expected, rtol=TOLERANCE, atol=TOLERANCE
        )
    else:
        same = np.array_equal(found, expected)
    if not same:
        raise ValueError(
            f"`model` must answer in {runtime} as it does here, and nothing "
            f"was written. Received: other {name} for the same sources, "
            f"{str(found.ravel()[:8])} in place of "
            f"{str(expected.ravel()[:8])}."
        )
