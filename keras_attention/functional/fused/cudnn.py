"""cuDNN's flash attention as XLA calls it: the program, as StableHLO text.

XLA runs the call `__cudnn$fmhaSoftmax`, and its gradient, on NVIDIA GPUs. The
target is internal to XLA: names, operands and settings are those that JAX
0.10.2 writes, and a test compares them.

Letters: B batch, T query length, S key length, N heads, K key/value heads, H
width of a head.
"""

import dataclasses

from keras_attention.functional.fused.program import ELEMENTS
from keras_attention.functional.fused.program import Program
from keras_attention.functional.fused.program import Tensor


@dataclasses.dataclass(frozen=True)
class Problem:
    """One attention of known shape.

    Args:
        batch, queries, keys, num_heads, key_heads, width: sizes.
        dtype: "float16" or "bfloat16".
        scale: of the scores.
        is_causal: whether a query sees no key after it.
        window: how many keys a query sees, its own the last, or None.
        has_lengths: whether how many queries and how many keys of each row
            are real is given.
        bias_shape: shape of the bias, or None.
    """

    batch: int
    queries: int
    keys: int
    num_heads: int
    key_heads: int
    width: int
    dtype: str
    scale: float = 1.0
    is_causal: bool = False
    window: int | None = None
    has_lengths: bool = False
    bias_shape: tuple[int, ...] | None = None

    @property
    def query(self) -> Tensor:
        shape = (self.batch, self.queries, self.num_heads, self.width)
        return Tensor(shape, self.dtype, heads_first=True)

    @property
    def key(self) -> Tensor:
        """Of the keys, and of the values."""
        shape = (self.batch, self.keys, self.key_heads, self.width)
        return Tensor(shape, self.dtype, heads_first=True)

    @property
    def bias(self) -> list[Tensor]:
        """Of the bias; empty without one."""
        has_bias = self.bias_shape is not None
        return [Tensor(self.bias_shape, self.dtype)] if has_bias else []

    @property
    def logsumexp(self) -> Tensor:
        shape = (self.batch, self.num_heads, self.queries)
        return Tensor(shape, "float32")

    @property
    def lengths(self) -> list[Tensor]:
        """Of the lengths of queries and of keys; empty without them."""
        return [Tensor((self.batch,), "int32")] * (2 * self.has_lengths)


def forward(problem: Problem) -> Program:
    """Returns the program of the output and of the logsumexp of each row.

    Its operands are query, key, value, then the bias and the lengths of
    queries and keys, where there are any.
    """
    key = problem.key
    return Program(
        target=_target(problem, ""),
        settings=_settings(
            problem,
            bmm1_dot_dimension_numbers=((3, 3), ((0, 2), (0, 2))),
            bmm2_dot_dimension_numbers=((3, 1), ((0, 1), (0, 2))),
        ),
        operands=(problem.query, key, key, *problem.bias, *problem.lengths),
        results=(problem.query, problem.logsumexp),
    )


def backward(problem: Problem) -> Program:
    """Returns the program of the gradients of query, key, value, and bias.

    Its operands are query, key, value, logsumexp, gradient of the output,
    bias (where there is one), output, and the lengths, where there are any.
    """
    query, key = problem.query, problem.key
    return Program(
        target=_target(problem, "Backward"),
        settings=_settings(
            problem,
            bmm1_grad_gemm1_dot_dimension_numbers=((2, 1), ((0, 1), (0, 2))),
            bmm1_grad_gemm2_dot_dimension_numbers=((3, 1), ((0, 1), (0, 2))),
            bmm2_grad_gemm1_dot_dimension_numbers=((2, 1), ((0, 1), (0, 2))),
            bmm2_grad_gemm2_dot_dimension_numbers=((3, 3), ((0, 2), (0, 2))),
        ),
        operands=(
            *(query, key, key, problem.logsumexp, query),
            *(*problem.bias, query, *problem.lengths),
        ),
        results=(query, key, key, *problem.bias),
    )


def _target(problem, direction):
    bias = "" if problem.bias_shape is None else "ScaleBias"
    return f"__cudnn$fmha{bias}Softmax{direction}"


def _settings(problem, **products):
    """Returns what cuDNN is told.

    Args:
        problem: the `Problem`.
        **products: of each product its ((left, right) contracted axes,
            ((left, right) batch axes)).
    """
    mask = "CAUSAL" if problem.is_causal else ""
    if problem.has_lengths:
        mask = f"PADDING_{mask}" if mask else "PADDING"
    config = {
        "algorithm": {
            "algo_id": "0",
            "math_type": "TENSOR_OP_MATH",
            "tuning_knobs": {"17": "1", "24": "0"},
            "is_cudnn_frontend": True,
            "workspace_size": "0",
        },
        "fmha_scale": problem.scale,
        "intermediate_tensor_shape": _scores_shape(problem),
        "is_flash_attention": True,
        "mask_type": mask or "NO_MASK",
        **{name: _product(*axes) for name, axes in products.items()},
        "dropout_rate": 0.0,
        "seed": 42,
        "sliding_window_length": problem.window or 0,
        "max_seg_per_batch": 1,
        "is_paged_attention": False,
    }
    return {"operation_queue_id": "0", "cudnn_fmha_backend_config": config}


def _scores_shape(problem):
    sizes = problem.batch, problem.num_heads, problem.queries, problem.keys
    return {
        "element_type": ELEMENTS[problem.dtype].upper(),
        "dimensions": [str(size) for size in sizes],
        "tuple_shapes": [],
        "layout": {
            "dim_level_types": [],
            "dim_unique": [],
            "dim_ordered": [],
            "minor_to_major": ["3", "2", "1", "0"],
            "tiles": [],
            "element_size_in_bits": "0",
            "memory_space": "0",
            "index_primitive_type": "PRIMITIVE_TYPE_INVALID",
            "pointer_primitive_type": "PRIMITIVE_TYPE_INVALID",
            "dynamic_shape_metadata_prefix_bytes": "0",
        },
        "is_dynamic_dimension": [False] * 4,
    }


def _product(contracted, batches):
    (left, right), (left_batch, right_batch) = contracted, batches
    return {
        "lhs_contracting_dimensions": [str(left)],
        "rhs_contracting_dimensions": [str(right)],
        "lhs_batch_dimensions": [str(axis) for axis in left_batch],
        "rhs_batch_dimensions": [str(axis) for axis in right_batch],
    }
