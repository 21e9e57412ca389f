import collections

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from keras import ops
from programs import lowered
from programs import tensor_shapes

import keras_attention as ka
from keras_attention import migration

VOCABULARY, WIDTH = 11, 6
IDS = np.random.default_rng(0).integers(1, VOCABULARY, (3, 7))
IDS[1, 4:] = 0
FLOATS = np.random.default_rng(1).normal(size=(2, 5, WIDTH)).astype("float32")
# What Keras itself warns of when GroupQueryAttention meets a Keras mask.
KERAS_MASK_WARNING = pytest.mark.filterwarnings(
    "ignore:(?s).*does not support masking"
)


def functional_model(name="mine"):
    """All four layers as nodes, after a mask; no tensor is read twice by
    `MultiHeadAttention`, which would take its mask off."""
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(VOCABULARY, WIDTH, mask_zero=True)(ids)
    x = layers.Attention(use_scale=True, score_mode="concat")([x, x])
    x = layers.AdditiveAttention()([x, x, x])
    x = layers.Attention()([x, x], use_causal_mask=True)
    x = layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)
    x = layers.Dense(WIDTH, "tanh")(x)
    x = layers.GroupQueryAttention(5, 4, 2)(x, x)
    return keras.Model(ids, layers.Dense(2)(x), name=name)


Pair = collections.namedtuple("Pair", "additive others")


class Block(layers.Layer):
    """Attention as attributes, one of them twice, and in containers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self._attention = layers.MultiHeadAttention(2, 3, name="multi")
        self.again = self._attention
        grouped = layers.GroupQueryAttention(5, 4, 2, name="grouped")
        self.nested = [layers.Dense(WIDTH), (grouped,)]
        self.named = {"additive": layers.AdditiveAttention(name="additive")}
        self.pair = Pair(self.named["additive"], (self._attention,))

    def build(self, shape):
        self._attention.build(shape, shape)
        self.nested[0].build(shape)
        self.nested[1][0].build(query_shape=shape, value_shape=shape)
        self.pair.additive.build([shape, shape])

    def call(self, x):
        x = self._attention(x, x) + self.again(x, x)
        x = self.nested[0](x)
        x = self.nested[1][0](x, x)
        return self.named["additive"](inputs=[x, x])


@keras.saving.register_keras_serializable(package="tests")
class Subclassed(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.block = Block(name="block")
        self.out = layers.Dense(2)

    def build(self, shape):
        self.block.build(shape)
        self.out.build(shape)

    def call(self, x):
        return self.out(self.block(x))


def paths(items):
    return [item.path for item in items]


def gradients(model, inputs, real=None):
    with tf.GradientTape() as tape:
        output = model(inputs, training=True)
        if real is not None:
            output = ops.where(real[..., None], output, 0.0)
        loss = ops.sum(ops.square(output))
    return [
        ops.convert_to_numpy(ops.convert_to_tensor(gradient))
        for gradient in tape.gradient(loss, model.trainable_variables)
    ]


def assert_same_numbers(model, inputs, before, before_gradients, real=None):
    rows = ... if real is None else real
    assert np.abs(before[rows]).max() > 1e-3
    for output in (model(inputs), model.predict(inputs, verbose=0)):
        output = ops.convert_to_numpy(output)
        np.testing.assert_allclose(output[rows], before[rows], atol=1e-5)
    for one, other in zip(
        gradients(model, inputs, real), before_gradients, strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-4)


def trained(model, inputs):
    """Returns the outputs after one step of `fit`."""
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.optimizer.build(model.trainable_variables)
    target = np.ones((*inputs.shape[:2], 2), "float32")
    weight = (inputs > 0).astype("float32") if inputs.ndim == 2 else None
    model.fit(inputs, target, verbose=0, shuffle=False, sample_weight=weight)
    return ops.convert_to_numpy(model(inputs))


@KERAS_MASK_WARNING
@pytest.mark.tensorflow_only
def test_functional_model_keeps_its_numbers_before_and_after_a_step(tmp_path):
    keras.utils.set_random_seed(0)
    model = functional_model()
    before = ops.convert_to_numpy(model(IDS))
    real = IDS > 0
    before_gradients = gradients(model, IDS, real)
    weights = model.get_weights()
    after = trained(model, IDS)
    model.set_weights(weights)
    replacement = ka.replace_attention(model)
    new = replacement.model
    assert new is not model and not new.compiled
    kinds = [type(layer).__name__ for layer in new.layers[2:]]
    unprojected = ["UnprojectedAttention"] * 3
    assert kinds == [
        *unprojected,
        "MultiHeadAttention",
        "Dense",
        "MultiHeadAttention",
        "Dense",
    ]
    assert {type(layer).__module__.split(".")[0] for layer in new.layers} == {
        "keras",
        "keras_attention",
    }
    assert_same_numbers(new, IDS, before, before_gradients, real)
    new.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(IDS), new(IDS))
    np.testing.assert_allclose(trained(new, IDS)[real], after[real], atol=1e-5)


@pytest.mark.tensorflow_only
def test_subclassed_model_is_changed_in_place(tmp_path):
    keras.utils.set_random_seed(0)
    model = Subclassed(name="mine")
    model.build(FLOATS.shape)
    before = model.predict(FLOATS, verbose=0)
    before_gradients = gradients(model, FLOATS)
    weights = model.get_weights()
    weight_paths = [w.path for w in model.weights]
    after = trained(model, FLOATS)
    model.set_weights(weights)
    replacement = ka.replace_attention(model)
    assert replacement.model is model and not model.compiled
    assert paths(replacement.changed) == [
        "mine/block/multi",
        "mine/block/grouped",
        "mine/block/additive",
    ]
    assert type(model.block._attention) is ka.MultiHeadAttention
    assert model.block.again is model.block._attention
    assert type(model.block.nested[1][0]) is ka.MultiHeadAttention
    additive = model.block.named["additive"]
    assert isinstance(additive, migration.UnprojectedAttention)
    pair = model.block.pair
    assert pair.additive is additive
    assert pair.others[0] is model.block._attention
    assert [w.path for w in model.weights] == weight_paths
    for one, other in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert_same_numbers(model, FLOATS, before, before_gradients)
    np.testing.assert_allclose(trained(model, FLOATS), after, atol=1e-5)
    assert "made anew" in " ".join(replacement.notes)
    model.save_weights(tmp_path / "model.weights.h5")
    fresh = Subclassed()
    fresh.build(FLOATS.shape)
    fresh = ka.replace_attention(fresh).model
    fresh.load_weights(tmp_path / "model.weights.h5")
    np.testing.assert_allclose(fresh(FLOATS), model(FLOATS), atol=1e-5)


def test_attention_that_is_not_built_is_built_as_keras_builds_it():
    block = ka.replace_attention(Block()).model
    assert not block.built
    assert block(FLOATS).shape == FLOATS.shape
    additive = block.pair.additive
    assert type(additive) is migration.UnprojectedAttention
    shape = FLOATS.shape
    assert additive.compute_output_shape([shape, shape]) == shape


def test_other_models_of_the_same_layers_stay_whole(tmp_path):
    x = keras.Input((None, WIDTH))
    y = layers.MultiHeadAttention(2, 3)(layers.Dense(WIDTH)(x), x)
    y = layers.Dense(WIDTH)(y)
    encoder = keras.Model(x, y)
    model = keras.Model(x, layers.Dense(2)(y))
    before = ops.convert_to_numpy(encoder(FLOATS))
    replacement = ka.replace_attention(model)
    assert "`layer.output`" in " ".join(replacement.notes)
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(loaded(FLOATS), before)
    again = keras.Model(x, encoder.layers[-1].output)
    again = ka.replace_attention(again).model
    np.testing.assert_allclose(again(FLOATS), before, atol=1e-5)


@KERAS_MASK_WARNING
def test_nested_models_are_rebuilt_and_blocks_in_them_changed():
    inner = functional_model("inner")
    tokens = keras.Sequential([layers.Dense(WIDTH), Block(name="block")])
    model = keras.Sequential(
        [inner, keras.Sequential([layers.Dense(3)]), tokens], name="outer"
    )
    before = ops.convert_to_numpy(model(IDS))
    replacement = ka.replace_attention(model)
    assert len(replacement.changed) == 8 and not replacement.kept
    assert replacement.changed[0].path.startswith("outer/inner/attention")
    assert replacement.model.layers[1] is model.layers[1]
    whole = (IDS > 0).all(axis=1)
    assert whole.sum() >= 2
    after = ops.convert_to_numpy(replacement.model(IDS))
    np.testing.assert_allclose(after[whole], before[whole], atol=1e-5)


def test_shared_layer_is_replaced_by_one():
    attention = layers.MultiHeadAttention(2, 3)
    x = keras.Input((None, WIDTH))
    model = keras.Model(x, attention(attention(x, x), x))
    before = ops.convert_to_numpy(model(FLOATS))
    replacement = ka.replace_attention(model)
    assert len(replacement.changed) == 1
    assert len(replacement.model.layers) == 2
    np.testing.assert_allclose(replacement.model(FLOATS), before, atol=1e-5)


class Own(layers.MultiHeadAttention):
    def call(self, query, value, **options):
        return 2 * super().call(query, value, **options)


class LocalAttention(layers.Layer):
    def call(self, x):
        return x


class InASet(layers.Layer):
    def __init__(self):
        super().__init__(name="set")
        self.held = {layers.Attention(name="in_set")}
        self.attention = layers.Attention(name="taken")

    def call(self, x):
        return self.attention([x, x])


def test_what_is_kept_is_told():
    model = keras.Sequential(
        [LocalAttention(name="local"), InASet()], name="mine"
    )
    model.own = Own(2, 3, name="own")
    model.unfit = layers.GroupQueryAttention(
        5, 4, 2, activity_regularizer="l2", name="unfit"
    )
    replacement = ka.replace_attention(model)
    assert paths(replacement.changed) == ["mine/set/taken"]
    kept = {item.path: item.reason for item in replacement.kept}
    assert set(kept) == {
        f"mine/{name}" for name in ("local", "own", "unfit", "set/in_set")
    }
    assert "nothing is known" in kept["mine/local"]
    assert "a subclass" in kept["mine/own"]
    assert "`activity_regularizer` must be None" in kept["mine/unfit"]
    assert "does not keep it as an attribute" in kept["mine/set/in_set"]
    text = str(replacement)
    assert text.startswith("1 replaced:\n  mine/set/taken: keras.Attention -> ")
    assert "4 kept:" in text and "mine/own: tests" not in text


class Backbone(keras.Model):
    """Functional, with a constructor of its own: as KerasHub's are."""

    def __init__(self, width):
        x = keras.Input((None, width))
        y = layers.MultiHeadAttention(2, 3, name="node")(x, x)
        super().__init__(x, Block(name="block")(y), name="backbone")


def test_graph_that_cannot_be_rebuilt_keeps_its_nodes_only():
    model = Backbone(WIDTH)
    before = ops.convert_to_numpy(model(FLOATS))
    replacement = ka.replace_attention(model)
    assert replacement.model is model
    assert paths(replacement.kept) == ["backbone/node"]
    assert "cannot be rebuilt" in replacement.kept[0].reason
    assert len(replacement.changed) == 3
    np.testing.assert_allclose(model(FLOATS), before, atol=1e-5)


def test_graph_with_an_optional_input_is_kept():
    x, y = (
        keras.Input((None, WIDTH), name="x"),
        keras.Input((None, WIDTH), name="y", optional=True),
    )
    model = keras.Model([x, y], layers.Attention()([x, x]))
    (kept,) = ka.replace_attention(model).kept
    assert "an input is optional" in kept.reason


def test_model_without_attention_inside_another_stays_compiled():
    other = keras.Sequential([keras.Input((None, WIDTH)), layers.Dense(WIDTH)])
    other.compile("sgd", "mse")
    model = keras.Sequential([other, Block(name="block")])
    model.compile("sgd", "mse")
    ka.replace_attention(model)
    assert other.compiled and not model.compiled


def test_functional_subclass_without_constructor_keeps_its_class():
    class Mine(keras.Model):
        pass

    x = keras.Input((None, WIDTH))
    model = Mine(x, layers.MultiHeadAttention(2, 3)(x, x))
    assert type(ka.replace_attention(model).model) is Mine


class Residual(layers.Layer):
    """One attribute: Keras files its weights by the attribute's name."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.attention = layers.MultiHeadAttention(2, 3)

    def build(self, shape):
        self.attention.build(shape, shape)

    def call(self, x):
        return x + self.attention(x, x)


def test_saved_layer_of_somebody_else_loads_with_the_trained_weights(tmp_path):
    model = keras.Sequential([keras.Input((None, WIDTH)), Residual()])
    model = ka.replace_attention(model).model
    model.set_weights([w + 0.1 for w in model.get_weights()])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(
        tmp_path / "model.keras", custom_objects={"Residual": Residual}
    )
    kind = type(loaded.layers[0].attention)
    assert kind is layers.MultiHeadAttention
    np.testing.assert_allclose(loaded(FLOATS), model(FLOATS), atol=1e-5)


def test_nothing_is_changed_on_an_error(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("no graph today")

    x = keras.Input((None, WIDTH))
    y = layers.Attention()([Block(name="block")(x), x])
    model = keras.Model(x, y)
    before = ops.convert_to_numpy(model(FLOATS))
    block = model.get_layer("block")
    held = (block._attention, block.nested[1][0], block.named["additive"])
    monkeypatch.setattr(keras.models, "clone_model", broken)
    with pytest.raises(RuntimeError, match="no graph today"):
        ka.replace_attention(model)
    now = (block._attention, block.nested[1][0], block.named["additive"])
    assert all(a is b for a, b in zip(held, now, strict=True))
    np.testing.assert_array_equal(model(FLOATS), before)


def test_model_without_attention_is_left_alone():
    model = keras.Sequential([layers.Dense(3)], name="mine")
    model.compile("sgd", "mse")
    replacement = ka.replace_attention(model)
    assert replacement.model is model and model.compiled
    assert str(replacement) == "0 replaced\n0 kept\n0 notes"


def test_what_is_no_model_is_refused():
    with pytest.raises(ValueError, match="`model` must be a Keras model or"):
        ka.replace_attention("model.keras")


@pytest.mark.tensorflow_only
@pytest.mark.exhaustive
@pytest.mark.parametrize("is_replaced", [False, True])
def test_score_matrix_of_a_long_input_is_gone(is_replaced):
    length = 4096
    x = keras.Input((length, 8))
    y = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True)
    y = layers.AdditiveAttention()([y, y])
    model = keras.Model(x, y)
    if is_replaced:
        model = ka.replace_attention(model).model

    def loss_and_gradients(inputs):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model(inputs, training=True)))
        return loss, tape.gradient(loss, model.trainable_variables)

    program = lowered(loss_and_gradients, tf.zeros((1, length, 8)))
    matrices = [
        shape
        for shape in tensor_shapes(program)
        if sum(size >= length for size in shape) > 1
    ]
    assert bool(matrices) is not is_replaced
