"""What fused kernels cover: a question of `attend` in their words.

The dot product is cuDNN's flash attention, the additive score a kernel of our
own (`additive_kernel.py`).

A mask is either what the kernel knows (causal, a window to the left, lengths)
or not covered. Nothing is approximated: what does not fit has a reason, which
is the error of who asked by name.
"""

import dataclasses
import math
from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention.functional.biases import TensorBias
from keras_attention.functional.fused.batches import current_batches
from keras_attention.functional.padding import Zeroed
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore

HALF = ("float16", "bfloat16")
# From Hopper on it takes 256, but the card is not known while tracing.
WIDEST_HEAD = 128
HEAD_MULTIPLE = 8
# Of units and values of the additive score; see `benchmarks/kernels`.
ADDITIVE_WIDTHS = (64, 128, 256)
# CUDA counts rows of the batch, and heads, in sixteen bits.
MOST_ROWS = 2**16 - 1


class NotCovered(Exception):
    """Says why, as the end of a sentence: "`mask` is ..."."""


@dataclasses.dataclass(frozen=True, eq=False)
class Request:
    """What is asked of the kernel, without query, key, value and bias.

    Args:
        scale: of the scores, a float.
        is_additive: whether the score is, which has no scale.
        has_bias: whether a tensor is added to the scores.
        is_causal: whether a query sees no key after it.
        window: how many keys a query sees, its own the last; None for all.
        key_lengths: integer tensor (batch,), or None.
        query_lengths: the same for queries, the others being padding.
        is_prefix: boolean scalar: whether the boolean masks of this batch
            were lengths; None where there are none.
    """

    scale: float
    is_additive: bool = False
    has_bias: bool = False
    is_causal: bool = False
    window: int | None = None
    key_lengths: Any = None
    query_lengths: Any = None
    is_prefix: Any = None

    @property
    def has_lengths(self) -> bool:
        return not (self.key_lengths is None and self.query_lengths is None)

    def check_shape(self, rows: int, queries: int, keys: int) -> None:
        """Checks sizes that are known.

        Raises:
            NotCovered: if the kernel does not take them.
        """
        if 0 in (rows, queries, keys):
            raise NotCovered("a size is 0")
        if self.is_additive:
            if rows > MOST_ROWS:
                raise NotCovered(f"the batch has more than {MOST_ROWS} rows")
            return
        if keys == 1:
            raise NotCovered("there is one key alone")
        if self.is_causal and queries != keys:
            raise NotCovered(
                "`mask` is causal, and there are not as many queries as keys: "
                f"{queries} and {keys}"
            )
        if self.has_bias and (queries % 2 or keys % 2):
            raise NotCovered("`bias` is set and a length is odd")

    def window_of(self, queries: int) -> int | None:
        """Returns the window, or None where it hides no key of that many."""
        is_narrow = self.window is not None and self.window < queries
        return self.window if is_narrow else None

    def both_lengths(self, batch: int, queries: int, keys: int) -> tuple:
        """Returns how many queries see something, and how many keys are real.

        Two integer tensors (batch,). The queries that see something are the
        first of their row, whatever the mask: a window may leave the last
        ones without a real key, and no real key leaves none.
        """
        key_lengths = _filled(self.key_lengths, batch, keys)
        query_lengths = _filled(self.query_lengths, batch, queries)
        window = self.window_of(queries)
        if window is not None:
            reached = key_lengths + (window - 1)
            query_lengths = ops.minimum(query_lengths, reached)
        seen = ops.where(key_lengths > 0, query_lengths, 0)
        return seen, key_lengths


def _filled(lengths, batch, length):
    if lengths is None:
        return ops.full((batch,), length, dtype="int32")
    lengths = ops.cast(lengths, "int32")
    lengths = ops.broadcast_to(lengths, (batch,))  # a mask may have one row
    return ops.clip(lengths, 0, length)


def request_of(
    query: Any,
    key: Any,
    value: Any,
    score: Any,
    mask: Any,
    bias: Any,
    logit_soft_cap: float | None,
    sink: Any,
    dropout: Any,
) -> Request:
    """Returns the `Request`; arguments of `attend`.

    Raises:
        NotCovered: if the kernel cannot answer, whatever the lengths.
    """
    for name, option in (
        ("logit_soft_cap", logit_soft_cap),
        ("sink", sink),
        ("dropout", dropout),
    ):
        if option is not None:
            raise NotCovered(f"`{name}` is set")
    if isinstance(score, AdditiveScore):
        _check_additive(query, key, value, bias)
        request = Request(1.0, is_additive=True)
    else:
        scale = _scale_of(score, query)
        _check_tensors(query, key, value)
        if bias is not None:
            _check_bias(bias, query, key)
        request = Request(scale, has_bias=bias is not None)
    parts = [*_parts(mask)]
    is_causal = any(map(_is_causal, parts))
    request = dataclasses.replace(request, is_causal=is_causal)
    for part in parts:
        request = _joined(request, part, query, key)
    if request.window is not None and request.has_bias:
        raise NotCovered("`bias` is set and `mask` has a window")
    if request.window is not None and not request.is_causal:
        raise NotCovered("`mask` is a window that is not causal")
    return request


def _check_additive(query, key, value, bias):
    if bias is not None:
        raise NotCovered("`score` is additive and `bias` is set")
    dtypes = {str(ops.dtype(x)) for x in (query, key, value)}
    if len(dtypes) > 1 or not dtypes <= {"float32", *HALF}:
        raise NotCovered(
            "query, key and value are not all float16, all bfloat16 or all "
            "float32"
        )
    widest = max(query.shape[3], value.shape[3])
    if widest > ADDITIVE_WIDTHS[-1]:
        raise NotCovered(
            f"of `key_dim`, the units, and `value_dim` one is {widest}, more "
            f"than {ADDITIVE_WIDTHS[-1]}"
        )


def _scale_of(score, query):
    if not isinstance(score, DotProductScore):
        raise NotCovered("`score` is not a dot product or additive")
    if score.scale is None:
        return 1.0 / math.sqrt(query.shape[3])
    if not isinstance(score.scale, float):
        raise NotCovered("the scale of `score` is a tensor")
    return score.scale


def _check_tensors(query, key, value):
    dtypes = {str(ops.dtype(x)) for x in (query, key, value)}
    if len(dtypes) > 1 or not dtypes <= set(HALF):
        raise NotCovered(
            "query, key and value are not all float16 or all bfloat16"
        )
    width = query.shape[3]
    if width > WIDEST_HEAD or width % HEAD_MULTIPLE:
        raise NotCovered(
            f"`key_dim` is {width}, not a multiple of {HEAD_MULTIPLE} up to "
            f"{WIDEST_HEAD}"
        )
    if value.shape[3] != width:
        raise NotCovered("`value` and `key` are not equally wide")


def _check_bias(bias, query, key):
    if not isinstance(bias, TensorBias):
        raise NotCovered("`bias` depends on distances and has no tensor")
    shape = tuple(bias.tensor.shape)
    if None in shape:
        raise NotCovered(f"`bias` has shape {shape}, which is not known")
    if len(shape) != 4 or shape[2:] != (query.shape[1], key.shape[1]):
        raise NotCovered(
            f"`bias` has shape {shape}, not (batch or 1, num_heads or 1, "
            "query_length, key_length)"
        )


def _parts(mask):
    """Yields the masks that all must let a key through."""
    if isinstance(mask, Zeroed):
        mask = mask.mask
    if isinstance(mask, masks.And):
        for part in mask.masks:
            yield from _parts(part)
    elif mask is not None:
        yield mask


def _joined(request, mask, query, key):
    """Returns the request with one mask more."""
    kind = type(mask)
    if kind is masks.Causal and _is_zero(mask.offset):
        return request
    if kind is masks.SlidingWindow and _is_zero(mask.offset):
        return _with_window(request, mask)
    if kind is masks.Lengths:
        return _with_lengths(request, "key_lengths", mask.lengths)
    if kind is masks.Padding:
        return _with_boolean(request, "key_lengths", mask.key_mask, key)
    if kind is masks.QueryPadding:
        return _with_boolean(request, "query_lengths", mask.query_mask, query)
    raise NotCovered(f"`mask` has a {kind.__name__} that is not covered")


def _is_causal(mask):
    """Whether a query sees no key after it, by this mask alone."""
    looks_back = isinstance(mask, masks.Causal) or (
        isinstance(mask, masks.SlidingWindow) and mask.right == 0
    )
    return looks_back and _is_zero(mask.offset)


def _is_zero(offset):
    return isinstance(offset, int) and offset == 0


def _with_window(request, mask):
    if mask.right is not None and not request.is_causal:
        raise NotCovered("`mask` is a window that reaches to the right")
    window = request.window
    if mask.left is not None:
        window = min(mask.left + 1, window or mask.left + 1)
    return dataclasses.replace(request, window=window)


def _with_lengths(request, name, lengths):
    lengths = ops.convert_to_tensor(lengths, dtype="int32")
    before = getattr(request, name)
    if before is not None:
        lengths = ops.minimum(before, lengths)
    return dataclasses.replace(request, **{name: lengths})


def _with_boolean(request, name, real, sequence):
    """A boolean mask is lengths where nothing real comes after padding."""
    real = ops.convert_to_tensor(real)
    if real.shape[1] != sequence.shape[1]:  # one entry may stand for all
        shape = (ops.shape(real)[0], ops.shape(sequence)[1])
        real = ops.broadcast_to(real, shape)  # (B, L)
    counts = ops.sum(ops.cast(real, "int32"), axis=1)  # (B,)
    request = _with_lengths(request, name, counts)
    if current_batches().padding_is_last:
        return request
    is_prefix = ops.all(ops.logical_or(real[:, :-1], ~real[:, 1:]))
    if request.is_prefix is not None:
        is_prefix = ops.logical_and(request.is_prefix, is_prefix)
    return dataclasses.replace(request, is_prefix=is_prefix)
