"""Normalisers by their definitions: thresholds found by bisection."""

import keras
import numpy as np
import pytest
from keras import ops
from numpy_reference import directional_derivative
from numpy_reference import normalized

from keras_attention import AdditiveAttention
from keras_attention import DotProductAttention
from keras_attention import functional
from keras_attention import masks
from keras_attention.functional import normalizers
from keras_attention.functional.softmax import attention_weights

NAMES = list(normalizers.NORMALIZERS)
SMOOTH = ["sparsemax", "entmax15", "sigmoid"]


def rows():
    """Rows of all sorts: spread, close, tied, alone, hidden, extreme."""
    scores = np.random.default_rng(7).normal(size=(11, 7)) * 2
    visible = np.random.default_rng(8).random((11, 7)) < 0.7
    scores[1] /= 10
    scores[2] = 1.25
    scores[3, :3] = scores[3].max() + 0.5
    scores[4] = [50, -50, 49.7, 0, 50, -50, 49]
    scores[5] = [-50, -50, -50.25, -49.3, -51, -53, -50]
    visible[6] = False
    visible[7] = np.arange(7) == 3
    visible[8] = np.arange(7) < 2
    return scores, visible


@pytest.mark.parametrize("name", NAMES)
def test_normalizer_is_its_definition(name, path, run_on):
    scores, visible = rows()
    dtype = "float64" if path == "eager" and is_tensorflow() else "float32"
    tolerance = 1e-12 if dtype == "float64" else 2e-5
    tensors = {"scores": scores.astype(dtype), "visible": visible}

    def call(tensors):
        scores = tensors["scores"]
        return (
            normalizers.normalize(name, scores),
            normalizers.normalize(name, scores, tensors["visible"]),
        )

    all_seen, some_seen = run_on(path, call, tensors)
    assert all_seen.dtype == dtype
    for found, mask in ((all_seen, None), (some_seen, visible)):
        wanted = normalized(name, scores, mask)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)
        seen = wanted.sum(axis=-1) > 0
        np.testing.assert_allclose(found.sum(axis=-1), seen, atol=tolerance)
    assert not some_seen[~visible].any()


def is_tensorflow():
    return keras.backend.backend() == "tensorflow"


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_are_finite_differences(name, gradients, precise_dtype):
    scores, visible = rows()
    scores = scores[:, :5]  # where no weight is about to vanish
    visible = visible[:, :5]
    generator = np.random.default_rng(9)
    upstream = generator.normal(size=scores.shape)
    tensors = {"scores": ops.convert_to_tensor(scores, precise_dtype)}

    def loss(tensors):
        weights = normalizers.normalize(name, tensors["scores"], visible)
        return ops.sum(weights * ops.cast(upstream, precise_dtype))

    found = np.asarray(gradients(loss, tensors)["scores"], "float64")
    assert not found[~visible].any()
    # Of ties the thresholds have one derivative, of what is hidden none.
    tolerance = 1e-6 if precise_dtype == "float64" else 1e-3
    for row in range(len(scores)):
        direction = generator.normal(size=scores[row].shape)
        wanted = directional_derivative(
            lambda z, row=row: np.sum(
                normalized(name, z[None], visible[row]) * upstream[row]
            ),
            {"z": scores[row]},
            "z",
            direction,
        )
        np.testing.assert_allclose(
            np.sum(found[row] * direction), wanted, atol=tolerance
        )


@pytest.mark.parametrize("name", NAMES)
def test_one_visible_key_has_all_the_weight_and_no_gradient(name, gradients):
    scores = ops.convert_to_tensor([[0.5, -3.0, 2.0]])
    visible = np.array([[False, True, False]])

    def weight(tensors):
        return normalizers.normalize(name, tensors["x"], visible)[0, 1]

    assert weight({"x": scores}) == 1
    slope = gradients(weight, {"x": scores})["x"]
    if slope is not None:  # as TensorFlow has it where there is none
        np.testing.assert_array_equal(slope, np.zeros((1, 3)))


@pytest.mark.parametrize("name", NAMES)
def test_no_key_at_all(name):
    weights = normalizers.normalize(name, ops.zeros((2, 3, 0)))
    assert weights.shape == (2, 3, 0)


@pytest.mark.parametrize("name", ["sparsemax", "entmax15"])
def test_equal_to_the_package_of_the_authors(name):
    torch = pytest.importorskip("torch")
    entmax = pytest.importorskip("entmax")
    scores, _ = rows()
    theirs = getattr(entmax, name)(torch.tensor(scores), dim=-1)
    ours = normalizers.normalize(name, ops.convert_to_tensor(scores))
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-6)


# --- in attend and in layers -------------------------------------------------


def inputs(dtype="float32"):
    generator = np.random.default_rng(5)
    shapes = {
        "query": (2, 5, 3, 11), "key": (2, 7, 3, 11), "value": (2, 7, 3, 13)
    }  # fmt: skip
    return {
        name: generator.normal(size=shape).astype(dtype)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize("name", [*NAMES, "softmax"])
def test_attend_takes_a_normalizer(name):
    arrays = inputs()
    mask = masks.Lengths(np.array([4, 0]))
    output, weights = functional.attend(
        **arrays, mask=mask, normalizer=name, return_weights=True
    )
    scores = np.einsum("btnh,bsnh->bnts", arrays["query"], arrays["key"])
    visible = np.arange(7) < np.array([4, 0])[:, None, None, None]
    wanted = normalized(name, scores / np.sqrt(11), visible)
    np.testing.assert_allclose(weights, wanted, atol=1e-5)
    value = np.einsum("bnts,bsnv->btnv", wanted, arrays["value"])
    np.testing.assert_allclose(output, value, atol=1e-5)
    alone = functional.attend(**arrays, mask=mask, normalizer=name)
    np.testing.assert_allclose(alone, output, atol=1e-6)


def test_a_function_is_a_normalizer():
    def squares(scores, visible=None):
        kept = scores if visible is None else ops.where(visible, scores, 0.0)
        return ops.square(kept)

    arrays = inputs()
    _, weights = functional.attend(
        **arrays,
        score=functional.DotProductScore(1.0),
        mask=masks.Causal(),
        normalizer=squares,
        return_weights=True,
    )
    scores = np.einsum("btnh,bsnh->bnts", arrays["query"], arrays["key"])
    wanted = np.tril(np.ones((5, 7))) * scores**2
    np.testing.assert_allclose(weights, wanted, rtol=1e-4, atol=1e-5)


def test_a_bias_of_minus_infinity_hides():
    scores, visible = rows()
    bias = np.where(visible, 0.0, -np.inf)
    for name in NAMES:
        found = attention_weights(
            ops.convert_to_tensor(scores[None, None], "float32"),
            bias=bias[None, None],
            normalizer=name,
        )
        wanted = normalized(name, scores, visible)
        np.testing.assert_allclose(found[0, 0], wanted, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("sparsemax", "bfloat16"), ("entmax15", "float16")],
)
def test_half_precision_layer(name, dtype):
    arrays = {n: x[:, :, 0] for n, x in inputs().items()}
    layer = AdditiveAttention(17, normalizer=name)
    wanted = layer(**arrays)
    half = AdditiveAttention(17, normalizer=name, dtype=f"mixed_{dtype}")
    half.build(*(arrays[n].shape for n in ("query", "value", "key")))
    half.set_weights(layer.get_weights())
    found = ops.cast(half(**arrays), "float32")
    assert half(**arrays).dtype == dtype
    tolerance = {"float16": 1e-2, "bfloat16": 6e-2}[dtype]
    np.testing.assert_allclose(found, wanted, atol=tolerance)


@keras.saving.register_keras_serializable(package="tests")
def thirds(scores, visible=None):
    weights = ops.ones_like(scores) / 3
    return weights if visible is None else ops.where(visible, weights, 0.0)


@pytest.mark.parametrize("normalizer", ["entmax15", thirds])
def test_normalizer_of_a_layer_survives_its_config(normalizer):
    layer = DotProductAttention("general", normalizer=normalizer)
    again = DotProductAttention.from_config(layer.get_config())
    assert again.normalizer == normalizer
    assert again.get_config() == layer.get_config()


# --- bad arguments -----------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"normalizer": "argmax"},
            "`normalizer` must be one of 'softmax', 'hardmax', 'sparsemax', "
            "'entmax15', 'sigmoid'. Received: normalizer='argmax'",
        ),
        *(
            (
                {"normalizer": "sparsemax", "implementation": name},
                '`implementation` must be "auto" or "dense" where `normalizer` '
                f'is not "softmax".*{name}',
            )
            for name in ("blockwise", "flash", "fused")
        ),
        (
            {"normalizer": "sparsemax", "sink": np.zeros(3)},
            "`sink` must be None where `normalizer` is not 'softmax'",
        ),
    ],
    ids=["unknown", "blockwise", "flash", "fused", "sink"],
)
def test_bad_combination_is_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        functional.attend(**inputs(), **options)
