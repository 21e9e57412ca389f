"""What is written beside a SavedModel: how to serve it and how to call it."""

import dataclasses
import pathlib
import string
from typing import Any

import keras
import tensorflow as tf

from keras_attention.export import guide_texts as texts
from keras_attention.export import search_texts
from keras_attention.export.bounds import bytes_read
from keras_attention.export.guide_texts import BATCHING_PARAMETERS
from keras_attention.export.guide_texts import GUIDE
from keras_attention.export.records import BATCH
from keras_attention.export.records import COMPILED
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import SignatureRecord
from keras_attention.export.records import TensorRecord
from keras_attention.export.traced import TracedSignatures
from keras_attention.export.warm_up import WarmUp
from keras_attention.special_ids import UNKNOWN_ID

README, BATCHING = "README.md", "batching_parameters.txt"
SAMPLE_SIZE = 7  # of an axis of any size, in an example

WEIGHTS = {
    None: "as the model has them",
    "float16": "stored as float16, cast up to float32 when loaded",
    "bfloat16": "stored as bfloat16, cast up to float32 when loaded",
    "int8": "int8 in dense projections and embeddings",
}


# In Python, by whether the model writes text.
GRPC_ANSWERS = {
    True: 'tf.make_ndarray(answer.outputs["text"])[0].decode()',
    False: 'tf.make_ndarray(answer.outputs["ids"])[0]',
}
SHOWN_STEPS = {
    True: '    print(step["text"][0].numpy().decode(), end="\\r")',
    False: "    print(ids.numpy()[0])",
}
SHOWN_IDS = '    print(step["ids"].numpy()[0])'


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the guide says of an exported model."""

    signatures: TracedSignatures
    names: tuple  # of the signatures that were exported
    weights: str | None  # how they are stored
    warm_up: WarmUp | None

    @property
    def request(self) -> SignatureRecord:
        """The record of a signature that takes sources alone."""
        return self.signatures.records["serving_default"]

    @property
    def reads_text(self) -> bool:
        """Whether sources are strings."""
        return self.signatures.source_vocabulary is not None


def write(folder: pathlib.Path, facts: Facts) -> None:
    """Writes README.md and batching_parameters.txt into `folder`.

    Args:
        folder: path of the SavedModel.
        facts: `Facts`.
    """
    (folder / BATCHING).write_text(BATCHING_PARAMETERS)
    values = _values_of(facts)
    phrases = _text_phrases(facts) if facts.reads_text else _arrays(facts)
    phrases["compiled"] = texts.COMPILED if COMPILED in facts.names else ""
    phrases |= facts.signatures.guide_phrases
    if not {"encode", "decode_step"} <= set(facts.names):
        phrases["streaming"] = ""
    text = _filled(GUIDE.template, phrases)
    text = _filled(text, phrases)  # phrases hold phrases
    (folder / README).write_text(_filled(text, values), encoding="utf-8")


def _values_of(facts: Facts) -> dict[str, Any]:
    signatures = facts.signatures
    writes_text = signatures.target_vocabulary is not None
    target_unit = getattr(signatures.target_vocabulary, "unit", None)
    inputs = facts.request.inputs
    values = {
        "search": repr(signatures.search),
        "scores": _described_scores(facts),
        "order": search_texts.order_of(signatures.search),
        "max_length": signatures.max_length,
        "max_source_length": signatures.max_source_length,
        "positions": _described_positions(signatures),
        "target_bytes": bytes_read(target_unit, signatures.max_length),
        "weights": WEIGHTS[facts.weights],
        "warm_up": _described_warm_up(facts),
        "table": _table(facts),
        "batching": BATCHING,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "grpc_answer": GRPC_ANSWERS[writes_text],
        "show_step": SHOWN_STEPS[writes_text],
        "show_said": SHOWN_STEPS[True] if writes_text else SHOWN_IDS,
        "not_state": ("log_probabilities", *(["text"] * writes_text)),
        "outputs": "text" if writes_text else "ids",
        "inputs": " and ".join(f"`{tensor.name}`" for tensor in inputs),
    }
    if facts.reads_text:
        unit = getattr(signatures.source_vocabulary, "unit", None)
        length = signatures.max_source_length
        values["sample"] = sample_text(signatures.source_vocabulary)
        values["source_bytes"] = bytes_read(unit, length)
        values["bytes_per_token"] = bytes_read(unit, 1)
    return values


def _described_positions(signatures):
    if not signatures.cuts_sources:
        return ""
    return f" and {signatures.max_source_length} positions of the source"


def _text_phrases(facts: Facts) -> dict[str, str]:
    return {
        "opening": texts.TEXT_OPENING,
        "longest_source": texts.TEXT_LENGTH,
        "batch": texts.TEXT_BATCH,
        "reading": texts.TEXT_READING,
        "limits": texts.TEXT_LIMITS,
        "rest": texts.TEXT_REST,
        "cli_inputs": 'text=["$sample"]',
        "grpc_inputs": (
            'request.inputs["text"].CopyFrom(tf.make_tensor_proto(["$sample"]))'
        ),
        "encode_inputs": 'text=tf.constant(["$sample"])',
    }


def _arrays(facts: Facts) -> dict[str, str]:
    """The phrases where sources are arrays or ids, with examples of zeros."""
    inputs = facts.request.inputs
    is_free = inputs[0].axes[1] == SOURCE_LENGTH
    is_cut = is_free and facts.signatures.cuts_sources
    reading = texts.ARRAY_READING
    if facts.signatures.needs_source_mask:
        reading = texts.MASK_READING + reading
    arrays = {tensor.name: example_of(tensor) for tensor in inputs}
    return {
        "opening": texts.ARRAY_OPENING,
        "longest_source": texts.ARRAY_LENGTH if is_cut else texts.FIXED_LENGTH,
        "batch": texts.ARRAY_BATCH,
        "reading": reading,
        "limits": texts.ARRAY_LIMITS,
        "rest": texts.ARRAY_REST,
        "json_inputs": ", ".join(
            f'"{name}": {array.format("numpy")}.tolist()'
            for name, array in arrays.items()
        ),
        "cli_inputs": ";".join(
            f"{name}={array.format('np')}" for name, array in arrays.items()
        ),
        "grpc_inputs": "\n".join(
            f'request.inputs["{name}"].CopyFrom(\n'
            f"    tf.make_tensor_proto({array.format('tf')}.numpy()))"
            for name, array in arrays.items()
        ),
        "encode_inputs": ", ".join(
            f"{name}=tf.constant({array.format('tf')})"
            for name, array in arrays.items()
        ),
    }


def example_of(tensor: TensorRecord, rows: int = 1) -> str:
    """Python for a few sources, with a place for the name of NumPy."""
    free = {BATCH: rows}
    sizes = [
        axis if isinstance(axis, int) else free.get(axis, SAMPLE_SIZE)
        for axis in tensor.axes
    ]
    shape = ", ".join(map(str, sizes))
    make = "ones" if tensor.dtype == "bool" else "zeros"
    return f'{{0}}.{make}(({shape}), "{tensor.dtype}")'


def sample_text(vocabulary: Any) -> str:
    """A short text of known tokens that shell and JSON take as it is."""
    ids = [range(UNKNOWN_ID + 1, min(len(vocabulary), UNKNOWN_ID + 8))]
    text = vocabulary.decode(ids).numpy()[0].decode()
    text = "".join(c for c in text if c.isalnum() or c == " ")
    return " ".join(text.split()) or "text"


def _described_warm_up(facts: Facts) -> str:
    if facts.warm_up is None:
        return (
            "none, so the first request of each signature is slow (export "
            "with `--warm-up FILE` or `warm_up=WarmUp(texts)`)"
        )
    asked = [name for name in facts.warm_up.signatures if name in facts.names]
    names = ", ".join(f"`{name}`" for name in asked)
    kind = "texts" if facts.warm_up.is_text else "sources"
    return f"up to {len(facts.warm_up.texts)} {kind} at once for {names}"


def _described_scores(facts: Facts) -> str:
    search = facts.signatures.search
    told = [search_texts.scores_of(search)]
    if "score" in facts.names:
        told.append(search_texts.given_scores_of(search))
    return "\n".join(filter(None, told))


def _table(facts: Facts) -> str:
    lines = ["| signature | inputs | outputs |", "|---|---|---|"]
    for name in facts.names:
        record = facts.signatures.records[name]
        cells = [f"`{name}`", _listed(record.inputs), _listed(record.outputs)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _listed(tensors: tuple) -> str:
    return ", ".join(sorted(map(str, tensors)))


def _filled(text: str, values: dict[str, Any]) -> str:
    return string.Template(text).safe_substitute(values)
