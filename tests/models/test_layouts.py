"""A model that is spread over devices trains as on one (JAX)."""

import contextlib
import os

import keras
import numpy as np
import pytest

from keras_attention.models import build_seq2seq
from keras_attention.models import layout_map

pytestmark = pytest.mark.skipif(
    os.environ["KERAS_BACKEND"] != "jax", reason="devices are those of JAX"
)

ROWS, SOURCE, TARGET = 6, 7, 5


def mesh_of(*shape):
    count = int(np.prod(shape))
    devices = keras.distribution.list_devices()[:count]
    return keras.distribution.DeviceMesh(shape, ["batch", "model"], devices)


def distribution_of(name):
    if name == "data":
        devices = keras.distribution.list_devices()[:3]
        return keras.distribution.DataParallel(devices=devices)
    layouts = layout_map(mesh_of(1, 2))
    return keras.distribution.ModelParallel(
        layout_map=layouts, batch_dim_name="batch"
    )


def trained(kind, distribution):
    """Returns the model after two steps, and its loss."""
    generator = np.random.default_rng(5)
    source = generator.integers(4, 17, (ROWS, SOURCE))
    target = generator.integers(4, 13, (ROWS, TARGET))
    source[1, 3:] = target[2, 2:] = 0
    inputs = {"source": source, "target": target}
    with distribution.scope() if distribution else contextlib.nullcontext():
        options = {"num_heads": 2} if kind == "transformer" else {}
        model = build_seq2seq(kind, 17, 13, units=4, dropout=0.0, **options)
        weights = np.random.default_rng(7)
        model.set_weights(
            [weights.normal(0, 0.3, w.shape) for w in model.get_weights()]
        )
        model.compile(
            keras.optimizers.SGD(0.5),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        found = model.fit(
            inputs, target, batch_size=3, verbose=0, shuffle=False
        )
    return model, found.history["loss"][0]


@pytest.fixture(scope="module")
def alone():
    return {kind: trained(kind, None) for kind in ("transformer", "bahdanau")}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("transformer", "data"), ("transformer", "model"), ("bahdanau", "model")],
)
def test_devices_together_train_as_one(kind, name, alone):
    model, loss = trained(kind, distribution_of(name))
    wanted, wanted_loss = alone[kind]
    assert loss == pytest.approx(wanted_loss, rel=1e-5)
    pairs = zip(model.get_weights(), wanted.get_weights(), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    if (kind, name) != ("transformer", "model"):
        return
    cut = {
        weight.path.split("/", 1)[1]
        for weight in model.weights
        if not weight.value.sharding.is_fully_replicated
    }
    attention = "decoder/stack/block_0/cross_attention"
    assert f"{attention}/key/kernel" in cut
    assert f"{attention}/attention_output/kernel" in cut
    assert f"{attention}/attention_output/bias" not in cut
    assert "encoder/embedding/embeddings" in cut
    assert len(cut) == 2 + 3 * 7 + 2 * 3 + 1


def test_axis_must_be_of_the_mesh():
    with pytest.raises(ValueError, match="`axis_name` must be one of"):
        layout_map(mesh_of(1, 1), "heads")
