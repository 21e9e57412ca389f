"""Attention by location alone: a mixture of Gaussians (Graves)."""

from typing import Any

import keras
import numpy as np
from keras import backend
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.functional.gaussian_mixture import LEAST_WIDTH
from keras_attention.functional.gaussian_mixture import VERSIONS
from keras_attention.functional.gaussian_mixture import gaussian_mixture_weights
from keras_attention.functional.precision import at_least_float32
from keras_attention.layers.attention.weighted import WeightedMechanism
from keras_attention.layers.attention.weighted import unless_blind


@keras.saving.register_keras_serializable(package="keras_attention")
class GaussianMixtureAttention(WeightedMechanism):
    """Attention to positions near means that only move on.

    What a key holds plays no part: a query says how far each mean moves on,
    how wide its Gaussian is and how much that counts. It goes on over sources
    much longer than those it was trained on, as in speech and handwriting.

        omega', Delta', sigma' = V tanh(W q + b) + c
        mean[k]   = previous mean[k] + Delta[k]
        weight[j] = sum over k of omega[k] / Z[k]
                    * exp(-(j - mean[k])^2 / (2 sigma[k]^2))

    (Graves 2013, arXiv 1308.0850, equations 46 to 51; Battenberg et al. 2020,
    arXiv 1910.10288, equations 5 and 6.) Keys have positions j = 1, 2, ...,
    and means start at 0. The version says what the numbers become:

               omega           Delta             sigma               Z
        "v0"   exp(omega')     exp(Delta')       sqrt(exp(-sigma')/2)  1
        "v1"   softmax(omega') exp(Delta')       sqrt(exp(sigma'))     area
        "v2"   softmax(omega') softplus(Delta')  softplus(sigma')      area

    with the area sqrt(2 pi) sigma (table 1; "v0" is Graves's). 0.01 is added
    to each sigma, so that none is zero. The bias c is the paper's for
    `initial_step=1, initial_width=10`, its "v1b" and "v2b".

    Args:
        units: width of the hidden layer, tanh(W q + b).
        num_mixtures: number of Gaussians.
        version: "v0", "v1" or "v2".
        initial_step: Delta where V contributes nothing, above 0; None starts
            its bias at zero.
        initial_width: sigma where V contributes nothing, above 0.01; None
            starts its bias at zero.
        dropout: share of attention weights dropped in training.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        query: (batch, query_length, query_width).
        value: (batch, key_length, value_width).
        key: (batch, key_length, key_width), which is not read.
        query_mask, value_mask, key_mask: boolean (batch, length), True =
            real. Each defaults to the Keras mask of its tensor.
        attention_mask: boolean (batch, query_length, key_length) or
            (query_length, key_length), True = may attend, or a
            `keras_attention.masks.Mask`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        use_causal_mask: whether a query sees only keys up to its position.

    Returns:
        (batch, query_length, value_width) of the layer's compute dtype and,
        if asked for, the weights (batch, query_length, key_length), taken
        before dropout. The weights do not sum to one.

    Masking:
        All masks AND together. Hidden keys have weight zero; the others keep
        theirs. A query with nothing to attend to, and a padded query, gets
        zero weights and a zero output, and leaves the means as they were.
        The output keeps the Keras mask of the query.

    Raises:
        ValueError: if an argument or a shape does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import GaussianMixtureAttention
    >>> layer = GaussianMixtureAttention(units=11, num_mixtures=2)
    >>> query, value = np.ones((2, 3, 5)), np.ones((2, 7, 13))
    >>> output, weights = layer(query, value, return_attention_scores=True)
    >>> output.shape, weights.shape
    (TensorShape([2, 3, 13]), TensorShape([2, 3, 7]))
    """

    def __init__(
        self,
        units: int,
        num_mixtures: int = 5,
        version: str = "v2",
        initial_step: float | None = None,
        initial_width: float | None = None,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(dropout, seed, **kwargs)
        self.units = validation.check_positive_integer("units", units)
        self.num_mixtures = validation.check_positive_integer(
            "num_mixtures", num_mixtures
        )
        self.version = validation.check_choice("version", version, VERSIONS)
        self.initial_step = validation.check_positive_number(
            "initial_step", initial_step, optional=True
        )
        self.initial_width = validation.check_positive_number(
            "initial_width", initial_width, optional=True
        )
        if initial_width is not None and initial_width <= LEAST_WIDTH:
            raise validation.invalid(
                "initial_width",
                f"above {LEAST_WIDTH}, which is added to each width",
                initial_width,
            )

    def build(
        self,
        query_shape: tuple,
        value_shape: tuple,
        key_shape: tuple | None = None,
    ) -> None:
        super().build(query_shape, value_shape, key_shape)
        self.query_kernel = self.add_weight(
            name="query_kernel", shape=(query_shape[-1], self.units)
        )
        self.query_bias = self.add_weight(
            name="query_bias", shape=(self.units,), initializer="zeros"
        )
        # Not rounded to half precision: an error in a step grows with time.
        self.parameter_kernel = self.add_weight(
            name="parameter_kernel",
            shape=(self.units, 3 * self.num_mixtures),
            autocast=False,
        )
        self.parameter_bias = self.add_weight(
            name="parameter_bias",
            shape=(3, self.num_mixtures),
            initializer=self._initial_bias,
            autocast=False,
        )

    def _initial_bias(self, shape, dtype=None):
        """Returns what makes the steps and widths those asked for, (3, M)."""
        bias, rules = np.zeros(shape), VERSIONS[self.version]
        if self.initial_step is not None:
            bias[1] = rules.step_inverse(self.initial_step)
        if self.initial_width is not None:
            bias[2] = rules.width_inverse(self.initial_width - LEAST_WIDTH)
        return ops.convert_to_tensor(bias, dtype=dtype)

    def prepare(self, value: Any, key: Any = None, mask: Any = None) -> dict:
        memory = {"value": value}
        return memory if mask is None else {**memory, "mask": mask}

    def initial_state(self, memory: Any, slots: int = 1) -> dict[str, Any]:
        shape = (ops.shape(memory["value"])[0], slots, self.num_mixtures)
        dtype = backend.result_type(self.compute_dtype, "float32")
        return {"mean": ops.zeros(shape, dtype=dtype)}

    def attend(
        self,
        query: Any,
        memory: dict[str, Any],
        state: dict[str, Any],
        *,
        positions: Any = None,
        mask: masks.Mask | None = None,
        seed: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        weights, mean = gaussian_mixture_weights(
            ops.cast(self._parameters(query), state["mean"].dtype),
            state["mean"],
            ops.shape(memory["value"])[1],
            self.version,
        )  # (B, Q, S), (B, Q, M)
        visible = self.visible(memory, mask, ops.shape(weights))
        if visible is not None:
            weights = ops.where(visible, weights, ops.zeros_like(weights))
        dropout = self.dropout_at(positions, seed, training)
        context = self.context_of(weights, memory, dropout)
        state = {"mean": unless_blind(mean, state["mean"], visible)}
        return context, ops.cast(weights, self.compute_dtype), state

    def _parameters(self, query):
        """Returns V tanh(W q + b) + c, (B, Q, 3, M)."""
        # Not `matmul`: XLA cannot differentiate TensorFlow's in a loop.
        hidden = ops.einsum("bqd,du->bqu", query, self.query_kernel)
        hidden = hidden + ops.cast(self.query_bias, hidden.dtype)
        hidden = ops.tanh(at_least_float32(hidden))
        kernel = ops.cast(self.parameter_kernel, hidden.dtype)
        parameters = ops.einsum("bqu,up->bqp", hidden, kernel)
        shape = (*ops.shape(hidden)[:2], 3, self.num_mixtures)
        parameters = ops.reshape(parameters, shape)
        return parameters + ops.cast(self.parameter_bias, hidden.dtype)

    def get_config(self) -> dict[str, Any]:
        config = {
            "units": self.units,
            "num_mixtures": self.num_mixtures,
            "version": self.version,
            "initial_step": self.initial_step,
            "initial_width": self.initial_width,
        }
        return {**super().get_config(), **config}
