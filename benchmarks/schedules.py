"""The two schedules of blockwise attention against dense, on any device.

python benchmarks/schedules.py [--quick] [--shapes 1x4096x8x64,32x2048x16x64]
    [--masks full,causal,window,lengths] [--implementations tiles,batch,dense]
    [--dtype float32] [--rounds 7] [--precision highest]

A shape is batch x length x heads x key_dim. KERAS_BACKEND=jax runs it on JAX,
which needs no TensorFlow. Results and gradients are compared with float64
first, at a small size; then forward and forward + backward are timed in turns,
each call on inputs not seen before. What runs out of memory is a dash.
"""

import argparse
import statistics
import time

import keras
import numpy as np
from keras import ops

from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional import blockwise

IS_JAX = keras.backend.backend() == "jax"
WINDOW = 256
CHECKED = (2, 611, 2, 16)  # batch, length, heads, key_dim
TOLERANCE = {"float32": 2e-4, "bfloat16": 5e-2, "float16": 1e-2}


def device_name():
    if IS_JAX:
        import jax

        return f"JAX {jax.__version__}, {jax.devices()[0].device_kind}"
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(x) for x in gpus[:1]]
    names = [x.get("device_name", "GPU") for x in details] or ["CPU"]
    return f"TensorFlow {tf.__version__}, {names[0]}"


def mask_of(name, batch, length):
    """Returns a mask, and the same as a function of float64 NumPy."""
    position = np.arange(length)
    distance = position[:, None] - position
    lengths = np.linspace(length // 4, length, batch).astype("int32")
    return {
        "full": (None, lambda: np.ones((1, 1, 1, 1), bool)),
        "causal": (masks.Causal(), lambda: distance >= 0),
        "window": (
            masks.SlidingWindow(WINDOW - 1, 0),
            lambda: (distance >= 0) & (distance < WINDOW),
        ),
        "lengths": (
            masks.Lengths(lengths),
            lambda: (position < lengths[:, None])[:, None, None],
        ),
    }[name]


def compiled(implementation, mask, with_gradients):
    """Returns a compiled function of query, key and value."""
    is_dense = implementation == "dense"

    def forward(*tensors):
        with blockwise.schedule("auto" if is_dense else implementation):
            return attend(
                **dict(zip(("query", "key", "value"), tensors, strict=True)),
                mask=mask,
                implementation="dense" if is_dense else "blockwise",
            )

    def loss(*tensors):
        return ops.sum(ops.square(ops.cast(forward(*tensors), "float32")))

    if IS_JAX:
        import jax

        if not with_gradients:
            return jax.jit(lambda *tensors: (forward(*tensors),))
        return jax.jit(jax.grad(loss, argnums=(0, 1, 2)))
    import tensorflow as tf

    def run(*tensors):
        if not with_gradients:
            return (forward(*tensors),)
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            total = loss(*tensors)
        return tape.gradient(total, tensors)

    return tf.function(run, jit_compile=True, autograph=False)


def inputs_of(shape, dtype, seed):
    return [
        ops.cast(keras.random.normal(shape, seed=3 * seed + part), dtype)
        for part in range(3)
    ]


def reference(tensors, visible):
    """Output and gradients of the sum of its squares, in float64 NumPy."""
    query, key, value = (
        ops.convert_to_numpy(ops.cast(x, "float32")).astype("float64")
        for x in tensors
    )
    scale = query.shape[-1] ** -0.5
    scores = np.einsum("btnh,bsnh->bnts", query, key) * scale
    powers = np.exp(scores) * visible
    weights = powers / powers.sum(axis=-1, keepdims=True)
    output = np.einsum("bnts,bsnh->btnh", weights, value)
    upstream = 2 * output
    slopes = np.einsum("btnh,bsnh->bnts", upstream, value)
    slopes -= (weights * slopes).sum(axis=-1, keepdims=True)
    slopes *= weights * scale
    return [
        output,
        np.einsum("bnts,bsnh->btnh", slopes, key),
        np.einsum("bnts,btnh->bsnh", slopes, query),
        np.einsum("bnts,btnh->bsnh", weights, upstream),
    ]


def check(implementation, name, dtype):
    """Raises a ValueError unless results and gradients are right."""
    mask, visible = mask_of(name, *CHECKED[:2])
    tensors = inputs_of(CHECKED, dtype, seed=1)
    expected = reference(tensors, visible())
    found = [
        *compiled(implementation, mask, False)(*tensors),
        *compiled(implementation, mask, True)(*tensors),
    ]
    for one, other in zip(found, expected, strict=True):
        one = ops.convert_to_numpy(ops.cast(one, "float32"))
        error = abs(one - other).max() / max(1.0, abs(other).max())
        if not error <= TOLERANCE[dtype]:
            raise ValueError(
                f"{implementation}, {name}, {dtype}: off by {error:.1e}. "
                f"Is --precision highest set? A GPU rounds float32 to TF32."
            )


def finish(results):
    """Waits for the results: one entry of each is read."""
    for tensor in results:
        float(ops.convert_to_numpy(ops.cast(tensor[0, 0, 0, 0], "float32")))


def time_in_turns(functions, shape, dtype, rounds):
    """Returns the median milliseconds of each; None where memory ends."""
    times = {name: [] for name in functions}
    for turn in range(rounds + 1):  # the first one compiles
        tensors = inputs_of(shape, dtype, seed=turn)
        finish(tensors)
        for name, function in functions.items():
            if times[name] is None:
                continue
            try:
                start = time.perf_counter()
                finish(function(*tensors))
                elapsed = time.perf_counter() - start
            except Exception as error:  # its class depends on the backend
                if "memory" not in str(error).lower():
                    raise
                times[name] = None
                continue
            if turn:
                times[name].append(elapsed)
    return {
        name: values and 1000 * statistics.median(values)
        for name, values in times.items()
    }


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shapes", default="1x4096x8x64,32x2048x16x64")
    parser.add_argument("--masks", default="full,causal,window,lengths")
    parser.add_argument("--implementations", default="tiles,batch,dense")
    parser.add_argument("--dtype", default="float32", choices=TOLERANCE)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--precision", help="of float32 products, on JAX")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.shapes, arguments.rounds = "2x521x2x16", 3
    return arguments


def main():
    arguments = parse()
    if arguments.precision and IS_JAX:
        import jax

        jax.config.update("jax_default_matmul_precision", arguments.precision)
    print(device_name(), arguments.dtype, arguments.precision or "")
    implementations = arguments.implementations.split(",")
    names = arguments.masks.split(",")
    for implementation in implementations:
        for name in names:
            check(implementation, name, arguments.dtype)
    print("All agree with float64. Milliseconds:")
    print(f"{'shape':18s}{'mask':9s}{'pass':10s}", *implementations, sep="\t")
    for text in arguments.shapes.split(","):
        shape = tuple(map(int, text.split("x")))
        for name in names:
            mask, _ = mask_of(name, *shape[:2])
            for with_gradients in (False, True):
                functions = {
                    implementation: compiled(
                        implementation, mask, with_gradients
                    )
                    for implementation in implementations
                }
                times = time_in_turns(
                    functions, shape, arguments.dtype, arguments.rounds
                )
                label = "backward" if with_gradients else "forward"
                cells = [f"{t:.2f}" if t else "-" for t in times.values()]
                print(
                    f"{text:18s}{name:9s}{label:10s}",
                    *cells,
                    sep="\t",
                    flush=True,
                )


if __name__ == "__main__":
    main()
