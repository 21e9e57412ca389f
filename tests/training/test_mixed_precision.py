"""Training in half precision: it learns, scales its loss, and goes on."""

import itertools

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import training
from keras_attention.functional.fused.batches import current_batches
from keras_attention.training import train

WORDS = ["".join(letters) for letters in itertools.product("abcd", repeat=2)]
PAIRS = [(word, " ".join(word.upper())) for word in WORDS]
ARGUMENTS = {
    "kind": "cnn-transformer",
    "units": 16,
    "num_heads": 2,
    "target_unit": "symbols",
    "validation_pairs": PAIRS[::5],
    "batch_size": 5,
    "pad_to_multiple_of": 8,
    "attention_dropout": 0.0,
    "learning_rate": 0.01,
    "warmup_steps": 0,
    "monitor": "loss",
    "epochs": 2,
    "verbose": 0,
}
STEPS = 8


class Watch(keras.callbacks.Callback):
    """Keeps what each step shows, and crashes after one of them."""

    def __init__(self, last=None):
        super().__init__()
        self.last = last
        self.losses = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(logs["loss"])
        self.batches = current_batches()
        if len(self.losses) == self.last:
            raise RuntimeError("crash")


def assert_learns(losses):
    assert np.all(np.isfinite(losses))
    assert losses[-1] < 0.9 * losses[0]


@pytest.fixture(
    scope="module",
    params=[
        "mixed_float16",
        pytest.param("mixed_bfloat16", marks=pytest.mark.exhaustive),
    ],
)
def trained(request, tmp_path_factory):
    watch, folder = Watch(), tmp_path_factory.mktemp("half") / "model"
    arguments = {**ARGUMENTS, "dtype": request.param}
    model, card = train(PAIRS, folder, **arguments, callbacks=[watch])
    return {
        "dtype": request.param,
        "folder": folder,
        "model": model,
        "card": card,
        "watch": watch,
    }


def test_train_learns_in_half_precision(trained):
    model, dtype = trained["model"], trained["dtype"]
    assert_learns(trained["watch"].losses)
    is_scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert is_scaled == (dtype == "mixed_float16")
    assert int(model.optimizer.iterations) == STEPS
    assert {str(w.dtype) for w in model.trainable_weights} == {"float32"}
    assert trained["card"]["options"]["dtype"] == dtype
    assert trained["card"]["training"]["pad_to_multiple_of"] == 8
    loaded = ka.load(trained["folder"])
    assert loaded.dtype_policy.name == dtype
    attention = loaded.decoder.blocks[0].cross_attention
    assert (attention.compute_dtype, attention.dropout) == (dtype[6:], 0.0)


def test_train_declares_the_shapes_of_its_batches(trained):
    batches = trained["watch"].batches
    assert batches.shapes == ((5, 8, 8), (4, 8, 8))  # the latter held out
    assert batches.padding_is_last
    assert not current_batches().shapes  # nor after it


@pytest.mark.exhaustive
@pytest.mark.parametrize("trained", ["mixed_float16"], indirect=True)
def test_training_with_a_loss_scale_goes_on_where_it_stopped(trained, tmp_path):
    arguments = {**ARGUMENTS, "dtype": "mixed_float16", "checkpoint_every": 1}
    with pytest.raises(RuntimeError, match="crash"):
        train(PAIRS, tmp_path / "m", **arguments, callbacks=[Watch(3)])
    with pytest.raises(ValueError, match="`pad_to_multiple_of` must be what"):
        train(
            PAIRS,
            tmp_path / "m",
            **{**arguments, "pad_to_multiple_of": 4},
            resume=True,
        )
    rest = Watch()
    model, _ = train(
        PAIRS, tmp_path / "m", **arguments, resume=True, callbacks=[rest]
    )
    assert len(rest.losses) < STEPS
    for ours, theirs in zip(
        (*model.weights, *model.optimizer.variables),
        (*trained["model"].weights, *trained["model"].optimizer.variables),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.exhaustive
def test_training_aids_with_a_loss_scale():
    keras.utils.set_random_seed(11)
    model = ka.build_seq2seq("bahdanau", 13, 11, units=7, dtype="mixed_float16")
    model.compile(
        keras.optimizers.Adam(0.02),
        training.MaskedCrossentropy(),
        alignment_loss=training.DiagonalAlignmentLoss(0.5),
        scheduled_sampling=training.ScheduledSampling(0.25),
    )
    generator = np.random.default_rng(5)
    source = generator.integers(4, 13, size=(6, 5))
    labels = np.clip(source, 4, 10)
    target = np.pad(labels, [(0, 0), (1, 0)], constant_values=1)[:, :-1]
    watch = Watch()
    model.optimizer.build(model.trainable_variables)
    model.fit(
        {"source": source, "target": target},
        labels,
        epochs=12,
        batch_size=6,
        callbacks=[watch],
        verbose=0,
    )
    assert_learns(watch.losses)
    assert (
        float(model.optimizer.dynamic_scale) == 2.0**15
    )  # nothing was skipped
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())
