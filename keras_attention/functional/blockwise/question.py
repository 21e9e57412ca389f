"""What is asked of blockwise attention, and which schedule answers it."""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_attention.functional import compiling
from keras_attention.functional import devices
from keras_attention.functional.additive import AdditiveKernel
from keras_attention.functional.blockwise.grid import BATCH
from keras_attention.functional.blockwise.grid import TILES
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.kernels import PLAIN
from keras_attention.functional.kernels import DotProductKernel
from keras_attention.functional.kernels import Products
from keras_attention.functional.precision import HALF
from keras_attention.functional.precision import multiplies_exactly
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore

# The graph holds both schedules; the device picks when it is placed.
EITHER = "either"
# (queries, keys) of a block. TILES: the best of ten shapes on two CPU cores
# (AVX2, heads of 64; benchmarks/attention.py). BATCH: by arithmetic alone, for
# no GPU was at hand. A score costs about 16 bytes of traffic (written and read
# twice in float32, the weight once each way in half). What is read and written
# anew at each step, 8 * V bytes per row, are 2 bytes per score with 256 keys,
# 1 with 512 and heads of 64; more keys would be hidden in vain where a mask
# cuts blocks.
BLOCK_SIZES = {TILES: (256, 256), BATCH: (256, 512)}
# Scores of a step of BATCH, by the same arithmetic: 2 ** 25 are 0.5 GB, 0.2 ms
# at 3 TB/s, beside which starting some ten kernels is small. Of additive scores
# it is the tanh of each unit that takes the time, so that fewer will do.
SCORES_PER_STEP = 2**25
UNITS_PER_STEP = 2**28
# (query, key) pairs of a row of the batch, where compiling takes about as long
# as it saves in a few calls, on the same cores.
PAIRS_TO_COMPILE = 1024 * 1024


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """What is asked, without the tensors that have a gradient.

    Args:
        largest_dense: (query, key) pairs up to which the answer is dense,
            where that is still to be chosen.
        schedule: TILES, BATCH or EITHER.
        mask: a `Mask` or None.
        bias: how to read the bias, or None; see `bias_gradients.part`.
        logit_soft_cap: number or None.
        dropout: a `Dropout` or None.
        block_sizes: (queries, keys) of a block; None for those of the
            schedule.
        scale: of the scores; None where the query has been scaled.
        is_exact: whether float32 is multiplied as float32 on a GPU.
    """

    largest_dense: int
    schedule: str
    mask: Any
    bias: Any
    logit_soft_cap: float | None
    dropout: Any
    block_sizes: tuple[int, int] | None = None
    scale: float | None = None
    is_exact: bool = dataclasses.field(default_factory=multiplies_exactly)

    def answer(
        self, by_grid: Callable, separately: Callable, *arguments: Any
    ) -> Any:
        """Returns the answer in the schedule asked for.

        Args:
            by_grid: by_grid(grid, *arguments) returns the answer in one
                schedule.
            separately: separately(question, *arguments) returns the answer
                to a question that asks for one schedule, as a program
                compiled by itself.
            *arguments: the `Inputs`, and what a gradient needs.
        """

        def tiles(question, *arguments):
            return by_grid(question.grid(arguments[0], TILES), *arguments)

        def compiled(question, *arguments):
            products = question._products(arguments[0])
            grid = question.grid(arguments[0], BATCH, products)
            return by_grid(grid, *arguments)

        def uncompiled(question, *arguments):
            return by_grid(question.grid(arguments[0], BATCH), *arguments)

        def portable_tiles(*arguments):
            # Where the device is not known the graph may be for a server.
            with compiling.portable():
                return tiles(*arguments)

        def compiled_separately(question, inputs, *rest):
            if not is_long(inputs.query, inputs.key):
                return uncompiled(question, inputs, *rest)
            question = dataclasses.replace(question, schedule=BATCH)
            return separately(question, inputs, *rest)

        arguments = (self, *arguments)
        if self.schedule == EITHER:
            return devices.by_device(
                devices.ANY,
                *(portable_tiles, compiled, compiled_separately),
                arguments,
            )
        if self.schedule == TILES:
            return tiles(*arguments)
        return devices.if_compiled(compiled, uncompiled, arguments)

    def grid(
        self,
        inputs: Inputs,
        schedule: str = TILES,
        products: Products | None = None,
    ) -> Grid:
        """Returns the grid of the blockwise answer.

        Args:
            inputs: the `Inputs`.
            schedule: TILES or BATCH.
            products: how an accelerator multiplies, where XLA compiles.
        """
        kernel = self.kernel(inputs)
        if products is not None:
            kernel = kernel.on_accelerator(products)
        return Grid.of(
            inputs,
            self.block_sizes or BLOCK_SIZES[schedule],
            scores_per_step=self._scores_per_step(inputs),
            schedule=schedule,
            products=products or PLAIN,
            kernel=kernel,
            mask=self.mask,
            bias=self.bias,
            logit_soft_cap=self.logit_soft_cap,
            dropout=self.dropout,
        )

    def score(self, inputs: Inputs) -> DotProductScore | AdditiveScore:
        """Returns the score of the query of the inputs."""
        if inputs.vector is None:
            return DotProductScore(1.0 if self.scale is None else self.scale)
        return AdditiveScore(inputs.vector)

    def kernel(self, inputs: Inputs) -> DotProductKernel | AdditiveKernel:
        """Returns what computes scores and their gradients."""
        score = self.score(inputs)
        return score.kernel(inputs.query, inputs.key, self.mask)

    def _scores_per_step(self, inputs):
        if inputs.vector is None:
            return SCORES_PER_STEP
        return max(UNITS_PER_STEP // max(inputs.vector.shape[-1], 1), 1)

    def _products(self, inputs):
        factors = [inputs.query, inputs.key, inputs.value]
        if inputs.vector is not None:  # only values are multiplied
            factors = [inputs.value]
        dtype, *others = {ops.dtype(tensor) for tensor in factors}
        is_half = dtype in HALF and not others
        return Products(dtype if is_half else None, self.is_exact)


def is_long(query: Any, key: Any) -> bool:
    """Whether compiling a call by itself pays off; False if not known."""
    queries, keys = query.shape[1], key.shape[1]
    is_known = queries is not None and keys is not None
    return is_known and queries * keys >= PAIRS_TO_COMPILE
