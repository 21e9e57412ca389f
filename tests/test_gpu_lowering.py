"""Everything lowers for a GPU as one program, without a GPU at hand.

A program that had to ask Python, or a library of the host, on its way would
not lower, or would show it as a custom call.
"""

import inspect
import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from programs import calls_outside
from programs import lowered
from programs import tensor_shapes

import keras_attention as ka
from keras_attention import functional
from keras_attention import layers
from keras_attention import masks
from keras_attention import models
from keras_attention.export.ids import row_seeds
from keras_attention.export.signatures import Signatures
from keras_attention.functional import attend

BATCH, QUERIES, KEYS, WIDTH, KEY_WIDTH = 2, 5, 7, 6, 11
SOURCE_IDS, TARGET_IDS = 17, 13


def numbers(*shape):
    generator = np.random.default_rng(3)
    return tf.constant(generator.normal(size=shape), "float32")


def bits(*shape):
    return tf.constant(np.random.default_rng(4).random(shape) < 0.6)


QUERY = numbers(BATCH, QUERIES, WIDTH)
VALUE = numbers(BATCH, KEYS, KEY_WIDTH)
KEY_MASK = bits(BATCH, KEYS)

# name: a layer, the tensors it is called with, and the rest of the call.
LAYERS = {
    "AttentionPooling": (
        lambda: layers.AttentionPooling(2, 3, dropout=0.2),
        (QUERY,),
        {},
    ),
    "InducedSetAttentionBlock": (
        lambda: layers.InducedSetAttentionBlock(2, 3, dropout=0.2),
        (QUERY,),
        {},
    ),
    "MultiHeadAttentionBlock": (
        lambda: layers.MultiHeadAttentionBlock(3, 19, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "PerceiverEncoder": (
        lambda: layers.PerceiverEncoder(2, 1, 3, dropout=0.2),
        (QUERY,),
        {},
    ),
    "PoolingByMultiHeadAttention": (
        lambda: layers.PoolingByMultiHeadAttention(2, 3, dropout=0.2),
        (QUERY,),
        {},
    ),
    "SetAttentionBlock": (
        lambda: layers.SetAttentionBlock(3, dropout=0.2),
        (QUERY,),
        {},
    ),
    "AdditiveAttention": (
        lambda: layers.AdditiveAttention(19, normalize=True, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "DotProductAttention": (
        lambda: layers.DotProductAttention("general", dropout=0.2),
        (QUERY, VALUE),
        {"attention_mask": bits(BATCH, QUERIES, KEYS)},
    ),
    "DotProductAttention, distance": (
        lambda: layers.DotProductAttention("distance"),
        (QUERY, QUERY),
        {"use_causal_mask": True},
    ),
    "CoverageAttention": (
        lambda: layers.CoverageAttention(7, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "Dropout": (lambda: layers.Dropout(0.2), (QUERY,), {}),
    "ForwardAttention": (
        lambda: layers.ForwardAttention(
            score=layers.LocationSensitiveAttention(7, 3, 5),
            use_transition_agent=True,
            dropout=0.2,
        ),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "LocalAttention": (
        lambda: layers.LocalAttention(2, 7, predictive=True, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "LocationSensitiveAttention": (
        lambda: layers.LocationSensitiveAttention(
            7, 3, 5, cumulative=True, normalizer="entmax15"
        ),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "GaussianMixtureAttention": (
        lambda: layers.GaussianMixtureAttention(19, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "MonotonicAttention": (
        lambda: layers.MonotonicAttention(19, chunk_size=3, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "DifferentialAttention": (
        lambda: layers.DifferentialAttention(3, 4, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "LatentAttention": (
        lambda: layers.LatentAttention(
            3, 4, 7, query_latent_dim=5, dropout=0.2
        ),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "LinearAttention": (
        lambda: layers.LinearAttention(
            3, 5, functional.FavorFeatures(7, seed=2)
        ),
        (QUERY, QUERY),
        {"use_causal_mask": True},
    ),
    "LowRankAttention": (
        lambda: layers.LowRankAttention(3, 5, 2, 13, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "PooledAttention": (
        lambda: layers.PooledAttention(3, 5, 2, 3, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK},
    ),
    "MultiHeadAttention": (
        lambda: layers.MultiHeadAttention(3, 5, dropout=0.2),
        (QUERY, VALUE),
        {"value_mask": KEY_MASK, "use_causal_mask": True},
    ),
    "MultiHeadAttention, all options": (
        lambda: layers.MultiHeadAttention(
            4,
            5,
            value_dim=3,
            num_key_value_heads=2,
            sliding_window=3,
            flash_attention=True,
            logit_soft_cap=1.5,
            use_sink=True,
            use_gate=True,
            dropout=0.2,
        ),
        (QUERY, VALUE),
        {"attention_mask": masks.Lengths(tf.constant([0, 4]))},
    ),
    "LearnedPositionalEncoding": (
        lambda: layers.LearnedPositionalEncoding(11),
        (QUERY,),
        {},
    ),
    "MultiHeadAttention, rotary": (
        lambda: layers.MultiHeadAttention(
            3, 4, position=layers.RotaryEmbedding()
        ),
        (QUERY, QUERY),
        {"use_causal_mask": True},
    ),
    "MultiHeadAttention, relative keys": (
        lambda: layers.MultiHeadAttention(
            3, 4, position=layers.ShawRelativePosition(2), flash_attention=True
        ),
        (QUERY, QUERY),
        {"use_causal_mask": True},
    ),
    "PositionalEncoding": (layers.PositionalEncoding, (QUERY,), {}),
    "PositionalEncoding2D": (
        layers.PositionalEncoding2D,
        (numbers(BATCH, 3, QUERIES, WIDTH),),
        {},
    ),
    "SelfAttention": (
        lambda: layers.SelfAttention(5, dropout=0.2),
        (QUERY,),
        {"use_causal_mask": True},
    ),
    "AttentionRNN": (
        lambda: layers.AttentionRNN(
            layers.AttentionCell(
                keras.layers.GRUCell(5), layers.AdditiveAttention(3)
            )
        ),
        (QUERY, VALUE),
        {},
    ),
    "TransformerDecoderBlock": (
        lambda: layers.TransformerDecoderBlock(3, 19, dropout=0.2),
        (QUERY, VALUE),
        {},
    ),
    "TransformerEncoderBlock": (
        lambda: layers.TransformerEncoderBlock(3, 19, dropout=0.2),
        (QUERY,),
        {},
    ),
    "TransformerStack": (
        lambda: layers.TransformerStack(1, 3, 19, dropout=0.2),
        (QUERY,),
        {},
    ),
}
# Public names that are only parts of the layers above.
PARTS = {
    "AlibiBias",
    "AttentionCell",
    "AttentionMechanism",
    "AttentionOptions",
    "AttentionPosition",
    "LinearScaling",
    "NTKScaling",
    "RelativePositionBias",
    "RotaryEmbedding",
    "RotaryEmbedding2D",
    "ShawRelativePosition",
    "YaRNScaling",
}


def assert_runs_on_a_gpu(function, *arguments):
    program = lowered(function, *arguments, platform="GPU")
    assert "ENTRY" in program
    assert calls_outside(program) == set()


def values_of(variables):
    """The variables as tensors: a program for another device reads none."""
    return [tf.constant(variable.numpy()) for variable in variables]


def gradients_of(function, tensors):
    """Returns what `function` returns, and the gradients of its sum."""
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(tensors)
        total = tf.add_n([tf.reduce_sum(x) for x in tf.nest.flatten(result)])
    return result, tape.gradient(total, tensors)


@pytest.mark.parametrize("name", LAYERS)
def test_layer_lowers(name):
    make, inputs, call = LAYERS[name]
    layer = make()
    if not layer.built:
        layer.build(*(x.shape for x in inputs))

    if "training" in inspect.signature(layer.call).parameters:
        call = {**call, "training": True}

    def train(weights, state, inputs):
        def output(tensors):
            weights, inputs = tensors
            return layer.stateless_call(weights, state, *inputs, **call)[0]

        return gradients_of(output, (weights, inputs))

    weights = values_of(layer.trainable_variables)
    state = values_of(layer.non_trainable_variables)
    assert_runs_on_a_gpu(train, weights, state, inputs)


def test_every_layer_lowers():
    lowered_layers = {name.split(",")[0] for name in LAYERS}
    assert lowered_layers == set(layers.__all__) - PARTS


@pytest.mark.parametrize(
    ("score", "schedule"),
    [
        ("dot product", "tiles"),
        ("dot product", "batch"),
        ("additive", "tiles"),
        pytest.param("additive", "batch", marks=pytest.mark.exhaustive),
    ],
)
def test_blockwise_attention_lowers(score, schedule):
    units = 3
    tensors = {
        "query": numbers(BATCH, 521, 2, units),
        "key": numbers(BATCH, 1031, 1, units),
        "value": numbers(BATCH, 1031, 1, 5),
        "values": numbers(2, 9),
        "sink": numbers(2),
        "vector": numbers(units),
    }

    def output(tensors):
        tensors = dict(tensors)
        vector, values = tensors.pop("vector"), tensors.pop("values")
        if score == "additive":
            tensors["score"] = functional.AdditiveScore(vector)
        return attend(
            **tensors,
            bias=functional.DistanceBias(values, zero=4),
            mask=masks.Causal(500) & masks.Lengths(tf.constant([0, 700])),
            logit_soft_cap=1.5,
            dropout=functional.Dropout(0.2, seed=7),
            implementation="blockwise",
        )

    with functional.blockwise.schedule(schedule):
        assert_runs_on_a_gpu(lambda x: gradients_of(output, x), tensors)


MODELS = {
    "transformer": {"num_heads": 2, "feed_forward_units": 5},
    "bahdanau": {},
    "cnn-luong": {"cell": "gru"},
}


def small_model(kind):
    return ka.build_seq2seq(
        kind, SOURCE_IDS, TARGET_IDS, units=8, dropout=0.2, **MODELS[kind]
    )


SOURCE = tf.constant([[5, 9, 4, 8, 2], [7, 16, 2, 0, 0], [6, 2, 0, 0, 0]])
TARGET = tf.constant([[1, 5, 12, 2], [1, 4, 2, 0], [1, 9, 11, 2]])


def training_step(model):
    """Returns step(weights, state, source, target) of the model."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(weights, state, source, target):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            inputs = {"source": source, "target": target[:, :-1]}
            logits, state = model.stateless_call(
                weights, state, inputs, training=True
            )
            value = loss(target[:, 1:], logits, logits._keras_mask)
        gradients = tape.gradient(value, weights)
        # By hand: on TensorFlow, optimizers of Keras write to variables.
        pairs = zip(weights, gradients, strict=True)
        weights = [w - 0.1 * tf.convert_to_tensor(g) for w, g in pairs]
        return value, weights, state

    return step


@pytest.mark.parametrize("kind", MODELS)
def test_training_step_lowers(kind):
    model = small_model(kind)
    weights = values_of(model.trainable_variables)
    state = values_of(model.non_trainable_variables)
    step = training_step(model)
    assert_runs_on_a_gpu(step, weights, state, SOURCE, TARGET)


def of_unknown_lengths(function):
    """Returns the function, traced for (None, None) in place of ids."""
    ids = tf.TensorSpec((None, None), tf.int32)

    def call(weights, state, source, target):
        specs = tf.nest.map_structure(
            lambda x: tf.TensorSpec(x.shape, x.dtype), (weights, state)
        )
        traced = tf.function(
            function, input_signature=[*specs, ids, ids], autograph=False
        )
        return traced(weights, state, source, target)

    return call


FORWARD, BACKWARD = "__cudnn$fmhaSoftmax", "__cudnn$fmhaSoftmaxBackward"


@pytest.mark.parametrize(
    "dtype",
    [
        "mixed_bfloat16",
        pytest.param("mixed_float16", marks=pytest.mark.exhaustive),
    ],
)
@pytest.mark.parametrize(
    "lengths",
    ["known", pytest.param("unknown", marks=pytest.mark.exhaustive)],
)
def test_training_step_fuses_each_attention(dtype, lengths):
    """That of the encoder, that of the decoder, and that between them."""
    rows, source, target = 2, 131, 137
    model = ka.build_seq2seq(
        *("transformer", SOURCE_IDS, TARGET_IDS),
        units=16,
        num_heads=2,
        feed_forward_units=5,
        attention_dropout=0.0,
        dtype=dtype,
    )
    step = training_step(model)

    def declared(*arguments):
        with (
            functional.target_device("gpu"),
            functional.declared_batches(
                [(rows, source, target)], padding_is_last=True
            ),
        ):
            return step(*arguments)

    if lengths == "unknown":  # as `fit` has them, of batches of few shapes
        declared = of_unknown_lengths(declared)
    program = lowered(
        declared,
        values_of(model.trainable_variables),
        values_of(model.non_trainable_variables),
        tf.fill((rows, source), 5),
        tf.fill((rows, target + 1), 7),
        platform="GPU",
    )
    calls = re.findall(r'custom_call_target="([^"]*)"', program)
    assert sorted(calls) == [FORWARD] * 3 + [BACKWARD] * 3
    lengths = {source, target}
    for shape in tensor_shapes(program):
        assert sum(size in lengths for size in shape) < 2  # no score matrix


def test_training_step_with_dropout_of_weights_is_not_fused():
    """Why `attention_dropout` is an option of its own."""
    layer = layers.MultiHeadAttention(2, 8, dropout=0.1, dtype="bfloat16")
    inputs = tf.zeros((2, 131, 16), "bfloat16")
    layer.build(inputs.shape, inputs.shape)
    state = values_of(layer.non_trainable_variables)

    def program(training):
        def call(weights, inputs):
            with functional.target_device("gpu"):
                return layer.stateless_call(
                    weights, state, inputs, inputs, training=training
                )[0]

        weights = values_of(layer.trainable_variables)
        return lowered(call, weights, inputs, platform="GPU")

    assert calls_outside(program(training=False)) == {"custom-call", FORWARD}
    assert calls_outside(program(training=True)) == set()


def kept_shapes(program):
    """Shapes of the booleans and integers that a compiled program writes.

    What is inside a fusion stays in registers.
    """
    shapes = set()
    for computation in program.split("\n\n"):
        if "fused_computation" in computation.lstrip().split(" ")[0]:
            continue
        for sizes in re.findall(
            r"= \(?(?:pred|[us]\d+)\[([\d,]+)\]", computation
        ):
            shapes.add(tuple(map(int, sizes.split(","))))
    return shapes


@pytest.mark.parametrize("implementation", ["residual", "dense"])
def test_dropout_is_hashed_where_it_is_needed(implementation):
    """No generator is called, and no mask waits for the backward pass."""
    rows, length, heads, width = 2, 131, 3, 64

    def drop(tensor, seed):
        dropout = functional.Dropout(0.1, seed)
        if implementation == "residual":
            return tf.tanh(dropout.apply(tensor))
        return attend(
            query=tensor,
            key=tensor,
            value=tensor,
            dropout=dropout,
            implementation="dense",
        )

    def step(tensor, seed):
        with functional.target_device("gpu"):
            return gradients_of(lambda x: drop(x, seed), tensor)

    arguments = numbers(rows, length, heads, width), tf.constant([3, 5])
    program = lowered(step, *arguments, platform="GPU")
    assert "xor" in program and "rng" not in program
    assert calls_outside(program) == set()
    # What a GPU would fuse is not known here: what a processor fuses is.
    program = lowered(step, *arguments, stage="optimized_hlo")
    drawn = tensor_shapes(program)
    dropped = (rows, length, heads, width)
    if implementation == "dense":
        dropped = (rows, heads, length, length)
    assert dropped in drawn
    kept = kept_shapes(program)
    assert kept and max(map(math.prod, kept)) <= length * heads


SEARCHES = {
    "greedy": ka.Greedy(),
    "beam": ka.Beam(width=3, num_hypotheses=2, coverage_penalty=0.1),
    "sample": ka.Sample(top_k=5, top_p=0.9, seed=7),
}


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("kind", ["transformer", "bahdanau"])
def test_decode_loop_lowers(kind, search):
    model = small_model(kind)

    def decode(weights, source):
        mapping = list(zip(model.variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            return tuple(
                models.generate_tokens(model, source, SEARCHES[search], 6)
            )

    assert_runs_on_a_gpu(decode, values_of(model.variables), SOURCE)


@pytest.mark.exhaustive
def test_compiled_signature_lowers_and_is_fused_on_a_gpu_alone():
    model = ka.build_seq2seq(
        *("transformer", SOURCE_IDS, TARGET_IDS),
        units=16,
        num_heads=2,
        feed_forward_units=5,
        dtype="mixed_bfloat16",
    )

    def search(weights, source):
        mapping = list(zip(model.variables, weights, strict=True))

        def scope():
            return keras.StatelessScope(state_mapping=mapping)

        offered = Signatures(model, ka.Greedy(), 6, 131, scope)
        with functional.target_device("any"), scope():
            return tuple(
                offered.search_for(
                    {"source": source}, ka.Greedy(), row_seeds(source)
                )
            )

    arguments = values_of(model.variables), tf.fill((2, 131), 5)
    program = lowered(search, *arguments, platform="GPU")
    assert calls_outside(program) == {"custom-call", FORWARD}
    assert program.count(FORWARD) == 1  # that of the encoder; the rest is steps
    assert calls_outside(lowered(search, *arguments)) == set()


# --- what the tests above would catch ----------------------------------------


def test_call_of_python_does_not_lower():
    def call(x):
        return tf.numpy_function(np.sort, [x], tf.float32)

    with pytest.raises(ValueError, match="unsupported operations.*PyFunc"):
        assert_runs_on_a_gpu(call, numbers(3))


def test_call_of_a_library_is_seen():
    def call(x):
        return tf.linalg.eigh(x)[0]

    program = lowered(call, numbers(3, 3), platform="GPU")
    assert calls_outside(program) == {"custom-call", "Eigh"}
