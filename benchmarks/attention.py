"""Exact dot-product attention beside its peers: time, by length.

python benchmarks/attention.py [--lengths 1024,4096] [--batch 1]
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from measure import print_header
from measure import print_table
from measure import rows_of
from measure import time_in_turns

from keras_attention import masks
from keras_attention.functional import attend

HEADS, KEY_DIM = 8, 64


def inputs_of(batch, length):
    generator = np.random.default_rng(0)
    shape = (batch, length, HEADS, KEY_DIM)
    return [generator.normal(size=shape).astype("float32") for _ in range(4)]


def ours(causal):
    mask = masks.Causal() if causal else None
    return lambda q, k, v: attend(
        query=q, key=k, value=v, mask=mask, implementation="blockwise"
    )


def with_gradients(function, upstream):
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            loss = tf.reduce_sum(function(*tensors) * upstream)
        return tape.gradient(loss, tensors)

    return run


def tensorflow_peers(causal, backward, arrays):
    *tensors, upstream = map(tf.constant, arrays)

    def keras_attention(q, k, v):
        return keras.ops.dot_product_attention(q, k, v, is_causal=causal)

    functions = {}
    for name, function in (("Keras", keras_attention), ("ours", ours(causal))):
        if backward:
            function = with_gradients(function, upstream)
        for path, jit_compile in (("graph", False), ("XLA", True)):
            run = tf.function(function, jit_compile=jit_compile)
            functions[f"{name}, {path}"] = finished(run, tensors)
    return functions


def finished(run, tensors):
    return lambda: [x.numpy() for x in tf.nest.flatten(run(*tensors))]


def jax_peer(causal, backward, arrays):
    import jax

    *tensors, upstream = map(jax.numpy.asarray, arrays)

    def attention(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=causal)

    def loss(*tensors):
        return (attention(*tensors) * upstream).sum()

    run = jax.jit(jax.grad(loss, argnums=(0, 1, 2)) if backward else attention)
    return {"JAX, jit": lambda: jax.block_until_ready(run(*tensors))}


def torch_peer(causal, backward, arrays):
    try:
        import torch
    except ImportError:
        return {}
    *tensors, upstream = (
        torch.tensor(array).transpose(1, 2).contiguous() for array in arrays
    )

    def run():
        for tensor in tensors:
            tensor.requires_grad_(backward)
            tensor.grad = None
        output = torch.nn.functional.scaled_dot_product_attention(
            *tensors, is_causal=causal
        )
        if backward:
            output.backward(upstream)

    return {"PyTorch": run}


def check(causal, arrays):
    """The result before the speed: against float64, on the first queries."""
    query, key, value = (x[:, :, :1].astype("float64") for x in arrays[:3])
    scores = np.einsum("btnh,bsnh->bnts", query[:, :64], key) / KEY_DIM**0.5
    if causal:
        hidden = np.arange(key.shape[1]) > np.arange(64)[:, None]
        scores[..., hidden] = -np.inf
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = powers / powers.sum(axis=-1, keepdims=True)
    expected = np.einsum("bnts,bsnv->btnv", weights, value)
    output = ours(causal)(*map(tf.constant, arrays[:3]))[:, :64, :1]
    np.testing.assert_allclose(output, expected, rtol=0, atol=1e-5)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lengths", default="128,512,1024,4096")
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    print_header(f"Dot product, {HEADS} heads of {KEY_DIM}, milliseconds")
    for length in map(int, options.lengths.split(",")):
        arrays = inputs_of(options.batch, length)
        for causal in (False, True):
            check(causal, arrays)
            for backward in (False, True):
                case = (causal, backward, arrays)
                functions = {
                    **tensorflow_peers(*case),
                    **jax_peer(*case),
                    **torch_peer(*case),
                }
                timings = time_in_turns(functions)
                print(
                    f"\nlength {length}, {'causal' if causal else 'full'}, "
                    f"{'forward+backward' if backward else 'forward'}\n"
                )
                print_table(
                    ["", "median", "fastest", "times the best peer"],
                    rows_of(timings, {"ours, graph", "ours, XLA"}),
                )


if __name__ == "__main__":
    main()
