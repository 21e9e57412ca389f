"""attend(): scores -> soft cap -> bias -> mask -> softmax -> dropout -> values.

THE definition of attention in this package. Every layer projects its inputs,
calls `attend`, and projects what comes out.

Letters in the shape comments, here and everywhere below:
    B batch         T query length    N heads             H key_dim
                    S key length      K key/value heads   V value_dim
"""

from typing import Any

from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional import biases
from keras_attention.functional import padding
from keras_attention.functional import scores as score_functions
from keras_attention.functional.arguments import check_arguments
from keras_attention.functional.blockwise import attend_blockwise
from keras_attention.functional.by_length import attend_by_length
from keras_attention.functional.dense import attend_dense
from keras_attention.functional.dropout import Dropout
from keras_attention.functional.fused.attention import attend_fused
from keras_attention.functional.fused.attention import plan_of
from keras_attention.functional.fused.batches import current_batches
from keras_attention.functional.fused.coverage import NotCovered
from keras_attention.functional.normalizers import Normalizer
from keras_attention.functional.normalizers import check_normalizer
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore

# Above this many (query, key) pairs "auto" is blockwise: about where the two
# take the same time on two CPU cores (AVX2, 8 heads of 64; RESULTS.md).
LARGEST_DENSE = 1024 * 1024 - 1
# From this many on "auto" is fused where that is covered. Not measured yet: no
# GPU was at hand. One block of the kernel, below which nothing is saved.
SMALLEST_FUSED = 128 * 128
IMPLEMENTATIONS = ("auto", "dense", "flash", "blockwise", "fused")
WITHOUT_WEIGHTS = ("flash", "blockwise", "fused")


def attend(
    *,
    query: Any,
    key: Any,
    value: Any,
    score: DotProductScore | AdditiveScore = score_functions.DotProductScore(),  # noqa: B008 (frozen)
    mask: Any = None,
    bias: Any = None,
    logit_soft_cap: float | None = None,
    sink: Any = None,
    dropout: Dropout | None = None,
    return_weights: bool = False,
    implementation: str = "auto",
    normalizer: Normalizer = "softmax",
) -> Any:
    """Attends to `value` where `query` matches `key`.

    For each head and each query t (Vaswani et al. 2017, equation 1):

        score[t, s]  = soft_cap(score(query[t], key[s])) + bias[t, s]
        weight[t, s] = exp(score[t, s]) / (sum over visible s' of
                       exp(score[t, s']) + exp(sink)), 0 where masked
        output[t]    = sum over s of dropout(weight[t, s]) * value[s]

    Scores and softmax are computed in float32 (float64 for float64 inputs)
    whatever the dtype of the inputs.

    Args:
        query: float tensor (batch, query_length, num_heads, key_dim).
        key: float tensor (batch, key_length, num_key_value_heads, key_dim).
            `num_heads` must be a multiple of `num_key_value_heads`; heads
            that share a key and a value use it in place.
        value: float tensor (batch, key_length, num_key_value_heads,
            value_dim).
        score: `DotProductScore(scale)` or `AdditiveScore(vector)`.
        mask: a `keras_attention.masks.Mask`, or a boolean or 0/1 tensor of
            shape (query_length, key_length), (batch, query_length,
            key_length) or (batch, num_heads, query_length, key_length), where
            any size may be 1. True = may attend.
        bias: float tensor that broadcasts to (batch, num_heads, query_length,
            key_length), or a `DistanceBias`, a `LinearDistanceBias` or a
            `QueryDistanceBias`, which never become such a tensor.
        logit_soft_cap: scores are squashed into (-cap, cap) by tanh, if set.
        sink: float tensor (num_heads,): a score that joins the denominator
            of each row and takes weight away from every key.
        dropout: a `Dropout(rate, seed)` for the weights, or None.
        return_weights: also return the weights.
        implementation: "dense" builds the score matrix, "blockwise" never does.
            "fused" is cuDNN's flash attention, on an NVIDIA GPU (Ampere or
            later) in float16 and bfloat16: for the dot product, with masks that
            are causal, a window to the left, lengths, or all of these, and with
            a bias written out, in the dtype of the query. It is compiled by
            XLA, for one shape: see `declared_batches`. For the additive score
            it is a kernel of our own, with the same masks, without a bias, in
            float32 too, up to 256 units and `value_dim`; it has not been run on
            a GPU yet, so it is used by this name alone. "flash" is fused where
            that is covered, blockwise elsewhere. "auto" picks fused, blockwise
            for long sequences, dense for short ones and where weights are
            returned; where a graph is traced for a device or for lengths not
            known before, each call picks. An explicit request is never
            replaced, but where a program made for several devices or shapes
            learns too late that "fused" cannot be: off the GPU, outside XLA,
            for a shape not declared it goes by blocks. Only "dense" has second
            derivatives at every length.
        normalizer: what makes weights of scores: "softmax"; "hardmax",
            "sparsemax", "entmax15" or "sigmoid", see `normalizers`; or a
            function normalizer(scores, visible) of scores (batch, num_heads,
            query_length, key_length) and of what is visible, a boolean tensor
            that broadcasts to them, or None. All but the softmax need all
            scores of a query at once, so they are "dense" at any length, and
            take no sink.

    Returns:
        Tensor (batch, query_length, num_heads, value_dim) of the dtype of
        `query`. With `return_weights`, also the weights before dropout,
        (batch, num_heads, query_length, key_length).

    Masking:
        Masked scores are replaced before the softmax. A query with nothing to
        attend to has zero weights, zero output and zero gradient. What the
        mask calls padding (`Lengths`, `Padding`, `QueryPadding`) may hold
        anything, even NaN: it reaches no output and no gradient.

    Raises:
        ValueError: if shapes do not fit, an argument is unknown, or "fused"
            is asked for what the kernel does not cover; it says why.

    Example:

    >>> import numpy as np
    >>> from keras_attention import masks
    >>> from keras_attention.functional import attend
    >>> x = np.ones((2, 5, 3, 7), "float32")
    >>> output, weights = attend(
    ...     query=x, key=x, value=x, mask=masks.Causal(), return_weights=True
    ... )
    >>> output.shape, weights.shape
    (TensorShape([2, 5, 3, 7]), TensorShape([2, 3, 5, 5]))
    """
    validation.check_choice("implementation", implementation, IMPLEMENTATIONS)
    logit_soft_cap = validation.check_positive_number(
        "logit_soft_cap", logit_soft_cap, optional=True
    )
    check_normalizer(normalizer)
    query, key, value = map(ops.convert_to_tensor, (query, key, value))
    mask, bias = masks.as_mask(mask), biases.as_bias(bias)
    sink = None if sink is None else ops.convert_to_tensor(sink)
    check_arguments(query, key, value, score, mask, bias, sink, dropout)
    query, key, value = padding.zero_padding(mask, query, key, value)
    arguments = (
        query, key, value, score, mask, bias, logit_soft_cap, sink, dropout
    )  # fmt: skip
    if normalizer != "softmax":
        _check_dense_alone(normalizer, sink, implementation)
        output, weights = attend_dense(*arguments, normalizer)
        return (output, weights) if return_weights else output
    if return_weights and implementation in WITHOUT_WEIGHTS:
        raise ValueError(
            f"`return_weights` must be False with implementation="
            f"{implementation!r}, which never builds the weights. Received: "
            "return_weights=True. Use implementation='auto' or 'dense'."
        )
    if implementation == "dense" or return_weights:
        output, weights = attend_dense(*arguments)
        return (output, weights) if return_weights else output
    if implementation == "blockwise":
        return _attend_by_size(arguments, largest_dense=0)
    return _attend_by_device(arguments, implementation)


def _attend_by_device(arguments, implementation):
    """Attends by a fused kernel where there is one, or else by size."""
    is_asked = implementation == "fused"
    largest_dense = LARGEST_DENSE if implementation == "auto" else 0
    if isinstance(arguments[3], AdditiveScore) and not is_asked:
        # Its kernel has not been run on a GPU yet: by name alone.
        return _attend_by_size(arguments, largest_dense)
    smallest = SMALLEST_FUSED if implementation == "auto" else 0
    try:
        plan = plan_of(arguments, smallest=smallest)
    except NotCovered as reason:
        if is_asked:
            raise _not_fused(reason) from None
        return _attend_by_size(arguments, largest_dense)
    if is_asked and plan.request.is_prefix is not None:
        raise _not_fused(
            "`mask` is boolean, and whether it hides only the end of each row "
            "shows when it runs (give masks.Lengths)"
        )
    return attend_fused(
        arguments,
        plan,
        largest_dense,
        lambda: _attend_by_size(arguments, largest_dense),
    )


def _not_fused(reason):
    return validation.invalid(
        "implementation",
        '"auto", "flash", "blockwise" or "dense" here',
        "fused",
        f"The fused kernel does not cover this: {reason}. 'flash' uses it "
        "wherever it can.",
    )


def _check_dense_alone(normalizer, sink, implementation):
    if implementation in WITHOUT_WEIGHTS:
        raise validation.invalid(
            "implementation",
            '"auto" or "dense" where `normalizer` is not "softmax"',
            implementation,
            f"normalizer={normalizer!r} needs all scores of a query at once.",
        )
    if sink is not None:
        raise ValueError(
            "`sink` must be None where `normalizer` is not 'softmax', whose "
            f"denominator it joins. Received: normalizer={normalizer!r}."
        )


def _attend_by_size(arguments, largest_dense):
    """Attends blockwise to long sequences, and densely to short ones.

    With `largest_dense` of 0 all but empty ones are long: those have no block
    to cut, and no score to build.
    """
    query_length, key_length = (x.shape[1] for x in arguments[:2])
    if largest_dense and 1 in (query_length, key_length):
        return attend_dense(*arguments)[0]  # a step
    if query_length is None or key_length is None:
        if _is_declared_short(*arguments[:2], largest_dense):
            return attend_dense(*arguments)[0]
        return attend_by_length(*arguments, largest_dense=largest_dense)
    if query_length * key_length > largest_dense:
        return attend_blockwise(*arguments)
    return attend_dense(*arguments)[0]


def _is_declared_short(query, key, largest_dense):
    """Whether `declared_batches` tells of such lengths, all of them short.

    The graph then holds one way instead of two, and is traced in half the time.
    """
    sizes = query.shape[0], query.shape[1], key.shape[1]
    declared = current_batches().of_attention(*sizes)
    return bool(declared) and all(
        queries * keys <= largest_dense for _, queries, keys in declared
    )
