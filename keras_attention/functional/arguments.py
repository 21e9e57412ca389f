"""Checks that the arguments of `attend` fit together."""

from typing import Any

import keras
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.biases import Bias
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.run_time import check_when_run
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore


def check_arguments(
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore,
    mask: masks.Mask | None,
    bias: Bias | None,
    sink: Any,
    dropout: Dropout | None,
) -> None:
    """Checks the arguments of `attend`, and that they fit together.

    Raises:
        ValueError: if they do not, or one is of another kind.
    """
    _check_kinds(query, key, value, score, dropout)
    _check_shapes(query, key, value)
    _check_extras(query, key, score, mask, bias, sink)


def _check_kinds(query, key, value, score, dropout):
    for name, tensor in (("query", query), ("key", key), ("value", value)):
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise validation.invalid(name, "of a float dtype", dtype)
    if not isinstance(score, (DotProductScore, AdditiveScore)):
        raise validation.invalid(
            "score",
            "DotProductScore(scale) or AdditiveScore(vector)",
            repr(score),
            "Any other score is a projection before one of them.",
        )
    if not (dropout is None or isinstance(dropout, Dropout)):
        raise validation.invalid(
            "dropout", "Dropout(rate, seed) or None", repr(dropout)
        )


def _check_shapes(query, key, value):
    heads = "num_key_value_heads"
    validation.check_rank(
        "query", query, 4, "(batch, query_length, num_heads, key_dim)"
    )
    for name, tensor in (("key", key), ("value", value)):
        validation.check_rank(
            name, tensor, 4, f"(batch, key_length, {heads}, {name}_dim)"
        )
    if query.shape[3] != key.shape[3]:
        raise ValueError(
            "`key` must have the width of `query` on its last axis. Received: "
            f"query.shape={tuple(query.shape)}, key.shape={tuple(key.shape)}."
        )
    if not _alike(key.shape[:3], value.shape[:3]):
        raise ValueError(
            f"`value` must share (batch, key_length, {heads}) with `key`. "
            f"Received: key.shape={tuple(key.shape)}, "
            f"value.shape={tuple(value.shape)}."
        )
    if not _alike(query.shape[:1], key.shape[:1]):
        raise ValueError(
            "`key` must have the batch size of `query`. Received: "
            f"query.shape={tuple(query.shape)}, key.shape={tuple(key.shape)}."
        )
    if query.shape[2] % key.shape[2]:
        raise ValueError(
            f"The heads of `query` must be a multiple of those of `key`. "
            f"Received: num_heads={query.shape[2]}, {heads}={key.shape[2]}."
        )


def _alike(shape, other):
    return all(
        a == b or a is None or b is None
        for a, b in zip(shape, other, strict=True)
    )


def _check_extras(query, key, score, mask, bias, sink):
    target = (query.shape[0], query.shape[2], query.shape[1], key.shape[1])
    score.check(tuple(query.shape))
    extras = [extra for extra in (mask, bias) if extra is not None]
    for extra in extras:
        extra.check(target)
    if None in target:
        _check_sizes_when_run(extras, query, key)
    if sink is not None and tuple(sink.shape) != (query.shape[2],):
        raise ValueError(
            f"`sink` must have shape (num_heads,)=({query.shape[2]},). "
            f"Received: sink.shape={tuple(sink.shape)}."
        )


def _check_sizes_when_run(extras, query, key):
    """Checks known sizes of masks and biases against those not known yet.

    Blocks of a tensor too large would be those of its corner, and a tensor too
    small would go on with its last row and column.
    """
    batch, query_length, num_heads = ops.shape(query)[:3]
    target = (batch, num_heads, query_length, ops.shape(key)[1])
    names = ("batch size", "number of heads", "query length", "key length")
    for extra in extras:
        for name, shape in extra.broadcast_shapes():
            aligned = (1,) * (4 - len(shape)) + tuple(shape)
            for of, size, wanted in zip(names, aligned, target, strict=True):
                if size in (None, 1) or isinstance(wanted, int):
                    continue
                check_when_run(
                    ops.equal(size, wanted),
                    f"`{name}`, whose size is {size} where the {of} stands, "
                    f"must broadcast to {validation.SCORE_AXES}.",
                    wanted,
                )
