"""Averages of weights against NumPy, from every kind of source."""

import copy

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention.training import KeepBest
from keras_attention.training import KeepLast
from keras_attention.training import average_weights


def small_model(seed=0, units=3, **options):
    encoder = keras.layers.Embedding(5, 2)
    model = ka.Seq2Seq(encoder, ka.RNNDecoder(7, units, **options))
    draw = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(draw.normal(size=weight.shape))
    return model


def mean_of(models):
    weights = [model.get_weights() for model in models]
    return [
        np.mean([np.asarray(w, "float64") for w in those], axis=0)
        for those in zip(*weights, strict=True)
    ]


def assert_weights(model, expected, tolerance=1e-6):
    for weight, wanted in zip(model.weights, expected, strict=True):
        found = np.asarray(weight.value).astype("float64")
        np.testing.assert_allclose(found, wanted, atol=tolerance)


def test_mean_of_models_leaves_them_as_they_are():
    models = [small_model(seed) for seed in range(3)]
    before = [model.get_weights() for model in models]
    averaged = average_weights(models)
    assert averaged not in models
    assert_weights(averaged, mean_of(models))
    for model, weights in zip(models, before, strict=True):
        assert_weights(model, weights, 0)
    source = np.array([[2, 3, 1]])
    assert averaged.generate(source, max_length=2).tokens.shape == (1, 1, 2)


def test_mean_is_set_in_place_where_asked():
    models = [small_model(seed) for seed in range(2)]
    expected = mean_of(models)
    assert average_weights(models, models[0]) is models[0]
    assert_weights(models[0], expected)


@pytest.mark.tensorflow_only
def test_folders_and_files_are_read(tmp_path):
    models = [small_model(seed) for seed in range(4)]
    models[0].save_folder(tmp_path / "folder")
    models[1].save_weights(tmp_path / "one.weights.h5")
    best = KeepBest(tmp_path / "best.npz", "loss")
    best.set_model(models[2])
    best.on_epoch_end(0, {"loss": 1.0})
    sources = [
        tmp_path / "folder",
        str(tmp_path / "one.weights.h5"),
        tmp_path / "best.npz",
        models[3],
    ]
    assert_weights(average_weights(sources), mean_of(models))
    assert_weights(average_weights(sources[1:], models[0]), mean_of(models[1:]))


def test_sums_are_in_float64():
    model = small_model()
    models = [copy.deepcopy(model) for _ in range(3)]
    # In float32, 1 + 2**24 is 2**24.
    for one, value in zip(models, (2.0**24, 1.0, 1.0), strict=True):
        for weight in one.weights:
            weight.assign(np.full(weight.shape, value))
    expected = np.float32((2.0**24 + 2.0) / 3)
    for weight in average_weights(models).weights:
        np.testing.assert_array_equal(weight, np.full(weight.shape, expected))


@pytest.mark.tensorflow_only
def test_half_precision_weights_are_numbers_not_bits(tmp_path):
    models = []
    for value in (1.0, 3.0):
        layer = keras.layers.Dense(2, use_bias=False, dtype="bfloat16")
        models.append(keras.Sequential([keras.Input((3,)), layer]))
        layer.kernel.assign(np.full((3, 2), value))
    keep = KeepLast(tmp_path)
    keep.set_model(models[1])
    keep.on_epoch_end(0)
    averaged = average_weights([models[0], *keep.paths()])
    assert_weights(averaged, [np.full((3, 2), 2.0)], 0)


@pytest.mark.tensorflow_only
def test_last_epochs_are_kept_and_averaged(tmp_path):
    inputs = np.arange(6, dtype="float32").reshape(3, 2)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    keep = KeepLast(tmp_path / "epochs", count=2)
    seen = []
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(model.get_weights())
    )
    model.compile(keras.optimizers.SGD(0.01), "mse", run_eagerly=True)
    model.fit(
        inputs, inputs[:, :1], epochs=3, callbacks=[keep, watch], verbose=0
    )
    assert [p.name for p in keep.paths()] == [
        "epoch-000002.npz",
        "epoch-000003.npz",
    ]
    averaged = average_weights(keep.paths(), model)
    expected = [(a + b) / 2 for a, b in zip(*seen[1:], strict=True)]
    assert_weights(averaged, expected)
    # An epoch that is run again after a crash replaces its file.
    keep.on_epoch_end(2)
    assert len(keep.paths()) == 2
    model.layers[-1].bias.assign([np.nan])
    keep.on_epoch_end(3)
    assert keep.paths()[-1].name == "epoch-000003.npz"
    # One that was removed is back after a loss of power, and left out.
    (tmp_path / "epochs" / "epoch-000001.npz").write_bytes(b"")
    assert keep.epochs() == [2, 3]


def test_what_does_not_fit_is_named(tmp_path):
    model = small_model()
    with pytest.raises(
        ValueError, match=r"of shape \(3, 12\)\. Received.*\(4, 16\)"
    ):
        average_weights([model, small_model(units=4)])
    with pytest.raises(ValueError, match="must all have .*weight"):
        average_weights([model, small_model(num_layers=2)])
    broken = small_model()
    broken.weights[1].assign(np.full(broken.weights[1].shape, np.inf))
    with pytest.raises(ValueError, match="whose weight .*NaN or infinity"):
        average_weights([model, broken])
    with pytest.raises(ValueError, match="`sources` must be a list .*one sou"):
        average_weights(model)
    with pytest.raises(
        ValueError, match="`sources` must be a list .*not empty"
    ):
        average_weights([])
    with pytest.raises(
        ValueError, match="`model` must be given where the first"
    ):
        average_weights([tmp_path / "a.npz"])
    with pytest.raises(ValueError, match=r"a\.npz' cannot be read"):
        average_weights([tmp_path / "a.npz"], model)
    with pytest.raises(ValueError, match=r"b\.weights\.h5' cannot be read"):
        average_weights([tmp_path / "b.weights.h5"], model)
    with pytest.raises(
        ValueError, match="`folder` must be a folder that holds"
    ):
        average_weights([tmp_path / "nothing"])
    with pytest.raises(ValueError, match="`count` must be a positive integer"):
        KeepLast(tmp_path, count=0)
