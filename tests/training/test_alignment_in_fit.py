"""Alignment losses inside `Seq2Seq.fit`: what they add, and to whom."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.functional import diagonal_alignment_loss
from keras_attention.functional import guided_alignment_loss
from keras_attention.models.training_aids import Attended
from keras_attention.training import AlignmentLoss
from keras_attention.training import CoverageLoss
from keras_attention.training import DiagonalAlignmentLoss
from keras_attention.training import GuidedAlignmentLoss
from keras_attention.training import MaskedCrossentropy
from keras_attention.training import TokenAccuracy

LABELS = np.array([[5, 6, 7, 2], [8, 2, 0, 0], [0, 0, 0, 0]])
TARGET = np.array([[1, 5, 6, 7], [1, 8, 0, 0], [0, 0, 0, 0]])
SOURCE = np.array([[5, 4, 7, 6, 2], [6, 2, 0, 0, 0], [0, 0, 0, 0, 0]])
ALIGNMENT = np.eye(5)[np.array([[0, 1, 3, 4], [0, 1, 0, 0], [0, 0, 0, 0]])]
INPUTS = {"source": SOURCE, "target": TARGET}
GUIDED = {**INPUTS, "alignment": ALIGNMENT.astype("float32")}


DECODERS = {
    "luong": lambda: ka.RNNDecoder(
        13,
        5,
        ka.DotProductAttention("general"),
        query_state="current",
        cell="gru",
    ),
    "transformer": lambda: ka.TransformerDecoder(
        13, 6, num_layers=1, num_heads=2
    ),
}


def small_model(decoder="luong"):
    keras.utils.set_random_seed(3)
    encoder = keras.layers.Embedding(11, 7, mask_zero=True)
    return ka.Seq2Seq(encoder, DECODERS[decoder]())


def compiled(model, **options):
    optimizer = keras.optimizers.Adam(0.03)
    optimizer.build(model.trainable_variables)
    metrics = [TokenAccuracy()]
    model.compile(optimizer, MaskedCrossentropy(), metrics=metrics, **options)
    return model


def logits_and_weights(model):
    encoded = model.encode(SOURCE)
    return model.decoder(
        TARGET,
        encoded.values,
        encoded_mask=encoded.mask,
        return_attention_scores=True,
    )


def expected_loss(model, weight):
    logits, weights = logits_and_weights(model)
    losses = guided_alignment_loss(weights, LABELS != 0, SOURCE != 0, ALIGNMENT)
    guided = np.sum(losses) / np.sum(LABELS != 0)
    plain = float(MaskedCrossentropy()(LABELS, logits))
    return plain, plain + weight * guided


@pytest.mark.parametrize("decoder", DECODERS)
def test_guided_loss_is_added_in_training(decoder):
    guide = GuidedAlignmentLoss(weight=0.5)
    model = compiled(small_model(decoder), alignment_loss=guide)
    outputs = model(GUIDED, training=True)
    loss = model.compute_loss(GUIDED, LABELS, outputs)
    plain, expected = expected_loss(model, 0.5)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    evaluated = model.compute_loss(INPUTS, LABELS, model(INPUTS))
    np.testing.assert_allclose(evaluated, plain, rtol=1e-5)


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_guided_fit_moves_attention_to_the_alignments():
    model = small_model()
    guide = GuidedAlignmentLoss(weight=5.0)
    compiled(model, alignment_loss=guide)
    _, expected = expected_loss(model, 5.0)
    history = model.fit(GUIDED, LABELS, batch_size=3, epochs=97, verbose=0)
    np.testing.assert_allclose(history.history["loss"][0], expected, rtol=1e-5)
    assert 0 < history.history["token_accuracy"][-1] <= 1
    looked_at = np.argmax(logits_and_weights(model)[1], axis=-1)
    real = LABELS != 0
    np.testing.assert_array_equal(looked_at[real], ALIGNMENT.argmax(-1)[real])


def most_looked_at(weights, target_mask, source_mask):
    return ops.max(weights, axis=-1)


@pytest.mark.parametrize(
    "loss",
    [
        DiagonalAlignmentLoss(0.3, 2.0),
        CoverageLoss(2.0),
        AlignmentLoss(most_looked_at, 3.0),
    ],
    ids=["diagonal", "coverage", "any function"],
)
def test_losses_that_need_no_alignments(loss):
    model = compiled(small_model(), alignment_loss=loss)
    outputs = model(INPUTS, training=True)
    assert isinstance(outputs, Attended)
    parts = outputs.weights, LABELS != 0, SOURCE != 0
    found = model.compute_loss(INPUTS, LABELS, outputs)
    plain = MaskedCrossentropy()(LABELS, outputs.logits)
    np.testing.assert_allclose(found, plain + loss(*parts), rtol=1e-6)
    values = ops.convert_to_numpy(outputs.weights).max(axis=-1)
    if isinstance(loss, AlignmentLoss):
        expected = 3.0 * values[LABELS != 0].mean()
        np.testing.assert_allclose(loss(*parts), expected, rtol=1e-6)
    if isinstance(loss, CoverageLoss):
        expected = 2.0 * repeated(*parts[:2])
        np.testing.assert_allclose(loss(*parts), expected, rtol=1e-5)
    if isinstance(loss, DiagonalAlignmentLoss):
        of_each = ops.convert_to_numpy(diagonal_alignment_loss(*parts, 0.3))
        expected = 2.0 * of_each[LABELS != 0].mean()
        np.testing.assert_allclose(loss(*parts), expected, rtol=1e-5)
        assert expected > 0.01


def test_a_guided_loss_may_be_a_squared_error():
    weights = np.random.default_rng(3).random(ALIGNMENT.shape)
    parts = weights.astype("float32"), LABELS != 0, SOURCE != 0
    loss = GuidedAlignmentLoss("squared_error", 3.0)(*parts, ALIGNMENT)
    of_each = guided_alignment_loss(*parts, ALIGNMENT, "squared_error")
    expected = 3.0 * ops.convert_to_numpy(of_each)[LABELS != 0].mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def repeated(weights, target_mask):
    """The mean of equation 12 of See et al. over real targets, in loops."""
    losses = []
    weights = ops.convert_to_numpy(weights).astype("float64")
    for row, real in zip(weights, target_mask, strict=True):
        covered = np.zeros(row.shape[1])
        for attention in row[real]:
            losses.append(np.minimum(attention, covered).sum())
            covered = covered + attention
    return np.mean(losses)


def test_logits_alone_come_back_where_nothing_is_trained():
    model = compiled(small_model(), alignment_loss=GuidedAlignmentLoss())
    plain = model(GUIDED)
    np.testing.assert_allclose(plain, model(INPUTS, training=False))
    assert plain.shape == (3, 4, 13)
    model.compile("sgd")
    assert model(INPUTS, training=True).shape == (3, 4, 13)


def test_loss_of_no_real_target_is_zero():
    weights, nothing = np.ones((2, 3, 5)), np.zeros((2, 3), bool)
    source_mask = np.ones((2, 5), bool)
    guide = GuidedAlignmentLoss()
    assert float(guide(weights, nothing, source_mask, weights)) == 0.0
    assert float(DiagonalAlignmentLoss()(weights, nothing, source_mask)) == 0.0


@pytest.mark.parametrize(
    "loss",
    [
        GuidedAlignmentLoss("squared_error", 3.0),
        DiagonalAlignmentLoss(0.3, 2),
        CoverageLoss(2),
    ],
    ids=["guided", "diagonal", "coverage"],
)
def test_config_round_trip(loss):
    config = keras.saving.serialize_keras_object(loss)
    again = keras.saving.deserialize_keras_object(config)
    assert type(again) is type(loss)
    assert again.get_config() == loss.get_config()


def test_missing_alignments_and_bad_losses_are_refused():
    model = compiled(small_model(), alignment_loss=GuidedAlignmentLoss())
    outputs = model(INPUTS, training=True)
    with pytest.raises(ValueError, match="with the key 'alignment' too"):
        model.compute_loss(INPUTS, LABELS, outputs)
    with pytest.raises(ValueError, match="`alignment_loss` must be a callable"):
        compiled(model, alignment_loss="guided")
    with pytest.raises(ValueError, match="`function` must be a function of"):
        AlignmentLoss("coverage")
    with pytest.raises(ValueError, match="`kind` must be one of"):
        GuidedAlignmentLoss("ce")


def test_decoders_that_return_no_weights_are_refused():
    model = small_model()

    class Deaf(ka.RNNDecoder):
        def call(self, target, encoded, encoded_mask=None, training=None):
            return super().call(target, encoded, encoded_mask)

    deaf = ka.Seq2Seq(model.encoder, Deaf(13, 5))
    with pytest.raises(
        ValueError, match="None where the `call` of the decoder"
    ):
        compiled(deaf, alignment_loss=DiagonalAlignmentLoss())
