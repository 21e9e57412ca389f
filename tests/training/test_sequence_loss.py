"""The modes of tfa's sequence loss against its formula, in NumPy."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from keras_attention.training import MaskedCrossentropy
from keras_attention.training import SequenceLoss

NAMES = (
    "average_across_timesteps",
    "average_across_batch",
    "sum_over_timesteps",
    "sum_over_batch",
)
LABELS = np.array([[3, 1, 4, 2, 0], [5, 2, 0, 6, 0], [1, 0, 2, 0, 0]])
# 0 marks padding; the third token of all rows is left out, and a row too.
WEIGHTS = np.array(
    [[1.0, 0.5, 0.0, 2.0, 3.0], [0.25, 1.0, 0.0, 1.0, 0.0], [0.0] * 5]
)
MODES = [
    modes
    for modes in itertools.product((False, True), repeat=4)
    if not (modes[0] and modes[2]) and not (modes[1] and modes[3])
]


def random_logits(seed=3):
    draw = np.random.default_rng(seed)
    return 3 * draw.standard_normal((*LABELS.shape, 7))


def crossentropies(logits):
    logits = np.asarray(logits, "float64")
    total = np.log(np.exp(logits).sum(axis=-1))
    return total - np.take_along_axis(logits, LABELS[..., None], -1)[..., 0]


def divide_no_nan(x, y):
    return np.where(y == 0, 0.0, x / np.where(y == 0, 1.0, y))


def loss_of_tfa(losses, weights, modes):
    """`tfa.seq2seq.sequence_loss` 0.23, branch by branch."""
    average_timesteps, average_batch, sum_timesteps, sum_batch = modes
    losses = losses * weights
    counts = (weights != 0).astype("float64")
    if average_timesteps and average_batch:
        return divide_no_nan(losses.sum(), weights.sum())
    if sum_timesteps and sum_batch:
        return divide_no_nan(losses.sum(), counts.sum())
    if average_timesteps or average_batch:
        axis = 0 if average_batch else 1
        return divide_no_nan(losses.sum(axis), weights.sum(axis))
    if sum_timesteps or sum_batch:
        axis = 0 if sum_batch else 1
        return divide_no_nan(losses.sum(axis), counts.sum(axis))
    return losses


@pytest.mark.parametrize("modes", MODES, ids=str)
def test_each_mode_is_that_of_tfa(modes):
    logits = random_logits()
    options = dict(zip(NAMES, modes, strict=True))
    loss = SequenceLoss(**options)(LABELS, logits, WEIGHTS)
    expected = loss_of_tfa(crossentropies(logits), WEIGHTS, modes)
    assert loss.dtype == "float32"
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_defaults_are_those_of_tfa():
    config = SequenceLoss().get_config()
    assert [config[name] for name in NAMES] == [False, False, True, True]
    assert config["softmax_loss_function"] is None


@keras.saving.register_keras_serializable(package="tests")
def squared_gap(labels, logits):
    """As tfa calls it: flat, and by keyword."""
    assert labels.shape == (15,)
    gap = ops.max(logits, axis=-1) - ops.cast(labels, "float32")
    return gap * gap


def test_another_softmax_loss_function():
    logits = random_logits()
    loss = SequenceLoss(softmax_loss_function=squared_gap)
    expected = loss_of_tfa(
        (logits.max(-1) - LABELS) ** 2, WEIGHTS, (False, False, True, True)
    )
    config = keras.saving.serialize_keras_object(loss)
    for one in (loss, keras.saving.deserialize_keras_object(config)):
        np.testing.assert_allclose(
            one(LABELS, logits, WEIGHTS), expected, rtol=1e-5
        )


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0, 3.0])])
def test_without_weights_of_tokens_labels_0_are_padding(weights):
    logits = random_logits()
    average = SequenceLoss(True, True, False, False)
    np.testing.assert_allclose(
        average(LABELS, logits, weights),
        MaskedCrossentropy()(LABELS, logits, weights),
        rtol=1e-6,
    )


@pytest.mark.tensorflow_only
def test_nan_of_padding_reaches_neither_loss_nor_gradient():
    import tensorflow as tf

    spoilt = np.where(WEIGHTS[..., None] == 0, np.nan, random_logits())
    logits = tf.constant(spoilt, "float32")
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = SequenceLoss()(LABELS, logits, WEIGHTS)
    expected = SequenceLoss()(LABELS, random_logits(), WEIGHTS)
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    gradient = tape.gradient(loss, logits).numpy()
    assert np.isfinite(gradient).all()
    assert not gradient[WEIGHTS == 0].any()
    assert gradient[WEIGHTS != 0].any(axis=-1).all()


def test_modes_that_exclude_each_other_are_refused():
    message = "`sum_over_batch` must be False where average_across_batch=True"
    with pytest.raises(ValueError, match=message):
        SequenceLoss(average_across_batch=True)
    with pytest.raises(ValueError, match="`softmax_loss_function` must be a f"):
        SequenceLoss(softmax_loss_function="crossentropy")
    with pytest.raises(ValueError, match=r"`y_pred` must have shape \(batch"):
        SequenceLoss()(LABELS, random_logits()[0])


@pytest.mark.tensorflow_only
def test_fit_compiled_reports_the_loss():
    logits = random_logits().astype("float32")
    inputs = keras.Input(logits.shape[1:])
    model = keras.Model(inputs, keras.layers.Dense(7)(inputs))
    model.compile(keras.optimizers.SGD(0.0), SequenceLoss(), jit_compile=True)
    losses = crossentropies(model(logits).numpy())
    history = model.fit(
        logits, LABELS, sample_weight=WEIGHTS, batch_size=3, verbose=0
    ).history
    expected = loss_of_tfa(losses, WEIGHTS, (False, False, True, True))
    np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)
