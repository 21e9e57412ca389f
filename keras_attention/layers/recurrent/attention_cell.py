"""One step of a recurrent network that attends."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers.attention.joined import JoinedMechanisms
from keras_attention.layers.attention.mechanism import AttentionMechanism
from keras_attention.layers.frozen import StaysFrozen
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.recurrent import cell_arguments
from keras_attention.layers.recurrent import recurrence
from keras_attention.layers.recurrent.cell_run import run_cell_with_attention
from keras_attention.layers.recurrent.source_values import check_values
from keras_attention.layers.recurrent.source_values import lengths_of
from keras_attention.layers.recurrent.source_values import shapes_of
from keras_attention.layers.recurrent.source_values import shapes_of_values
from keras_attention.layers.recurrent.source_values import with_zeroed_padding


@keras.saving.register_keras_serializable(package="keras_attention")
class AttentionCell(StaysFrozen, keras.layers.Layer):
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

    Who asks, and what the cell reads, is as in the papers. The readout of the
    former is not: there it is a maxout layer of h_{t-1}, c_t and x_t.

    The query is always the output of the cell: h of an LSTM, the output of
    the last cell of a stack. Before the first step that is the first state of
    (the last of) the cells, as Keras's cells have it; zeros, where that state
    is of another width than the output.

    Several mechanisms, in a list, ask together, and c_t is what they find side
    by side. With `attention_layer_size`, c_t is a layer of what was found,
    W_a [query; context], or one for each mechanism, side by side. What comes
    out need not be the readout o_t: `output="attention"` gives c_t,
    `output="cell"` gives h_t, and both feed c_t to the next step. With
    `query_state="current"` these are the steps of `tfa.seq2seq`'s
    `AttentionWrapper`, whose "Bahdanau" attention asks with the new output too.

    It is no cell for `keras.layers.RNN`: the state of its mechanism may be as
    long as the source. `AttentionRNN` runs it over a sequence, and so does a
    call; `initial_state` and `step` run it one by one, and give the same.

    Args:
        cell: any Keras RNN cell, `keras.layers.StackedRNNCells` too.
        attention: an `AttentionMechanism`, or a list of them.
        query_state: "previous" or "current", see above.
        input_feeding: whether the cell reads o_{t-1}; only "current" can do
            without.
        units: width of the readout o. Defaults to that of the cell.
        attention_layer_size: width of W_a, or a list of widths, one for each
            mechanism; None for no such layer.
        output: "readout", "attention" or "cell", see above.
        cell_input: function of the input of a step and of what is fed to it,
            (rows, width) each, that returns what the cell reads; a Keras
            layer or a function registered with Keras, if it is to be saved.
            Defaults to both side by side.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        inputs: (batch, length, width).
        value: (batch, source_length, source_width), or, for several
            mechanisms, a list of such tensors, one for each.
        value_mask: boolean (batch, source_length), True = real, or a list.
            Defaults to the Keras mask of `value`.
        cell_state: list of the first states of the cell, each (batch, width).
            Defaults to the cell's own, zeros in Keras's cells.
        return_attention_scores: whether to return the weights too.
        training: whether the dropouts of cell and mechanism are on.

    Returns:
        The outputs (batch, length, units) and, if asked for, the attention
        weights, float32 (batch, length, source_length); of several mechanisms
        a list of them.

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
        attention: AttentionMechanism | list[AttentionMechanism],
        query_state: str = "previous",
        input_feeding: bool = True,
        units: int | None = None,
        attention_layer_size: int | list[int] | None = None,
        output: str = "readout",
        cell_input: Callable | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.cell = cell_arguments.check_cell(cell)
        self.attention = cell_arguments.check_attention(attention)
        cell_arguments.check_order(query_state, input_feeding)
        self.query_state = query_state
        self.input_feeding = input_feeding
        self.attention_layer_size = attention_layer_size
        # `output` is a property of every layer of Keras.
        self.output_kind = cell_arguments.check_output(output)
        self.units = cell_arguments.check_units(units, output)
        self.cell_input = cell_arguments.check_cell_input(
            cell_input, input_feeding
        )
        self.has_several = isinstance(attention, (list, tuple))
        sizes = cell_arguments.check_layer_sizes(
            attention_layer_size, attention
        )
        self.mechanism = self.attention
        if self.has_several or sizes:
            self.mechanism = JoinedMechanisms(
                attention if self.has_several else [attention],
                sizes,
                dtype=self.dtype_policy,
                name="mechanism",
            )

    def build(self, inputs_shape: tuple, value_shape: Any) -> None:
        validation.check_sequence_shape("inputs", inputs_shape)
        check_values(shapes_of_values(value_shape), None, self.attention)
        batch, _, width = inputs_shape
        hidden = recurrence.output_size(self.cell)
        if not self.mechanism.built:
            self.mechanism.build(
                (batch, None, hidden),
                shapes_of_values(value_shape),
            )
        self.context_width = self._context_width(value_shape)
        self.output_width = self._output_width(value_shape)
        self.fed_width = self.context_width
        if self.output_kind == "readout" and self.query_state == "current":
            self.fed_width = self.output_width
        self.read_width = width
        if self.input_feeding:
            self.read_width = self._read_width(width)
        if not self.cell.built:
            self.cell.build((batch, self.read_width))
        if self.output_kind == "readout":
            self.readout = keras.layers.Dense(
                self.output_width,
                activation="tanh",
                dtype=self.dtype_policy,
                name="readout",
            )
            seen = width if self.query_state == "previous" else 0
            self.readout.build((None, hidden + self.context_width + seen))
        self.built = True

    def _read_width(self, width):
        if self.cell_input is None:
            return width + self.fed_width
        parts = (
            keras.KerasTensor((None, size), self.compute_dtype)
            for size in (width, self.fed_width)
        )
        return self.cell_input(*parts).shape[-1]

    def _context_width(self, value_shape):
        query_shape = (None, None, recurrence.output_size(self.cell))
        return self.mechanism.compute_output_shape(
            query_shape, shapes_of_values(value_shape)
        )[-1]

    def _output_width(self, value_shape):
        if self.output_kind == "attention":
            return self._context_width(value_shape)
        return self.units or recurrence.output_size(self.cell)

    def call(
        self,
        inputs: Any,
        value: Any,
        value_mask: Any = None,
        cell_state: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        memory = self.prepare(value, value_mask)
        state = self.initial_state(memory, ops.shape(inputs)[0], 1, cell_state)
        outputs, weights, _ = self.run(
            inputs,
            memory,
            state,
            lengths_of(value),
            return_attention_scores=return_attention_scores,
            training=training,
        )
        return (outputs, weights) if return_attention_scores else outputs

    def prepare(self, value: Any, value_mask: Any = None) -> Any:
        """Returns the memory of the mechanism, or the list of memories.

        Args:
            value: (batch, source_length, source_width), or a list.
            value_mask: boolean (batch, source_length), True = real, or a
                list, or None.
        """
        check_values(value, value_mask, self.attention)
        value, real = with_zeroed_padding(value, value_mask)
        return self.mechanism.prepare(value, mask=real)

    def initial_state(
        self, memory: Any, batch: Any, slots: int = 1, cell_state: Any = None
    ) -> dict[str, Any]:
        """Returns the state before the first step.

        Args:
            memory: what `prepare` returned.
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
        mechanism = self.mechanism.initial_state(memory, slots)
        state = {"cell": cell, "mechanism": mechanism}
        if self.query_state == "previous":
            output = recurrence.first_output(self.cell, cell)
            state["output"] = ops.cast(output, self.compute_dtype)
        elif self.input_feeding:
            shape = (batch, slots, self.fed_width)
            state["fed"] = ops.zeros(shape, dtype=self.compute_dtype)
        return state

    def step(self, inputs: Any, memory: Any, state: dict, **options) -> tuple:
        """Runs one step.

        Args:
            inputs: (batch, slots, width).
            memory: what `prepare` returned.
            state: what `initial_state` or the step before returned.
            **options: `positions`, `seed`, `return_attention_scores` and
                `training`, as `AttentionMechanism.attend` takes them.

        Returns:
            The outputs (batch, slots, width); the weights (batch, slots,
            source_length), or None, of several mechanisms those of the first;
            the new state.
        """
        found, weights, state = self.advance(inputs, memory, state, **options)
        weights = weights[0] if self.has_several else weights
        return self.outputs_of(found, inputs), weights, state

    def advance(
        self, inputs: Any, memory: Any, state: dict, **options
    ) -> tuple:
        """Runs the part of a step for which the next one must wait.

        Arguments and results are those of `step`, except that a dict stands
        in place of the outputs, of which `outputs_of` makes them, and that the
        weights of several mechanisms are a list.
        """
        if self.query_state == "previous":
            return self._ask_then_move(inputs, memory, state, **options)
        return self._move_then_ask(inputs, memory, state, **options)

    def _ask_then_move(self, inputs, memory, state, training=None, **options):
        context, weights, mechanism = self.ask(
            state["output"], memory, state, training=training, **options
        )
        hidden, cell = recurrence.run_cell(
            self.cell, self._read(inputs, context), state["cell"], training
        )
        state = {"cell": cell, "mechanism": mechanism, "output": hidden}
        return {"hidden": hidden, "context": context}, weights, state

    def _move_then_ask(self, inputs, memory, state, training=None, **options):
        read = inputs
        if self.input_feeding:
            read = self._read(inputs, state["fed"])
        hidden, cell = recurrence.run_cell(
            self.cell, read, state["cell"], training
        )  # (B, K, H)
        context, weights, mechanism = self.ask(
            hidden, memory, state, training=training, **options
        )
        fed, found = context, {"hidden": hidden, "context": context}
        if self.output_kind == "readout":
            fed = self._read_out([hidden, context])
            found = {"hidden": hidden, "output": fed}
        state = {"cell": cell, "mechanism": mechanism}
        if self.input_feeding:
            state["fed"] = fed
        return found, weights, state

    def _read(self, inputs, fed):
        """Returns what the cell reads, (B, K, width)."""
        if self.cell_input is None:
            return ops.concatenate([inputs, fed], axis=-1)
        # In two axes, as in `_read_out`: it may be a layer with a kernel.
        rows = (ops.reshape(x, (-1, x.shape[-1])) for x in (inputs, fed))
        read = self.cell_input(*rows)  # (B * K, width)
        return ops.reshape(read, (*ops.shape(inputs)[:2], self.read_width))

    def ask(self, query: Any, memory: Any, state: dict, **options) -> tuple:
        """Returns what the mechanism finds, its weights and its new state."""
        context, weights, mechanism = self.mechanism.attend(
            query, memory, state["mechanism"], **options
        )
        if isinstance(weights, list) and not self.has_several:
            (weights,) = weights
        # A loop keeps its dtypes, whatever the policy of the mechanism.
        return ops.cast(context, self.compute_dtype), weights, mechanism

    def outputs_of(self, found: dict[str, Any], inputs: Any) -> Any:
        """Makes the outputs of one step, or of all, from what they found."""
        if self.output_kind != "readout":
            return found["hidden" if self.output_kind == "cell" else "context"]
        if "output" in found:
            return found["output"]
        parts = [found["hidden"], found["context"]]
        if self.query_state == "previous":
            parts.append(inputs)
        return self._read_out(parts)

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
        source_length: Any = None,
        **options,
    ) -> tuple:
        """Runs all steps; equals as many calls of `step`, with one slot.

        What the next step need not wait for is made for all steps at once.

        Args:
            inputs: (batch, length, width).
            memory: what `prepare` returned.
            state: what `initial_state` returned.
            source_length: number of source positions, None where not known;
                of several values a list.
            **options: `mask`, `first_position`, `return_attention_scores` and
                `training`, see `run_cell_with_attention`.

        Returns:
            The outputs (batch, length, width); the weights, float32 (batch,
            length, source_length), a list of them, or None; the last state.
        """
        return run_cell_with_attention(
            self, inputs, memory, state, source_length, **options
        )

    def compute_output_shape(
        self, inputs_shape: tuple, value_shape: Any
    ) -> tuple:
        return (*inputs_shape[:-1], self._output_width(value_shape))

    def compute_output_spec(
        self,
        inputs: Any,
        value: Any,
        value_mask: Any = None,
        cell_state: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
    ) -> Any:
        shape = self.compute_output_shape(inputs.shape, shapes_of(value))
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_attention_scores:
            return outputs
        lengths = lengths_of(value)
        if self.has_several and not isinstance(lengths, list):
            lengths = [lengths] * len(self.attention)
        weights = keras.tree.map_structure(
            lambda length: keras.KerasTensor(
                (*inputs.shape[:2], length), dtype="float32"
            ),
            lengths,
        )
        return outputs, weights

    def get_config(self) -> dict[str, Any]:
        config = {
            "cell": shared_config(self.cell),
            "attention": shared_config(self.attention),
            "query_state": self.query_state,
            "input_feeding": self.input_feeding,
            "units": self.units,
            "attention_layer_size": self.attention_layer_size,
            "output": self.output_kind,
            "cell_input": shared_config(self.cell_input),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AttentionCell":
        deserialize = keras.saving.deserialize_keras_object
        names = ("cell", "attention", "cell_input")
        parts = {x: deserialize(config[x]) for x in names if x in config}
        return cls(**{**config, **parts})
