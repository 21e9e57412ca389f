"""Exact dot-product attention beside its peers: time, by length.

python benchmarks/attention.py [--quick] [--lengths 1024,4096] [--batches 1]
    [--cases full,causal] [--passes forward,backward] [--rounds 7]

Backward means forward and backward. Medians are also kept in attention.json,
so that a run of some sizes adds to the runs before it, and attention.png
draws how time grows with the length in all of them.
"""

from pathlib import Path

import keras
import measure
import numpy as np
import tensorflow as tf

from keras_attention import masks
from keras_attention.functional import attend

HEADS, KEY_DIM = 8, 64
LENGTHS = (128, 256, 512, 1024, 2048, 4096, 8192, 16384)
OURS = {"ours, graph", "ours, XLA"}
# Peers that build the score matrix are left out above this.
MOST_MEMORY = 8.0  # GiB
MATRICES = {"forward": 3, "backward": 6}  # that they hold at once
HERE = Path(__file__).parent


def inputs_of(batch, length):
    generator = np.random.default_rng(0)
    shape = (batch, length, HEADS, KEY_DIM)
    return [generator.normal(size=shape).astype("float32") for _ in range(4)]


def tensorflow_functions(causal, backward, arrays, with_peers):
    *tensors, upstream = map(tf.constant, arrays)

    def ours(q, k, v):
        mask = masks.Causal() if causal else None
        return attend(
            query=q, key=k, value=v, mask=mask, implementation="blockwise"
        )

    def theirs(q, k, v):
        return keras.ops.dot_product_attention(q, k, v, is_causal=causal)

    functions = {}
    for name, function in (("Keras", theirs), ("ours", ours)):
        if name == "Keras" and not with_peers:
            continue
        if backward:
            function = with_gradients(function, upstream)
        for path, jit_compile in (("graph", False), ("XLA", True)):
            run = tf.function(
                function, jit_compile=jit_compile, autograph=False
            )
            functions[f"{name}, {path}"] = lambda run=run: run(*tensors)
    return functions


def with_gradients(function, upstream):
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = function(*tensors)
            loss = tf.reduce_sum(output * upstream)
        return output, *tape.gradient(loss, tensors)

    return run


def jax_function(causal, backward, arrays):
    import jax

    tensors = [jax.numpy.asarray(array) for array in arrays]

    def attention(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=causal)

    def loss(*tensors_and_upstream):
        *tensors, upstream = tensors_and_upstream
        output = attention(*tensors)
        return (output * upstream).sum(), output

    def both(*tensors):
        gradient = jax.grad(loss, argnums=(0, 1, 2), has_aux=True)
        gradients, output = gradient(*tensors)
        return output, *gradients

    if backward:
        run = jax.jit(both)
        return {"JAX, jit": lambda: run(*tensors)}
    run = jax.jit(attention)
    return {"JAX, jit": lambda: run(*tensors[:3])}


def torch_function(causal, backward, arrays):
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
        if not backward:
            return output.transpose(1, 2)
        output.backward(upstream)
        results = output, *(tensor.grad for tensor in tensors)
        return [result.transpose(1, 2) for result in results]

    return {"PyTorch": run}


def reference(causal, arrays, queries):
    """Output and query gradient of the first head and some queries."""
    query, key, value, upstream = (x[0, :, 0].astype("float64") for x in arrays)
    scores = query[queries] @ key.T / KEY_DIM**0.5
    if causal:
        scores[np.arange(len(key)) > queries[:, None]] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    output = weights @ value
    slopes = upstream[queries] @ value.T
    slopes -= np.sum(upstream[queries] * output, axis=-1, keepdims=True)
    return output, (weights * slopes) @ key / KEY_DIM**0.5


def check(functions, causal, backward, arrays):
    queries = np.unique(np.linspace(0, arrays[0].shape[1] - 1, 61, dtype=int))
    output, gradient = reference(causal, arrays, queries)

    def cut(result):
        results = result[:2] if backward else [result]
        return [measure.view(x)[0, queries, 0] for x in results]

    expected = [output, gradient] if backward else [output]
    measure.check(functions, expected, cut)


def time_case(batch, length, case, passed, rounds, limit):
    causal, backward = case == "causal", passed == "backward"
    arrays = inputs_of(batch, length)
    matrix = batch * HEADS * length**2 * 4 / 2**30
    needed = MATRICES[passed] * matrix
    with_peers = needed <= MOST_MEMORY
    title = f"batch {batch}, length {length}, {case}, {passed}"
    if not with_peers:
        print(f"\n{title}: Keras and JAX left out, they need {needed:.0f} GiB")
    functions = tensorflow_functions(causal, backward, arrays, with_peers)
    if with_peers:
        functions |= jax_function(causal, backward, arrays)
    functions |= torch_function(causal, backward, arrays)
    check(functions, causal, backward, arrays)
    timings = measure.time_in_turns(functions, rounds)
    # Two products forward, five more backward; half of each where causal.
    flops = (14 if backward else 4) * batch * HEADS * length**2 * KEY_DIM
    flops = flops * (length + 1) / (2 * length) if causal else flops
    measure.print_timings(title, timings, OURS, flops, limit)
    return {
        f"{batch}/{length}/{case}/{passed}/{name}": timing.median
        for name, timing in timings.items()
    }


def plot(medians, path=HERE / "attention.png"):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = [(c, p) for c in ("full", "causal") for p in MATRICES]
    lengths = sorted({int(cell.split("/")[1]) for cell in medians})
    figure, axes = pyplot.subplots(
        2, 2, figsize=(10, 8), sharex=True, layout="constrained"
    )
    for (case, passed), axis in zip(panels, axes.flat, strict=True):
        lines = {}
        for cell, median in medians.items():
            batch, length, *panel, name = cell.split("/")
            if (int(batch), *panel) == (1, case, passed):
                lines.setdefault(name, []).append((int(length), median))
        for name, points in sorted(lines.items()):
            style = "o-" if name in OURS else "s--"
            axis.loglog(*zip(*sorted(points), strict=True), style, label=name)
        axis.set_title(
            f"{case}, {'forward + ' * (passed == 'backward')}{passed}"
        )
        axis.set_xticks(lengths, lengths)
        axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.legend()
    for axis in axes[1]:
        axis.set_xlabel("length")
    for axis in axes[:, 0]:
        axis.set_ylabel("milliseconds")
    figure.suptitle(f"Batch 1, {HEADS} heads of {KEY_DIM}, float32")
    figure.savefig(path, dpi=110)


def main():
    parser = measure.parser_of(
        __doc__,
        lengths=LENGTHS,
        batches=(1, 8),
        cases=("full", "causal"),
        passes=("forward", "backward"),
    )
    options = parser.parse_args()
    if options.quick:
        options.lengths, options.batches = (128, 1024), (1,)
    measure.print_header(f"Dot product, {HEADS} heads of {KEY_DIM}")
    limit = measure.product_rate(1024 if options.quick else 4096)
    print(f"Limit: a matrix product runs at {limit:.0f} GF/s.")
    medians = {}
    for batch in options.batches:
        for length in options.lengths:
            for case in options.cases:
                for passed in options.passes:
                    medians |= time_case(
                        batch, length, case, passed, options.rounds, limit
                    )
    if not options.quick:
        plot(measure.keep(medians, HERE / "attention.json"))


if __name__ == "__main__":
    main()
