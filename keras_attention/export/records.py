"""What a SavedModel is asked and what it answers: one record per signature.

The tracing, the guide and the warm-up all read these.
"""

import dataclasses

import tensorflow as tf

from keras_attention.decoding import Beam
from keras_attention.decoding import Sample
from keras_attention.decoding.search import Search
from keras_attention.models import Seq2Seq
from keras_attention.models.parts import takes

COMPILED = "compiled"  # the one signature that needs XLA
PORTABLE = (
    "serving_default",
    "n_best",
    "tokens",
    "score",
    "encode",
    "decode_step",
)
NAMES = (*PORTABLE, COMPILED)

BATCH = "batch"
SOURCE_LENGTH, TARGET_LENGTH = "source length", "target length"


@dataclasses.dataclass(frozen=True)
class TensorRecord:
    """An input or an output of a signature.

    Args:
        name: as requests and answers have it.
        dtype: name of a dtype of TensorFlow.
        axes: of each axis its size, or a name where the size is free.
    """

    name: str
    dtype: str
    axes: tuple

    @property
    def spec(self) -> tf.TensorSpec:
        """What TensorFlow traces with."""
        shape = [a if isinstance(a, int) else None for a in self.axes]
        return tf.TensorSpec(shape, self.dtype, name=self.name)

    def __str__(self):
        return f"`{self.name}` {self.dtype} ({', '.join(map(str, self.axes))})"


# Outputs of `score`.
SCORES = (
    TensorRecord("score", "float32", (BATCH,)),
    TensorRecord("log_probability", "float32", (BATCH,)),
)


@dataclasses.dataclass(frozen=True)
class SignatureRecord:
    """Name, inputs and outputs of a signature."""

    name: str
    inputs: tuple
    outputs: tuple


def records_of(
    model: Seq2Seq, search: Search, max_length: int
) -> dict[str, SignatureRecord]:
    """Returns the records of all signatures of a model by name.

    Args:
        model: a `Seq2Seq`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the longest target, EOS counted.
    """
    source, ids = source_records(model), ids_records(model)
    writes_text = model.target_vocabulary is not None
    best = best_records(writes_text, max_length)
    count = hypotheses_of(search)
    encoded = encoded_records(model)
    said = TensorRecord("ids", "int32", (BATCH, "length"))
    records = (
        ("serving_default", source, best),
        ("n_best", source, n_best_records(model, count, max_length)),
        ("tokens", ids, tokens_records(count, max_length)),
        ("score", (*source, target_record(writes_text)), SCORES),
        ("encode", source, encoded),
        ("decode_step", (*encoded, said), step_records(model)),
        (COMPILED, source, best),
    )
    return {record[0]: SignatureRecord(*record) for record in records}


def hypotheses_of(search: Search) -> int:
    """How many targets an n-best list has: a beam's width unless it says."""
    if isinstance(search, Beam):
        return several_of(search).num_hypotheses
    return getattr(search, "num_samples", 1)


def best_of(search: Search) -> Search:
    """Returns the search for one target: the best, or the first drawn."""
    if isinstance(search, Beam):
        return dataclasses.replace(search, num_hypotheses=1)
    if isinstance(search, Sample):  # whose bits do not depend on the number
        return dataclasses.replace(search, num_samples=1)
    return search


def several_of(search: Search) -> Search:
    """Returns the search for n-best lists: a beam's width unless it says."""
    if isinstance(search, Beam) and search.num_hypotheses == 1:
        return dataclasses.replace(search, num_hypotheses=search.width)
    return search


def source_records(model: Seq2Seq) -> tuple[TensorRecord, ...]:
    """Text where the model reads it, else ids or arrays named `source`."""
    if model.source_vocabulary is not None:
        return (TensorRecord("text", "string", (BATCH,)),)
    facts = model.encoder_facts
    shape = facts.signature.shape
    free = [SOURCE_LENGTH, *(f"size {axis}" for axis in range(2, 9))]
    axes = [free[i] if s is None else s for i, s in enumerate(shape)]
    source = TensorRecord("source", facts.signature.dtype, (BATCH, *axes))
    if not facts.needs_source_mask:
        return (source,)
    return source, source_mask_record()


def ids_records(model: Seq2Seq) -> tuple[TensorRecord, ...]:
    """The inputs of `tokens`: ids, or arrays."""
    if not model.source_signature.is_ids:
        return source_records(model)
    return (TensorRecord("ids", "int32", (BATCH, SOURCE_LENGTH)),)


def source_mask_record() -> TensorRecord:
    """True = a real position of the encoded source."""
    return TensorRecord("source_mask", "bool", (BATCH, SOURCE_LENGTH))


def target_record(writes_text: bool) -> TensorRecord:
    """The target that `score` is given."""
    if not writes_text:
        return TensorRecord("target", "int32", (BATCH, TARGET_LENGTH))
    return TensorRecord("target", "string", (BATCH,))


def best_records(
    writes_text: bool, max_length: int
) -> tuple[TensorRecord, ...]:
    """Outputs of a signature that gives one target, the best."""
    if not writes_text:
        return TensorRecord("ids", "int32", (BATCH, max_length)), SCORES[0]
    return TensorRecord("text", "string", (BATCH,)), SCORES[0]


def tokens_records(count: int, max_length: int) -> tuple[TensorRecord, ...]:
    """Outputs of `tokens`, for this number of hypotheses."""
    return (
        TensorRecord("ids", "int32", (BATCH, count, max_length)),
        TensorRecord("scores", "float32", (BATCH, count)),
        TensorRecord("lengths", "int32", (BATCH, count)),
    )


def n_best_records(
    model: Seq2Seq, count: int, max_length: int
) -> tuple[TensorRecord, ...]:
    """Outputs of `n_best`."""
    axes = (BATCH, count, TARGET_LENGTH)
    outputs = [
        TensorRecord("score", "float32", (BATCH, count)),
        TensorRecord("alignments", "float32", (*axes, SOURCE_LENGTH)),
    ]
    if model.target_vocabulary is None:
        axes = (BATCH, count, max_length)
        outputs.append(TensorRecord("ids", "int32", axes))
    else:
        outputs.append(TensorRecord("text", "string", (BATCH, count)))
        outputs.append(TensorRecord("target_tokens", "string", axes))
    if model.source_vocabulary is not None:
        axes = (BATCH, SOURCE_LENGTH)
        outputs.append(TensorRecord("source_tokens", "string", axes))
    return tuple(outputs)


def encoded_records(model: Seq2Seq) -> tuple[TensorRecord, ...]:
    """What `encode` gives and `decode_step` takes."""
    facts = model.encoder_facts
    axes = (BATCH, SOURCE_LENGTH, facts.width)
    states = (
        TensorRecord(f"initial_state_{number}", "float32", (BATCH, width))
        for number, width in enumerate(facts.state_widths)
    )
    return (
        TensorRecord("encoded", "float32", axes),
        source_mask_record(),
        *states,
    )


def step_records(model: Seq2Seq) -> tuple[TensorRecord, ...]:
    """Outputs of `decode_step`."""
    size = model.decoder.vocabulary_size
    outputs = [TensorRecord("log_probabilities", "float32", (BATCH, size))]
    if takes(model.decoder.call, "return_attention_scores"):
        axes = (BATCH, SOURCE_LENGTH)
        outputs.append(TensorRecord("alignment", "float32", axes))
    if model.target_vocabulary is not None:
        outputs.append(TensorRecord("text", "string", (BATCH,)))
    return tuple(outputs)
