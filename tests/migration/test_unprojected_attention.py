import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import run_layer_checks

from keras_attention.migration import UnprojectedAttention

BATCH, QUERIES, KEYS, WIDTH, VALUE_WIDTH = 2, 5, 7, 3, 11
GENERATOR = np.random.default_rng(0)
QUERY = GENERATOR.normal(size=(BATCH, QUERIES, WIDTH))
KEY = GENERATOR.normal(size=(BATCH, KEYS, WIDTH))
VALUE = GENERATOR.normal(size=(BATCH, KEYS, VALUE_WIDTH))
QUERY_MASK = np.array([[True] * 5, [True] * 3 + [False] * 2])
KEY_MASK = np.array([[True] * 7, [False] + [True] * 4 + [False] * 2])
WEIGHTS = {
    "dot": {"scale": ()},
    "concat": {"scale": (), "concat_score_weight": ()},
    "additive": {"scale": (WIDTH,)},
}


def score(mode, query, key, scale, weight=None):
    """One score as the documentation of Keras's layers has it."""
    if mode == "dot":
        return scale * query @ key
    if mode == "concat":
        return weight * np.tanh(scale * (query + key)).sum()
    return (scale * np.tanh(query + key)).sum()


def oracle(mode, weights):
    output = np.zeros((BATCH, QUERIES, VALUE_WIDTH))
    for b in range(BATCH):
        for t in range(QUERIES):
            if QUERY_MASK[b, t]:
                scores = np.array(
                    [
                        score(mode, QUERY[b, t], KEY[b, s], *weights)
                        for s in range(KEYS)
                    ]
                )
                exps = np.where(KEY_MASK[b], np.exp(scores), 0)
                output[b, t] = exps / exps.sum() @ VALUE[b]
    return output


@pytest.mark.parametrize("mode", list(WEIGHTS))
def test_unprojected_attention_is_the_formula(mode):
    layer = UnprojectedAttention(mode, use_scale=True)
    layer.build(QUERY.shape, VALUE.shape, KEY.shape)
    generator = np.random.default_rng(1)
    weights = [generator.normal(size=shape) for shape in WEIGHTS[mode].values()]
    layer.set_weights(weights)
    output = layer(
        [ops.convert_to_tensor(x, "float32") for x in (QUERY, VALUE, KEY)],
        mask=[QUERY_MASK, KEY_MASK],
    )
    expected = oracle(mode, weights)
    np.testing.assert_allclose(output, expected, atol=1e-5)


def test_call_of_keras_is_the_call_of_attention_layers():
    layer = UnprojectedAttention("additive", use_scale=True)
    masks = [QUERY_MASK, KEY_MASK]
    expected, _ = layer(
        QUERY,
        VALUE,
        KEY,
        query_mask=QUERY_MASK,
        value_mask=KEY_MASK,
        return_attention_scores=True,
    )
    for output in (
        layer([QUERY, VALUE, KEY], masks),
        layer([QUERY, VALUE, KEY], mask=masks),
        layer([QUERY, VALUE, KEY], mask=masks, return_attention_scores=True)[0],
    ):
        np.testing.assert_array_equal(output, expected)


@pytest.mark.exhaustive
def test_unprojected_attention_is_a_good_layer(tmp_path):
    run_layer_checks(
        UnprojectedAttention,
        {"score_mode": "concat", "use_scale": True, "dropout": 0.3, "seed": 1},
        {"query": QUERY, "value": VALUE, "key": KEY},
        (BATCH, QUERIES, VALUE_WIDTH),
        expected_weights=WEIGHTS["concat"],
        tmp_path=tmp_path,
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (([QUERY],), "`query` must be a list of 2 or 3 tensors. Received"),
        (([QUERY, KEY], QUERY_MASK), "`mask` must be a list of 2 or 3 masks"),
        (([QUERY, VALUE],), "`key` must have the width of `query`"),
        ((QUERY,), "`value` must be given"),
    ],
)
def test_wrong_calls_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        UnprojectedAttention()(*call)


def test_unknown_score_mode_is_refused():
    with pytest.raises(ValueError, match="`score_mode` must be one of 'dot'"):
        UnprojectedAttention("general")


def test_functional_model_with_a_list_is_saved(tmp_path):
    query, value = keras.Input((None, 3)), keras.Input((None, 3))
    output = UnprojectedAttention(name="attention")([query, value])
    model = keras.Model([query, value], output)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = [ops.convert_to_tensor(x, "float32") for x in (QUERY, KEY)]
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
