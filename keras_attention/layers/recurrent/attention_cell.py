"""One step of a recurrent network that attends."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.functional.padding import keep
from keras_attention.functional.scan import scan
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.layers.attention.mechanism import AttentionMechanism
from keras_attention.layers.recurrent import recurrence
from keras_attention.masks.booleans import as_boolean

ORDERS = ("previous", "current")


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionCell(keras.layers.Layer):
    """A recurrent cell that attends to a source, in either classic order.

    With x the input of a step, h the output of the cell, and o what comes
    out:

    - `query_state="previous"` (Bahdanau et al. 2015, arXiv 1409.0473, A.2.2):
      the output before the step asks, the cell reads what it finds.
        c_t = attention(h_{t-1});  h_t = cell([x_t; c_t]);
        o_t = tanh(W [h_t; c_t; x_t])
    - `query_state="current"` (Luong et al. 2015, arXiv 1508.04025, 3.1): the
      new output asks.
        h_t = cell([x_t; o_{t-1}]);  c_t = attention(h_t);
        o_t = tanh(W [h_t; c_t])
      With `input_feeding` the cell reads o_{t-1} (3.3); without, only x_t.

    The query is always the output of the cell: h of an LSTM, the output of
    the last cell of a stack. Before the first step that is the first state of
    (the last of) the cells, as Keras's cells have it; zeros, where that state
    is of another width than the output.

    It is no cell for `keras.layers.RNN`: the state of its mechanism may be as
    long as the source. A call runs over a whole sequence; `initial_state`
    and `step` run it one by one, and give the same.

    Args:
        cell: any Keras RNN cell, `keras.layers.StackedRNNCells` too.
        attention: an `AttentionMechanism`.
        query_state: "previous" or "current", see above.
        input_feeding: whether the cell reads o_{t-1}; only "current" can do
            without.
        units: width of the outputs o. Defaults to that of the cell.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, length, width).
        value: (batch, source_length, source_width).
        value_mask: boolean (batch, source_length), True = real. Defaults to
            the Keras mask of `value`.
        cell_state: list of the first states of the cell, each (batch, width).
            Defaults to the cell's own, zeros in Keras's cells.
        return_attention_scores: whether to return the weights too.
        training: whether the dropouts of cell and mechanism are on.

    Returns:
        The outputs (batch, length, units) and, if asked for, the attention
        weights, float32 (batch, length, source_length).

    Masking:
        Padded source positions are not attended to. The output keeps the
        Keras mask of the inputs.

    Raises:
        ValueError: if an argument does not fit.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> from keras_attention import AdditiveAttention, AttentionCell
    >>> cell = AttentionCell(keras.layers.GRUCell(5), AdditiveAttention(3))
    >>> cell(np.ones((2, 3, 7)), np.ones((2, 11, 13))).shape
    TensorShape([2, 3, 5])
    """

    def __init__(
        self,
        cell: keras.layers.Layer,
        attention: AttentionMechanism,
        query_state: str = "previous",
        input_feeding: bool = True,
        units: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.cell = check_cell(cell)
        self.attention = check_attention(attention)
        check_order(query_state, input_feeding)
        self.query_state = query_state
        self.input_feeding = input_feeding
        self.units = units
        if units is not None:
            self.units = validation.check_positive_integer("units", units)

    @property
    def output_width(self) -> int:
        """The width of the outputs."""
        return self.units or recurrence.output_size(self.cell)

    def build(self, inputs_shape: tuple, value_shape: tuple) -> None:
        batch, _, width = inputs_shape
        hidden = recurrence.output_size(self.cell)
        asked = ((batch, None, hidden), value_shape)
        self.context_width = self.attention.compute_output_shape(*asked)[-1]
        if not self.attention.built:
            self.attention.build(*asked)
        asks_first = self.query_state == "previous"
        fed = self.context_width if asks_first else self.output_width
        self.read_width = width + (fed if self.input_feeding else 0)
        if not self.cell.built:
            self.cell.build((batch, self.read_width))
        self.readout = keras.layers.Dense(
            self.output_width,
            activation="tanh",
            dtype=self.dtype_policy,
            name="readout",
        )
        read = hidden + self.context_width + (width if asks_first else 0)
        self.readout.build((None, read))
        self.built = True

    def call(
        self,
        inputs: Any,
        value: Any,
        value_mask: Any = None,
        cell_state: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        if value_mask is not None:
            check_sequence_mask("value_mask", value_mask, value.shape[:2])
            value_mask = as_boolean("value_mask", value_mask)
            value = keep(value, value_mask)
        memory = self.attention.prepare(value, mask=value_mask)
        outputs, weights = self.run(
            inputs,
            memory,
            self.initial_state(memory, ops.shape(value)[0], 1, cell_state),
            value.shape[1],
            return_attention_scores,
            training,
        )
        return (outputs, weights) if return_attention_scores else outputs

    def initial_state(
        self, memory: Any, batch: Any, slots: int = 1, cell_state: Any = None
    ) -> dict[str, Any]:
        """Returns the state before the first step.

        Args:
            memory: what `attention.prepare` returned.
            batch: number of sources.
            slots: how many sequences share one source.
            cell_state: list of the first states of the cell, each (batch,
                width); None for the cell's own.

        Returns:
            A dict of nests of tensors (batch, slots, ...): `cell`, the flat
            list of the cell's states; `mechanism`; and what the next step
            needs of this one, `output` or `fed`.
        """
        cell = recurrence.first_states(self.cell, batch, slots, cell_state)
        mechanism = self.attention.initial_state(memory, slots)
        state = {"cell": cell, "mechanism": mechanism}
        if self.query_state == "previous":
            output = recurrence.first_output(self.cell, cell)
            state["output"] = ops.cast(output, self.compute_dtype)
        elif self.input_feeding:
            shape = (batch, slots, self.output_width)
            state["fed"] = ops.zeros(shape, dtype=self.compute_dtype)
        return state

    def step(self, inputs: Any, memory: Any, state: dict, **options) -> tuple:
        """Runs one step.

        Args:
            inputs: (batch, slots, width).
            memory: what `attention.prepare` returned, zeros at padding.
            state: what `initial_state` or the step before returned.
            **options: `positions`, `seed`, `return_attention_scores` and
                `training`, as `attention.attend` takes them.

        Returns:
            The outputs (batch, slots, output_width); the weights (batch,
            slots, source_length), or None; the new state.
        """
        found, weights, state = self._advance(inputs, memory, state, **options)
        return self._outputs(found, inputs), weights, state

    def _advance(self, inputs, memory, state, **options):
        """Runs the part of a step for which the next one must wait."""
        if self.query_state == "previous":
            return self._ask_then_move(inputs, memory, state, **options)
        return self._move_then_ask(inputs, memory, state, **options)

    def _ask_then_move(self, inputs, memory, state, training=None, **options):
        context, weights, mechanism = self._ask(
            state["output"], memory, state, training=training, **options
        )
        read = ops.concatenate([inputs, context], axis=-1)  # (B, K, E + C)
        hidden, cell = recurrence.run_cell(
            self.cell, read, state["cell"], training
        )
        state = {"cell": cell, "mechanism": mechanism, "output": hidden}
        return {"hidden": hidden, "context": context}, weights, state

    def _move_then_ask(self, inputs, memory, state, training=None, **options):
        read = inputs
        if self.input_feeding:
            read = ops.concatenate([inputs, state["fed"]], axis=-1)
        hidden, cell = recurrence.run_cell(
            self.cell, read, state["cell"], training
        )  # (B, K, H)
        context, weights, mechanism = self._ask(
            hidden, memory, state, training=training, **options
        )
        output = self._read_out([hidden, context])
        state = {"cell": cell, "mechanism": mechanism}
        if self.input_feeding:
            state["fed"] = output
        return {"hidden": hidden, "output": output}, weights, state

    def _ask(self, query, memory, state, **options):
        context, weights, mechanism = self.attention.attend(
            query, memory, state["mechanism"], **options
        )
        # A loop keeps its dtypes, whatever the policy of the mechanism.
        return ops.cast(context, self.compute_dtype), weights, mechanism

    def _outputs(self, found, inputs):
        """Makes the outputs of one step, or of all, from what they found."""
        if "output" in found:
            return found["output"]
        return self._read_out([found["hidden"], found["context"], inputs])

    def _read_out(self, parts):
        """Returns tanh(W [parts]), (B, T, units)."""
        joined = ops.concatenate(parts, axis=-1)
        # In two axes: XLA cannot differentiate TensorFlow's matrix product
        # of three axes and two in a loop.
        output = self.readout(ops.reshape(joined, (-1, joined.shape[-1])))
        shape = (*ops.shape(joined)[:2], self.output_width)
        return ops.reshape(output, shape)

    def run(
        self,
        inputs: Any,
        memory: Any,
        state: dict,
        source_length: int | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> tuple:
        """Runs all steps; equals as many calls of `step`, with one slot.

        What the next step need not wait for is made for all steps at once.

        Args:
            inputs: (batch, length, width).
            memory: what `attention.prepare` returned, zeros at padding.
            state: what `initial_state` returned.
            source_length: number of source positions, None where not known.
            return_attention_scores: whether to return the weights too.
            training: whether the dropouts are on.

        Returns:
            The outputs (batch, length, output_width), and the weights,
            float32 (batch, length, source_length), or None.
        """
        seed = self.attention.draw_seed(training)
        options = {"seed": seed, "training": training}
        is_stateless = not keras.tree.flatten(state["mechanism"])
        if is_stateless and self.query_state == "current":
            if not self.input_feeding:
                options["return_attention_scores"] = return_attention_scores
                return self._move_all_then_ask(inputs, memory, state, options)
        options["return_attention_scores"] = (
            return_attention_scores and not is_stateless
        )
        found = self._scan(inputs, memory, state, source_length, options)
        weights = found.pop("weights", None)
        if return_attention_scores and is_stateless:
            weights = self._weights_of_all_steps(found, memory, state)
        return self._outputs(found, inputs), weights

    def _move_all_then_ask(self, inputs, memory, state, options):
        hidden = recurrence.run_cell_over(
            self.cell, inputs, state["cell"], options["training"]
        )  # (B, T, H)
        context, weights, _ = self._ask(hidden, memory, state, **options)
        return self._read_out([hidden, context]), _float32(weights)

    def _scan(self, inputs, memory, state, source_length, options):
        """Returns what each step found, (B, T, .), by name."""

        def step(state, now):
            token, index = now
            found, weights, state = self._advance(
                token[:, None],  # (B, 1, E)
                memory,
                state,
                positions=ops.reshape(index, (1, 1)),
                **options,
            )
            if options["return_attention_scores"]:
                found["weights"] = _float32(weights)
            return state, found

        batch, length = ops.shape(inputs)[:2]
        steps = ops.swapaxes(inputs, 0, 1), ops.arange(length, dtype="int32")
        like = self._found_like(inputs.shape[0])
        if options["return_attention_scores"]:
            shape = (inputs.shape[0], 1, source_length)
            like["weights"] = keras.KerasTensor(shape, "float32")
        with recurrence.dropout_masks(
            self.cell, batch, self.read_width, options["training"]
        ):
            _, found = scan(step, state, steps, like)
        return keras.tree.map_structure(recurrence.join_steps, found)

    def _found_like(self, batch):
        """Returns the shape and dtype of what one step finds, by name."""
        widths = {"hidden": recurrence.output_size(self.cell)}
        if self.query_state == "previous":
            widths["context"] = self.context_width
        else:
            widths["output"] = self.output_width
        return {
            name: keras.KerasTensor((batch, 1, width), self.compute_dtype)
            for name, width in widths.items()
        }

    def _weights_of_all_steps(self, found, memory, state):
        query = found["hidden"]
        if self.query_state == "previous":
            query = ops.concatenate([state["output"], query[:, :-1]], axis=1)
        options = {"return_attention_scores": True}
        return _float32(self._ask(query, memory, state, **options)[1])

    def compute_output_shape(
        self, inputs_shape: tuple, value_shape: tuple
    ) -> tuple:
        return (*inputs_shape[:-1], self.output_width)

    def compute_output_spec(
        self,
        inputs: Any,
        value: Any,
        value_mask: Any = None,
        cell_state: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        shape = self.compute_output_shape(inputs.shape, value.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        shape = (*inputs.shape[:2], value.shape[1])
        return outputs, keras.KerasTensor(shape, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "cell": serialize(self.cell),
            "attention": serialize(self.attention),
            "query_state": self.query_state,
            "input_feeding": self.input_feeding,
            "units": self.units,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionCell":
        deserialize = keras.saving.deserialize_keras_object
        parts = {x: deserialize(config[x]) for x in ("cell", "attention")}
        return cls(**{**config, **parts})


def check_order(query_state: str, input_feeding: bool) -> None:
    """Raises a ValueError unless the two arguments make one of the orders."""
    validation.check_choice("query_state", query_state, ORDERS)
    if query_state == "previous" and not input_feeding:
        raise validation.invalid(
            "input_feeding",
            "True where query_state='previous', since what the query found "
            "must reach the cell",
            input_feeding,
            "Or set query_state='current'.",
        )


def check_attention(attention: Any) -> AttentionMechanism:
    """Returns `attention` if it is a mechanism, else raises a ValueError."""
    if isinstance(attention, AttentionMechanism):
        return attention
    raise validation.invalid(
        "attention",
        "an AttentionMechanism, such as AdditiveAttention(units)",
        repr(attention),
        "`AttentionMechanism` says how to write one.",
    )


def check_cell(cell: Any) -> keras.layers.Layer:
    """Returns `cell` if it is a Keras RNN cell, else raises a ValueError."""
    if recurrence.is_cell(cell):
        return cell
    raise validation.invalid(
        "cell",
        "a Keras RNN cell: a layer with `state_size`, such as "
        "keras.layers.LSTMCell(units)",
        repr(cell),
        "Of a layer like keras.layers.LSTM, pass its `cell`.",
    )


def _float32(weights):
    return None if weights is None else ops.cast(weights, "float32")
