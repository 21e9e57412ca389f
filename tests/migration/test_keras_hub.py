"""KerasHub's backbones, made from a config: nothing is downloaded."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.migration import KerasHubAttention

# It must be a hundred modules at once, and some of them warn.
pytestmark = [
    pytest.mark.exhaustive,
    pytest.mark.tensorflow_only,
    pytest.mark.filterwarnings("default"),
]
keras_hub = pytest.importorskip("keras_hub", exc_type=ImportError)

VOCABULARY, LENGTH = 29, 13
IDS = np.random.default_rng(0).integers(1, VOCABULARY, (2, LENGTH))
REAL = np.arange(LENGTH) < np.array([[LENGTH], [8]])
TOKENS = {"token_ids": IDS, "padding_mask": REAL}


def bert():
    return keras_hub.models.BertBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=2,
        num_heads=2,
        hidden_dim=12,
        intermediate_dim=17,
        max_sequence_length=LENGTH,
    )


def gemma(**options):
    return keras_hub.models.GemmaBackbone(
        vocabulary_size=VOCABULARY,
        num_layers=2,
        num_query_heads=4,
        num_key_value_heads=2,
        hidden_dim=12,
        intermediate_dim=34,
        head_dim=6,
        **options,
    )


def gpt2():
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=VOCABULARY,
        num_layers=2,
        num_heads=2,
        hidden_dim=12,
        intermediate_dim=17,
        max_sequence_length=LENGTH,
    )


SECOND_GEMMA = {
    "logit_soft_cap": 3.0,
    "use_sliding_window_attention": True,
    "sliding_window_size": 5,
}
BACKBONES = {
    "bert": (bert, 2),
    "gemma": (gemma, 2),
    "gemma 2": (lambda: gemma(**SECOND_GEMMA), 2),
    "gpt2": (gpt2, 2),
}


def moved(weights):
    """Weights with which nothing cancels."""
    generator = np.random.default_rng(1)
    return [w + 0.3 * generator.normal(size=w.shape) for w in weights]


def outputs(model, inputs):
    result = keras.tree.flatten(model.predict(inputs, verbose=0))
    return [x[REAL] if x.ndim == 3 else x for x in result]


@pytest.mark.parametrize("name", list(BACKBONES))
def test_backbone_keeps_its_numbers(name):
    make, count = BACKBONES[name]
    model = make()
    model.set_weights(moved(model.get_weights()))
    inputs = dict(TOKENS)
    if name == "bert":
        inputs["segment_ids"] = np.zeros_like(IDS)
    before = outputs(model, inputs)
    weight_paths = sorted(w.path for w in model.weights)
    replacement = ka.replace_attention(model)
    assert replacement.model is model
    assert len(replacement.changed) == count and not replacement.kept
    assert sorted(w.path for w in model.weights) == weight_paths
    for one, other in zip(outputs(model, inputs), before, strict=True):
        assert np.abs(other).max() > 0.1
        np.testing.assert_allclose(one, other, atol=2e-4)


@pytest.mark.parametrize("options", [{}, SECOND_GEMMA])
def test_generate_of_gemma_keeps_its_tokens(options):
    backbone = gemma(**options)
    backbone.set_weights(moved(backbone.get_weights()))
    model = keras_hub.models.GemmaCausalLM(backbone=backbone)
    prompt = {"token_ids": IDS, "padding_mask": np.arange(LENGTH) < 4}
    prompt["padding_mask"] = np.tile(prompt["padding_mask"], (2, 1))
    before = model.generate(prompt, stop_token_ids=None)["token_ids"]
    replacement = ka.replace_attention(model)
    assert len(replacement.changed) == 2
    after = model.generate(prompt, stop_token_ids=None)["token_ids"]
    assert not np.array_equal(before, IDS)
    np.testing.assert_array_equal(after, before)


def test_gemma_that_scales_otherwise_is_kept():
    model = gemma()
    for block in model.transformer_layers:  # the backbone's own option is lost
        block.attention.query_head_dim_normalize = False
    replacement = ka.replace_attention(model)
    assert not replacement.changed and len(replacement.kept) == 2
    assert "`query_head_dim_normalize` must be True" in str(replacement)


def test_saved_bert_loads_with_the_weights_of_the_replaced(tmp_path):
    model = ka.replace_attention(bert()).model
    model.set_weights(moved(model.get_weights()))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    inputs = {**TOKENS, "segment_ids": np.zeros_like(IDS)}
    for one, other in zip(
        outputs(loaded, inputs), outputs(model, inputs), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_source_cached_whole_is_attended_to():
    theirs = keras_hub.layers.CachedMultiHeadAttention(2, 3)
    query, value = (
        np.ones((2, 5, 6)),
        np.random.default_rng(2).normal(size=(2, 7, 6)),
    )
    expected = theirs(query, value)
    holder = keras.Sequential([theirs], name="mine")
    ours = ka.replace_attention(holder).model.layers[0]
    assert type(ours) is KerasHubAttention
    cache = ops.stack([ours.key_dense(value), ours.value_dense(value)], axis=1)
    output, same = ours(query, value, cache=cache)
    np.testing.assert_allclose(output, expected, atol=1e-5)
    np.testing.assert_array_equal(same, cache)
