"""What the SavedModel of a `LanguageModel` is asked and what it answers."""

from typing import Any

from keras_attention.decoding.search import Search
from keras_attention.export.records import BATCH
from keras_attention.export.records import COMPILED
from keras_attention.export.records import SOURCE_LENGTH
from keras_attention.export.records import TARGET_LENGTH
from keras_attention.export.records import SignatureRecord
from keras_attention.export.records import TensorRecord
from keras_attention.export.records import hypotheses_of


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
    target = TensorRecord("target", "int32", (BATCH, TARGET_LENGTH))
    if writes_text:
        target = TensorRecord("target", "string", (BATCH,))
    score, log_probability = (
        TensorRecord(name, "float32", (BATCH,))
        for name in ("score", "log_probability")
    )
    said = TensorRecord("ids", "int32", (BATCH, max_length))
    best = (text if writes_text else said, score)
    count = hypotheses_of(search)
    several = _several_records(writes_text, count, max_length)
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
    records = (
        ("serving_default", (prompt,), best),
        ("n_best", (prompt,), several["n_best"]),
        ("tokens", (ids,), several["tokens"]),
        ("score", (prompt, target), (score, log_probability)),
        ("encode", (prompt,), step),
        ("decode_step", (token, said, *rows), step),
        (COMPILED, (prompt,), best),
    )
    return {record[0]: SignatureRecord(*record) for record in records}


def _several_records(writes_text, count, max_length):
    """Returns the outputs of `n_best` and `tokens`."""
    axes = (BATCH, count)
    ids = TensorRecord("ids", "int32", (*axes, max_length))
    n_best = (TensorRecord("score", "float32", axes),)
    if writes_text:
        n_best += (
            TensorRecord("text", "string", axes),
            TensorRecord("target_tokens", "string", (*axes, TARGET_LENGTH)),
        )
    else:
        n_best += (ids,)
    tokens = (
        ids,
        TensorRecord("scores", "float32", axes),
        TensorRecord("lengths", "int32", axes),
    )
    return {"n_best": n_best, "tokens": tokens}
