"""From `tfa.seq2seq.AttentionWrapper` to `AttentionCell`."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import AttentionCell
from keras_attention.layers import DotProductAttention

# How many gates stand side by side in a recurrent kernel.
CELLS = {4: keras.layers.LSTMCell, 3: keras.layers.GRUCell}


def from_attention_wrapper(
    weights: Mapping[str, Any],
    output_attention: bool = True,
    probability_fn: str = "softmax",
) -> AttentionCell:
    """Makes an `AttentionCell` of the weights of tfa's `AttentionWrapper`.

    TensorFlow Addons ended in 2024. Where it still runs, save the weights of
    the wrapper by name:

        np.savez("wrapper.npz", **{w.name: w.numpy() for w in wrapper.weights})

    The wrapper may stand around Keras's `LSTMCell` or `GRUCell`, with its
    biases, and have one `BahdanauAttention` or `LuongAttention`, with or
    without `attention_layer_size`. What it is, the weights tell; what they do
    not, the other arguments say.

    Beware of the name: tfa's wrapper always asks with the new output of the
    cell, whatever the attention. So its "Bahdanau" attention is Luong's order
    with an additive score, `query_state="current"` here, and not the decoder
    of Bahdanau et al. 2015.

    Args:
        weights: arrays by name, such as "bahdanau_attention/attention_v:0" or
            what `np.load` opens. A name may have anything in front.
        output_attention: that of the wrapper: whether a step returns the
            attention, or the output of the cell.
        probability_fn: that of the attention, "softmax" or "hardmax".

    Returns:
        A built `AttentionCell` with the same outputs, state and alignments.
        Rows without any memory are zero; they are NaN there.

    Raises:
        ValueError: if weights are missing or have no names, or if some have
            no place here, as those of a second attention, or if an argument
            does not fit.

    Example:

    >>> import numpy as np
    >>> from keras_attention import AttentionRNN
    >>> from keras_attention.migration import from_attention_wrapper
    >>> shapes = {
    ...     "lstm_cell/kernel:0": (2 + 5, 4 * 3),
    ...     "lstm_cell/recurrent_kernel:0": (3, 4 * 3),
    ...     "lstm_cell/bias:0": (4 * 3,),
    ...     "LuongAttention/memory_layer/kernel:0": (7, 3),
    ...     "attention_layer/kernel:0": (3 + 7, 5),
    ... }
    >>> weights = {name: np.ones(shape) for name, shape in shapes.items()}
    >>> cell = from_attention_wrapper(weights)
    >>> AttentionRNN(cell)(np.ones((1, 4, 2)), np.ones((1, 6, 7))).shape
    TensorShape([1, 5])
    """
    validation.check_choice(
        "probability_fn", probability_fn, ("softmax", "hardmax")
    )
    if not hasattr(weights, "keys"):
        raise validation.invalid(
            "weights",
            "arrays by name",
            type(weights).__name__,
            "`get_weights()` leaves the names out: save "
            "{w.name: w.numpy() for w in wrapper.weights}.",
        )
    found = _Weights(weights)
    recurrent = found.take("recurrent_kernel")
    cell_weights = [found.take("kernel", of_cell=True), recurrent]
    cell_weights.append(found.take("bias", of_cell=True))
    memory_kernel = found.take("memory_layer/kernel")
    attention, attention_weights = _attention(
        found, memory_kernel, probability_fn
    )
    layer_kernel = found.take("attention_layer/kernel", optional=True)
    found.check_nothing_is_left()
    size = None if layer_kernel is None else layer_kernel.shape[1]
    cell = AttentionCell(
        _cell(recurrent, cell_weights[-1]),
        attention,
        query_state="current",
        attention_layer_size=size,
        output="attention" if output_attention else "cell",
    )
    memory_width = memory_kernel.shape[0]
    input_width = len(cell_weights[0]) - (size or memory_width)
    cell.build((None, None, input_width), (None, None, memory_width))
    cell.cell.set_weights(cell_weights)
    attention.set_weights(attention_weights)
    if size is not None:
        cell.mechanism.attention_layers[0].set_weights([layer_kernel])
    return cell


def _cell(recurrent, bias):
    units, columns = recurrent.shape
    if columns % units or columns // units not in CELLS:
        raise ValueError(
            "`weights` must be those of a wrapper around an LSTMCell or a "
            "GRUCell, whose recurrent kernel is (units, 4 * units) or (units, "
            f"3 * units). Received: recurrent_kernel.shape={recurrent.shape}."
        )
    cell_class = CELLS[columns // units]
    if cell_class is keras.layers.GRUCell:
        # Two rows of biases: one for the inputs, one for the state.
        return cell_class(units, reset_after=bias.ndim == 2)
    return cell_class(units)


def _attention(found, memory_kernel, probability_fn):
    """Returns the mechanism and the weights it gets."""
    units = memory_kernel.shape[1]
    vector = found.take("attention_v", optional=True)
    gain = found.take("attention_g", optional=True)
    if vector is None:  # Luong's: q . (W m), with a scale or without
        attention = DotProductAttention(
            "general",
            use_scale=gain is not None,
            normalizer=probability_fn,
        )
        weights = [memory_kernel.T] + ([] if gain is None else [gain])
        return attention, weights
    attention = AdditiveAttention(
        units, normalize=gain is not None, normalizer=probability_fn
    )
    weights = [found.take("query_layer/kernel"), memory_kernel, vector]
    if gain is not None:
        weights += [gain, found.take("attention_b")]
    return attention, weights


class _Weights:
    """Arrays by name; each is taken once."""

    def __init__(self, weights):
        self.left = {
            name.removesuffix(":0"): np.asarray(weights[name])
            for name in weights
        }
        self.all_names = sorted(self.left)

    def take(self, ending, of_cell=False, optional=False):
        """Returns the one array whose name ends so, None where it may lack."""
        names = [n for n in self.left if f"/{n}".endswith(f"/{ending}")]
        if of_cell:
            names = [n for n in names if not _is_of_attention(n)]
        if not names and optional:
            return None
        if len(names) != 1:
            raise ValueError(
                f"`weights` must have one array whose name ends in '{ending}'"
                f"{' and is not of the attention' if of_cell else ''}. "
                f"Received: {len(names)} of them in {self.all_names}. Convert "
                "a wrapper with several attentions one by one."
            )
        return self.left.pop(names[0])

    def check_nothing_is_left(self):
        if self.left:
            raise ValueError(
                "`weights` must be those of one AttentionWrapper alone. "
                f"Received: {sorted(self.left)} too, which have no place in "
                "an AttentionCell."
            )


def _is_of_attention(name):
    parts = ("memory_layer", "query_layer", "attention_layer")
    return any(part in name.split("/") for part in parts)
