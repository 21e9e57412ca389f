"""The paths that must give one answer: eager, graph with unknown sizes, XLA."""

import keras
import numpy as np
import pytest

PATHS_AND_DTYPES = {
    "tensorflow": [
        ("eager", "float64"),
        ("eager", "float32"),
        ("eager", "float16"),
        ("eager", "bfloat16"),
        ("graph", "float32"),
        ("xla", "float32"),
    ],
    "jax": [
        ("eager", "float32"),
        ("xla", "float16"),
        ("xla", "bfloat16"),
    ],
}[keras.backend.backend()]


@pytest.fixture(params=PATHS_AND_DTYPES, ids="-".join)
def path_and_dtype(request):
    return request.param


@pytest.fixture(params=list(dict(PATHS_AND_DTYPES)))
def path(request):
    return request.param


@pytest.fixture
def precise_dtype():
    """The finest dtype the backend computes in by default."""
    return "float32" if keras.backend.backend() == "jax" else "float64"


@pytest.fixture
def run_on():
    """run_on(path, function, arrays): calls it on a dict of arrays."""
    return _run_on


@pytest.fixture
def gradients():
    """gradients(function, tensors): a dict like `tensors`; for any path."""
    return _gradients


def _run_on(path, function, arrays):
    tensors = {
        name: keras.ops.convert_to_tensor(array)
        for name, array in arrays.items()
    }
    if path == "graph":
        function = _with_unknown_sizes(function, tensors)
    elif path == "xla" and keras.backend.backend() == "jax":
        import jax

        function = jax.jit(function)
    elif path == "xla":
        import tensorflow as tf

        function = tf.function(function, jit_compile=True, autograph=False)
    return keras.tree.map_structure(_as_array, function(tensors))


def _as_array(tensor):
    # NumPy cannot read a bfloat16 scalar of TensorFlow by itself.
    return np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)


def _with_unknown_sizes(function, tensors):
    """Traces it with the first two axes unknown, of what has four."""
    import tensorflow as tf

    def specification(tensor):
        shape = tensor.shape.as_list()
        if len(shape) == 4:
            shape[:2] = None, None
        return tf.TensorSpec(shape, tensor.dtype)

    signature = [{n: specification(t) for n, t in tensors.items()}]
    return tf.function(function, input_signature=signature, autograph=False)


def _gradients(function, tensors):
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(tensors)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = function(tensors)
    return tape.gradient(result, tensors)
