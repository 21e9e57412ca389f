"""Weights that are read of a model are those its layers would return."""

import keras
import numpy as np
import pytest

import keras_attention as ka

BATCH, TARGET, SOURCE, WIDTH = 2, 5, 7, 6


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def layer_named(model, path):
    """Returns the layer at a path of attributes."""
    for name in path.split("."):
        model = model[int(name)] if name.isdigit() else getattr(model, name)
    return model


def weights_by_itself(model, inputs, layer):
    """What a layer returns for the arguments that the model gives it."""
    calls = []
    call = layer.call

    def remembering(*args, **kwargs):
        calls.append((args, kwargs))
        return call(*args, **kwargs)

    vars(layer)["call"] = remembering
    try:
        model(inputs)
    finally:
        del vars(layer)["call"]
    ((args, kwargs),) = calls
    kwargs = {**kwargs, "return_attention_scores": True}
    return np.asarray(call(*args, **kwargs)[1])


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(1)
    source = rng.integers(4, 11, (BATCH, SOURCE))
    source[1, 4:] = 0
    target = rng.integers(4, 13, (BATCH, TARGET))
    target[:, 0] = 1
    return {"source": source, "target": target}


@pytest.fixture(scope="module")
def transformer(pairs):
    model = ka.Seq2Seq(
        ka.TransformerEncoder(11, 6, num_layers=1, num_heads=2),
        ka.TransformerDecoder(13, 6, num_layers=2, num_heads=3),
        max_length=8,
    )
    model(pairs)
    return model


def test_every_layer_of_a_transformer_is_read(transformer, pairs):
    before = np.asarray(transformer(pairs))
    weights = ka.read_attention(transformer, pairs)
    encoder, decoder = transformer.encoder.blocks, transformer.decoder.blocks
    layers = [
        encoder[0].self_attention,
        *(decoder[0].self_attention, decoder[0].cross_attention),
        *(decoder[1].self_attention, decoder[1].cross_attention),
    ]
    assert len(weights) == len(layers)
    for (name, read), layer in zip(weights.items(), layers, strict=True):
        assert name.endswith(f"/{layer.name}")
        expected = weights_by_itself(transformer, pairs, layer)
        np.testing.assert_array_equal(read, expected, err_msg=name)
        assert "call" not in vars(layer)
    shapes = [read.shape for read in weights.values()]
    assert shapes[0] == (BATCH, 2, SOURCE, SOURCE)
    assert shapes[1:3] == [(BATCH, 3, TARGET, n) for n in (TARGET, SOURCE)]
    np.testing.assert_array_equal(np.asarray(transformer(pairs)), before)


def test_layers_are_chosen_by_name_end_or_object(transformer, pairs):
    block = transformer.decoder.blocks[1]
    (name,) = ka.read_attention(transformer, pairs, [block.cross_attention])
    assert list(ka.read_attention(transformer, pairs, [name])) == [name]
    ends = ka.read_attention(transformer, pairs, "cross_attention")
    assert len(ends) == 2 and name in ends


def test_a_layer_that_holds_attention_is_read_when_named(transformer, pairs):
    decoder = transformer.decoder
    ((name, read),) = ka.read_attention(transformer, pairs, decoder).items()
    assert name == decoder.name
    expected = weights_by_itself(transformer, pairs, decoder)
    np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize("query_state", ["previous", "current"])
def test_mechanisms_of_recurrent_decoders_are_read(pairs, query_state):
    decoder = ka.RNNDecoder(
        13,
        5,
        ka.AdditiveAttention(3, name="additive"),
        query_state=query_state,
    )
    model = ka.Seq2Seq(ka.RNNEncoder(11, 4), decoder, max_length=8)
    ((name, read),) = ka.read_attention(model, pairs).items()
    assert name.endswith("/recurrent_cell/additive")
    expected = weights_by_itself(model, pairs, decoder)
    np.testing.assert_array_equal(read, expected)
    assert read[1, :, 4:].max() == 0 < read[1, :, :4].min()


def test_each_of_several_mechanisms_is_read():
    cell = ka.AttentionCell(
        keras.layers.GRUCell(5),
        [
            ka.AdditiveAttention(3, name="additive"),
            ka.DotProductAttention("general", name="dot"),
        ],
        name="cell",
    )
    network = ka.AttentionRNN(cell)
    inputs = random(BATCH, TARGET, 3)
    values = [random(BATCH, length, WIDTH) for length in (SOURCE, 11)]
    with ka.tap_attention(network) as weights:
        output = network(inputs, values)
    expected, scores = network(inputs, values, return_attention_scores=True)
    np.testing.assert_array_equal(output, expected)
    assert list(weights) == ["cell/additive", "cell/dot"]
    for read, score in zip(weights.values(), scores, strict=True):
        np.testing.assert_array_equal(read, score)
    assert "run" not in vars(cell)


def test_a_decoder_without_attention_has_nothing_to_read(pairs):
    decoder = ka.RNNDecoder(13, 5, cell="gru")
    model = ka.Seq2Seq(ka.RNNEncoder(11, 4), decoder, max_length=8)
    with pytest.raises(ValueError, match="`model` must be a model with layers"):
        ka.read_attention(model, pairs)


@pytest.fixture(scope="module")
def nested():
    """Layers of Keras and of the package, one of them in an inner model."""
    words = keras.Input((None, WIDTH))
    inner = keras.layers.MultiHeadAttention(2, 3, name="keras_heads")
    inner = keras.Model(words, inner(words, words), name="inner")
    x = inner(words)
    x = keras.layers.Attention(name="keras_dot")([x, words])
    shared = ka.MultiHeadAttention(3, 2, name="shared")
    x = shared(x, words)
    x = shared(x, words, use_causal_mask=True)
    return keras.Model(words, ka.SelfAttention(5, name="single")(x))


def test_nested_models_and_layers_of_keras_are_read(nested):
    x = random(BATCH, SOURCE, WIDTH)
    weights = ka.read_attention(nested, x)
    assert list(weights) == [
        *("inner/keras_heads", "keras_dot", "shared", "shared (2)", "single")
    ]
    ask = {"return_attention_scores": True}
    layer = nested.get_layer
    y, heads = layer("inner").get_layer("keras_heads")(x, x, **ask)
    y, dot = layer("keras_dot")([y, x], **ask)
    y, first = layer("shared")(y, x, **ask)
    y, second = layer("shared")(y, x, use_causal_mask=True, **ask)
    _, single = layer("single")(y, **ask)
    expected = heads, dot, first, second, single
    for (name, read), own in zip(weights.items(), expected, strict=True):
        np.testing.assert_allclose(read, own, rtol=1e-6, err_msg=name)


def test_an_error_in_the_block_leaves_the_layers_as_they_were(nested):
    with pytest.raises(ZeroDivisionError, match="zero"):
        with ka.tap_attention(nested):
            assert "call" in vars(nested.get_layer("shared"))
            1 / 0  # noqa: B018
    assert "call" not in vars(nested.get_layer("shared"))


def test_blocks_within_one_another_both_read(nested):
    x = random(BATCH, SOURCE, WIDTH)
    with ka.tap_attention(nested) as outer, ka.tap_attention(nested) as inner:
        nested(x)
    assert list(outer) == list(inner)
    np.testing.assert_array_equal(outer["shared"], inner["shared"])


def test_layers_that_build_makes_are_found():
    model = keras.Sequential([ka.TransformerEncoderBlock(2, 3, name="block")])
    (name,) = ka.read_attention(model, random(BATCH, SOURCE, WIDTH))
    assert name == "block/self_attention"


KINDS = {
    "additive": lambda: ka.AdditiveAttention(3),
    "coverage": lambda: ka.CoverageAttention(3),
    "differential": lambda: ka.DifferentialAttention(2, 3),
    "gaussian": lambda: ka.GaussianMixtureAttention(3, 2),
    "inducing": lambda: ka.InducedSetAttentionBlock(5, 2),
    "latent": lambda: ka.LatentAttention(2, 4, 5),
    "linear": lambda: ka.LinearAttention(2, 3),
    "local": lambda: ka.LocalAttention(2, 3),
    "low-rank": lambda: ka.LowRankAttention(2, 3, 5, max_length=SOURCE),
    "monotonic": lambda: ka.MonotonicAttention(3),
    "perceiver": lambda: ka.PerceiverEncoder(3, 1, 2),
    "pooled": lambda: ka.PooledAttention(2, 3, 2),
    "pooling": lambda: ka.AttentionPooling(3, num_heads=2),
    "pooling-additive": lambda: ka.AttentionPooling(
        attention=ka.AdditiveAttention(3)
    ),
    "set": lambda: ka.SetAttentionBlock(2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_layer_is_read(kind):
    layer = KINDS[kind]()
    x = random(BATCH, SOURCE, WIDTH)
    inputs = (x, x) if hasattr(layer, "needs_value") else (x,)
    output = layer(*inputs)
    with ka.tap_attention(layer) as weights:
        again = layer(*inputs)
    np.testing.assert_allclose(again, output, rtol=1e-5, atol=1e-6)
    assert len(weights) == {"inducing": 2, "perceiver": 2}.get(kind, 1)
    if len(weights) == 1:
        (read,) = weights.values()
        _, own = layer(*inputs, return_attention_scores=True)
        np.testing.assert_array_equal(np.reshape(read, np.shape(own)), own)


def test_low_precision_comes_as_float32():
    layer = ka.SelfAttention(5, dtype="bfloat16", name="layer")
    with ka.tap_attention(layer) as weights:
        layer(random(BATCH, SOURCE, WIDTH))
    assert weights["layer"].dtype == np.float32


def test_a_typing_error_is_told_the_nearest_name(nested):
    with pytest.raises(ValueError, match="`layers` must be.*'shared'.*'shard'"):
        ka.read_attention(nested, random(1, 3, WIDTH), ["shard"])


def test_a_layer_that_is_not_called_is_named(nested):
    inner = nested.get_layer("inner")
    message = "layers that the model calls.*'inner/keras_heads'"
    with pytest.raises(ValueError, match=message):
        with ka.tap_attention(nested, ["inner/keras_heads"]):
            pass
    assert inner.get_layer("keras_heads") is not None


@pytest.mark.tensorflow_only
def test_traced_calls_are_told_from_eager_ones(nested):
    import tensorflow as tf

    with pytest.raises(ValueError, match="The calls must be eager for 'keras"):
        with ka.tap_attention(nested, ["keras_dot"]):
            tf.function(nested)(random(1, 3, WIDTH))


def test_attention_that_is_never_built_says_so():
    layer = ka.MultiHeadAttention(2, 3, flash_attention=True)
    with pytest.raises(ValueError, match="flash_attention=True"):
        with ka.tap_attention(layer):
            layer(random(1, 3, WIDTH), random(1, 3, WIDTH))


def test_a_page_shows_what_was_read(nested):
    weights = ka.read_attention(nested, random(1, 3, WIDTH))
    page = ka.plots.view(weights, "abc", "abc").html
    assert all(f'"name":"{name}"' in page for name in weights)
