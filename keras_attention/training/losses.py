"""The loss and the accuracy of real tokens; padding counts for nothing."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.replicas import share_of_replica


@keras.saving.register_keras_serializable(package="keras_attention")
class MaskedCrossentropy(keras.losses.Loss):
    """Cross-entropy of the next token, averaged over the real tokens.

    With e = `label_smoothing` over V tokens (Szegedy et al. 2016, section 7):

        loss = -(1 - e) log p(label) - e / V * sum_k log p(k)

    Args:
        label_smoothing: share of the probability spread over all tokens, in
            [0, 1).
        name: name of the loss.
        dtype: dtype of the computation, or a policy; half precision, which
            would round the labels, becomes float32.

    Call arguments:
        y_true: integer labels (batch, target_length), 0 = padding.
        y_pred: logits (batch, target_length, vocabulary).
        sample_weight: weights (batch,) or (batch, target_length); optional.

    Returns:
        Scalar float32: the mean over real tokens, 0 where there is none.

    Masking:
        Labels 0 are left out; so is what the Keras mask of the logits hides.

    Example:

    >>> import numpy as np
    >>> from keras_attention.training import MaskedCrossentropy
    >>> logits = np.zeros((1, 2, 5), "float32")
    >>> round(float(MaskedCrossentropy()(np.array([[3, 0]]), logits)), 4)
    1.6094
    """

    def __init__(
        self,
        label_smoothing: float = 0.0,
        name: str = "masked_crossentropy",
        dtype: str = "float32",
    ):
        compute_dtype = keras.dtype_policies.get(dtype).compute_dtype
        super().__init__(
            name=name,
            reduction="mean_with_sample_weight",
            dtype=keras.backend.result_type(compute_dtype, "float32"),
        )
        self.label_smoothing = validation.check_rate(
            "label_smoothing", label_smoothing
        )

    def __call__(self, y_true, y_pred, sample_weight=None):
        weight = real_tokens(y_true, sample_weight)
        mask = getattr(y_pred, "_keras_mask", None)
        if mask is not None:
            weight = weight * ops.cast(mask, weight.dtype)
        loss = super().__call__(y_true, y_pred, sample_weight=weight)
        return loss * share_of_replica(weight)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        labels = ops.cast(y_true, "int32")
        logits = ops.cast(y_pred, "float32")  # (B, T, V)
        if not self.label_smoothing:
            return ops.sparse_categorical_crossentropy(
                labels, logits, from_logits=True
            )  # (B, T)
        # One operation, and its gradient, is faster than the formula's two.
        size, share = logits.shape[-1], self.label_smoothing
        target = (1.0 - share) * ops.one_hot(labels, size) + share / size
        return ops.categorical_crossentropy(target, logits, from_logits=True)

    def get_config(self) -> dict:
        # The reduction is fixed, so it is no argument.
        return {
            "label_smoothing": self.label_smoothing,
            "name": self.name,
            "dtype": self.dtype,
        }


@keras.saving.register_keras_serializable(package="keras_attention")
class TokenAccuracy(keras.metrics.Mean):
    """Share of the real tokens whose logit is the highest.

    Measured with the true target before each token (teacher forcing); what
    the model makes of its own is measured by `GenerationMetrics`.

    Args:
        name: name of the metric.
        dtype: dtype of its state.

    Example:

    >>> import numpy as np
    >>> from keras_attention.training import TokenAccuracy
    >>> accuracy = TokenAccuracy()
    >>> accuracy.update_state(np.array([[1, 2, 0]]), np.eye(3)[None, [1, 0, 0]])
    >>> float(accuracy.result())
    0.5
    """

    def __init__(self, name: str = "token_accuracy", dtype: Any = None):
        super().__init__(name=name, dtype=dtype)

    def update_state(
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> Any:
        labels = ops.cast(y_true, "int32")
        matches = ops.equal(labels, ops.cast(ops.argmax(y_pred, -1), "int32"))
        return super().update_state(
            ops.cast(matches, "float32"), real_tokens(y_true, sample_weight)
        )


def real_tokens(labels: Any, sample_weight: Any = None) -> Any:
    """Returns float32 weights (batch, target_length), 0 on padding."""
    real = ops.cast(ops.not_equal(labels, 0), "float32")
    if sample_weight is None:
        return real
    sample_weight = ops.cast(sample_weight, "float32")
    if len(sample_weight.shape) == 1:
        sample_weight = sample_weight[:, None]
    return real * sample_weight
