"""Location-sensitive attention by the equations of the paper."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import as_float64
from layer_checks import loss_gradients
from layer_checks import run_layer_checks
from models.small_models import randomize
from numpy_reference import directional_derivative

from keras_attention import LocationSensitiveAttention
from keras_attention import masks

BATCH, QUERIES, KEYS, UNITS, FILTERS, WIDTH = 2, 5, 7, 11, 3, 5
QUERY_WIDTH, VALUE_WIDTH, KEY_WIDTH = 19, 13, 17
PRECISE = "float32" if keras.backend.backend() == "jax" else "float64"
VALUE_MASK = np.arange(KEYS) < np.array([[7], [4]])
QUERY_MASK = np.arange(QUERIES) < np.array([[5], [3]])
WEIGHTS = {
    "query_kernel": (QUERY_WIDTH, UNITS),
    "key_kernel": (KEY_WIDTH, UNITS),
    "vector": (UNITS,),
    "bias": (UNITS,),
    "location_filters": (WIDTH, 1, FILTERS),
    "location_kernel": (FILTERS, UNITS),
}
each_kind = pytest.mark.parametrize(
    "cumulative", [False, True], ids=["last", "cumulative"]
)


def inputs(dtype="float32"):
    generator = np.random.default_rng(11)
    shapes = {
        "query": (BATCH, QUERIES, QUERY_WIDTH),
        "value": (BATCH, KEYS, VALUE_WIDTH),
        "key": (BATCH, KEYS, KEY_WIDTH),
    }
    return {
        name: generator.normal(size=shape).astype(dtype)
        for name, shape in shapes.items()
    }


def built(cumulative=False, **options):
    layer = LocationSensitiveAttention(
        UNITS, FILTERS, WIDTH, cumulative, **options
    )
    layer.build(*(inputs()[n].shape for n in ("query", "value", "key")))
    # So that the location tells: alignments are small, and so are filters.
    return randomize(layer, scale=1.0)


def weights_of(layer):
    return {w.name: np.array(w, "float64") for w in layer.weights}


def one_score(q, k, s, alignment, weights):
    """e = w . tanh(W s + V h + U f + b), f = F * alignment."""
    filters = weights["location_filters"]
    found = np.zeros(filters.shape[-1])
    for tap in range(len(filters)):
        place = s + tap - len(filters) // 2
        if 0 <= place < len(alignment):
            found += filters[tap, 0] * alignment[place]
    hidden = q @ weights["query_kernel"] + k @ weights["key_kernel"]
    hidden = hidden + found @ weights["location_kernel"] + weights["bias"]
    return weights["vector"] @ np.tanh(hidden)


def expected(
    query, value, key, cumulative=False, seen=None, first=None, **weights
):
    """Contexts and alignments, one query after the other, in float64."""
    batch, queries, _ = query.shape
    alignments = np.zeros((batch, queries, value.shape[1]))
    for row in range(batch):
        before = np.zeros(value.shape[1]) if first is None else first[row]
        for t in range(queries):
            scores = np.array([
                one_score(query[row, t], k, s, before, weights)
                for s, k in enumerate(key[row])
            ])  # fmt: skip
            visible = np.ones(len(scores), bool) if seen is None else seen[row]
            odds = np.exp(scores - scores.max()) * visible
            alignments[row, t] = odds / odds.sum()
            before = alignments[row, t] + (before if cumulative else 0)
    return alignments @ value, alignments


def test_location_sensitive_attention_passes_the_layer_checks(tmp_path):
    run_layer_checks(
        LocationSensitiveAttention,
        {
            "units": UNITS,
            "filters": FILTERS,
            "kernel_size": WIDTH,
            "cumulative": True,
            "dropout": 0.1,
            "seed": 3,
        },
        {**inputs(), "return_attention_scores": True},
        [(BATCH, QUERIES, VALUE_WIDTH), (BATCH, QUERIES, KEYS)],
        WEIGHTS,
        tmp_path=tmp_path,
    )


@each_kind
def test_location_sensitive_attention_is_its_equations(cumulative):
    layer, arrays = built(cumulative), inputs()
    found = layer(**arrays, value_mask=VALUE_MASK, return_attention_scores=True)
    wanted = expected(
        **arrays, **weights_of(layer), cumulative=cumulative, seen=VALUE_MASK
    )
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)
    # The test would not see a location that makes no difference.
    blind = {**weights_of(layer), "location_kernel": np.zeros((FILTERS, UNITS))}
    other = expected(**arrays, **blind, seen=VALUE_MASK)
    assert np.abs(other[1] - wanted[1])[:, 1:].max() > 0.05


def espnet_weights(weights, query, key, before):
    """A step of `AttLoc` of espnet, as its source has it, scaling 1.

    Its convolution is over an image one row high, padded by hand.
    """
    filters = weights["location_filters"][:, 0]  # (W, F)
    padded = np.pad(before, ((0, 0), (WIDTH // 2, WIDTH // 2)))
    convolved = np.stack(
        [
            [np.correlate(row, one, "valid") for one in filters.T]
            for row in padded
        ]
    )  # (B, F, S)
    convolved = convolved.swapaxes(1, 2) @ weights["location_kernel"]
    encoded = key @ weights["key_kernel"] + weights["bias"]  # mlp_enc
    decoded = query @ weights["query_kernel"]  # mlp_dec
    energy = np.tanh(convolved + encoded + decoded[:, None])
    odds = np.exp(energy @ weights["vector"])
    return odds / odds.sum(axis=1, keepdims=True)


def test_a_step_is_that_of_espnet():
    layer, arrays = built(), inputs()
    tensors = {n: ops.convert_to_tensor(x) for n, x in arrays.items()}
    memory = layer.prepare(tensors["value"], tensors["key"])
    # espnet starts from equal weights, we from zeros.
    before = np.full((BATCH, KEYS), 1 / KEYS)
    state = {"alignment": ops.cast(before[:, None], "float32")}
    for t in range(2):
        _, weights, state = layer.attend(
            tensors["query"][:, t : t + 1], memory, state
        )
        before = espnet_weights(
            weights_of(layer), arrays["query"][:, t], arrays["key"], before
        )
        np.testing.assert_allclose(weights[:, 0], before, atol=1e-5)


@each_kind
def test_gradients_are_finite_differences(cumulative):
    arrays = inputs(PRECISE)
    layer = built(cumulative, dtype=PRECISE)
    generator = np.random.default_rng(17)
    upstream = generator.normal(size=(BATCH, QUERIES, VALUE_WIDTH))
    mask = masks.Padding(VALUE_MASK)
    found = loss_gradients(layer, arrays, upstream, attention_mask=mask)
    arguments = {**arrays, **weights_of(layer)}

    def loss(**arguments):
        contexts, _ = expected(
            **arguments, cumulative=cumulative, seen=VALUE_MASK
        )
        return np.sum(contexts * upstream)

    assert set(found) == set(arguments)
    for name, array in arguments.items():
        direction = generator.normal(size=array.shape)
        np.testing.assert_allclose(
            np.sum(found[name] * direction),
            directional_derivative(loss, arguments, name, direction),
            rtol=1e-5 if PRECISE == "float64" else 5e-3,
            atol=1e-7 if PRECISE == "float64" else 5e-4,
            err_msg=name,
        )


def test_extreme_scores_and_short_sources():
    layer, arrays = built(), inputs()
    layer.vector.assign(50 * layer.vector)
    for length in (0, 1, KEYS):
        context, weights = layer(
            arrays["query"],
            arrays["value"][:, :length],
            arrays["key"][:, :length],
            return_attention_scores=True,
        )
        assert np.isfinite(as_float64(context)).all()
        totals = as_float64(weights).sum(axis=-1)
        np.testing.assert_allclose(totals, min(length, 1), atol=1e-5)


def test_queries_and_rows_with_nothing_to_attend_to():
    layer, arrays = built(), inputs()
    context, weights = layer(
        **arrays,
        query_mask=QUERY_MASK,
        value_mask=VALUE_MASK & np.array([[False], [True]]),
        return_attention_scores=True,
    )
    for tensor in (context, weights):
        assert not np.any(tensor[0])
        assert not np.any(tensor[1, 3:])
        assert np.any(tensor[1, 0])


@each_kind
def test_a_padded_query_is_as_if_it_were_not_there(cumulative):
    layer, arrays = built(cumulative), inputs()
    sees = np.array([True, True, False, True, True])
    found = layer(**arrays, query_mask=np.stack([sees, sees]))
    arrays["query"] = arrays["query"][:, sees]
    np.testing.assert_allclose(
        np.array(found)[:, sees], layer(**arrays), atol=1e-6
    )


def test_even_kernel_size_is_an_error():
    with pytest.raises(ValueError, match="`kernel_size` must be odd.*=4"):
        LocationSensitiveAttention(UNITS, kernel_size=4)
