"""The products of the dot-product score on blocks, and their gradients.

The blockwise path knows nothing else of a score: each score has a kernel with
these methods. Letters as in `blockwise/grid.py`.
"""

import dataclasses
from typing import Any

from keras import backend
from keras import ops

from keras_attention.functional.fused import bridge


@dataclasses.dataclass(frozen=True, eq=False)
class Products:
    """How the matrices of blocks are multiplied: decided here alone.

    All but the default need XLA, for which `keras.ops` has no words.

    Args:
        half: "float16" or "bfloat16": operands are rounded to it, and summed
            in float32, as matrix units like; None leaves them as they are.
        is_exact: float32 is multiplied as float32, never as the shorter TF32
            that GPUs take by default. Without it the setting of the backend
            rules: `tf.config.experimental.enable_tensor_float_32_execution`,
            `jax_default_matmul_precision`.
    """

    half: str | None = None
    is_exact: bool = False

    def multiply(
        self,
        left: Any,
        right: Any,
        transpose_left: bool = False,
        transpose_right: bool = False,
    ) -> Any:
        """Returns the products of matrices (P, K, A, B) and (P, K, B, C)."""
        transposes = transpose_left, transpose_right
        if self.half is not None:
            left, right = map(self.rounded, (left, right))
            return _multiply_halves(left, right, transposes)
        if self.is_exact and ops.dtype(left) == ops.dtype(right) == "float32":
            return _multiply_exactly(left, right, transposes)
        return _multiply(left, right, transposes)

    def rounded(self, tensor: Any) -> Any:
        """Returns an operand as it is multiplied."""
        return tensor if self.half is None else ops.cast(tensor, self.half)


PLAIN = Products()


@dataclasses.dataclass(frozen=True, eq=False)
class DotProductKernel:
    """Scores scale * q . k.

    Args:
        scale: a float. One for queries that have been scaled before.
        products: how blocks are multiplied.
    """

    scale: float = 1.0
    products: Products = PLAIN

    def on_accelerator(self, products: Products) -> "DotProductKernel":
        """Returns the kernel for many blocks at once, compiled by XLA."""
        return dataclasses.replace(self, products=products)

    def scores(self, query: Any, key: Any, vector: Any) -> Any:
        """Returns (P, K, R, J) from query (P, K, R, H), key (P, K, J, H)."""
        multiply = self.products.multiply
        if self._scales_queries:
            return multiply(self._scaled(query), key, transpose_right=True)
        return self._scaled(multiply(query, key, transpose_right=True))

    def gradients(
        self, query: Any, key: Any, vector: Any, scores_gradient: Any
    ) -> tuple[Any, Any, None]:
        """Returns the gradients of query and key; None for the vector."""
        multiply, upstream = self.products.multiply, scores_gradient
        if not self._scales_queries:
            upstream = self._scaled(upstream)
        query_gradient = multiply(upstream, key)  # (P, K, R, H)
        if self._scales_queries:
            query, query_gradient = map(self._scaled, (query, query_gradient))
        key_gradient = multiply(upstream, query, transpose_left=True)
        return query_gradient, key_gradient, None

    @property
    def _scales_queries(self):
        """Those are fewer numbers than scores, where nothing rounds them."""
        return self.products.half is None

    def _scaled(self, scores):
        return scores if self.scale == 1.0 else scores * self.scale


def _multiply(left, right, transposes):
    """As matrices of one batch axis, and transposed next to the product.

    XLA on CPU is up to a fifth slower otherwise.
    """
    heads = ops.shape(left)[:2]

    def matrices(tensor, transpose):
        sizes = ops.shape(tensor)[2:]
        tensor = ops.reshape(tensor, (heads[0] * heads[1], *sizes))
        return ops.transpose(tensor, (0, 2, 1)) if transpose else tensor

    pair = zip((left, right), transposes, strict=True)
    product = ops.matmul(*(matrices(*one) for one in pair))
    return ops.reshape(product, (*heads, *ops.shape(product)[1:]))


def _multiply_halves(left, right, transposes):
    if backend.backend() == "jax":
        return _multiply_by_jax(left, right, transposes)
    import tensorflow as tf

    return tf.raw_ops.BatchMatMulV3(
        x=left,
        y=right,
        adj_x=transposes[0],
        adj_y=transposes[1],
        Tout=tf.float32,
    )


def _multiply_exactly(left, right, transposes):
    if backend.backend() == "jax":
        from jax import lax

        return _multiply_by_jax(left, right, transposes, lax.Precision.HIGHEST)
    if not bridge.is_available():
        return _multiply(left, right, transposes)
    shape, *types = _types(left, right, transposes)
    text = _EXACT_PRODUCT.format(*_contracted(transposes), *types)
    (product,) = bridge.call_module(text, [left, right], [shape], ["float32"])
    return product


_EXACT_PRODUCT = """
module @product attributes {{jax.uses_shape_polymorphism = true}} {{
  func.func public @main(
      %platform: tensor<i32>, %left: {2}, %right: {3}) -> {4} {{
    %product = stablehlo.dot_general %left, %right,
        batching_dims = [0, 1] x [0, 1], contracting_dims = [{0}] x [{1}],
        precision = [HIGHEST, HIGHEST] : ({2}, {3}) -> {4}
    return %product : {4}
  }}
}}
"""


def _types(left, right, transposes):
    """Returns the shape of the product, and all three types as text."""
    rows = left.shape[3 if transposes[0] else 2]
    columns = right.shape[2 if transposes[1] else 3]
    shape = (*left.shape[:2], rows, columns)

    def text(shape):
        sizes = ("?" if size is None else str(size) for size in shape)
        return f"tensor<{'x'.join(sizes)}xf32>"

    return shape, *map(text, (left.shape, right.shape, shape))


def _contracted(transposes):
    """Returns which axis of left, and of right, is summed over."""
    return 2 if transposes[0] else 3, 3 if transposes[1] else 2


def _multiply_by_jax(left, right, transposes, precision=None):
    import jax
    from jax import lax

    contracted = tuple((axis,) for axis in _contracted(transposes))
    return lax.dot_general(
        left,
        right,
        dimension_numbers=(contracted, ((0, 1), (0, 1))),
        precision=precision,
        preferred_element_type=jax.numpy.float32,
    )
