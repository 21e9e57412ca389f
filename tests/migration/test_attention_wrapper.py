"""Weights of tfa's `AttentionWrapper` against tfa's formulas.

TensorFlow Addons does not install beside Keras 3: its formulas are computed
again here, as `tensorflow_addons/seq2seq/attention_wrapper.py` of 0.23 has
them (`AttentionWrapper.call`, `_compute_attention`, `_bahdanau_score`,
`_luong_score`).
"""

import numpy as np
import pytest

from keras_attention import AttentionRNN
from keras_attention.migration import from_attention_wrapper

BATCH, LENGTH, SOURCE, WIDTH, MEMORY, HIDDEN, UNITS, SIZE = (
    2,
    5,
    7,
    3,
    11,
    4,
    13,
    6,
)
LENGTHS = np.array([7, 4])


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def lstm(w, x, states):
    h, c = states
    gates = x @ w["kernel"] + h @ w["recurrent_kernel"] + w["bias"]
    i, f, g, o = np.split(gates, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    h = sigmoid(o) * np.tanh(c)
    return h, [h, c]


def gru(w, x, states):
    """`reset_after=True`, the default of TensorFlow 2."""
    (h,) = states
    xz, xr, xh = np.split(x @ w["kernel"] + w["bias"][0], 3, axis=-1)
    hz, hr, hh = np.split(h @ w["recurrent_kernel"] + w["bias"][1], 3, axis=-1)
    z = sigmoid(xz + hz)
    h = z * h + (1 - z) * np.tanh(xh + sigmoid(xr + hr) * hh)
    return h, [h]


def old_gru(w, x, states):
    """`reset_after=False`, the default of TensorFlow 1."""
    (h,) = states
    kernel, recurrent = w["kernel"], w["recurrent_kernel"]
    xz, xr, xh = np.split(x @ kernel + w["bias"], 3, axis=-1)
    rz, rr, rh = np.split(recurrent, 3, axis=-1)
    z, r = sigmoid(xz + h @ rz), sigmoid(xr + h @ rr)
    h = z * h + (1 - z) * np.tanh(xh + (r * h) @ rh)
    return h, [h]


CELLS = {"lstm": (lstm, 4, 2), "gru": (gru, 3, 1), "old_gru": (old_gru, 3, 1)}


def bahdanau_score(w, query, keys):
    query = (query @ w["query_layer/kernel"])[:, None]
    if "attention_g" not in w:
        return (w["attention_v"] * np.tanh(keys + query)).sum(axis=2)
    vector = w["attention_g"] * w["attention_v"]
    vector = vector / np.sqrt((w["attention_v"] ** 2).sum())
    return (vector * np.tanh(keys + query + w["attention_b"])).sum(axis=2)


def luong_score(w, query, keys):
    return np.einsum("bu,bsu->bs", query, keys) * w.get("attention_g", 1.0)


def tfa_wrapper(w, cell, states, inputs, memory, output_attention):
    """Outputs, alignments and last states of a wrapper, in float64."""
    mask = np.arange(SOURCE) < LENGTHS[:, None]
    values = memory * mask[..., None]
    keys = values @ w["memory_layer/kernel"]
    score = bahdanau_score if "attention_v" in w else luong_score
    layer = w.get("attention_layer/kernel")
    size = MEMORY if layer is None else SIZE
    attention, outputs, alignments = np.zeros((BATCH, size)), [], []
    for x in inputs.swapaxes(0, 1):
        read = np.concatenate([x, attention], axis=-1)
        output, states = CELLS[cell][0](w, read, states)
        scores = np.where(mask, score(w, output, keys), -np.inf)
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        alignment = odds / odds.sum(axis=1, keepdims=True)
        attention = np.einsum("bs,bsv->bv", alignment, values)
        if layer is not None:
            attention = np.concatenate([output, attention], axis=-1) @ layer
        outputs.append(attention if output_attention else output)
        alignments.append(alignment)
    return np.stack(outputs, 1), np.stack(alignments, 1), states


def weights_of(cell, attention, has_layer, extra):
    fed = SIZE if has_layer else MEMORY
    gates = CELLS[cell][1] * HIDDEN
    shapes = {
        "kernel": (WIDTH + fed, gates),
        "recurrent_kernel": (HIDDEN, gates),
        "bias": (2, gates) if cell == "gru" else (gates,),
    }
    if attention == "bahdanau":
        shapes["query_layer/kernel"] = (HIDDEN, UNITS)
        shapes["memory_layer/kernel"] = (MEMORY, UNITS)
        shapes["attention_v"] = (UNITS,)
        if extra:
            shapes |= {"attention_g": (), "attention_b": (UNITS,)}
    else:
        shapes["memory_layer/kernel"] = (MEMORY, HIDDEN)
        if extra:
            shapes["attention_g"] = ()
    if has_layer:
        shapes["attention_layer/kernel"] = (HIDDEN + MEMORY, SIZE)
    generator = np.random.default_rng(3)
    return {
        name: generator.normal(0, 0.5, size) for name, size in shapes.items()
    }


def named(weights):
    """The names that tfa gives: a model in front, ":0" behind."""
    return {f"decoder/{name}:0": value for name, value in weights.items()}


@pytest.mark.parametrize("output_attention", [True, False])
@pytest.mark.parametrize("extra", [True, False], ids=["scaled", "plain"])
@pytest.mark.parametrize("has_layer", [True, False], ids=["layer", "context"])
@pytest.mark.parametrize("attention", ["bahdanau", "luong"])
@pytest.mark.parametrize("cell", CELLS)
def test_outputs_are_those_of_the_wrapper(
    cell, attention, has_layer, extra, output_attention
):
    weights = weights_of(cell, attention, has_layer, extra)
    generator = np.random.default_rng(5)
    inputs = generator.normal(size=(BATCH, LENGTH, WIDTH))
    memory = generator.normal(size=(BATCH, SOURCE, MEMORY))
    states = [
        generator.normal(size=(BATCH, HIDDEN)) for _ in range(CELLS[cell][2])
    ]
    expected = tfa_wrapper(
        weights, cell, states, inputs, memory, output_attention
    )
    layer = AttentionRNN(
        from_attention_wrapper(named(weights), output_attention),
        return_sequences=True,
        return_state=True,
    )
    outputs, alignments, last = layer(
        inputs.astype("float32"),
        memory.astype("float32"),
        value_mask=np.arange(SOURCE) < LENGTHS[:, None],
        initial_state=[state.astype("float32") for state in states],
        return_attention_scores=True,
    )
    np.testing.assert_allclose(outputs, expected[0], atol=1e-5)
    np.testing.assert_allclose(alignments, expected[1], atol=1e-5)
    for one, other in zip(last["cell"], expected[2], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_hardmax_picks_one():
    weights = weights_of("lstm", "bahdanau", False, False)
    cell = from_attention_wrapper(named(weights), probability_fn="hardmax")
    generator = np.random.default_rng(5)
    inputs = generator.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
    memory = generator.normal(size=(BATCH, SOURCE, MEMORY)).astype("float32")
    _, alignments = cell(inputs, memory, return_attention_scores=True)
    assert set(np.unique(alignments)) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel": None}, "ends in 'kernel' and is not of the attention"),
        ({"attention_b": np.ones(UNITS)}, "have no place in an AttentionCell"),
        ({"b/attention_v": np.ones(UNITS)}, "Received: 2 of them.*one by one"),
        ({"recurrent_kernel": np.ones((4, 8))}, r"LSTMCell or a GRUCell.*4, 8"),
    ],
)
def test_what_is_no_wrapper_is_refused(change, message):
    weights = {**weights_of("lstm", "bahdanau", True, False), **change}
    given = {name: x for name, x in weights.items() if x is not None}
    with pytest.raises(ValueError, match=message):
        from_attention_wrapper(given)
    with pytest.raises(ValueError, match="arrays by name.*list. `get_weights"):
        from_attention_wrapper(list(given.values()))
    with pytest.raises(ValueError, match="`probability_fn` must be one of"):
        from_attention_wrapper(named(weights), probability_fn="relu")
