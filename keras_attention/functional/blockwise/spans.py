"""Ranges of key blocks: several of them, visited one after the other."""

from typing import Any

from keras import ops

from keras_attention.masks import ranges


def visible(grid: Any, place: Any) -> tuple[Any, Any]:
    """Returns the ranges of key blocks of a `Grid` that each tile sees.

    As their first blocks and their sizes, (ranges,) or (P, ranges); no
    block is in two of them.
    """

    def of_one(row, query_block):
        seen = ((0, grid.key_length),)
        if grid.mask is not None:
            area = (*grid.queries(query_block), grid.key_length)
            seen = grid.mask.row(row).key_ranges(*area)
        blocks = [
            (
                ranges.maximum(first, 0) // grid.key_block,
                -(-ranges.minimum(last, grid.key_length) // grid.key_block),
            )
            for first, last in seen
        ]
        return tuple(
            ops.stack([ops.cast(end, "int32") for end in ends])
            for ends in zip(*blocks, strict=True)
        )

    indices = place.row, place.query_block
    if len(getattr(place.tile, "shape", ())) == 0:  # one tile
        return disjoint(*of_one(*indices))
    return disjoint(*ops.vectorized_map(lambda each: of_one(*each), indices))


def disjoint(first: Any, last: Any) -> tuple[Any, Any]:
    """Returns the first blocks and the sizes of ranges without overlap.

    Args:
        first: integer tensor (..., ranges), the first block of each.
        last: (..., ranges), the block after the last of each.
    """
    if first.shape[-1] == 1:
        return first, ops.maximum(last - first, 0)
    order = ops.argsort(first, axis=-1)
    first, last = (
        ops.take_along_axis(ends, order, axis=-1) for ends in (first, last)
    )
    parts, end = [], ops.zeros_like(first[..., 0])
    for number in range(first.shape[-1]):
        start = ops.maximum(first[..., number], end)
        end = ops.maximum(last[..., number], end)
        parts.append((start, ops.maximum(end - start, 0)))
    return tuple(ops.stack(x, axis=-1) for x in zip(*parts, strict=True))


def block_at(step: Any, first: Any, counts: Any) -> Any:
    """Returns the block that is visited at `step`, range after range.

    Args:
        step: integer tensor (..., 1), or a scalar.
        first: (..., ranges), as `disjoint` returns it.
        counts: likewise.
    """
    if first.shape[-1] == 1:
        return first[..., 0] + ops.reshape(step, ops.shape(first)[:-1])
    before = ops.cumsum(counts, axis=-1) - counts
    inside = ops.logical_and(step >= before, step < before + counts)
    block = ops.where(inside, first + step - before, 0)
    return ops.sum(block, axis=-1)
