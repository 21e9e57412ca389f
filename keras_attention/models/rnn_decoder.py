"""The recurrent decoder with attention."""

from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.decoding import gather_slots
from keras_attention.functional import padding
from keras_attention.layers import AttentionCell
from keras_attention.layers import AttentionMechanism
from keras_attention.layers.positions.position import shared_config
from keras_attention.layers.recurrent import recurrence
from keras_attention.layers.recurrent.cell_arguments import check_cell
from keras_attention.layers.recurrent.cell_arguments import check_order
from keras_attention.layers.recurrent.recurrence import CELLS
from keras_attention.models.decoder import Decoder
from keras_attention.models.decoder import source_mask_of


@keras.saving.register_keras_serializable(package="keras_attention")
class RNNDecoder(Decoder):
    """Recurrent decoder that attends to the source, in either classic order.

    With h the output of the (top) cell, e the embedding of the last token and
    c = attention(query=..., value=encoded), it is an `AttentionCell` between
    embeddings and logits:

    - `query_state="previous"` (Bahdanau et al. 2015, A.2.2): the output
      before the step asks, the cell reads what it finds.
        c_t = attention(h_{t-1});  h_t = cell([e_t; c_t], h_{t-1})
        o_t = tanh(W [h_t; c_t; e_t])
    - `query_state="current"` (Luong et al. 2015, 3.1): the new output asks.
        h_t = cell([e_t; o_{t-1}], h_{t-1});  c_t = attention(h_t)
        o_t = tanh(W [h_t; c_t])
      With `input_feeding` the cell reads o_{t-1} (3.3); without, only e_t.
    - `attention=None`: h_t = cell(e_t, h_{t-1}); the source is known from the
      first state alone.

    Each first state of a cell is tanh(W [encoded_first; encoded_last]): for a
    bidirectional encoder, its final states in both directions. (Bahdanau et
    al. take the state of the backward one, and a maxout layer in place of
    the readout; Luong et al. the final states of a one-way encoder.) With
    `use_bridge=False` there is no such W, and `initial_state` must be given, as
    by an encoder that returns its final states.

    Args:
        vocabulary_size: number of target ids, padding and specials included.
        units: width of the outputs o_t, and of the cells named below.
        attention: an `AttentionMechanism`, such as `AdditiveAttention(units)`
            or `DotProductAttention("general")`, or None.
        embedding_dim: width of the embeddings. Defaults to `units`.
        num_layers: number of stacked cells, of those named below.
        cell: "lstm", "gru" or "simple"; or any Keras RNN cell, such as
            `keras.layers.StackedRNNCells`. Without attention its output is
            `units` wide. Or an `AttentionCell` with all its options, such as
            several mechanisms; then `attention` is None, and the orders above
            are those of the cell.
        query_state: "previous" or "current", see above.
        input_feeding: whether the cells read o_{t-1}; only "current" can do
            without.
        dropout: share of the embeddings and of the outputs dropped in
            training. That of `attention` drops attention weights.
        tie_embeddings: whether the logits reuse the embedding matrix.
        seed: integer seed of the dropouts.
        use_bridge: whether first states are made of the encoded source.
        **kwargs: `name`, `dtype`, `trainable` of `keras.layers.Layer`.

    Call arguments:
        target: integer tensor (batch, target_length), begins with BOS, 0 =
            padding.
        encoded: float tensor (batch, source_length, width).
        encoded_mask: boolean (batch, source_length), True = real. Defaults
            to the Keras mask of `encoded`.
        return_attention_scores: whether to return the weights too.
        training: whether dropout is on.
        initial_state: list of the first states of the cells, each (batch,
            width), a cell's states one after the other. `start` takes it too.
            Defaults to those that the bridge makes.

    Returns:
        Logits (batch, target_length, vocabulary_size), float32: entry t is
        the prediction of token t + 1. If asked for, also the attention
        weights, float32 (batch, target_length, source_length).

    Masking:
        Padded source positions are not attended to. The Keras mask of the
        logits marks where a token follows: where target is neither padding
        nor EOS.

    Raises:
        ValueError: if an argument is out of range, or does not fit another.

    Example:

    >>> import numpy as np
    >>> from keras_attention import AdditiveAttention, RNNDecoder
    >>> decoder = RNNDecoder(11, units=6, attention=AdditiveAttention(5))
    >>> decoder(np.array([[1, 5, 4]]), np.ones((1, 7, 13))).shape
    TensorShape([1, 3, 11])
    """

    def __init__(
        self,
        vocabulary_size: int,
        units: int,
        attention: AttentionMechanism | None = None,
        embedding_dim: int | None = None,
        num_layers: int = 1,
        cell: str | keras.layers.Layer = "lstm",
        query_state: str = "previous",
        input_feeding: bool = True,
        dropout: float = 0.0,
        tie_embeddings: bool = False,
        seed: int | None = None,
        use_bridge: bool = True,
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
        check_order(query_state, input_feeding)
        self.query_state = query_state
        self.input_feeding = input_feeding
        self.use_bridge = use_bridge
        self.cell = cell
        self.attention = attention
        self.recurrent_cell = self._given_cell()
        if attention is not None:
            self.recurrent_cell = AttentionCell(
                self.recurrent_cell,
                attention,
                query_state=query_state,
                input_feeding=input_feeding,
                units=units,
                dtype=self.dtype_policy,
                name="recurrent_cell",
            )

    @property
    def attends(self) -> bool:
        """Whether the decoder has attention."""
        return isinstance(self.recurrent_cell, AttentionCell)

    def _given_cell(self):
        """Returns the cell that `cell` and `num_layers` ask for."""
        if isinstance(self.cell, str):
            validation.check_choice("cell", self.cell, tuple(CELLS))
            options = {"units": self.units, "dtype": self.dtype_policy}
            # An attribute, because files name weights by attributes, and the
            # weights of version 0.1 are under this one.
            self.cells = [
                CELLS[self.cell](name=f"cell_{number}", **options)
                for number in range(self.num_layers)
            ]
            if self.num_layers == 1:
                return self.cells[0]
            return keras.layers.StackedRNNCells(
                self.cells, name="cells", dtype=self.dtype_policy
            )
        if isinstance(self.cell, AttentionCell):
            self._check_attention_cell()
        else:
            check_cell(self.cell)
        if self.num_layers != 1:
            raise validation.invalid(
                "num_layers",
                "1 where `cell` is a cell",
                self.num_layers,
                "Pass keras.layers.StackedRNNCells as `cell`.",
            )
        if isinstance(self.cell, AttentionCell):
            return self.cell
        width = recurrence.output_size(self.cell)
        if self.attention is None and width != self.units:
            raise validation.invalid(
                "units",
                f"{width}, the width of the cell's output, where there is no "
                "attention",
                self.units,
            )
        return self.cell

    def _check_attention_cell(self):
        if self.attention is not None:
            raise validation.invalid(
                "attention",
                "None where `cell` is an AttentionCell, which has its own",
                repr(self.attention),
            )
        if self.query_state != "previous" or not self.input_feeding:
            raise validation.invalid(
                "query_state",
                "left out, like `input_feeding`, where `cell` is an "
                "AttentionCell, which has its own",
                f"{self.query_state!r}, input_feeding={self.input_feeding}",
            )

    def build(self, target_shape: tuple, encoded_shape: tuple) -> None:
        super().build(target_shape, encoded_shape)
        batch, _, encoded_width = encoded_shape
        if self.attends:
            embedded_shape = (batch, None, self.embedding_dim)
            if not self.recurrent_cell.built:
                self.recurrent_cell.build(embedded_shape, encoded_shape)
            self._check_output_width()
            if self.attention is not None:
                self.readout = self.recurrent_cell.readout  # see `cells`
            cell = self.recurrent_cell.cell
        else:
            cell = self.recurrent_cell
            if not cell.built:
                cell.build((batch, self.embedding_dim))
        sizes = recurrence.state_sizes(cell) if self.use_bridge else ()
        self.bridges = []
        for number, size in enumerate(sizes):
            bridge = keras.layers.Dense(
                size,
                activation="tanh",
                dtype=self.dtype_policy,
                name=f"bridge_{number}",
            )
            bridge.build((None, 2 * encoded_width))
            self.bridges.append(bridge)
        self.output_dropout = self._dropout_layer("output_dropout")

    def _check_output_width(self):
        width = self.recurrent_cell.output_width
        if width != self.units:
            raise validation.invalid(
                "units",
                f"{width}, the width of the outputs of `cell`",
                self.units,
            )

    def call(
        self,
        target: Any,
        encoded: Any,
        encoded_mask: Any = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        initial_state: Any = None,
    ) -> Any:
        state = self.start(
            encoded, encoded_mask, None, initial_state=initial_state
        )
        embedded = self.embedding_dropout(
            self.embedding(target), training=training
        )  # (B, T, E)
        if not self.attends:
            output, _ = recurrence.run_cell_over(
                self.recurrent_cell, embedded, state["moving"], training
            )  # (B, T, U)
            weights = no_weights(output, state["source_mask"])
        else:
            output, weights, _ = self.recurrent_cell.run(
                embedded,
                state["memory"],
                state["moving"],
                encoded.shape[1],
                return_attention_scores=return_attention_scores,
                training=training,
            )
            if self.recurrent_cell.has_several and return_attention_scores:
                weights = weights[0]
        logits = self.logits(self.output_dropout(output, training=training))
        return (logits, weights) if return_attention_scores else logits

    def start(
        self,
        encoded: Any,
        source_mask: Any,
        max_length: int | None,
        beams: int = 1,
        initial_state: Any = None,
    ) -> dict[str, Any]:
        """Returns the state before the first step.

        Args:
            encoded: (batch, source_length, width).
            source_mask: boolean (batch, source_length) or None.
            max_length: not used; a recurrent state has no length.
            beams: integer, how many sequences share one source.
            initial_state: list of the first states of the cells, each (batch,
                width), or None, see `RNNDecoder`.

        Returns:
            A dict: `moving`, the state of the cell, which moves with the
            beams; the memory of the mechanism and the mask, which they share.
        """
        source_mask = source_mask_of(encoded, source_mask)
        encoded = padding.keep(encoded, source_mask)
        if initial_state is None:
            self._check_bridge()
            ends = recurrence.ends_of(encoded, source_mask)  # (B, 2D)
            initial_state = [bridge(ends) for bridge in self.bridges]
        first = (ops.shape(encoded)[0], beams, initial_state)
        if not self.attends:
            moving = recurrence.first_states(self.recurrent_cell, *first)
            return {"moving": moving, "source_mask": source_mask}
        memory = self.recurrent_cell.prepare(encoded, source_mask)
        moving = self.recurrent_cell.initial_state(memory, *first)
        return {"moving": moving, "memory": memory}

    def _check_bridge(self):
        if not self.use_bridge:
            raise validation.invalid(
                "initial_state",
                "given where use_bridge=False",
                None,
                "An encoder gives it by returning its final states too.",
            )

    def step(
        self,
        tokens: Any,
        state: dict[str, Any],
        index: Any,
        ancestors: Any = None,
    ) -> tuple[Any, dict[str, Any], Any]:
        """Runs one position of each beam; see the protocol.

        `ancestors` is not used: the state is the history.
        """
        embedded = self.embedding(tokens)  # (B, K, E)
        if not self.attends:
            output, moving = recurrence.run_cell(
                self.recurrent_cell, embedded, state["moving"]
            )
            weights = no_weights(output, state["source_mask"])
            return self.logits(output), {**state, "moving": moving}, weights
        index = ops.reshape(ops.cast(index, "int32"), (1, 1))
        output, weights, moving = self.recurrent_cell.step(
            embedded,
            state["memory"],
            state["moving"],
            positions=ops.repeat(index, ops.shape(tokens)[1], axis=1),  # (1, K)
            return_attention_scores=True,
        )
        weights = ops.cast(weights, "float32")  # (B, K, S)
        return self.logits(output), {**state, "moving": moving}, weights

    def reorder(self, state: dict[str, Any], parents: Any) -> dict[str, Any]:
        """Returns the state after each beam k took the place of a parent."""
        moving = keras.tree.map_structure(
            lambda tensor: gather_slots(tensor, parents), state["moving"]
        )
        return {**state, "moving": moving}

    def compute_output_spec(
        self, *args: Any, initial_state: Any = None, **kwargs: Any
    ) -> Any:
        return super().compute_output_spec(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        named = isinstance(self.cell, str)
        config = {
            "units": self.units,
            "attention": shared_config(self.attention),
            "embedding_dim": self.embedding_dim,
            "num_layers": self.num_layers,
            "cell": self.cell if named else shared_config(self.cell),
            "query_state": self.query_state,
            "input_feeding": self.input_feeding,
            "use_bridge": self.use_bridge,
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "RNNDecoder":
        deserialize = keras.saving.deserialize_keras_object
        parts = {x: deserialize(config[x]) for x in ("attention", "cell")}
        return cls(**{**config, **parts})


def no_weights(hidden: Any, source_mask: Any) -> Any:
    """Returns zeros (B, T, S): the weights where nothing is attended to."""
    shape = (*ops.shape(hidden)[:2], ops.shape(source_mask)[1])
    return ops.zeros(shape, dtype="float32")
