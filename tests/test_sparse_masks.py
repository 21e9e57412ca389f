"""Global tokens and random blocks: the pattern, and what is skipped."""

import dataclasses

import numpy as np
import pytest
from keras import ops

from keras_attention import MultiHeadAttention
from keras_attention import masks
from keras_attention.functional import attend
from keras_attention.functional.blockwise import schedule
from keras_attention.functional.blockwise.grid import TILES
from keras_attention.functional.blockwise.grid import Grid
from keras_attention.masks import packing

LENGTH, BLOCK = 96, 4
WINDOW = masks.SlidingWindow(5, 5)
LONGFORMER = WINDOW | masks.GlobalTokens(3)
RANDOM = masks.RandomBlocks(num_blocks=3, block_size=4, length=LENGTH, seed=1)
BIG_BIRD = LONGFORMER | RANDOM


def test_random_blocks_are_few_whole_and_from_each_stretch():
    dense = np.asarray(RANDOM.dense(LENGTH, LENGTH))
    total = LENGTH // 4
    by_block = dense.reshape(total, 4, total, 4)
    blocks = by_block[:, 0, :, 0]
    np.testing.assert_array_equal(
        by_block, np.broadcast_to(blocks[:, None, :, None], by_block.shape)
    )
    for stretch in np.split(blocks, 3, axis=1):
        np.testing.assert_array_equal(stretch.sum(1), 1)
    assert len({tuple(row) for row in blocks}) > total // 2  # rows differ
    other = masks.RandomBlocks(3, 4, LENGTH, seed=2).dense(LENGTH, LENGTH)
    assert np.any(dense != np.asarray(other))
    # Blocks are slices of the whole, past `length` in turn.
    found = RANDOM.block(LENGTH + 13, 11, ops.convert_to_tensor(7), 29)
    np.testing.assert_array_equal(found, dense[13:24, 7:36])


@pytest.mark.parametrize("queries", [(0, 4), (10, 21), (90, 96), (94, 99)])
def test_random_blocks_skip_no_key_that_is_seen(queries):
    start, end = queries
    seen = np.asarray(RANDOM.block(start, end - start, 0, LENGTH)).any(axis=0)
    for at in (int, ops.convert_to_tensor):
        inside = np.zeros(LENGTH, bool)
        for first, last in RANDOM.key_ranges(at(start), at(end), LENGTH):
            inside[int(first) : int(last)] = True
        assert not (seen & ~inside).any()
        first, last = RANDOM.key_range(at(start), at(end), LENGTH)
        assert not seen[: int(first)].any()
        assert not seen[int(last) :].any()


def visited_blocks(mask, length=LENGTH):
    """For each block of queries, the blocks of keys that it visits."""
    grid = Grid(
        1, length, length, 1, 1, BLOCK, BLOCK, TILES, kernel=None, mask=mask
    )
    visited = []
    for tile in range(length // BLOCK):
        blocks = []

        def visit(place, state, blocks=blocks):
            blocks.append(int(place.key_block))
            return (state,)

        grid.visit_keys(visit, grid._place(ops.convert_to_tensor(tile)), (0,))
        visited.append(blocks)
    return visited


@pytest.mark.tensorflow_only  # eager loops run Python there
@pytest.mark.parametrize(
    "mask",
    [WINDOW, LONGFORMER, BIG_BIRD, BIG_BIRD & masks.Causal()],
    ids=["window", "Longformer", "BigBird", "causal"],
)
def test_visits_the_blocks_that_hold_a_visible_key_and_no_others(mask):
    dense = np.asarray(mask.dense(LENGTH, LENGTH))
    count = LENGTH // BLOCK
    seen = dense.reshape(count, BLOCK, count, BLOCK).any(axis=(1, 3))
    visited = visited_blocks(mask)
    for blocks, expected in zip(visited, seen, strict=True):
        assert sorted(blocks) == np.flatnonzero(expected).tolist()
    # Linear: all but the block of global queries visits a few.
    assert max(map(len, visited[1:])) <= 5 + 1 + 3  # window, global, random


@pytest.mark.parametrize("kind", ["tiles", "batch"])
def test_blockwise_attention_equals_dense(kind):
    generator = np.random.default_rng(7)
    length = 521
    shape = (2, length, 1, 3)
    x = {
        name: generator.normal(size=shape).astype("float32")
        for name in ("query", "key", "value")
    }
    mask = masks.SlidingWindow(40, 40) | masks.GlobalTokens([3, 0])
    mask = mask | masks.RandomBlocks(1, 16, length, seed=3)
    mask = mask & masks.Lengths([500, 521])
    dense = attend(**x, mask=mask, implementation="dense")
    with schedule(kind):
        output = attend(**x, mask=mask, implementation="blockwise")
    np.testing.assert_allclose(output, dense, atol=1e-5)


@pytest.mark.parametrize(
    "offset", [7, np.array([7, 2])], ids=["one number", "per row"]
)
def test_patterns_know_where_a_cached_query_stands(offset):
    """Those of later queries are rows of the whole pattern."""
    starts = np.broadcast_to(offset, (2,))
    for whole, later in (
        (masks.GlobalTokens(5), masks.GlobalTokens(5, offset=offset)),
        (RANDOM, dataclasses.replace(RANDOM, offset=offset)),
    ):
        pattern = np.asarray(whole.dense(LENGTH, LENGTH))
        found = np.broadcast_to(later.block(3, 11, 0, LENGTH), (2, 1, 11, 96))
        visible = later.visible_range(3, 14, LENGTH)
        seen = np.zeros(LENGTH, bool)
        for first, last in later.key_ranges(3, 14, LENGTH):
            seen[int(first) : int(last)] = True
        for row, start in enumerate(starts):
            expected = pattern[start + 3 : start + 14]
            np.testing.assert_array_equal(found[row, 0], expected)
            one = later.row(row).block(3, 11, 0, LENGTH)
            np.testing.assert_array_equal(np.squeeze(one), expected)
            assert expected[:, slice(*map(int, visible))].all()
            assert not expected[:, ~seen].any()


@pytest.mark.parametrize("steps", [(1,) * 9, (4, 5)], ids=["one", "several"])
def test_cached_steps_equal_the_whole_sequence(steps):
    inputs = np.random.default_rng(5).normal(size=(2, 9, 11)).astype("float32")
    layer = MultiHeadAttention(3, 5)
    random = masks.RandomBlocks(num_blocks=2, block_size=2, length=9, seed=1)

    def mask_at(offset):
        pattern = masks.SlidingWindow(1, 0, offset)
        pattern = pattern | masks.GlobalTokens(2, offset)
        return pattern | dataclasses.replace(random, offset=offset)

    options = {"use_causal_mask": True}
    whole = layer(inputs, inputs, attention_mask=mask_at(0), **options)
    causal = layer(inputs, inputs, **options)
    assert np.abs(whole - causal).max() > 1e-3
    cache, index, outputs = layer.make_cache(2, 9), 0, []
    for size in steps:
        new = inputs[:, index : index + size]
        output, cache = layer(
            new,
            new,
            attention_mask=mask_at(index),
            cache=cache,
            cache_index=index,
            **options,
        )
        outputs.append(ops.convert_to_numpy(output))
        index += size
    np.testing.assert_allclose(
        np.concatenate(outputs, axis=1), whole, atol=1e-5
    )


@pytest.mark.parametrize(
    "count", [-1, True, 2.0, "2", [1, -2], [[1], [2]], np.ones(2)], ids=repr
)
def test_global_tokens_refuse_what_is_no_number_of_tokens(count):
    with pytest.raises(ValueError, match="`count` must be a number of tokens"):
        masks.GlobalTokens(count)
    with pytest.raises(ValueError, match="`count` must be a number of tokens"):
        masks.GlobalTokens(ops.convert_to_tensor([1.0, 2.0]))
    assert type(masks.GlobalTokens(np.int64(2)).count) is int


def test_constructors_refuse():
    with pytest.raises(ValueError, match="`num_blocks` must be at most the 24"):
        masks.RandomBlocks(25, 4, LENGTH)
    with pytest.raises(ValueError, match="`block_size` must be a positive"):
        masks.RandomBlocks(2, 0, LENGTH)
    with pytest.raises(ValueError, match="`seed` must be an integer"):
        masks.RandomBlocks(2, 4, LENGTH, seed=0.5)
    with pytest.raises(ValueError, match="`offset` must be of an integer"):
        masks.GlobalTokens(2, offset=0.5)


def test_numbers_of_numpy_become_those_of_python():
    mask = masks.RandomBlocks(*map(np.int64, (1, 2, 6, 3)))
    numbers = (mask.num_blocks, mask.block_size, mask.length, mask.seed)
    assert [type(number) for number in numbers] == [int] * 4
    packing.pack(mask)  # as a layer does
