"""philipperemy's formulas in NumPy, and his package where it is installed."""

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import migration

BATCH, LENGTH, WIDTH, UNITS = 2, 7, 3, 5
STATES = np.random.default_rng(0).normal(size=(BATCH, LENGTH, WIDTH))
STATES = STATES.astype("float32")


class Kernel:
    def __init__(self, *shape):
        self.kernel = np.random.default_rng(sum(shape)).normal(size=shape)


class Attention:
    """The attributes of `attention.Attention` 5.0 after `build`."""

    built, name, units = True, "mine", UNITS
    dtype_policy = keras.DTypePolicy("float32")

    def __init__(self, score):
        self.score = score
        self.luong_w = Kernel(WIDTH, WIDTH)
        self.bahdanau_w1 = Kernel(WIDTH, WIDTH)
        self.bahdanau_w2 = Kernel(WIDTH, WIDTH)
        self.bahdanau_w2.kernel = self.bahdanau_w2.kernel[::-1]
        self.bahdanau_v = Kernel(WIDTH, 1)
        self.w_c = Kernel(2 * WIDTH, UNITS)


def oracle(layer):
    """`Attention.call` of the package `attention` 5.0."""
    output = np.zeros((BATCH, UNITS))
    for b, states in enumerate(STATES.astype("float64")):
        last = states[-1]
        scores = np.zeros(LENGTH)
        for s, state in enumerate(states):
            if layer.score == "luong":
                scores[s] = last @ (state @ layer.luong_w.kernel)
            else:
                hidden = last @ layer.bahdanau_w1.kernel
                hidden = np.tanh(hidden + state @ layer.bahdanau_w2.kernel)
                scores[s] = (hidden @ layer.bahdanau_v.kernel)[0]
        weights = np.exp(scores) / np.exp(scores).sum()
        both = np.concatenate([weights @ states, last])
        output[b] = np.tanh(both @ layer.w_c.kernel)
    return output


@pytest.mark.parametrize("score", ["luong", "bahdanau"])
def test_formula_is_carried(score):
    theirs = Attention(score)
    ours = migration.from_philipperemy(theirs)
    np.testing.assert_allclose(ours(STATES), oracle(theirs), atol=1e-5)
    assert ours.compute_output_shape(STATES.shape) == (len(STATES), UNITS)


@pytest.mark.tensorflow_only
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("score", ["luong", "bahdanau"])
def test_layer_of_the_package_keeps_its_numbers(score):
    package = pytest.importorskip("attention")
    theirs = package.Attention(units=UNITS, score=score)
    states = keras.layers.LSTM(WIDTH, return_sequences=True)(STATES)
    expected = theirs(states)
    ours = migration.from_philipperemy(theirs)
    np.testing.assert_allclose(ours(states), expected, atol=1e-5)


def test_model_with_a_mask_is_saved_and_ignores_padding(tmp_path):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(11, 3, mask_zero=True)(ids)
    layer = migration.ManyToOneAttention(UNITS, ka.AdditiveAttention(4))
    model = keras.Model(ids, layer(x, return_attention_scores=True))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    rows = np.array([[4, 5, 6, 0, 0], [7, 8, 9, 10, 3]])
    for one, other in zip(loaded(rows), model(rows), strict=True):
        np.testing.assert_array_equal(one, other)
    weights = np.array(model(rows)[1])
    assert (weights[0, 3:] == 0).all() and (weights[1] > 0).all()
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("score", ["dot", None])
def test_another_layer_is_refused(score):
    with pytest.raises(ValueError, match="`layer` must be a built `Attention`"):
        migration.from_philipperemy(Attention(score))


def test_states_without_a_length_are_refused():
    layer = migration.ManyToOneAttention(UNITS, ka.AdditiveAttention(4))
    with pytest.raises(ValueError, match="`inputs` must have shape"):
        layer(np.ones((2, 3)))
