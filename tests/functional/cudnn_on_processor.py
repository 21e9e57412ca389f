"""What cuDNN computes, from the text of a program alone, on a processor.

Stands in for TensorFlow's bridge to XLA where no GPU is at hand. It reads the
call out of the module, its settings from the JSON, and its operands in the
order that XLA has, and computes softmax(scale QK^T + bias) V densely.
"""

import json
import re

import numpy as np
import tensorflow as tf

from keras_attention.functional.fused.bridge import call_module as run_by_xla

CALL = re.compile(r'custom_call @(\S+)\(.*?backend_config = "(.*?)"')
LOWEST = np.finfo("float32").min
CUDA = 1


class Bridge:
    """Has the functions of `functional.fused.bridge`; the platform is CUDA."""

    def __init__(self):
        self.called = []  # targets of calls, as they are traced or run

    def __len__(self):
        return len(self.called)

    def call_module(self, text, operands, shapes, dtypes):
        if "custom_call" not in text:
            if operands:  # XLA runs it everywhere
                return run_by_xla(text, operands, shapes, dtypes)
            return [tf.constant(CUDA)]
        target, settings = CALL.search(text).groups()
        self.called.append(target)
        config = json.loads(settings.replace("\\22", '"'))
        config = config["cudnn_fmha_backend_config"]
        compute = backward if target.endswith("Backward") else forward
        operands, lengths = list(operands), None
        if config["mask_type"].startswith("PADDING"):
            *operands, queries, keys = operands
            lengths = queries, keys
        results = compute(config, "ScaleBias" in target, lengths, *operands)
        for result, shape in zip(results, shapes, strict=True):
            assert tuple(result.shape) == tuple(shape)
        if lengths is not None:
            results = with_rubbish(results, lengths, target)
        pairs = zip(results, dtypes, strict=True)
        return [tf.cast(result, dtype) for result, dtype in pairs]


def with_rubbish(results, lengths, target):
    """NaN past the lengths, where nothing says that the library writes."""
    queries, keys = lengths
    of_results = [queries]
    if target.endswith("Backward"):
        of_results = [queries, keys, keys]
    found = list(results)
    for number, length in enumerate(of_results):
        position = tf.range(found[number].shape[1])
        is_real = (position < length[:, None])[:, :, None, None]
        found[number] = tf.where(is_real, found[number], np.nan)
    return found


def scores_of(config, lengths, query, key, bias):
    """Returns scores (B, N, T, S), float32, and what is visible of them."""
    group = query.shape[2] // key.shape[2]
    key = tf.repeat(tf.cast(key, "float32"), group, axis=2)
    scores = tf.einsum("btnh,bsnh->bnts", tf.cast(query, "float32"), key)
    scores = scores * config["fmha_scale"]
    if bias is not None:
        scores += tf.cast(bias, "float32")
    assert [
        int(x) for x in config["intermediate_tensor_shape"]["dimensions"]
    ] == (scores.shape.as_list())
    rows = tf.range(scores.shape[2])[:, None]
    columns = tf.range(scores.shape[3])
    visible = tf.ones(scores.shape, "bool")
    if config["mask_type"].endswith("CAUSAL"):
        visible &= columns <= rows
    if config["sliding_window_length"]:
        visible &= columns > rows - config["sliding_window_length"]
    if lengths is not None:
        # cuDNN is undefined where nothing is real.
        tf.debugging.assert_positive(tf.stack(lengths))
        queries, keys = (x[:, None, None, None] for x in lengths)
        visible &= (columns < keys) & (rows < queries)
    return scores, visible


def forward(config, has_bias, lengths, query, key, value, bias=None):
    assert has_bias == (bias is not None)
    scores, visible = scores_of(config, lengths, query, key, bias)
    logsumexp = tf.reduce_logsumexp(tf.where(visible, scores, LOWEST), axis=-1)
    weights = tf.exp(scores - logsumexp[..., None])
    weights = tf.where(visible, weights, 0.0)
    return grouped_product("bnts,bsnv->btnv", weights, value), logsumexp


def backward(
    config, has_bias, lengths, query, key, value, logsumexp, upstream, *rest
):
    *bias, output = rest
    assert has_bias == bool(bias)
    scores, visible = scores_of(
        config, lengths, query, key, bias[0] if bias else None
    )
    weights = tf.where(visible, tf.exp(scores - logsumexp[..., None]), 0.0)
    upstream, output = (tf.cast(x, "float32") for x in (upstream, output))
    dot = tf.reduce_sum(upstream * output, axis=-1)  # (B, T, N)
    change = grouped_product("btnv,bsnv->bnts", upstream, value)
    change = weights * (change - tf.transpose(dot, (0, 2, 1))[..., None])
    gradients = [
        grouped_product("bnts,bsnh->btnh", change, key) * config["fmha_scale"],
        summed(
            tf.einsum("bnts,btnh->bsnh", change, tf.cast(query, "float32")), key
        )
        * config["fmha_scale"],
        summed(tf.einsum("bnts,btnv->bsnv", weights, upstream), value),
    ]
    if bias:
        axes = [i for i in (0, 1) if bias[0].shape[i] == 1]
        gradients.append(tf.reduce_sum(change, axis=axes, keepdims=True))
    return gradients


def grouped_product(letters, left, right):
    """Products with keys or values that several heads share."""
    heads = left.shape[1] if letters.startswith("bnts") else left.shape[2]
    right = tf.repeat(
        tf.cast(right, "float32"), heads // right.shape[2], axis=2
    )
    return tf.einsum(letters, left, right)


def summed(gradient, like):
    """The gradient of what several heads share."""
    batch, length, heads, width = like.shape
    shape = (batch, length, heads, gradient.shape[2] // heads, width)
    return tf.reduce_sum(tf.reshape(gradient, shape), axis=3)
