"""A recurrent network that attends."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.padding import keep
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.recurrent.attention_cell import AttentionCell
from keras_attention.layers.recurrent.source_values import lengths_of
from keras_attention.masks.booleans import as_boolean


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionRNN(StaysFrozen, keras.layers.Layer):
    """A recurrent network that attends to a memory at every step.

    It runs an `AttentionCell` over its inputs, as `keras.layers.RNN` runs a
    cell. The memory is an argument of the call: `keras.layers.RNN` of Keras 3
    has no `constants` any more.

    Args:
        cell: an `AttentionCell`.
        return_sequences: whether to return the outputs of all steps, or of
            the last.
        return_state: whether to return the last state too.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, length, width).
        value: the memory, (batch, source_length, source_width); where the
            cell has several mechanisms also a list of them, one for each.
        inputs_mask: boolean (batch, length), True = real. Defaults to the
            Keras mask of `inputs`.
        value_mask: boolean (batch, source_length), True = real, or a list of
            them. Defaults to the Keras mask of `value`.
        initial_state: a state that a call returned, or a list of the first
            states of the cell, each (batch, width), such as the final states
            of an encoder. Defaults to the cell's own, zeros in Keras's cells.
        return_attention_scores: whether to return the weights too.
        training: whether the dropouts of cell and mechanism are on.

    Returns:
        The outputs, (batch, length, units) or (batch, units). Then, if asked
        for, the attention weights, float32 (batch, length, source_length), of
        several mechanisms a list of them. Then, with `return_state`, the state
        after the last step, a dict of nests of tensors (batch, ...): the call
        that gets it as `initial_state` goes on from there. `state["cell"]` is
        the list of the cell's states.

    Masking:
        Padded positions of the memory are not attended to. At a padded input
        the state stays as it is, the output is that of the step before, zeros
        before the first, as in Keras's layers, and the weights are zero; it
        takes no position. A sequence of outputs keeps the Keras mask of the
        inputs.

    Raises:
        ValueError: if an argument does not fit.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import keras_attention as ka
    >>> cell = ka.AttentionCell(
    ...     keras.layers.LSTMCell(5), ka.AdditiveAttention(3)
    ... )
    >>> layer = ka.AttentionRNN(cell, return_sequences=True)
    >>> inputs, memory = np.ones((2, 3, 7)), np.ones((2, 11, 13))
    >>> outputs, weights = layer(inputs, memory, return_attention_scores=True)
    >>> outputs.shape, weights.shape
    (TensorShape([2, 3, 5]), TensorShape([2, 3, 11]))
    """

    def __init__(
        self,
        cell: AttentionCell,
        return_sequences: bool = False,
        return_state: bool = False,
        **kwargs,
    ):
        # A state would be rounded: `call` casts inputs and variables.
        super().__init__(autocast=False, **kwargs)
        self._with_variables_cast = _WithVariablesCast(
            dtype=self.dtype_policy, name="run"
        )
        self.supports_masking = True
        if not isinstance(cell, AttentionCell):
            raise validation.invalid(
                "cell",
                "an AttentionCell",
                repr(cell),
                "Without attention it is `keras.layers.RNN` that runs a cell.",
            )
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state

    def build(self, inputs_shape: tuple, value_shape: Any) -> None:
        if not self.cell.built:
            self.cell.build(inputs_shape, value_shape)
        self.built = True

    def call(
        self,
        inputs: Any,
        value: Any,
        inputs_mask: Any = None,
        value_mask: Any = None,
        initial_state: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        def run():
            return self._run(
                *self._cast((inputs, value)),
                inputs_mask,
                value_mask,
                initial_state,
                return_attention_scores,
                training,
            )

        return self._with_variables_cast(ops.zeros(()), function=run)

    def _run(
        self,
        inputs,
        value,
        inputs_mask,
        value_mask,
        initial_state,
        return_attention_scores,
        training,
    ):
        if inputs_mask is not None:
            check_sequence_mask("inputs_mask", inputs_mask, inputs.shape[:2])
            inputs_mask = as_boolean("inputs_mask", inputs_mask)
            inputs = keep(inputs, inputs_mask)
        memory = self.cell.prepare(value, value_mask)
        batch = ops.shape(inputs)[0]
        first = self._first_state(memory, batch, initial_state)
        position = first.pop("position")  # (B, 1)
        outputs, weights, last = self.cell.run(
            inputs,
            memory,
            keras.tree.map_structure(lambda x: x[:, None], first),
            lengths_of(value),
            mask=inputs_mask,
            first_position=position,
            return_attention_scores=return_attention_scores,
            training=training,
        )
        results = [outputs if self.return_sequences else outputs[:, -1]]
        if return_attention_scores:
            results.append(weights)
        if self.return_state:
            last = keras.tree.map_structure(lambda x: x[:, 0], last)
            last["position"] = position + self._steps_made(inputs, inputs_mask)
            results.append(last)
        return tuple(results) if len(results) > 1 else results[0]

    def _first_state(self, memory, batch, given):
        """Returns the state before the first step, without a slots axis."""
        if isinstance(given, dict):
            _check_state(given)
            return dict(given)
        given = self._cast(given)
        state = self.cell.initial_state(memory, batch, 1, given)
        state = keras.tree.map_structure(lambda x: x[:, 0], state)
        return {**state, "position": ops.zeros((batch, 1), dtype="int32")}

    def _cast(self, tensors):
        """Returns nested tensors, those of floats in the compute dtype."""

        def cast(tensor):
            tensor = ops.convert_to_tensor(tensor)
            dtype = keras.backend.standardize_dtype(tensor.dtype)
            is_float = keras.backend.is_float_dtype(dtype)
            return ops.cast(tensor, self.compute_dtype) if is_float else tensor

        return keras.tree.map_structure(
            lambda x: None if x is None else cast(x), tensors
        )

    def _steps_made(self, inputs, mask):
        """Returns how many inputs are real, (B, 1) or a number."""
        if mask is None:
            return ops.shape(inputs)[1]
        return ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        # Keras gives masks to the results in their order.
        return previous_mask if self.return_sequences else None

    def compute_output_shape(
        self, inputs_shape: tuple, value_shape: Any
    ) -> tuple:
        """Returns the shape of the outputs, which come first."""
        shape = self.cell.compute_output_shape(inputs_shape, value_shape)
        return shape if self.return_sequences else (shape[0], shape[-1])

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # Keras would take the shape for that of all results.
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        config = {
            "cell": shared_config(self.cell),
            "return_sequences": self.return_sequences,
            "return_state": self.return_state,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionRNN":
        cell = keras.saving.deserialize_keras_object(config["cell"])
        return cls(**{**config, "cell": cell})


def _check_state(state):
    """Raises a ValueError unless it is a state that a call returned."""
    missing = {"cell", "mechanism", "position"} - set(state)
    if missing:
        raise validation.invalid(
            "initial_state",
            "a state that a call with return_state=True returned, or a list "
            "of the first states of the cell",
            f"a dict without {sorted(missing)}",
        )


class _WithVariablesCast(keras.layers.Layer):
    """Runs a function as the `call` of a layer, whose variables are cast."""

    def call(self, tensor, function=None):  # Keras wants a tensor
        return function()
