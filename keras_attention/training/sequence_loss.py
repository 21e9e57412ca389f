"""The loss of `tfa.seq2seq`, with the ways in which it averaged and summed."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.padding import keep
from keras_attention.functional.replicas import sum_over_replicas
from keras_attention.training.losses import real_tokens

AVERAGES = ("average_across_timesteps", "average_across_batch")
SUMS = ("sum_over_timesteps", "sum_over_batch")


@keras.saving.register_keras_serializable(package="keras_attention")
class SequenceLoss(keras.losses.Loss):
    """Weighted cross-entropy with the modes of `tfa.seq2seq.SequenceLoss`.

    For code that comes from TensorFlow Addons: the same arguments with the
    same defaults give the same numbers. New code is better served by
    `MaskedCrossentropy`, which is the first line below. With c the
    cross-entropy and w the weight of each token (b, t):

    - both averages: sum(w c) / sum(w), the mean over real tokens where the
      weights are 0 and 1.
    - both sums (the default): sum(w c) / count(w != 0). It differs from the
      mean only in that weights beside 0 and 1 are not divided by.
    - `average_across_timesteps` or `average_across_batch` alone: as the
      first, along that axis; (batch,) or (target_length,) remain.
    - `sum_over_timesteps` or `sum_over_batch` alone: as the second, along
      that axis.
    - an average along one axis and a sum along the other: the average alone;
      tfa left the sum out too.
    - none: w c, (batch, target_length).

    A quotient of 0 / 0 is 0. `fit` trains on the sum of what remains, so a
    mode that keeps an axis trains faster by its length.

    Args:
        average_across_timesteps: see above.
        average_across_batch: see above.
        sum_over_timesteps: see above.
        sum_over_batch: see above.
        softmax_loss_function: function of `labels` (tokens,) and `logits`
            (tokens, vocabulary), called by keyword, that returns (tokens,).
            Defaults to the cross-entropy.
        name: name of the loss.
        dtype: not used; the computation is in float32.

    Call arguments:
        y_true: integer labels (batch, target_length).
        y_pred: logits (batch, target_length, vocabulary).
        sample_weight: weights (batch, target_length), used as they are, as
            in tfa: there 0 is an id like others, and only the weights tell
            padding. Weights (batch,) of rows and None, which tfa refuses,
            leave out the labels 0.

    Returns:
        float32: a scalar, (batch,), (target_length,) or both axes.

    Masking:
        A token of weight 0 counts for nothing, even if its logits are NaN,
        and has no gradient.

    Raises:
        ValueError: if an average and a sum are asked for along one axis.

    Example:

    >>> import numpy as np
    >>> from keras_attention.training import SequenceLoss
    >>> labels, logits = np.array([[3, 1]]), np.zeros((1, 2, 5))
    >>> weights = np.array([[1.0, 0.5]])
    >>> round(float(SequenceLoss()(labels, logits, weights)), 4)
    1.2071
    """

    def __init__(
        self,
        average_across_timesteps: bool = False,
        average_across_batch: bool = False,
        sum_over_timesteps: bool = True,
        sum_over_batch: bool = True,
        softmax_loss_function: Callable | None = None,
        name: str = "sequence_loss",
        dtype: str = "float32",
    ):
        super().__init__(name=name, dtype=dtype)
        self.average_across_timesteps = average_across_timesteps
        self.average_across_batch = average_across_batch
        self.sum_over_timesteps = sum_over_timesteps
        self.sum_over_batch = sum_over_batch
        for average, total in zip(AVERAGES, SUMS, strict=True):
            if getattr(self, average) and getattr(self, total):
                raise validation.invalid(
                    total, f"False where {average}=True", True
                )
        if softmax_loss_function is not None and not callable(
            softmax_loss_function
        ):
            raise validation.invalid(
                "softmax_loss_function",
                "a function of `labels` and `logits`, or None",
                repr(softmax_loss_function),
            )
        self.softmax_loss_function = softmax_loss_function

    def __call__(self, y_true, y_pred, sample_weight=None):
        validation.check_rank("y_true", y_true, 2, "(batch, target_length)")
        validation.check_rank(
            "y_pred", y_pred, 3, "(batch, target_length, vocabulary)"
        )
        if len(getattr(sample_weight, "shape", ())) == 2:
            weights = ops.cast(sample_weight, "float32")  # (B, T), or (B, 1)
            weights = weights * ops.ones_like(y_true, dtype="float32")
        else:
            weights = real_tokens(y_true, sample_weight)
        logits = ops.cast(y_pred, "float32")
        logits = keep(logits, ops.not_equal(weights, 0))  # its gradient, too
        return self._reduced(self.call(y_true, logits), weights)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(y_true, "int32")
        logits = ops.cast(y_pred, "float32")  # (B, T, V)
        if self.softmax_loss_function is None:
            return ops.sparse_categorical_crossentropy(
                labels, logits, from_logits=True
            )  # (B, T)
        flat = self.softmax_loss_function(
            labels=ops.reshape(labels, (-1,)),  # (B * T,)
            logits=ops.reshape(logits, (-1, logits.shape[-1])),  # (B * T, V)
        )
        return ops.reshape(flat, ops.shape(labels))  # (B, T)

    def _reduced(self, losses, weights):
        weighs = ops.not_equal(weights, 0)
        losses = ops.where(weighs, losses, 0.0) * weights
        averaged = [getattr(self, name) for name in AVERAGES]
        summed = [getattr(self, name) for name in SUMS]
        if any(averaged):
            counts = weights
        elif any(summed):
            counts = ops.cast(weighs, "float32")
        else:
            return losses
        # Time is axis 1, and the batch axis 0.
        chosen = averaged if any(averaged) else summed
        axes = [
            axis for axis, is_in in zip((1, 0), chosen, strict=True) if is_in
        ]
        counts = ops.sum(counts, axes)
        if 0 in axes:  # the batch of all replicas, whose gradients add up
            counts = sum_over_replicas(counts)
        return ops.divide_no_nan(ops.sum(losses, axes), counts)

    def get_config(self) -> dict:
        serialize = keras.saving.serialize_keras_object
        return {
            "average_across_timesteps": self.average_across_timesteps,
            "average_across_batch": self.average_across_batch,
            "sum_over_timesteps": self.sum_over_timesteps,
            "sum_over_batch": self.sum_over_batch,
            "softmax_loss_function": serialize(self.softmax_loss_function),
            "name": self.name,
            "dtype": self.dtype,
        }

    @classmethod
    def from_config(cls, config: dict) -> "SequenceLoss":
        found = config["softmax_loss_function"]
        found = keras.saving.deserialize_keras_object(found)
        return cls(**{**config, "softmax_loss_function": found})
