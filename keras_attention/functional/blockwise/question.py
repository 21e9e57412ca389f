"""What is asked of blockwise attention, and which schedule answers it."""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras_attention.functional import compiling
from keras_attention.functional import devices
from keras_attention.functional.additive import AdditiveKernel
from keras_attention.functional.blockwise.grid import BATCH
from keras_attention.functional.blockwise.grid import TILES
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.functional.blockwise.grid import Inputs
from keras_attention.functional.kernels import DotProductKernel
from keras_attention.functional.scores import AdditiveScore
from keras_attention.functional.scores import DotProductScore

# The graph holds both schedules; the device picks when it is placed.
EITHER = "either"
# (queries, keys) of a block: the best of ten shapes on two CPU cores (AVX2,
# heads of 64; benchmarks/attention.py).
BLOCK_SIZES = (256, 256)
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
        block_sizes: (queries, keys) of a block.
    """

    largest_dense: int
    schedule: str
    mask: Any
    bias: Any
    logit_soft_cap: float | None
    dropout: Any
    block_sizes: tuple[int, int] = BLOCK_SIZES

    def answer(
        self, inputs: Inputs, by_grid: Callable, separately: Callable
    ) -> Any:
        """Returns the answer in the schedule asked for.

        Args:
            inputs: the `Inputs`.
            by_grid: by_grid(grid) returns the answer in one schedule.
            separately: separately(question) returns the answer to a question
                that asks for one schedule, as a program compiled by itself.
        """

        def tiles():
            return by_grid(self.grid(inputs, TILES))

        def batch():
            return by_grid(self.grid(inputs, BATCH))

        def portable_tiles():
            # Where the device is not known the graph may be for a server.
            with compiling.portable():
                return tiles()

        def uncompiled():
            if not is_long(inputs.query, inputs.key):
                return batch()
            return separately(dataclasses.replace(self, schedule=BATCH))

        if self.schedule == EITHER:
            # As it was asked, wherever the gradient is taken.
            with devices.target_device(devices.ANY):
                return devices.by_device(portable_tiles, batch, uncompiled)
        return tiles() if self.schedule == TILES else batch()

    def grid(self, inputs: Inputs, schedule: str = TILES) -> Grid:
        """Returns the grid of the blockwise answer."""
        return Grid.of(
            inputs,
            self.block_sizes,
            schedule=schedule,
            kernel=self.kernel(inputs),
            mask=self.mask,
            bias=self.bias,
            logit_soft_cap=self.logit_soft_cap,
            dropout=self.dropout,
        )

    def score(self, inputs: Inputs) -> DotProductScore | AdditiveScore:
        """Returns the score of a query that has been scaled before."""
        if inputs.vector is None:
            return DotProductScore(scale=1.0)
        return AdditiveScore(inputs.vector)

    def kernel(self, inputs: Inputs) -> DotProductKernel | AdditiveKernel:
        """Returns what computes scores and their gradients."""
        score = self.score(inputs)
        return score.kernel(inputs.query, inputs.key, self.mask)


def is_long(query: Any, key: Any) -> bool:
    """Whether compiling a call by itself pays off; False if not known."""
    queries, keys = query.shape[1], key.shape[1]
    is_known = queries is not None and keys is not None
    return is_known and queries * keys >= PAIRS_TO_COMPILE
