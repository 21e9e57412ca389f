"""The recurrent decoder with attention."""

import keras
from keras import ops

from keras_attention import masks
from keras_attention import validation
from keras_attention.decoding import gather_slots
from keras_attention.functional import padding
from keras_attention.layers.attention.mechanism import SingleHeadAttention
from keras_attention.layers.recurrent.recurrence import CELLS
from keras_attention.layers.recurrent.recurrence import ends_of
from keras_attention.layers.recurrent.recurrence import join_steps
from keras_attention.layers.recurrent.recurrence import no_weights
from keras_attention.layers.recurrent.recurrence import run_cells
from keras_attention.layers.recurrent.recurrence import scan
from keras_attention.models.decoder import Decoder
from keras_attention.models.decoder import source_mask_of


@keras.saving.register_keras_serializable(package="keras_attention")
class RNNDecoder(Decoder):
    """Recurrent decoder that attends to the source, in either classic order.

    With h the state of the top cell, e the embedding of the last token and
    c = attention(query=..., value=encoded):

    - `query_state="previous"` (Bahdanau et al. 2015, A.2.2): the state before
      the step asks, the cell reads what it finds.
        c_t = attention(h_{t-1});  h_t = cell([e_t; c_t], h_{t-1})
        o_t = tanh(W [h_t; c_t; e_t])
    - `query_state="current"` (Luong et al. 2015, 3.1): the new state asks.
        h_t = cell([e_t; o_{t-1}], h_{t-1});  c_t = attention(h_t)
        o_t = tanh(W [h_t; c_t])
      With `input_feeding` the cell reads o_{t-1} (3.3); without, only e_t.
    - `attention=None`: h_t = cell(e_t, h_{t-1}); the source is known from the
      first state alone.

    The first state of each cell is tanh(W [encoded_first; encoded_last]): for
    a bidirectional encoder, its final states in both directions.

    Args:
        vocabulary_size: number of target ids, padding and specials included.
        units: width of a cell and of the outputs o_t.
        attention: a single-head layer of this package, such as
            `AdditiveAttention(units)` or `DotProductAttention("general")`,
            or None.
        embedding_dim: width of the embeddings. Defaults to `units`.
        num_layers: number of stacked cells.
        cell: "lstm", "gru" or "simple".
        query_state: "previous" or "current", see above.
        input_feeding: whether the cells read o_{t-1}; only "current" can do
            without.
        dropout: share of the embeddings and of the outputs dropped in
            training.
        tie_embeddings: whether the logits reuse the embedding matrix.
        seed: integer seed of the dropouts.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        target: integer tensor (batch, target_length), begins with BOS, 0 =
            padding.
        encoded: float tensor (batch, source_length, width).
        encoded_mask: boolean (batch, source_length), True = real. Defaults
            to the Keras mask of `encoded`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.

    Returns:
        Logits (batch, target_length, vocabulary_size), float32: entry t is
        the prediction of token t + 1. If asked for, also the attention
        weights, float32 (batch, target_length, source_length).

    Masking:
        Padded source positions are not attended to. The Keras mask of the
        logits marks where a token follows: where target is neither padding
        nor EOS.

    Raises:
        ValueError: if an argument is out of range, or if `attention` has a
            dropout of its own (set `dropout` here instead).

    Example:

    >>> import numpy as np
    >>> from keras_attention import AdditiveAttention, RNNDecoder
    >>> decoder = RNNDecoder(11, units=6, attention=AdditiveAttention(5))
    >>> decoder(np.array([[1, 5, 4]]), np.ones((1, 7, 13))).shape
    TensorShape([1, 3, 11])
    """

    def __init__(
        self,
        vocabulary_size,
        units,
        attention=None,
        embedding_dim=None,
        num_layers=1,
        cell="lstm",
        query_state="previous",
        input_feeding=True,
        dropout=0.0,
        tie_embeddings=False,
        seed=None,
        **kwargs,
    ):
        super().__init__(
            vocabulary_size,
            embedding_dim=units if embedding_dim is None else embedding_dim,
            output_width=units,
            dropout=dropout,
            tie_embeddings=tie_embeddings,
            seed=seed,
            **kwargs,
        )
        self.units = validation.check_positive_integer("units", units)
        self.num_layers = validation.check_positive_integer(
            "num_layers", num_layers
        )
        self.cell = validation.check_choice("cell", cell, tuple(CELLS))
        self.query_state = validation.check_choice(
            "query_state", query_state, ("previous", "current")
        )
        if query_state == "previous" and not input_feeding:
            raise validation.invalid(
                "input_feeding",
                "True where query_state='previous', since what the query "
                "found must reach the cell",
                input_feeding,
                "Or set query_state='current'.",
            )
        self.input_feeding = input_feeding
        self.attention = _checked_attention(attention)

    def build(self, target_shape, encoded_shape):
        super().build(target_shape, encoded_shape)
        batch, _, encoded_width = encoded_shape
        feeds = self.attention is not None and self.input_feeding
        fed = encoded_width if self.query_state == "previous" else self.units
        width = self.embedding_dim + (fed if feeds else 0)
        self.cells, self.bridges = [], []
        for number in range(self.num_layers):
            cell = CELLS[self.cell](
                self.units, dtype=self.dtype_policy, name=f"cell_{number}"
            )
            cell.build((batch, width))
            self.cells.append(cell)
            for part in range(2 if self.cell == "lstm" else 1):
                name = f"bridge_{number}_{part}"
                bridge = self._dense(name, 2 * encoded_width)
                self.bridges.append(bridge)
            width = self.units
        if self.attention is not None:
            query_shape = (batch, None, self.units)
            if not self.attention.built:
                self.attention.build(query_shape, encoded_shape)
            width = self.units + encoded_width
            if self.query_state == "previous":
                width += self.embedding_dim
            self.readout = self._dense("readout", width)
        self.output_dropout = self._dropout_layer("output_dropout")

    def _dense(self, name, width):
        layer = keras.layers.Dense(
            self.units, activation="tanh", dtype=self.dtype_policy, name=name
        )
        layer.build((None, width))
        return layer

    def call(
        self,
        target,
        encoded,
        encoded_mask=None,
        return_attention_scores=False,
        training=None,
    ):
        state = self.start(encoded, encoded_mask, max_length=None)
        embedded = self.embedding_dropout(
            self.embedding(target), training=training
        )  # (B, T, E)

        def advance(carry, token):
            return self._advance(token[:, None], {**state, **carry})[0]

        first = _moving(state)
        steps = scan(advance, first, ops.swapaxes(embedded, 0, 1))
        steps = keras.tree.map_structure(join_steps, steps)
        output, weights = self._output(embedded, steps, state)
        logits = self.logits(self.output_dropout(output, training=training))
        if not return_attention_scores:
            return logits
        if weights is None:
            weights = self._weights_of_all_steps(first, steps, state)
        return logits, ops.cast(weights, "float32")

    def start(self, encoded, source_mask, max_length, beams=1):
        """Returns the state before the first step.

        Args:
            encoded: (batch, source_length, width).
            source_mask: boolean (batch, source_length) or None.
            max_length: not used; a recurrent state has no length.
            beams: integer, how many sequences share one source.

        Returns:
            A dict. `cells` and `fed` move with the beams; the source, its
            projected keys and its mask have no axis of beams.
        """
        source_mask = source_mask_of(encoded, source_mask)
        encoded = padding.keep(encoded, source_mask)
        ends = ends_of(encoded, source_mask)  # (B, 2D)
        cells = [
            ops.repeat(bridge(ends)[:, None], beams, axis=1)  # (B, K, U)
            for bridge in self.bridges
        ]
        state = {"cells": cells, "source": encoded, "source_mask": source_mask}
        if self.attention is None:
            return state
        state["key"] = self.attention.project_key(encoded)
        if self.input_feeding:
            previous = self.query_state == "previous"
            width = encoded.shape[-1] if previous else self.units
            shape = (ops.shape(encoded)[0], beams, width)
            state["fed"] = ops.zeros(shape, dtype=self.compute_dtype)
        return state

    def step(self, tokens, state, index, ancestors=None):
        """Runs one position of each beam; see the protocol.

        `index` and `ancestors` are not used: the state is the history.
        """
        embedded = self.embedding(tokens)  # (B, K, E)
        moved, weights = self._advance(embedded, state)
        # In a step the beams stand where time stands in `call`.
        output, found = self._output(embedded, moved, state)
        weights = ops.cast(found if weights is None else weights, "float32")
        return self.logits(output), {**state, **moved}, weights

    def reorder(self, state, parents):
        """Returns the state after each beam k took the place of a parent."""
        moved = keras.tree.map_structure(
            lambda tensor: gather_slots(tensor, parents), _moving(state)
        )
        return {**state, **moved}

    def _advance(self, embedded, state):
        """Moves the cells on by one token, (B, K, E).

        Returns:
            The new `cells` and `fed`, and the attention weights, or None if
            the cells did not need them.
        """
        if self.attention is None or not self.input_feeding:
            cells = run_cells(self.cells, embedded, state["cells"])
            return {"cells": cells}, None
        fed, weights = state["fed"], None
        if self.query_state == "previous":
            fed, weights = self._attend(self._top(state), state)
        inputs = ops.concatenate([embedded, fed], axis=-1)
        cells = run_cells(self.cells, inputs, state["cells"])
        if self.query_state == "current":
            hidden = self._top({"cells": cells})
            context, weights = self._attend(hidden, state)
            fed = self._read_out([hidden, context])
        return {"cells": cells, "fed": fed}, weights

    def _read_out(self, parts):
        """Returns tanh(W [parts]), (B, T, U)."""
        joined = ops.concatenate(parts, axis=-1)
        # In two axes: XLA cannot differentiate TensorFlow's matrix product
        # of three axes and two in a loop.
        output = self.readout(ops.reshape(joined, (-1, joined.shape[-1])))
        return ops.reshape(output, (*ops.shape(joined)[:2], self.units))

    def _top(self, state):
        """The state of the top cell: (B, K, U)."""
        return state["cells"][-2 if self.cell == "lstm" else -1]

    def _output(self, embedded, moved, state):
        """Makes the outputs o of one step or of all.

        Args:
            embedded: (B, T, E).
            moved: what `_advance` returned, (B, T, .).
            state: the state with the source.

        Returns:
            The outputs (B, T, U), and the attention weights where making
            the outputs took them, else None.
        """
        hidden = self._top(moved)  # (B, T, U)
        if self.attention is None:
            return hidden, no_weights(hidden, state["source_mask"])
        if self.query_state == "previous":
            return self._read_out([hidden, moved["fed"], embedded]), None
        if self.input_feeding:
            return moved["fed"], None
        context, weights = self._attend(hidden, state)
        return self._read_out([hidden, context]), weights

    def _weights_of_all_steps(self, first, steps, state):
        query = self._top(steps)
        if self.query_state == "previous":
            query = ops.concatenate([self._top(first), query[:, :-1]], axis=1)
        return self._attend(query, state)[1]

    def _attend(self, query, state):
        return self.attention.attend_projected(
            query,
            state["key"],
            state["source"],
            # `start` has put zeros at padding: `Padding` would do it again
            # in each step.
            mask=masks.Array(state["source_mask"][:, None, None]),
            return_attention_scores=True,
        )

    def get_config(self):
        config = {
            "units": self.units,
            "attention": keras.saving.serialize_keras_object(self.attention),
            "embedding_dim": self.embedding_dim,
            "num_layers": self.num_layers,
            "cell": self.cell,
            "query_state": self.query_state,
            "input_feeding": self.input_feeding,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        attention = keras.saving.deserialize_keras_object(config["attention"])
        return cls(**{**config, "attention": attention})


def _moving(state):
    """The part of the state that differs from beam to beam."""
    return {name: state[name] for name in ("cells", "fed") if name in state}


def _checked_attention(attention):
    if attention is None:
        return None
    if not isinstance(attention, SingleHeadAttention):
        raise validation.invalid(
            "attention",
            "a single-head attention layer of keras_attention, or None",
            repr(attention),
        )
    if attention.dropout:
        raise validation.invalid(
            "attention.dropout",
            "0 inside a recurrent decoder",
            attention.dropout,
            "Set `dropout` of the decoder instead.",
        )
    return attention
