"""Attention on JAX: ours on Keras's JAX backend, and its peers."""

import jax
import numpy as np
from jax import numpy as jnp

from gpu_parts import cases
from gpu_parts.clock import NoRoom
from gpu_parts.clock import Program
from gpu_parts.clock import time_in_turns
from keras_attention import masks
from keras_attention.functional import AdditiveScore
from keras_attention.functional import attend
from keras_attention.functional import float32_products

# Shares of the device's memory: what a program may take, and from what on one
# that builds the score matrix is not even compiled.
ROOM, HOPELESS = 0.85, 3.0


def inputs(case, number):
    """Returns fresh random inputs on the device."""
    keys = jax.random.split(jax.random.key(number), len(case.shapes))
    tensors = [
        jax.random.normal(key, shape, "float32").astype(case.dtype)
        for key, shape in zip(keys, case.shapes, strict=True)
    ]
    if case.score == "additive":
        tensors[3] = 0.1 * tensors[3]
    return tensors


def checked_inputs(case, tensors):
    """Returns the inputs with no upstream gradient but that of some rows."""
    if not case.backward:
        return tensors
    *tensors, upstream = tensors
    chosen = jnp.asarray(cases.is_checked(case))
    zero = jnp.zeros((), upstream.dtype)
    return [*tensors, jnp.where(chosen, upstream, zero)]


def ours(case, implementation):
    """Returns the attention of this package as a function of tensors."""

    def run(query, key, value, *vector):
        score = {"score": AdditiveScore(*vector)} if vector else {}
        with float32_products(case.float32_products):
            return attend(
                query=query,
                key=key,
                value=value,
                mask=mask_of(case),
                implementation=implementation,
                **score,
            )

    return run


def mask_of(case):
    """Returns the `Mask` of a case, or None."""
    if case.mask == "full":
        return None
    if case.mask == "causal":
        return masks.Causal()
    return masks.SlidingWindow(case.window - 1, 0)


def dense(case):
    """The formula of Keras on TensorFlow, its dtypes as they are there."""

    def dot_product(query, key, value):
        scores = jnp.einsum("btnh,bsnh->bnts", query, key)
        scores = scores.astype("float32") * (1 / np.sqrt(case.width))
        if case.mask != "full":
            distance = jnp.arange(case.length)[:, None]
            distance = distance - jnp.arange(case.length)  # (T, S)
            visible = (distance >= 0) & (distance < (case.window or np.inf))
            scores = jnp.where(visible, scores, -0.7 * np.finfo("float32").max)
        weights = jax.nn.softmax(scores, axis=-1).astype(key.dtype)
        return jnp.einsum("bnts,bsnh->btnh", weights, value)

    def additive(query, key, value, vector):
        """`keras.layers.AdditiveAttention`, its scale given; one head."""
        query, key, value = (x[:, :, 0] for x in (query, key, value))
        scores = jnp.sum(
            vector * jnp.tanh(query[:, :, None] + key[:, None]), axis=-1
        )
        return (jax.nn.softmax(scores, axis=-1) @ value)[:, :, None]

    return additive if case.score == "additive" else dot_product


def of_jax(case, implementation):
    """`jax.nn.dot_product_attention`."""

    def run(query, key, value):
        window = None if case.window is None else (case.window - 1, 0)
        return jax.nn.dot_product_attention(
            query,
            key,
            value,
            is_causal=case.mask != "full",
            local_window_size=window,
            implementation=implementation,
        )

    return run


def with_gradients(function):
    """Returns a function of the inputs and an upstream gradient."""

    def run(*tensors):
        *tensors, upstream = tensors
        output, pull = jax.vjp(function, *tensors)
        return [output, *pull(upstream)]

    return run


FUNCTIONS = {
    "ours, auto": lambda case: ours(case, "auto"),
    "ours, fused": lambda case: ours(case, "fused"),
    "ours, blockwise": lambda case: ours(case, "blockwise"),
    "dense XLA": dense,
    "JAX, xla": lambda case: of_jax(case, "xla"),
    "JAX, cudnn": lambda case: of_jax(case, "cudnn"),
}
DENSE = ("dense XLA", "JAX, xla")


def compiled(name, case, tensors):
    """Returns the `Program` of that name."""
    function = FUNCTIONS[name](case)
    if case.backward:
        run = with_gradients(function)
    else:

        def run(*tensors):
            return [function(*tensors)]

    if name in DENSE:
        check_room(case.dense_bytes, of=HOPELESS)
    with jax.default_matmul_precision(case.precision):
        lowered = jax.jit(run).lower(*tensors)
    program = lowered.compile()
    memory = planned_bytes(program.memory_analysis())
    check_room(memory, planned=memory)
    return Program(
        program, jax.block_until_ready, numpy_results, memory, lowered.as_text()
    )


def check_room(needed, of=ROOM, planned=None):
    """Raises `NoRoom` if it is more than a share of the device's memory."""
    stats = jax.devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit", np.inf)
    if needed > of * limit:
        raise NoRoom(needed, limit, planned)


def planned_bytes(stats):
    """Returns what a compiled program takes besides its inputs."""
    return stats.temp_size_in_bytes + stats.output_size_in_bytes


def numpy_results(results):
    return [np.asarray(result) for result in results]


def peak_bytes():
    """Returns the device's (bytes in use, most ever in use), or None."""
    stats = jax.devices()[0].memory_stats()
    if not stats:
        return None
    return stats["bytes_in_use"], stats["peak_bytes_in_use"]


def rates(tiny):
    """Returns TFLOP/s of a bfloat16 product, and GB/s of a large copy."""
    size, entries = (256, 2**16) if tiny else (8192, 2**28)
    square = jax.random.normal(jax.random.key(0), (size, size), "bfloat16")
    long = jax.random.normal(jax.random.key(1), (entries,), "float32")
    product, copy = jax.jit(jnp.matmul), jax.jit(lambda x: x + 1)
    calls = {
        "product": lambda: product(square, square),
        "copy": lambda: copy(long),
    }
    programs = {
        name: Program(call, jax.block_until_ready, numpy_results)
        for name, call in calls.items()
    }
    medians, _ = time_in_turns(programs, ())
    return (
        2 * size**3 / medians["product"] / 1e9,
        2 * long.nbytes / medians["copy"] / 1e6,
    )
