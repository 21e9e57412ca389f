"""Losses of where a decoder looks, for `Seq2Seq.compile(alignment_loss=...)`.

They are called with the weights that the decoder returns, the masks of target
and source, and the alignments that came with the data.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional import alignment_losses as losses
from keras_attention.functional import coverage_loss
from keras_attention.functional.replicas import share_of_replica


@keras.saving.register_keras_serializable(package="keras_attention")
class AlignmentLoss:
    """The mean of any function of attention weights over the real targets.

    Args:
        function: function of `weights` (batch, target_length,
            source_length), `target_mask` (batch, target_length) and
            `source_mask` (batch, source_length), that returns (batch,
            target_length).
        weight: number above 0, the factor of this loss beside that of the
            labels.

    Call arguments:
        weights: float tensor (batch, target_length, source_length).
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.

    Returns:
        Scalar, of at least float32.

    Masking:
        Targets that are not real count for nothing.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention.training import AlignmentLoss
    >>> def largest(weights, target_mask, source_mask):
    ...     return weights.max(axis=-1)
    >>> real = np.ones((1, 2), bool)
    >>> float(AlignmentLoss(largest, weight=3.0)(np.eye(2)[None], real, real))
    3.0
    """

    def __init__(self, function: Callable, weight: float = 1.0):
        if not callable(function):
            raise validation.invalid(
                "function",
                "a function of weights, target_mask and source_mask",
                repr(function),
            )
        self.function = function
        self.weight = validation.check_positive_number("weight", weight)

    def __call__(self, weights: Any, target_mask: Any, source_mask: Any) -> Any:
        found = self.function(weights, target_mask, source_mask)
        return self.weight * _mean(found, target_mask)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {"function": serialize(self.function), "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AlignmentLoss":
        function = keras.saving.deserialize_keras_object(config["function"])
        return cls(function, config["weight"])


@keras.saving.register_keras_serializable(package="keras_attention")
class GuidedAlignmentLoss:
    """Pulls attention to alignments that come with the data.

    `functional.guided_alignment_loss`, averaged over the real targets (Chen
    et al. 2016, arXiv 1607.01628; `guided_alignment_type` of OpenNMT-tf). The
    inputs of the model then have a third part: {"source", "target",
    "alignment"}, with alignments (batch, target_length, source_length), whose
    rows are those of the labels. A row of zeros tells nothing.

    Args:
        kind: "cross_entropy" or "squared_error".
        weight: number above 0, the factor of this loss beside that of the
            labels.

    Call arguments:
        weights: float tensor (batch, target_length, source_length).
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.
        alignment: tensor (batch, target_length, source_length).

    Returns:
        Scalar, of at least float32.

    Masking:
        Targets and source positions that are not real count for nothing.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> from keras_attention.training import GuidedAlignmentLoss
    >>> model = ka.build_seq2seq("luong", 11, 13, units=5)
    >>> model.compile(
    ...     "adam",
    ...     ka.training.MaskedCrossentropy(),
    ...     alignment_loss=GuidedAlignmentLoss(weight=0.5),
    ... )
    >>> inputs = {
    ...     "source": np.array([[5, 4, 2]]),
    ...     "target": np.array([[1, 6, 7]]),
    ...     "alignment": np.eye(3)[None],
    ... }
    >>> outputs = model(inputs, training=True)  # as `fit` calls it
    >>> loss = model.compute_loss(inputs, np.array([[6, 7, 2]]), outputs)
    """

    def __init__(self, kind: str = "cross_entropy", weight: float = 1.0):
        self.kind = validation.check_choice("kind", kind, losses.KINDS)
        self.weight = validation.check_positive_number("weight", weight)

    def __call__(
        self, weights: Any, target_mask: Any, source_mask: Any, alignment: Any
    ) -> Any:
        found = losses.guided_alignment_loss(
            weights, target_mask, source_mask, alignment, self.kind
        )
        return self.weight * _mean(found, target_mask)

    def get_config(self) -> dict[str, Any]:
        return {"kind": self.kind, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "GuidedAlignmentLoss":
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_attention")
class DiagonalAlignmentLoss:
    """Keeps attention near the diagonal, for pairs told in the same order.

    `functional.diagonal_alignment_loss`, averaged over the real targets: the
    guided attention of Tachibana et al. 2017, arXiv 1710.08969. No alignments
    come with the data.

    Args:
        width: number above 0, the standard deviation around the diagonal, in
            parts of a length, see `functional.diagonal_alignment_loss`.
        weight: number above 0, the factor of this loss beside that of the
            labels.

    Call arguments:
        weights: float tensor (batch, target_length, source_length).
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.

    Returns:
        Scalar, of at least float32.

    Masking:
        Targets and source positions that are not real count for nothing.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention.training import DiagonalAlignmentLoss
    >>> real = np.ones((1, 3), bool)
    >>> float(DiagonalAlignmentLoss()(np.eye(3)[None], real, real))
    0.0
    """

    def __init__(self, width: float = 0.2, weight: float = 1.0):
        self.width = validation.check_positive_number("width", width)
        self.weight = validation.check_positive_number("weight", weight)

    def __call__(self, weights: Any, target_mask: Any, source_mask: Any) -> Any:
        found = losses.diagonal_alignment_loss(
            weights, target_mask, source_mask, self.width
        )
        return self.weight * _mean(found, target_mask)

    def get_config(self) -> dict[str, Any]:
        return {"width": self.width, "weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "DiagonalAlignmentLoss":
        return cls(**config)


@keras.saving.register_keras_serializable(package="keras_attention")
class CoverageLoss:
    """Keeps attention away from what it has attended to already.

    `functional.coverage_loss`, averaged over the real targets (See et al.
    2017, arXiv 1704.04368, equations 12 and 13), for decoders of any
    attention; the paper has it beside a `CoverageAttention`.

    Args:
        weight: number above 0, the factor of this loss beside that of the
            labels; lambda of the paper.

    Call arguments:
        weights: float tensor (batch, target_length, source_length).
        target_mask: boolean (batch, target_length), True = a real token.
        source_mask: boolean (batch, source_length), True = a real position.

    Returns:
        Scalar, of at least float32.

    Masking:
        Targets that are not real cover nothing and count for nothing.

    Raises:
        ValueError: if `weight` is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_attention.training import CoverageLoss
    >>> weights = np.array([[[1.0, 0.0], [1.0, 0.0]]])  # twice the same
    >>> real = np.ones((1, 2), bool)
    >>> float(CoverageLoss()(weights, real, real))
    0.5
    """

    def __init__(self, weight: float = 1.0):
        self.weight = validation.check_positive_number("weight", weight)

    def __call__(self, weights: Any, target_mask: Any, source_mask: Any) -> Any:
        found = coverage_loss(weights, target_mask)
        return self.weight * _mean(found, target_mask)

    def get_config(self) -> dict[str, Any]:
        return {"weight": self.weight}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CoverageLoss":
        return cls(**config)


def _mean(found, target_mask):
    """Returns the mean of (B, T) over the real targets, 0 of none."""
    real = ops.cast(target_mask, "bool")
    found = ops.where(real, found, ops.zeros_like(found))
    weights = ops.cast(real, found.dtype)
    mean = ops.divide_no_nan(ops.sum(found), ops.sum(weights))
    return mean * share_of_replica(weights)
