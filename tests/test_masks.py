import dataclasses
import json

import hypothesis
import keras
import numpy as np
import pytest
from hypothesis import strategies
from numpy_reference import dense_mask

from keras_attention import masks
from keras_attention.masks import packing
from keras_attention.masks import saving

BATCH, HEADS, QUERIES, KEYS = SHAPE = (2, 3, 5, 7)

# JAX compiles each operator anew for each shape that hypothesis thinks of.
EXAMPLES = 20 if keras.backend.backend() == "jax" else 80


def picture(mask, query_length, key_length):
    """Draws a mask, one string per query, one list per row of the batch."""
    dense = np.asarray(mask.dense(query_length, key_length))
    if dense.ndim == 4:
        return [draw(row[0]) for row in dense]
    return draw(dense)


def draw(flags):
    return ["".join(".x"[int(seen)] for seen in query) for query in flags]


# --- pictures: x = may attend ------------------------------------------------

PICTURES = {
    "causal": (
        masks.Causal(),
        ["x....",
         "xx...",
         "xxx.."],
    ),
    "causal aligned bottom right": (
        masks.Causal(offset=2),
        ["xxx..",
         "xxxx.",
         "xxxxx"],
    ),
    "causal before the first key": (
        masks.Causal(offset=-2),
        [".....",
         ".....",
         "x...."],
    ),
    "causal with an offset per row": (
        masks.Causal(offset=[0, 3]),
        [["x....",
          "xx...",
          "xxx.."],
         ["xxxx.",
          "xxxxx",
          "xxxxx"]],
    ),
    "window": (
        masks.SlidingWindow(left=1, right=2),
        ["xxx..",
         "xxxx.",
         ".xxxx"],
    ),
    "window of no neighbours": (
        masks.SlidingWindow(left=0, right=0),
        ["x....",
         ".x...",
         "..x.."],
    ),
    "window open to the left": (
        masks.SlidingWindow(left=None, right=0),
        ["x....",
         "xx...",
         "xxx.."],
    ),
    "window open to the right": (
        masks.SlidingWindow(left=0, right=None),
        ["xxxxx",
         ".xxxx",
         "..xxx"],
    ),
    "window with offsets": (
        masks.SlidingWindow(left=1, right=0, offset=[1, 3]),
        [["xx...",
          ".xx..",
          "..xx."],
         ["..xx.",
          "...xx",
          "....x"]],
    ),
    "lengths": (
        masks.Lengths([2, 0]),
        [["xx...",
          "xx...",
          "xx..."],
         [".....",
          ".....",
          "....."]],
    ),
    "padding": (
        masks.Padding([[1, 0, 1, 1, 0], [0, 0, 0, 0, 1]]),
        [["x.xx.",
          "x.xx.",
          "x.xx."],
         ["....x",
          "....x",
          "....x"]],
    ),
    "query padding": (
        masks.QueryPadding([[True, True, False], [False, True, False]]),
        [["xxxxx",
          "xxxxx",
          "....."],
         [".....",
          "xxxxx",
          "....."]],
    ),
    "segments": (
        masks.Segments(
            [[1, 1, 2], [3, 0, 1]], [[1, 1, 1, 2, 2], [0, 1, 2, 3, 3]]
        ),
        [["xxx..",
          "xxx..",
          "...xx"],
         ["...xx",
          "x....",
          ".x..."]],
    ),
    "prefix": (
        masks.PrefixLM([3, 0]),
        [["xxx..",
          "xxx..",
          "xxx.."],
         ["x....",
          "xx...",
          "xxx.."]],
    ),
    "prefix with an offset": (
        masks.PrefixLM([4, 1], offset=1),
        [["xxxx.",
          "xxxx.",
          "xxxx."],
         ["xx...",
          "xxx..",
          "xxxx."]],
    ),
    "array": (
        masks.Array([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0]]),
        [".x.x.",
         "xxxxx",
         "....."],
    ),
    "array of one query": (
        masks.Array([[[0, 1, 0, 1, 0]], [[1, 0, 0, 0, 0]]]),
        [[".x.x.",
          ".x.x.",
          ".x.x."],
         ["x....",
          "x....",
          "x...."]],
    ),
    "and": (
        masks.Causal() & masks.SlidingWindow(left=1, right=1),
        ["x....",
         "xx...",
         ".xx.."],
    ),
    "or": (
        masks.Causal() | masks.Padding([[0, 0, 0, 0, 1], [0, 0, 0, 1, 0]]),
        [["x...x",
          "xx..x",
          "xxx.x"],
         ["x..x.",
          "xx.x.",
          "xxxx."]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_mask_looks_like_its_picture(name):
    mask, expected = PICTURES[name]
    assert picture(mask, query_length=3, key_length=5) == expected


def test_self_attention_segments_use_one_set_of_ids():
    assert picture(masks.Segments([[1, 1, 2, 2, 2]]), 5, 5) == [
        ["xx...", "xx...", "..xxx", "..xxx", "..xxx"]
    ]


def test_window_always_sees_itself_and_counts_neighbours():
    dense = np.asarray(masks.SlidingWindow(left=2, right=3).dense(11, 11))
    assert dense.diagonal().all()
    assert dense.sum(axis=1)[2:8].tolist() == [2 + 1 + 3] * 6


# --- any mask ----------------------------------------------------------------


@strategies.composite
def any_mask(draw):
    """A mask of any kind for scores of SHAPE, or some joined by & and |."""
    return draw(
        strategies.recursive(
            one_mask(),
            lambda parts: strategies.builds(
                lambda kind, pair: kind(pair),
                strategies.sampled_from([masks.And, masks.Or]),
                strategies.tuples(parts, parts),
            ),
            max_leaves=3,
        )
    )


@strategies.composite
def one_mask(draw):
    def numbers(low, high, *sizes):
        return draw(arrays(low, high, *sizes))

    offset = draw(
        strategies.integers(-3, 8)
        | arrays(-3, 8)
        | arrays(-3, 8, BATCH)
        | arrays(-3, 8, 1)
    )
    size = strategies.none() | strategies.integers(0, 4)
    rows = draw(strategies.sampled_from([BATCH, 1]))
    heads, queries, keys = (
        draw(strategies.sampled_from([full, full, 1])) for full in SHAPE[1:]
    )
    kind = draw(strategies.sampled_from(KINDS))
    if kind is masks.Causal:
        return kind(offset)
    if kind is masks.SlidingWindow:
        return kind(draw(size), draw(size), offset)
    if kind is masks.Lengths:
        return kind(numbers(0, KEYS, rows))
    if kind is masks.GlobalTokens:
        count = draw(strategies.integers(0, 3) | arrays(0, 3, rows))
        return kind(count, offset)
    if kind is masks.PrefixLM:
        return kind(numbers(0, KEYS, rows), offset)
    if kind is masks.Padding:
        return kind(numbers(0, 1, rows, keys))
    if kind is masks.QueryPadding:
        return kind(numbers(0, 1, rows, queries))
    if kind is masks.Segments:
        return kind(numbers(0, 3, rows, queries), numbers(0, 3, rows, keys))
    leading = draw(strategies.sampled_from([(), (rows,), (rows, heads)]))
    return kind(numbers(0, 1, *leading, queries, keys))


KINDS = [
    masks.Causal,
    masks.SlidingWindow,
    masks.GlobalTokens,
    masks.Lengths,
    masks.PrefixLM,
    masks.Padding,
    masks.QueryPadding,
    masks.Segments,
    masks.Array,
]


def arrays(low, high, *sizes):
    count = int(np.prod(sizes, dtype=int))
    entries = strategies.lists(
        strategies.integers(low, high), min_size=count, max_size=count
    )
    return entries.map(lambda x: np.array(x, "int32").reshape(sizes))


def a_stretch(length, over_the_edge=0):
    """(start, size) of a block along an axis of this length."""
    return strategies.integers(0, length - 1).flatmap(
        lambda start: strategies.tuples(
            strategies.just(start),
            strategies.integers(1, length - start + over_the_edge),
        )
    )


as_start = strategies.sampled_from(
    [int, lambda number: keras.ops.convert_to_tensor(number, dtype="int32")]
)


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(any_mask())
def test_dense_is_the_definition(mask):
    dense = mask.dense(QUERIES, KEYS)
    assert keras.backend.standardize_dtype(dense.dtype) == "bool"
    assert len(dense.shape) in (2, 4)
    expected = dense_mask(mask, SHAPE)
    np.testing.assert_array_equal(np.broadcast_to(dense, SHAPE), expected)


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(
    any_mask(), a_stretch(QUERIES, 3), a_stretch(KEYS, 4), as_start
)
def test_block_is_a_slice_of_the_whole(mask, queries, keys, start):
    (query_start, query_length), (key_start, key_length) = queries, keys
    block = mask.block(
        start(query_start), query_length, start(key_start), key_length
    )
    block = np.broadcast_to(block, (BATCH, HEADS, query_length, key_length))
    expected = dense_mask(mask, SHAPE)[..., query_start:, key_start:][
        ..., :query_length, :key_length
    ]
    # What lies over the edge is the caller's to hide.
    _, _, inside_queries, inside_keys = expected.shape
    np.testing.assert_array_equal(
        block[..., :inside_queries, :inside_keys], expected
    )


@pytest.mark.parametrize("query_start", [0, 2, 4])
def test_compiled_block_of_every_kind_is_a_slice_of_the_whole(query_start):
    key_mask, query_mask = np.ones((BATCH, KEYS)), np.ones((BATCH, QUERIES))
    key_mask[1, 2:4] = query_mask[0, 3] = 0
    array = np.random.default_rng(3).random(SHAPE) < 0.8
    mask = (
        masks.Causal(offset=[1, 3])
        & masks.Padding(key_mask)
        & masks.QueryPadding(query_mask)
        & array
        & masks.Lengths([6, 7])
    )
    mask = mask | masks.SlidingWindow(1, 0) & masks.PrefixLM([1, 2])
    mask = mask | masks.Segments([[1, 1, 0, 2, 2]], [[0, 0, 2, 3, 3, 3, 3]])

    def block(start):
        return mask.block(start, 3, start + 1, 5)

    expected = dense_mask(mask, SHAPE)[:, :, query_start:, query_start + 1 :]
    expected = expected[:, :, :3, :5]
    _, _, queries, keys = expected.shape
    start = keras.ops.convert_to_tensor(query_start, dtype="int32")
    for found in (
        compiled(block)(start),
        compiled(lambda: block(query_start))(),
    ):
        found = np.broadcast_to(found, (BATCH, HEADS, 3, 5))
        np.testing.assert_array_equal(found[:, :, :queries, :keys], expected)


def compiled(function):
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(any_mask(), a_stretch(QUERIES), as_start)
def test_nothing_is_visible_outside_the_key_range(mask, queries, start):
    begin, size = queries
    first, last = mask.key_range(start(begin), start(begin + size), KEYS)
    seen = dense_mask(mask, SHAPE)[..., begin : begin + size, :]
    assert not seen[..., : max(0, int(first))].any()
    assert not seen[..., max(0, int(last)) :].any()
    hidden = np.ones(KEYS, bool)
    area = start(begin), start(begin + size), KEYS
    for first, last in mask.key_ranges(*area):
        hidden[max(0, int(first)) : max(0, int(last))] = False
    assert not seen[..., hidden].any()


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(any_mask(), a_stretch(QUERIES), as_start)
def test_all_is_visible_inside_the_visible_range(mask, queries, start):
    begin, size = queries
    first, last = mask.visible_range(start(begin), start(begin + size), KEYS)
    seen = dense_mask(mask, SHAPE)[..., begin : begin + size, :]
    assert seen[..., max(0, int(first)) : max(0, int(last))].all()


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(
    any_mask(), strategies.integers(0, BATCH - 1), a_stretch(QUERIES), as_start
)
def test_row_is_the_mask_of_that_row_alone(mask, index, queries, start):
    begin, size = queries
    row = mask.row(start(index))
    area = (start(begin), start(begin + size), KEYS)
    block = row.block(start(begin), size, start(0), KEYS)
    expected = dense_mask(mask, SHAPE)[index : index + 1, :, begin:][
        :, :, :size
    ]
    np.testing.assert_array_equal(
        np.broadcast_to(block, (1, HEADS, size, KEYS)), expected
    )
    first, last = (max(0, int(x)) for x in row.key_range(*area))
    assert not expected[..., :first].any()
    assert not expected[..., last:].any()
    first, last = (max(0, int(x)) for x in row.visible_range(*area))
    assert expected[..., first:last].all()


def test_row_skips_by_its_own_numbers():
    mask = masks.Causal(offset=[0, 3]) & masks.Lengths([7, 4])
    assert tuple(map(int, mask.row(0).key_range(1, 3, 7))) == (0, 3)
    assert tuple(map(int, mask.row(1).key_range(1, 3, 7))) == (0, 4)


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(any_mask())
def test_padding_takes_no_part(mask):
    seen = dense_mask(mask, SHAPE)
    keys, queries = mask.key_padding(KEYS), mask.query_padding(QUERIES)
    if keys is not None:
        real = np.broadcast_to(keys, (BATCH, KEYS))
        assert not (seen & ~real[:, None, None, :]).any()
    if queries is not None:
        real = np.broadcast_to(queries, (BATCH, QUERIES))
        assert not (seen & ~real[:, None, :, None]).any()


def test_padding_masks_say_what_is_real():
    mask = masks.Padding([[1, 1, 0]]) & masks.QueryPadding([[1, 0], [0, 1]])
    mask = mask & masks.Causal() & masks.Lengths([3, 1])
    assert draw(mask.key_padding(3)) == ["xx.", "x.."]
    assert draw(mask.query_padding(2)) == ["x.", ".x"]
    assert masks.Causal().key_padding(3) is None


@pytest.mark.parametrize(
    "mask, expected",
    [
        (masks.Causal(), (0, 4)),
        (masks.Causal(offset=[1, 2]), (0, 6)),
        (masks.Causal(offset=-9), (0, -5)),
        (masks.SlidingWindow(left=1, right=0), (1, 4)),
        (masks.SlidingWindow(left=1, right=2, offset=1), (2, 7)),
        (masks.Lengths([3, 5]), (0, 5)),
        (masks.PrefixLM([6, 1]), (0, 6)),
        (masks.Padding([[0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0]]), (1, 4)),
        (masks.Segments([[1, 1, 2, 2, 3, 3, 3]]), (2, 4)),
        (masks.Causal() & masks.SlidingWindow(1, None), (1, 4)),
        (masks.Lengths([3]) | masks.SlidingWindow(0, 3), (0, 7)),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, masks.Mask) else "",
)
def test_key_range_of_queries_two_and_three_is_tight(mask, expected):
    assert tuple(map(int, mask.key_range(2, 4, 7))) == expected


@pytest.mark.parametrize(
    "mask, expected",
    [
        (masks.Causal(), (0, 3)),
        (masks.SlidingWindow(left=2, right=1), (1, 4)),
        (masks.Lengths([3, 5]), (0, 3)),
        (masks.PrefixLM([6, 4]), (0, 4)),
        (masks.Causal() & masks.SlidingWindow(left=2, right=1), (1, 3)),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, masks.Mask) else "",
)
def test_visible_range_of_queries_two_and_three_is_tight(mask, expected):
    assert tuple(map(int, mask.visible_range(2, 4, 7))) == expected


def test_ranges_of_patterns_without_tensors_are_integers():
    mask = masks.Causal(1) & masks.SlidingWindow(left=2, right=None)
    numbers = (*mask.key_range(2, 4, 7), *mask.visible_range(2, 4, 7))
    assert all(type(number) is int for number in numbers)


# --- joining and carrying ----------------------------------------------------


@pytest.mark.parametrize("dtype", ["bool", "int32", "float32", "float16"])
def test_numeric_masks_are_cast(dtype):
    ones = np.array([[1, 0, 1], [0, 1, 1]])
    cast = ones.astype(dtype)
    expected = dense_mask(masks.Array(ones == 1), (2, 1, 2, 3))
    np.testing.assert_array_equal(masks.Array(cast).dense(2, 3), expected[0, 0])
    for mask in (masks.Padding(cast), masks.QueryPadding(cast)):
        lengths = (2, 3) if isinstance(mask, masks.Padding) else (3, 2)
        np.testing.assert_array_equal(
            np.broadcast_to(mask.dense(*lengths), (2, 1, *lengths)),
            dense_mask(mask, (2, 1, *lengths)),
        )


@pytest.mark.parametrize("convert", [np.asarray, keras.ops.convert_to_tensor])
def test_operators_take_a_tensor_on_either_side(convert):
    array = convert([[True, False, True], [False, True, True]])
    both = [["x..", ".x."]] * 2
    either = [["x.x", "xxx"]] * 2
    causal = masks.Causal()
    assert [picture(m, 2, 3) for m in (causal & array, array & causal)] == both
    assert [
        picture(m, 2, 3) for m in (causal | array, array | causal)
    ] == either


def test_operators_refuse_what_is_no_mask():
    with pytest.raises(ValueError, match=r"`mask` must have shape.*shape=\(\)"):
        masks.Causal() & True


def test_combine_masks_skips_none():
    causal = masks.Causal()
    assert masks.combine_masks() is None
    assert masks.combine_masks(None, None) is None
    assert masks.combine_masks(None, causal, None) is causal
    combined = masks.combine_masks(causal, None, np.eye(3))
    assert picture(combined, 3, 3) == ["x..", ".x.", "..x"]


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(any_mask())
def test_packing_round_trip_keeps_the_pattern(mask):
    packed = packing.pack(mask)
    leaves = keras.tree.flatten(packed)
    assert all(isinstance(leaf, np.ndarray) for leaf in leaves)
    doubled = keras.tree.map_structure(lambda leaf: leaf.copy(), packed)
    rebuilt = packing.unpack(doubled)
    assert type(rebuilt) is type(mask)
    np.testing.assert_array_equal(
        dense_mask(rebuilt, SHAPE), dense_mask(mask, SHAPE)
    )


@hypothesis.settings(max_examples=EXAMPLES)
@hypothesis.given(any_mask())
def test_packed_mask_survives_a_file(mask):
    packed = saving.savable(packing.pack(mask))
    ((key, tensors),) = packed.items()
    ((text, _),) = json.loads(json.dumps({key: None})).items()
    assert saving.is_from_file({text: tensors})
    loaded = saving.from_file({text: tensors})
    # JAX traces a call anew where the key of a dict has changed.
    assert list(loaded) == list(packed)
    for one in (packed, loaded):
        np.testing.assert_array_equal(
            dense_mask(packing.unpack(one), SHAPE), dense_mask(mask, SHAPE)
        )


def test_packed_mask_of_version_0_1_is_read():
    causal = '{"mask": "Causal", "fields": {"offset": 1}}'
    lengths = '{"mask": "Lengths", "fields": {"lengths": {"tensor": 0}}}'
    window = (
        '{"mask": "SlidingWindow", "fields": '
        '{"left": 0, "right": null, "offset": 0}}'
    )
    masks_of = f'"fields": {{"masks": [{causal}, {window}, {lengths}]}}'
    packed = {f'{{"mask": "And", {masks_of}}}': [np.array([2, 4])]}
    mask = packing.unpack(saving.from_file(packed))
    assert picture(mask, 3, 5) == [
        ["xx...", ".x...", "....."],
        ["xx...", ".xx..", "..xx."],
    ]


@pytest.mark.parametrize(
    "value",
    [{}, {"key": 1, "value": 2}, {'{"mask": "A"': 1, "b": 2}, {3: 4}],
)
def test_other_dicts_are_no_masks_from_a_file(value):
    assert not saving.is_from_file(value)


def structure(mask):
    (key,) = packing.pack(mask)
    return key


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers(masks.Mask):
    number: object
    tensor: object = None


def test_structures_are_equal_where_tensors_alone_differ():
    one, other = (
        masks.Causal(i) & Numbers((2, "a"), np.full((3,), i)) for i in (2, 2)
    )
    assert structure(one) == structure(other)
    assert hash(structure(one)) == hash(structure(other))
    assert structure(masks.Lengths([1, 2])) == structure(masks.Lengths([3]))


@pytest.mark.parametrize(
    "one, other",
    [
        (masks.Causal(1), masks.Causal(2)),
        (masks.And((masks.Causal(),)), masks.Or((masks.Causal(),))),
        (Numbers(1), Numbers(1.0)),
        (Numbers(1), Numbers(True)),
        (Numbers((0,)), Numbers((False,))),
        (Numbers(None), Numbers(np.ones(3))),
        (Numbers(None, np.ones(3)), Numbers(None, np.ones(3, "int32"))),
    ],
)
def test_structures_differ_where_masks_differ(one, other):
    assert structure(one) != structure(other)


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_packed_floats_are_cast_by_no_one(dtype, shape):
    if dtype == "float64" and keras.backend.backend() == "jax":
        dtype = "float32"  # the widest that JAX has
    given = keras.ops.convert_to_tensor(np.full(shape, 1234.5), dtype=dtype)
    packed = packing.pack(Numbers(3, given))
    (leaf,) = keras.tree.flatten(packed)
    assert not keras.backend.is_float_dtype(leaf.dtype)
    found = packing.unpack(packed).tensor
    assert keras.backend.standardize_dtype(found.dtype) == dtype
    np.testing.assert_array_equal(
        keras.ops.cast(found, "float32"), keras.ops.cast(given, "float32")
    )


def test_config_of_a_mask_makes_it_again():
    @dataclasses.dataclass(frozen=True, eq=False)
    class Derived(masks.Mask):
        size: int
        double: int = dataclasses.field(init=False)

        def __post_init__(self):
            object.__setattr__(self, "double", 2 * self.size)

    mask = Derived(3)
    assert mask.get_config() == {"size": 3}
    assert Derived.from_config(mask.get_config()).double == 6
    assert packing.unpack(packing.pack(mask)).double == 6


def test_packing_lists_every_tensor_once_and_in_order():
    lengths, key_mask = np.array([1, 2]), np.ones((2, 3), bool)
    mask = (masks.Causal() & masks.Lengths(lengths)) | masks.Padding(key_mask)
    leaves = keras.tree.flatten(packing.pack(mask))
    assert [id(leaf) for leaf in leaves] == [id(lengths), id(key_mask)]


def test_packing_of_lists_makes_one_leaf_of_each():
    leaves = keras.tree.flatten(packing.pack(masks.Lengths([1, 2])))
    assert [leaf.tolist() for leaf in leaves] == [[1, 2]]


# --- masks of numbers --------------------------------------------------------

NUMBER_MASKS = [
    (masks.Array, "mask", [[1, 0, 1], [0, 1, 0]]),
    (masks.Padding, "key_mask", [[1, 0, 1], [0, 1, 0]]),
    (masks.QueryPadding, "query_mask", [[1, 0], [0, 1]]),
]
CONVERT = {
    "list": lambda array: array,
    "array": np.asarray,
    "float array": lambda array: np.asarray(array, "float16"),
    "tensor": keras.ops.convert_to_tensor,
    "half tensor": lambda a: keras.ops.convert_to_tensor(a, dtype="bfloat16"),
}


@pytest.mark.parametrize("convert", CONVERT.values(), ids=CONVERT)
@pytest.mark.parametrize("kind, name, numbers", NUMBER_MASKS)
def test_numbers_of_0_and_1_are_booleans(kind, name, numbers, convert):
    found = kind(convert(numbers)).dense(2, 3)
    expected = kind(np.array(numbers, bool)).dense(2, 3)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("convert", CONVERT.values(), ids=CONVERT)
@pytest.mark.parametrize("kind, name, numbers", NUMBER_MASKS)
def test_other_numbers_than_0_and_1_are_refused(kind, name, numbers, convert):
    added = (1 - np.array(numbers)) * -(2.0**10)
    message = rf"`{name}` must hold only booleans.*with -1024.*`{name} == 0`"
    with pytest.raises(ValueError, match=message):
        kind(convert(added.tolist()))


def test_nan_is_neither_0_nor_1():
    with pytest.raises(ValueError, match="`mask` must hold only booleans.*nan"):
        masks.Array([[0.0, np.nan]])


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_in_a_graph_1_alone_is_true(dtype):
    def run(numbers):
        return masks.Array(numbers).dense(2, 3)

    if keras.backend.backend() == "jax":
        import jax

        run = jax.jit(run)
    else:
        import tensorflow as tf

        run = tf.function(run)
    numbers = keras.ops.convert_to_tensor([[1, 0, -9], [2, 1, 1]], dtype=dtype)
    expected = [[True, False, False], [False, True, True]]
    np.testing.assert_array_equal(run(numbers), expected)


def test_booleans_are_not_read():
    class Unreadable:
        dtype, shape = "bool", (2, 3)

    given = Unreadable()
    assert masks.Array(given).mask is given


# --- integers ----------------------------------------------------------------

INTEGER_FIELDS = {
    "offset": masks.Causal,
    "lengths": masks.Lengths,
    "prefix_lengths": masks.PrefixLM,
    "query_ids": lambda x: masks.Segments(x[None]),
    "key_ids": lambda x: masks.Segments(np.zeros((1, 2), int), x[None]),
}


@pytest.mark.parametrize("convert", [np.asarray, keras.ops.convert_to_tensor])
@pytest.mark.parametrize("name", INTEGER_FIELDS)
def test_integers_are_no_floats(name, convert):
    message = rf"`{name}` must be of an integer dtype.*float.*2,?\).*Cast"
    with pytest.raises(ValueError, match=message):
        INTEGER_FIELDS[name](convert([2.0, 1.0]))


@pytest.mark.parametrize("name", ["offset", "lengths", "prefix_lengths"])
def test_numbers_beyond_int32_are_refused(name):
    with pytest.raises(ValueError, match=rf"`{name}` must be within int32"):
        INTEGER_FIELDS[name](np.array([2**32 + 1, 1]))


def test_numbers_of_every_form_are_integers():
    forms = [[2, 1], np.array([2, 1], "int64"), np.array([2, 1], "uint8")]
    for form in [*forms, keras.ops.convert_to_tensor([2, 1])]:
        assert picture(masks.Lengths(form), 1, 3) == [["xx."], ["x.."]]
    assert masks.Causal(np.int64(3)).offset == 3
    assert masks.Lengths([]).dense(2, 3).shape == (0, 1, 2, 3)


@pytest.mark.tensorflow_only
@pytest.mark.parametrize("kind", ["list", "array", "tensor"])
def test_ids_of_64_bits_are_told_apart(kind):
    import tensorflow as tf

    ids = [[0, 2**32, 0, -(2**40)]]
    if kind != "list":
        ids = np.array(ids) if kind == "array" else tf.constant(ids, "int64")
    mask = masks.Segments(ids, np.array([[0, 2**32]]))
    assert picture(mask, 4, 2) == [["x.", ".x", "x.", ".."]]
    first, last = mask.key_range(1, 2, 2)
    assert (int(first), int(last)) == (1, 2)
    graph = tf.function(lambda ids: masks.Segments(ids).dense(4, 4))
    whole = masks.Segments(np.array([[0, 1, 0, 2]])).dense(4, 4)
    np.testing.assert_array_equal(graph(tf.constant(ids, "int64")), whole)


def test_ids_that_no_tensor_holds_are_refused():
    if keras.backend.backend() == "jax":
        with pytest.raises(ValueError, match="`query_ids` must be within int"):
            masks.Segments([[0, 2**32]])
    fits = masks.Segments(np.array([[0, 1]], "int64"))
    assert fits.query_ids.dtype == "int32"


# --- errors ------------------------------------------------------------------


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: masks.Lengths([[1, 2]]),
         r"`lengths` must have shape \(batch,\). Received: "
         r"lengths.shape=\(1, 2\)"),
        (lambda: masks.PrefixLM(3),
         r"`prefix_lengths` must have shape \(batch,\).*shape=\(\)"),
        (lambda: masks.Padding(np.ones(3)),
         r"`key_mask` must have shape \(batch, key_length\).*shape=\(3,\)"),
        (lambda: masks.QueryPadding(np.ones((2, 3, 5))),
         r"`query_mask` must have shape \(batch, query_length\)."),
        (lambda: masks.Segments(np.ones(3, int)),
         r"`query_ids` must have shape \(batch, query_length\)."),
        (lambda: masks.Segments(np.ones((2, 3), int), np.ones(3, int)),
         r"`key_ids` must have shape \(batch, key_length\)."),
        (lambda: masks.Array(np.ones(3)),
         r"`mask` must have shape \(query_length, key_length\).*\(3,\)"),
        (lambda: masks.SlidingWindow(left=-1, right=0),
         r"`left` must be a number of neighbours >= 0 or None. Received: "
         r"left=-1."),
        (lambda: masks.SlidingWindow(left=0, right=1.5),
         r"`right` must be a number of neighbours.*right=1.5."),
    ],
)  # fmt: skip
def test_constructors_refuse(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    "mask, name, received",
    [
        (masks.Array(np.ones((KEYS, QUERIES))), "mask", r"\(7, 5\)"),
        (masks.Array(np.ones((3, QUERIES, KEYS))), "mask", r"\(3, 5, 7\)"),
        (masks.Array(np.ones((2, 2, QUERIES, KEYS))), "mask", r"\(2, 2, 5, 7"),
        (masks.Padding(np.ones((BATCH, QUERIES))), "key_mask", r"\(2, 5\)"),
        (masks.QueryPadding(np.ones((2, KEYS))), "query_mask", r"\(2, 7\)"),
        (masks.Lengths([1, 2, 3]), "lengths", r"\(3,\)"),
        (masks.PrefixLM([1, 2, 3]), "prefix_lengths", r"\(3,\)"),
        (masks.Causal(offset=[0, 0, 0]), "offset", r"\(3,\)"),
        (masks.SlidingWindow(1, 1, offset=[0, 0, 0]), "offset", r"\(3,\)"),
        (masks.Segments(np.ones((2, KEYS), int)), "query_ids", r"\(2, 7\)"),
        (masks.Segments(np.ones((2, QUERIES), int)), "query_ids", r"\(2, 5\)"),
        (
            masks.Segments(np.ones((2, QUERIES), int), np.ones((2, 3), int)),
            "key_ids",
            r"\(2, 3\)",
        ),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, masks.Mask) else x,
)
@pytest.mark.parametrize("join", ["alone", "and", "or"])
def test_check_refuses_a_mask_of_the_wrong_shape(mask, name, received, join):
    mask = {
        "alone": mask,
        "and": masks.Causal() & mask,
        "or": masks.Causal() | mask,
    }[join]
    message = (
        rf"`{name}` must broadcast to \(batch, num_heads, query_length, "
        rf"key_length\)=\(2, 3, 5, 7\). Received: .*.shape={received}"
    )
    with pytest.raises(ValueError, match=message):
        mask.check(SHAPE)


def test_check_shows_the_shape_the_caller_gave_and_hints():
    message = (
        r"Received: mask.shape=\(2, 7, 5\). Did you swap the query and key"
    )
    with pytest.raises(ValueError, match=message):
        masks.Array(np.ones((2, 7, 5))).check(SHAPE)


@hypothesis.given(any_mask())
def test_check_accepts_every_mask_that_fits(mask):
    assert mask.check(SHAPE) is None
    assert mask.check((None, HEADS, None, None)) is None


def test_new_pattern_needs_only_a_block():
    class EvenKeys(masks.Mask):
        def block(self, query_start, query_length, key_start, key_length):
            key = key_start + np.arange(key_length)
            return key[None, :] % 2 == 0

    mask = EvenKeys() & masks.Causal()
    assert picture(mask, 3, 5) == ["x....", "x....", "x.x.."]
    assert EvenKeys().key_range(0, 3, 5) == (0, 5)
    assert EvenKeys().visible_range(0, 3, 5) == (0, 0)
    message = "Unfinished does not define `block`"
    with pytest.raises(TypeError, match=message):
        type("Unfinished", (masks.Mask,), {})().dense(3, 5)
