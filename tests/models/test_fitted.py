"""What Keras's `compile`, `fit` and `evaluate` are given, and what is kept."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import functional
from keras_attention import training
from keras_attention.training import SequenceLoss

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
STEPS, IDS = 4, 11


def seq2seq():
    encoder = keras.layers.Embedding(IDS, 6, mask_zero=True)
    return ka.Seq2Seq(encoder, ka.RNNDecoder(IDS, 5, seed=3))


def language_model():
    decoder = ka.DecoderOnlyTransformer(IDS, 6, num_heads=2, seed=3)
    return ka.LanguageModel(decoder)


def data(model, rows):
    draw = np.random.default_rng(rows)
    labels = draw.integers(3, IDS, (rows, STEPS))
    labels[0, 2:] = 0
    shifted = np.pad(labels, [(0, 0), (1, 0)], constant_values=1)[:, :-1]
    if isinstance(model, ka.LanguageModel):
        return shifted, labels
    source = draw.integers(3, IDS, (rows, 7))
    return {"source": source, "target": shifted}, labels


def keras_loss():
    return keras.losses.SparseCategoricalCrossentropy(
        from_logits=True, reduction="sum"
    )


@pytest.mark.parametrize("make_loss", [keras_loss, SequenceLoss])
@pytest.mark.parametrize("make", [seq2seq, language_model])
def test_a_weight_of_a_row_is_that_of_its_tokens(make, make_loss):
    model = make()
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    model.compile(
        "sgd", make_loss(), weighted_metrics=[accuracy], run_eagerly=True
    )
    for rows in (STEPS, 6):  # as many as steps, and not
        x, labels = data(model, rows)
        weights = np.arange(1.0, rows + 1)
        # Steps of padding, too, in a loss that takes weights as they are.
        each = weights[:, None] * (labels != 0)
        expected = model.evaluate(x, labels, sample_weight=each, verbose=0)
        for given in (weights, weights[:, None]):
            found = model.evaluate(x, labels, sample_weight=given, verbose=0)
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_weights_of_1_change_nothing():
    model = seq2seq()
    model.compile("sgd", SequenceLoss())
    x, labels = data(model, 3)
    assert (labels == 0).any()
    expected = model.evaluate(x, labels, verbose=0)
    found = model.evaluate(x, labels, sample_weight=np.ones(3), verbose=0)
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("make", [seq2seq, language_model])
def test_weights_of_classes_are_refused(make):
    model = make()
    model.compile("sgd", keras_loss())
    x, labels = data(model, 3)
    for call in (model.fit, model.train_on_batch):
        with pytest.raises(ValueError, match="`class_weight` must be None"):
            call(x, labels, class_weight={3: 2.0})


@pytest.mark.parametrize(
    "make",
    [seq2seq, pytest.param(language_model, marks=pytest.mark.exhaustive)],
)
def test_a_compiled_model_is_loaded_compiled(make, tmp_path):
    """With the state of its optimizer, so that both go on alike."""
    model = make()
    aids = {}
    if make is seq2seq:
        aids["alignment_loss"] = training.DiagonalAlignmentLoss(0.5)
        if IS_TENSORFLOW:
            aids["scheduled_sampling"] = training.ScheduledSampling(0.25)
    model.compile(
        keras.optimizers.Adam(0.1),
        training.MaskedCrossentropy(label_smoothing=0.1),
        metrics=[training.TokenAccuracy()],
        **aids,
    )
    x, labels = data(model, 3)
    model.fit(x, labels, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 1
    for name in aids:
        assert type(getattr(loaded._aids, name)) is type(aids[name])
    keras.utils.set_random_seed(5)
    expected = model.fit(x, labels, verbose=0).history
    keras.utils.set_random_seed(5)
    found = loaded.fit(x, labels, verbose=0).history
    assert set(found) == {"loss", "token_accuracy"}
    if "scheduled_sampling" not in aids:  # which draws by its own seed
        assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)
    for one, other in zip(
        loaded.evaluate(x, labels, verbose=0),
        model.evaluate(x, labels, verbose=0),
        strict=True,
    ):
        assert one == pytest.approx(other, abs=1e-5)


def test_a_model_that_was_not_compiled_is_loaded_so(tmp_path):
    model = seq2seq()
    model.save(tmp_path / "model.keras")
    assert not keras.saving.load_model(tmp_path / "model.keras").compiled


@pytest.mark.tensorflow_only
def test_a_step_that_was_traced_for_declared_batches_serves_no_others(
    monkeypatch,
):
    model = seq2seq()
    model.compile("sgd", keras_loss())
    x, labels = data(model, 3)
    declared, step = [], model.train_step

    def traced(batch):
        declared.append(functional.fused.batches.current_batches().shapes)
        return step(batch)

    monkeypatch.setattr(model, "train_step", traced)
    with functional.declared_batches([(3, 7, STEPS)]):
        for _ in range(2):
            model.fit(x, labels, verbose=0)
    for _ in range(2):
        model.fit(x, labels, verbose=0)
    with functional.declared_batches([(3, 7, STEPS)]):  # not traced again
        model.fit(x, labels, verbose=0)
    assert declared == [((3, 7, STEPS),), ()]
    model.compile("sgd", keras_loss())
    model.fit(x, labels, verbose=0)
    assert declared[2:] == [()]
