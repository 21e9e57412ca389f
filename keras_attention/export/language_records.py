"""What the SavedModel of a `LanguageModel` is asked and what it answers."""

from typing import Any

from keras_attention.decoding.search import Search
from keras_attention.export import records
from keras_attention.export.records import BATCH
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import TARGET_LENGTH
from keras_attention.export.records import SignatureRecord
from keras_attention.export.records import TensorRecord


def language_records_of(
    model: Any, search: Search, max_length: int, state: dict
) -> dict[str, SignatureRecord]:
    """Returns the records of all signatures of a model by name.

    Args:
        model: a `LanguageModel`.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: the most ids that follow a prompt, EOS counted.
        state: shape and dtype of each tensor of a row's state, by name; empty
            where the decoder has none that can be served.
    """
    writes_text = model.vocabulary is not None
    ids = TensorRecord("ids", "int32", (BATCH, SOURCE_LENGTH))
    text = TensorRecord("text", "string", (BATCH,))
    prompt = text if writes_text else ids
    said = TensorRecord("ids", "int32", (BATCH, max_length))
    best = records.best_records(writes_text, max_length)
    count = records.hypotheses_of(search)
    rows = tuple(
        TensorRecord(name, dtype.name, (BATCH, *shape))
        for name, (shape, dtype) in state.items()
    )
    size = model.decoder.vocabulary_size
    step = (
        TensorRecord("log_probabilities", "float32", (BATCH, size)),
        said,
        *rows,
        *([text] if writes_text else []),
    )
    token = TensorRecord("token", "int32", (BATCH,))
    n_best = _n_best_records(writes_text, count, max_length)
    target = records.target_record(writes_text)
    found = (
        ("serving_default", (prompt,), best),
        ("n_best", (prompt,), n_best),
        ("tokens", (ids,), records.tokens_records(count, max_length)),
        ("score", (prompt, target), records.SCORES),
        ("encode", (prompt,), step),
        ("decode_step", (token, said, *rows), step),
        (records.COMPILED, (prompt,), best),
    )
    return {record[0]: SignatureRecord(*record) for record in found}


def _n_best_records(writes_text, count, max_length):
    axes = (BATCH, count)
    score = TensorRecord("score", "float32", axes)
    if not writes_text:
        return score, TensorRecord("ids", "int32", (*axes, max_length))
    return (
        score,
        TensorRecord("text", "string", axes),
        TensorRecord("target_tokens", "string", (*axes, TARGET_LENGTH)),
    )
