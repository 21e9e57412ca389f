"""CyberZHG's formulas in NumPy, and his packages where they are installed."""

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import run_layer_checks

import keras_attention as ka
from keras_attention import migration

BATCH, LENGTH, WIDTH, UNITS, HEADS = 2, 7, 6, 5, 2
INPUTS = np.random.default_rng(0).normal(size=(BATCH, LENGTH, WIDTH))
INPUTS = INPUTS.astype("float32")
PACKAGES = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def stand_in(name, weights, **options):
    """An object with the attributes of a built layer of that class."""
    generator = np.random.default_rng(1)
    attributes = {
        "built": True,
        "name": "mine",
        "dtype_policy": keras.DTypePolicy("float32"),
        "history_only": False,
        **options,
    }
    for weight, shape in weights.items():
        attributes[weight] = generator.normal(size=shape).astype("float32")
    layer = type(name, (), {})()
    vars(layer).update(attributes)
    return layer


def sequence(attention_type="additive", **options):
    weights = {"Wa": (WIDTH, WIDTH), "ba": (1,)}
    if attention_type == "additive":
        weights = {
            "Wt": (WIDTH, UNITS),
            "Wx": (WIDTH, UNITS),
            "bh": (UNITS,),
            "Wa": (UNITS, 1),
            "ba": (1,),
        }
    defaults = {
        "units": UNITS,
        "attention_type": attention_type,
        "attention_width": None,
        "attention_activation": keras.activations.linear,
        "attention_regularizer_weight": 0.0,
        "use_additive_bias": True,
    }
    return stand_in("SeqSelfAttention", weights, **{**defaults, **options})


def softmax(scores):
    exps = np.exp(scores - scores.max(-1, keepdims=True))
    return exps / exps.sum(-1, keepdims=True)


def sequence_oracle(layer):
    """`SeqSelfAttention.call` of keras-self-attention 0.51, without a mask."""
    output = np.zeros_like(INPUTS)
    for b, x in enumerate(INPUTS.astype("float64")):
        scores = np.zeros((LENGTH, LENGTH))
        for t in range(LENGTH):
            for s in range(LENGTH):
                if layer.attention_type == "additive":
                    bias = layer.bh if layer.use_additive_bias else 0
                    hidden = np.tanh(x[t] @ layer.Wt + x[s] @ layer.Wx + bias)
                    scores[t, s] = (hidden @ layer.Wa + layer.ba)[0]
                else:
                    scores[t, s] = x[t] @ layer.Wa @ x[s] + layer.ba[0]
                width = layer.attention_width
                if width is not None:
                    lower = t - width // 2
                    if layer.history_only:
                        lower = t - (width - 1)
                    if not lower <= s < lower + width:
                        scores[t, s] -= 10000
        output[b] = softmax(scores) @ x
    return output


@pytest.mark.parametrize(
    ("attention_type", "options"),
    [
        ("additive", {}),
        ("additive", {"use_additive_bias": False, "attention_width": 3}),
        ("multiplicative", {"attention_width": 4}),
        ("multiplicative", {"attention_width": 3, "history_only": True}),
    ],
)
def test_sequence_self_attention_is_carried(attention_type, options):
    theirs = sequence(attention_type, **options)
    ours = migration.from_cyberzhg(theirs)
    np.testing.assert_allclose(ours(INPUTS), sequence_oracle(theirs), atol=1e-4)


def multi_head(**options):
    weights = {f"W{name}": (WIDTH, WIDTH) for name in "qkvo"}
    weights |= {f"b{name}": (WIDTH,) for name in "qkvo"}
    defaults = {
        "head_num": HEADS,
        "activation": keras.activations.relu,
        "use_bias": True,
    }
    return stand_in("MultiHeadAttention", weights, **{**defaults, **options})


def multi_head_oracle(layer):
    """`MultiHeadAttention.call` of keras-multi-head 0.29, without a mask."""

    def relu(x):
        return np.maximum(x, 0)

    size = WIDTH // HEADS
    output = np.zeros_like(INPUTS)
    for b, x in enumerate(INPUTS.astype("float64")):
        query, key, value = (
            relu(x @ getattr(layer, f"W{n}") + getattr(layer, f"b{n}"))
            for n in "qkv"
        )
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = query[:, part] @ key[:, part].T / np.sqrt(size)
            if layer.history_only:
                scores -= 10000 * ~np.tri(LENGTH, dtype=bool)
            heads.append(softmax(scores) @ value[:, part])
        output[b] = relu(np.concatenate(heads, -1) @ layer.Wo + layer.bo)
    return output


@pytest.mark.parametrize("history_only", [False, True])
def test_multi_head_attention_is_carried(history_only):
    theirs = multi_head(history_only=history_only)
    ours = migration.from_cyberzhg(theirs)
    expected = multi_head_oracle(theirs)
    assert (expected > 0).any() and (expected == 0).any()
    np.testing.assert_allclose(ours(INPUTS), expected, atol=1e-4)
    listed = ours([INPUTS, INPUTS, INPUTS])
    np.testing.assert_allclose(listed, expected, atol=1e-4)


def test_mask_hides_padding_and_is_passed_on():
    ours = migration.from_cyberzhg(multi_head())
    mask = np.arange(LENGTH) < np.array([[LENGTH], [4]])
    changed = np.where(mask[..., None], INPUTS, 100.0)
    expected = ops.convert_to_numpy(ours(INPUTS, mask=mask))
    for output in (
        ours(changed, mask=mask),
        ours([changed] * 3, mask=[None, mask, None]),
    ):
        output = ops.convert_to_numpy(output)
        np.testing.assert_allclose(output[mask], expected[mask], atol=1e-5)
    assert ours.compute_mask(None, [mask, None, None]) is mask


def test_a_tuple_is_as_good_as_a_list():
    ours = migration.CyberZHGAttention(ka.DotProductAttention("general"))
    symbols = (keras.Input((None, WIDTH)),) * 3
    assert ours(symbols).shape == (None, None, WIDTH)
    expected = ours([INPUTS] * 3)
    np.testing.assert_array_equal(ours((INPUTS,) * 3), expected)
    for shape in (INPUTS.shape, (INPUTS.shape,) * 3, [INPUTS.shape] * 3):
        assert ours.compute_output_shape(shape) == expected.shape


@pytest.mark.parametrize(
    "theirs",
    [
        sequence(attention_width=3),
        pytest.param(multi_head(), marks=pytest.mark.exhaustive),
    ],
)
def test_carried_layer_is_saved(theirs, tmp_path):
    inputs = keras.Input((None, WIDTH))
    model = keras.Model(inputs, migration.from_cyberzhg(theirs)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(INPUTS), model(INPUTS))


@pytest.mark.exhaustive
def test_activated_multi_head_attention_is_a_good_layer():
    projections = {
        f"{name}/{part}": (WIDTH, HEADS, 3) if part == "kernel" else (HEADS, 3)
        for name in ("query", "key", "value")
        for part in ("kernel", "bias")
    }
    run_layer_checks(
        migration.ActivatedMultiHeadAttention,
        {"num_heads": HEADS, "key_dim": 3, "activation": "gelu"},
        {"query": INPUTS, "value": INPUTS},
        INPUTS.shape,
        expected_weights={
            **projections,
            "attention_output/kernel": (HEADS, 3, WIDTH),
            "attention_output/bias": (WIDTH,),
        },
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.Dense(3), "`layer` must be a built layer of CyberZHG's"),
        (
            sequence(built=False),
            "Received: layer=SeqSelfAttention, built=False",
        ),
        (
            sequence(attention_activation=keras.activations.sigmoid),
            "`attention_activation` must be None",
        ),
        (
            sequence(attention_regularizer_weight=0.1),
            "`attention_regularizer_weight` must be None or 0",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        migration.from_cyberzhg(layer)


def test_list_of_two_is_refused():
    ours = migration.from_cyberzhg(multi_head())
    with pytest.raises(ValueError, match="`inputs` must be one tensor, or a"):
        ours([INPUTS, INPUTS])


@PACKAGES
@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    "options",
    [
        {"attention_activation": None},
        {"attention_type": "multiplicative", "attention_width": 3},
    ],
)
def test_layers_of_keras_self_attention_keep_their_numbers(options):
    package = pytest.importorskip("keras_self_attention")
    theirs = package.SeqSelfAttention(units=UNITS, **options)
    theirs(INPUTS)
    generator = np.random.default_rng(2)
    theirs.set_weights([generator.normal(size=w.shape) for w in theirs.weights])
    ours = migration.from_cyberzhg(theirs)
    np.testing.assert_allclose(ours(INPUTS), theirs(INPUTS), atol=1e-4)
    scaled = package.ScaledDotProductAttention(history_only=True)
    expected = scaled([INPUTS] * 3)
    ours = migration.from_cyberzhg(scaled)
    np.testing.assert_allclose(ours([INPUTS] * 3), expected, atol=1e-5)


@PACKAGES
@pytest.mark.tensorflow_only
def test_layer_of_keras_multi_head_keeps_its_numbers():
    package = pytest.importorskip("keras_multi_head")
    theirs = package.MultiHeadAttention(HEADS, history_only=True)
    expected = theirs([INPUTS, INPUTS, INPUTS])
    ours = migration.from_cyberzhg(theirs)
    np.testing.assert_allclose(ours([INPUTS] * 3), expected, atol=1e-5)
