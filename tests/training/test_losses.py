"""Masked loss and accuracy against NumPy, alone and inside fit."""

import keras
import numpy as np
import pytest

from keras_attention.training import MaskedCrossentropy
from keras_attention.training import TokenAccuracy

LABELS = np.array([[3, 1, 4, 2, 0], [5, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
VOCABULARY = 7


def random_logits(seed=3):
    draw = np.random.default_rng(seed)
    return 3 * draw.standard_normal((*LABELS.shape, VOCABULARY))


def expected_loss(labels, logits, smoothing=0.0, weights=None):
    """Loops over the tokens in float64."""
    total = count = 0.0
    for row in range(labels.shape[0]):
        for place in range(labels.shape[1]):
            if labels[row, place] == 0:
                continue
            weight = 1.0 if weights is None else weights[row]
            scores = logits[row, place].astype("float64")
            log_p = scores - np.log(np.sum(np.exp(scores)))
            wanted = np.full(VOCABULARY, smoothing / VOCABULARY)
            wanted[labels[row, place]] += 1 - smoothing
            total += weight * -np.sum(wanted * log_p)
            count += weight
    return total / count


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 3.0]])
def test_loss_is_the_mean_over_real_tokens(smoothing, weights):
    logits = random_logits()
    sample_weight = None if weights is None else np.array(weights)
    loss = MaskedCrossentropy(smoothing)(LABELS, logits, sample_weight)
    wanted = expected_loss(LABELS, logits, smoothing, weights)
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)


def test_loss_does_not_see_logits_of_padding():
    logits = random_logits()
    other = np.where(LABELS[..., None] == 0, 1e30, logits)
    loss = MaskedCrossentropy(0.1)
    np.testing.assert_allclose(
        loss(LABELS, other), loss(LABELS, logits), rtol=1e-6
    )


def test_loss_of_padding_alone_is_zero():
    labels = np.zeros((2, 3), "int32")
    assert float(MaskedCrossentropy()(labels, np.ones((2, 3, 5)))) == 0.0


def test_loss_in_half_precision_is_computed_in_float32():
    logits = (30 * random_logits()).astype("float16")
    loss = MaskedCrossentropy()(LABELS, logits)
    assert loss.dtype == "float32"
    wanted = expected_loss(LABELS, logits.astype("float64"))
    np.testing.assert_allclose(loss, wanted, rtol=1e-5)


@pytest.mark.parametrize("rate", [-0.1, 1.0, "much"])
def test_loss_checks_label_smoothing(rate):
    with pytest.raises(ValueError, match="`label_smoothing` must be"):
        MaskedCrossentropy(label_smoothing=rate)


def test_accuracy_counts_real_tokens_over_several_batches():
    accuracy = TokenAccuracy()
    right = total = 0
    for seed in (3, 5):
        logits = random_logits(seed)
        accuracy.update_state(LABELS, logits)
        real = LABELS != 0
        right += np.sum((logits.argmax(-1) == LABELS) & real)
        total += np.sum(real)
    np.testing.assert_allclose(accuracy.result(), right / total, rtol=1e-6)
    accuracy.reset_state()
    accuracy.update_state(LABELS, np.eye(VOCABULARY)[LABELS])
    assert float(accuracy.result()) == 1.0


def test_accuracy_takes_weights_of_rows():
    logits = np.eye(VOCABULARY)[LABELS]
    logits[1] = np.eye(VOCABULARY)[6]  # the second row is wrong: 2 tokens
    accuracy = TokenAccuracy()
    accuracy.update_state(LABELS, logits, np.array([0.5, 3.0, 1.0]))
    np.testing.assert_allclose(accuracy.result(), 2 / (2 + 6), rtol=1e-6)


@pytest.mark.parametrize(
    "thing",
    [MaskedCrossentropy(label_smoothing=0.2, name="l"), TokenAccuracy("a")],
    ids=["loss", "accuracy"],
)
def test_config_round_trip_without_custom_objects(thing):
    config = keras.saving.serialize_keras_object(thing)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(thing)
    assert again.get_config() == thing.get_config()


@pytest.mark.parametrize("jit_compile", [True, False], ids=["xla", "graph"])
def test_fit_reports_the_loss_of_numpy(jit_compile):
    logits = random_logits().astype("float32")
    inputs = keras.Input(logits.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(VOCABULARY)(inputs))
    model.compile(
        keras.optimizers.SGD(0.0),
        MaskedCrossentropy(0.1),
        metrics=[TokenAccuracy()],
        jit_compile=jit_compile,
    )
    outputs = model(logits).numpy()
    history = model.fit(logits, LABELS, batch_size=3, verbose=0).history
    wanted = expected_loss(LABELS, outputs, 0.1)
    np.testing.assert_allclose(history["loss"], [wanted], rtol=1e-5)
    real = LABELS != 0
    matches = (outputs.argmax(-1) == LABELS)[real]
    np.testing.assert_allclose(
        history["token_accuracy"], [matches.mean()], rtol=1e-6
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "mixed_bfloat16"])
def test_labels_are_not_rounded_in_half_precision(dtype):
    logits = np.random.default_rng(3).normal(size=(1, 1, 3001))
    labels = np.array([[2999]])
    found = MaskedCrossentropy(dtype=dtype)(labels, logits)
    expected = MaskedCrossentropy()(labels, logits)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
