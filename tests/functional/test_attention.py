"""Promises 1 and 2 of `attend`: one answer, and masks mean one thing."""

import keras
import ml_dtypes
import numpy as np
import numpy_reference
import pytest
from keras import ops

from keras_attention import functional
from keras_attention import masks

BATCH, QUERIES, KEYS, KEY_DIM, VALUE_DIM = 3, 5, 7, 11, 13
HEADS, KEY_VALUE_HEADS = 8, 2  # four query heads share a key and a value

# Any axis may be written out or shared; the last query of the last row sees
# no key.
PER_HEAD = np.random.default_rng(1).random((BATCH, HEADS, QUERIES, KEYS)) < 0.6
PER_HEAD[-1, :, -1] = False
KEY_MASK = [[1, 1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 1, 1, 1]]
QUERY_MASK = [[1, 1, 1, 1, 1], [1, 1, 0, 1, 0], [0, 0, 0, 0, 0]]

# name: settings of `attend`, and the shapes of the tensors it takes besides
# query, key and value.
CASES = {
    "plain": ({}, {}),
    "causal": ({"mask": masks.Causal()}, {}),
    "bottom right": ({"mask": masks.Causal(offset=2)}, {}),
    "offset per row": ({"mask": masks.Causal(offset=[2, 0, -2])}, {}),
    "window and padding": (
        {"mask": masks.SlidingWindow(1, 2) & masks.Padding(KEY_MASK)},
        {},
    ),
    "lengths": ({"mask": masks.Lengths([4, 0, 7])}, {}),
    "prefix": ({"mask": masks.PrefixLM([3, 0, 6])}, {}),
    "segments": (
        {
            "mask": masks.Segments(
                [[0, 0, 1, 1, 2]], [[0, 1, 1, 1, 1, 3, 3]]
            )
        },
        {},
    ),
    "or": (
        {"mask": masks.QueryPadding(QUERY_MASK) & masks.Padding(KEY_MASK)
         | masks.SlidingWindow(0, 1)},
        {},
    ),
    "mask per head": ({"mask": PER_HEAD}, {}),
    "numeric mask": ({"mask": PER_HEAD[:, 0].astype("int32")}, {}),
    "scale": ({}, {"scale": ()}),
    "additive": ({}, {"vector": (KEY_DIM,)}),
    "additive per head": (
        {"mask": masks.Lengths([4, 0, 7])},
        {"vector": (HEADS, KEY_DIM)},
    ),
    "bias": ({}, {"bias": (BATCH, HEADS, QUERIES, KEYS)}),
    "bias of a key": ({"mask": PER_HEAD}, {"bias": (HEADS, 1, KEYS)}),
    "distance bias": ({"zero": 4}, {"values": (HEADS, 9)}),
    "soft cap": ({"logit_soft_cap": 0.7}, {}),
    "sink": ({"mask": PER_HEAD}, {"sink": (HEADS,)}),
    "dropout": ({"dropout": (0.3, 17)}, {}),
    "everything": (
        {
            "mask": masks.Causal(1) & masks.Padding(KEY_MASK) & PER_HEAD,
            "logit_soft_cap": 1.3,
            "dropout": (0.2, 2**40 + 5),
        },
        {"scale": (), "bias": (HEADS, QUERIES, KEYS), "sink": (HEADS,)},
    ),
    "everything additive": (
        {
            "mask": masks.SlidingWindow(2, 1) & masks.Lengths([4, 0, 7]),
            "logit_soft_cap": 1.3,
            "dropout": (0.2, -3),
            "zero": 2,
        },
        {"vector": (KEY_DIM,), "values": (HEADS, 3), "sink": (HEADS,)},
    ),
}  # fmt: skip
ONE_HEAD = {"plain", "causal", "lengths", "additive", "soft cap"}


def arrays_of(case, dtype="float64", seed=3):
    """Query, key, value and what else the case needs, rounded to `dtype`."""
    heads, kv_heads = (3, 3) if case in ONE_HEAD else (HEADS, KEY_VALUE_HEADS)
    shapes = {
        "query": (BATCH, QUERIES, heads, KEY_DIM),
        "key": (BATCH, KEYS, kv_heads, KEY_DIM),
        "value": (BATCH, KEYS, kv_heads, VALUE_DIM),
        **CASES[case][1],
    }
    random = np.random.default_rng(seed)
    dtype = getattr(ml_dtypes, dtype, dtype)
    return {
        name: np.asarray(random.normal(size=shape)).astype(dtype)
        for name, shape in shapes.items()
    }


def ours(case, tensors, **changes):
    settings = {**CASES[case][0], **changes}
    tensors = dict(tensors)
    zero = settings.pop("zero", None)
    if "values" in tensors:
        settings["bias"] = functional.DistanceBias(tensors.pop("values"), zero)
    if "vector" in tensors:
        settings["score"] = functional.AdditiveScore(tensors.pop("vector"))
    if "scale" in tensors:
        settings["score"] = functional.DotProductScore(tensors.pop("scale"))
    if isinstance(settings.get("dropout"), tuple):
        settings["dropout"] = functional.Dropout(*settings["dropout"])
    return functional.attend(**tensors, **settings)


def reference(case, arrays, **changes):
    settings = {**CASES[case][0], **changes}
    arrays = {name: np.asarray(x, "float64") for name, x in arrays.items()}
    zero = settings.pop("zero", None)
    if "values" in arrays:
        settings["bias"] = functional.DistanceBias(arrays.pop("values"), zero)
    if "vector" in arrays:
        settings["score"] = numpy_reference.additive(arrays.pop("vector"))
    if "scale" in arrays:
        settings["score"] = numpy_reference.dot(arrays.pop("scale"))
    settings["mask"] = masks.as_mask(settings.get("mask"))
    if "dropout" in settings:
        rate, seed = settings.pop("dropout")
        batch, queries, heads, _ = arrays["query"].shape
        shape = (batch, heads, queries, arrays["key"].shape[1])
        keep = numpy_reference.keep_bits(rate, seed, shape)
        settings.update(rate=rate, keep=keep)
    return numpy_reference.attend(**arrays, **settings)


def assert_close(actual, expected, dtype):
    """Equal but for the rounding of float32 inside and `dtype` outside."""
    assert actual.dtype == getattr(ml_dtypes, dtype, dtype)
    unit = float(ml_dtypes.finfo(actual.dtype).eps)
    inside = 1e-13 if dtype == "float64" else 3e-6
    np.testing.assert_allclose(
        actual.astype("float64"), expected, rtol=unit + inside, atol=inside
    )


# --- one answer --------------------------------------------------------------


@pytest.mark.parametrize("case", CASES)
def test_attend_is_the_definition(case, path_and_dtype, run_on):
    path, dtype = path_and_dtype
    arrays = arrays_of(case, dtype)
    output, weights = run_on(
        path, lambda x: ours(case, x, return_weights=True), arrays
    )
    expected_output, expected_weights = reference(case, arrays)
    assert_close(output, expected_output, dtype)
    assert_close(weights, expected_weights, dtype)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_the_finite_differences(
    case, run_on, gradients, precise_dtype
):
    check_gradients(case, "eager", precise_dtype, run_on, gradients)


@pytest.mark.parametrize(
    "case",
    [
        "everything",
        pytest.param("everything additive", marks=pytest.mark.exhaustive),
    ],
)
def test_gradients_are_the_same_on_every_path(case, path, run_on, gradients):
    check_gradients(case, path, "float32", run_on, gradients)


def check_gradients(case, path, dtype, run_on, gradients):
    arrays = arrays_of(case, dtype)
    random = np.random.default_rng(5)
    output, _ = reference(case, arrays)
    # A fixed weighting of the outputs makes them one number.
    weighting = random.normal(size=output.shape)

    def loss(tensors):
        return ops.sum(ours(case, tensors) * weighting.astype(dtype))

    def reference_loss(**arrays):
        return np.sum(reference(case, arrays)[0] * weighting)

    found = run_on(path, lambda x: gradients(loss, x), arrays)
    tolerance = 1e-8 if dtype == "float64" else 2e-5
    for name, array in arrays.items():
        assert found[name].dtype == dtype and found[name].shape == array.shape
        direction = random.normal(size=array.shape)
        expected = numpy_reference.directional_derivative(
            reference_loss, arrays, name, direction
        )
        scale = np.linalg.norm(found[name]) * np.linalg.norm(direction)
        actual = np.sum(found[name] * direction)
        assert abs(actual - expected) <= tolerance * (1 + scale), name


@pytest.mark.parametrize("implementation", ["auto", "dense", "blockwise"])
@pytest.mark.parametrize("case", ["lengths", "sink", "everything"])
def test_asking_for_no_weights_changes_no_output(case, implementation):
    arrays = arrays_of(case, "float32")
    output, _ = ours(case, arrays, return_weights=True)
    alone = ours(case, arrays, implementation=implementation)
    np.testing.assert_allclose(alone, output, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", ["causal", "sink"])
def test_keras_dropout_changing_the_path_at_inference_does_not_happen_here(
    case,
):
    arrays = arrays_of(case, "float32")
    without = ours(case, arrays)
    switched_off = ours(case, arrays, dropout=functional.Dropout(0.0, seed=1))
    np.testing.assert_array_equal(without, switched_off)


def test_weights_are_returned_before_dropout():
    arrays = arrays_of("dropout", "float32")
    _, dropped = ours("dropout", arrays, return_weights=True)
    _, kept = ours("dropout", arrays, return_weights=True, dropout=None)
    np.testing.assert_array_equal(dropped, kept)


@pytest.mark.parametrize("case", ["window and padding", "everything"])
def test_row_does_not_depend_on_its_batch_mates(case):
    arrays = arrays_of(case, "float32")
    others = arrays_of(case, "float32", seed=7)
    mixed = {
        name: np.concatenate([array[:2], others[name][2:]])
        if name in ("query", "key", "value")
        else array
        for name, array in arrays.items()
    }
    together, changed = ours(case, arrays), ours(case, mixed)
    np.testing.assert_allclose(together[:2], changed[:2], rtol=1e-6, atol=1e-7)
    assert np.abs(np.asarray(together[2] - changed[2])).max() > 0.01


@pytest.mark.parametrize("score", ["plain", "additive"])
def test_one_query_at_a_time_is_the_whole_sequence(score):
    arrays = arrays_of(score, "float32")
    whole = ours(score, arrays, mask=masks.Causal(offset=1))
    for position in range(QUERIES):
        step = {**arrays, "query": arrays["query"][:, position, None]}
        # The position may be known when the graph is made, or not.
        for offset in (position + 1, ops.convert_to_tensor(position + 1)):
            one = ours(score, step, mask=masks.Causal(offset))
            np.testing.assert_allclose(
                one[:, 0], whole[:, position], rtol=1e-6, atol=1e-6
            )


def test_repeated_keys_and_values_give_what_grouped_heads_give():
    arrays = arrays_of("everything", "float32")
    repeated = {
        name: np.repeat(array, HEADS // KEY_VALUE_HEADS, axis=2)
        if name in ("key", "value")
        else array
        for name, array in arrays.items()
    }
    np.testing.assert_allclose(
        ours("everything", arrays),
        ours("everything", repeated),
        rtol=1e-5,
        atol=1e-6,
    )


# --- masks mean one thing ----------------------------------------------------

HIDDEN_ROW, HIDDEN_QUERY = 0, (1, 3)


def mask_with_empty_rows():
    visible = np.ones((BATCH, 1, QUERIES, KEYS), bool)
    visible[HIDDEN_ROW] = False
    visible[HIDDEN_QUERY[0], :, HIDDEN_QUERY[1]] = False
    visible[2, :, :, 5:] = False
    return visible


@pytest.mark.parametrize("case", ["plain", "sink", "additive", "everything"])
def test_nothing_to_attend_to_is_zero(case, path_and_dtype, run_on, gradients):
    path, dtype = path_and_dtype
    mask = mask_with_empty_rows()

    def run(tensors):
        def loss(tensors):
            return ops.sum(ops.square(ours(case, tensors, mask=mask)))

        pair = ours(case, tensors, mask=mask, return_weights=True)
        return pair, gradients(loss, tensors)

    arrays = arrays_of(case, dtype)
    (output, weights), slopes = run_on(path, run, arrays)
    row, query = HIDDEN_QUERY
    for result in (output, slopes["query"]):
        assert not result[HIDDEN_ROW].any()
        assert not result[row, query].any()
        assert result[2].all()
    assert not weights[HIDDEN_ROW].any()
    assert not weights[row, :, query].any()
    for name in ("key", "value"):
        assert not slopes[name][HIDDEN_ROW].any()
        assert not slopes[name][2, 5:].any()
        assert slopes[name][1].any()
    for name, slope in slopes.items():
        assert np.isfinite(slope.astype("float32")).all(), name
    assert_close(output, reference(case, arrays, mask=mask)[0], dtype)


def test_keras_mean_of_values_for_hidden_rows_does_not_happen_here():
    arrays = arrays_of("plain", "float32")
    mask = mask_with_empty_rows()
    for dropout in (None, (0.0, 3), (0.4, 3)):
        for return_weights in (False, True):
            output = ours(
                "plain",
                arrays,
                mask=mask,
                dropout=dropout,
                return_weights=return_weights,
            )
            output = output[0] if return_weights else output
            assert not np.asarray(output)[HIDDEN_ROW].any()


def test_rows_of_an_all_visible_mask_are_those_of_no_mask():
    arrays = arrays_of("plain", "float32")
    everywhere = np.ones((QUERIES, KEYS), bool)
    np.testing.assert_allclose(
        ours("plain", arrays),
        ours("plain", arrays, mask=everywhere),
        rtol=1e-6,
        atol=1e-7,
    )


@pytest.mark.parametrize(
    "case",
    ["soft cap", pytest.param("additive", marks=pytest.mark.exhaustive)],
)
def test_hidden_keys_may_hold_anything_finite(case, path, run_on, gradients):
    arrays = arrays_of(case, "float32")
    garbage = {name: array.copy() for name, array in arrays.items()}
    for name in ("key", "value"):
        garbage[name][:, 4:] = 1e30  # its products are infinite
    mask = masks.Lengths([4, 4, 4])

    def run(tensors):
        def loss(tensors):
            return ops.sum(ops.square(ours(case, tensors, mask=mask)))

        slopes = gradients(loss, tensors)
        return ours(case, tensors, mask=mask), slopes["query"], slopes["key"]

    for clean, dirty in zip(
        run_on(path, run, arrays), run_on(path, run, garbage), strict=True
    ):
        np.testing.assert_allclose(clean, dirty, rtol=1e-5, atol=1e-6)


def test_masks_and_together():
    arrays = arrays_of("plain", "float32")
    parts = masks.Causal(1), masks.Padding(KEY_MASK), PER_HEAD[:, 0]
    joined = numpy_reference.dense_mask(masks.combine_masks(*parts),
                                        (BATCH, 1, QUERIES, KEYS))  # fmt: skip
    np.testing.assert_array_equal(
        ours("plain", arrays, mask=masks.combine_masks(*parts)),
        ours("plain", arrays, mask=joined),
    )


def test_keras_per_head_mask_taken_for_batch_does_not_happen_here():
    # As many rows as heads, and a padding mask beside it: Keras mixes the
    # axes up in silence.
    random = np.random.default_rng(11)
    query = random.normal(size=(3, QUERIES, 3, KEY_DIM))
    key = random.normal(size=(3, KEYS, 3, KEY_DIM))
    arrays = {"query": query, "key": key, "value": key}
    per_head = random.random((3, 3, QUERIES, KEYS)) < 0.6
    mask = masks.Padding(KEY_MASK) & per_head
    expected, _ = numpy_reference.attend(**arrays, mask=mask)
    arrays = {name: array.astype("float32") for name, array in arrays.items()}
    output = functional.attend(**arrays, mask=mask)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-5)


def test_three_axes_of_a_mask_are_batch_query_key():
    # Rows and heads alike in number, so that only the meaning tells them
    # apart.
    x = np.ones((3, QUERIES, 3, KEY_DIM), "float32")
    mask = np.zeros((3, QUERIES, QUERIES), bool)
    mask[1] = True
    _, weights = functional.attend(
        query=x, key=x, value=x, mask=mask, return_weights=True
    )
    seen = np.asarray(weights).any(axis=(2, 3))  # (B, N)
    assert seen.tolist() == [[False] * 3, [True] * 3, [False] * 3]


def test_cyberzhg_real_tokens_attending_to_padding_does_not_happen_here():
    arrays = arrays_of("plain", "float32")
    mask = masks.QueryPadding(QUERY_MASK) & masks.Padding(KEY_MASK)
    _, weights = ours("plain", arrays, mask=mask, return_weights=True)
    padding = ~np.array(KEY_MASK, bool)[:, None, None, :]
    assert not np.asarray(weights)[
        np.broadcast_to(padding, weights.shape)
    ].any()


# --- half precision ----------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("size", [40.0, 200.0], ids=["product", "score"])
def test_keras_float16_product_overflow_does_not_happen_here(
    dtype, size, path, run_on
):
    # 64 * 40 * 40 is beyond 65504 but not its eighth; at 200 the score
    # itself is beyond.
    random = np.random.default_rng(13)
    arrays = {
        "query": np.full((2, 3, 1, 64), size),
        "key": size + random.normal(size=(2, 5, 1, 64)),
        "value": random.normal(size=(2, 5, 1, 7)),
    }
    kind = getattr(ml_dtypes, dtype, dtype)
    arrays = {name: array.astype(kind) for name, array in arrays.items()}
    output = run_on(path, lambda x: functional.attend(**x), arrays)
    expected, _ = numpy_reference.attend(**arrays)
    assert_close(output, expected, dtype)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("score", [-6e4, 6e4])
def test_keras_float16_mask_by_subtraction_does_not_happen_here(dtype, score):
    # Every visible key scores the lowest, the hidden one the highest.
    query = np.array([[[[-1.0]]]])
    key = np.array([[[[score]], [[score]], [[-score]]]])
    value = np.array([[[[1.0]], [[3.0]], [[1000.0]]]])
    query, key, value = (
        ops.cast(x.astype("float32"), dtype) for x in (query, key, value)
    )
    output, weights = functional.attend(
        query=query,
        key=key,
        value=value,
        mask=masks.Lengths([2]),
        return_weights=True,
    )
    np.testing.assert_array_equal(
        np.asarray(weights).astype("float64"), [[[[0.5, 0.5, 0.0]]]]
    )
    np.testing.assert_array_equal(output, [[[[2.0]]]])


def test_keras_single_key_value_head_error_does_not_happen_here():
    random = np.random.default_rng(17)
    query = random.normal(size=(2, 3, 5, 7)).astype("float16")
    key = random.normal(size=(2, 11, 1, 7)).astype("float16")
    output = functional.attend(query=query, key=key, value=key)
    expected, _ = numpy_reference.attend(query, key, key)
    assert_close(np.asarray(output), expected, "float16")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_long_rows_of_small_weights_are_summed_in_float32(dtype):
    # 5003 ones summed in float16 stop at 2048, in bfloat16 at 256.
    query = ops.zeros((1, 1, 1, 2), dtype)
    key = ops.zeros((1, 5003, 1, 2), dtype)
    value = ops.ones((1, 5003, 1, 3), dtype)
    output = functional.attend(query=query, key=key, value=value)
    np.testing.assert_array_equal(np.asarray(output).astype("float32"), 1.0)


def test_large_scores_are_shifted_before_the_exponential():
    arrays = {n: 100 * x for n, x in arrays_of("plain", "float32").items()}
    output = np.asarray(ours("plain", arrays))
    assert np.isfinite(output).all()
    np.testing.assert_allclose(
        output, reference("plain", arrays)[0], rtol=1e-4, atol=1e-3
    )


# --- the caller's own things -------------------------------------------------


def test_caller_tensors_and_their_keras_masks_are_left_alone():
    arrays = arrays_of("sink", "float32")
    padded = {name: array.copy() for name, array in arrays.items()}
    for name in ("query", "key", "value"):
        padded[name][:, -2:] = 0.0
    masking = keras.layers.Masking()
    tensors = {
        name: masking(ops.reshape(x, (*x.shape[:2], -1)))
        for name, x in padded.items()
        if name != "sink"
    }
    tensors = {n: ops.reshape(x, padded[n].shape) for n, x in tensors.items()}
    marks = {}
    for name, tensor in tensors.items():
        marks[name] = tensor._keras_mask = ops.any(tensor != 0, axis=(2, 3))
    tensors["sink"] = ops.convert_to_tensor(padded["sink"])
    ours("sink", tensors)
    for name, mark in marks.items():
        assert tensors[name]._keras_mask is mark
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(tensor, padded[name])


def test_numpy_arrays_are_only_read():
    arrays = arrays_of("everything", "float32")
    for array in arrays.values():
        array.flags.writeable = False
    mask = PER_HEAD.copy()
    mask.flags.writeable = False
    assert ours("everything", arrays, mask=mask).shape == (
        *(BATCH, QUERIES, HEADS, VALUE_DIM),
    )


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_keras_mask_of_an_argument_has_no_meaning_here(name):
    # Layers read Keras's masks; the function takes what it is told.
    arrays = arrays_of("plain", "float32")
    tensors = {n: ops.convert_to_tensor(x) for n, x in arrays.items()}
    plain = ours("plain", tensors)
    length = tensors[name].shape[1]
    tensors[name]._keras_mask = ops.zeros((BATCH, length), "bool")
    np.testing.assert_array_equal(ours("plain", tensors), plain)


# --- errors ------------------------------------------------------------------


def ones(*shape):
    return np.ones(shape, "float32")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"query": ones(3, 5, 11)},
         r"`query` must have shape \(batch, query_length, num_heads, "
         r"key_dim\). Received: query.shape=\(3, 5, 11\)"),
        ({"key": ones(3, 7, 11)},
         r"`key` must have shape \(batch, key_length, num_key_value_heads, "
         r"key_dim\). Received: key.shape=\(3, 7, 11\)"),
        ({"value": ones(3, 7, 2, 13, 1)},
         r"`value` must have shape \(batch, key_length, num_key_value_heads, "
         r"value_dim\)."),
        ({"key": ones(3, 7, 2, 13)},
         r"`key` must have the width of `query` on its last axis. Received: "
         r"query.shape=\(3, 5, 8, 11\), key.shape=\(3, 7, 2, 13\)"),
        ({"value": ones(3, 5, 2, 13)},
         r"`value` must share \(batch, key_length, num_key_value_heads\) with "
         r"`key`. Received: key.shape=\(3, 7, 2, 11\), value.shape=\(3, 5,"),
        ({"value": ones(3, 7, 8, 13)},
         r"`value` must share .*value.shape=\(3, 7, 8, 13\)"),
        ({"query": ones(2, 5, 8, 11)},
         r"`key` must have the batch size of `query`."),
        ({"query": ones(3, 5, 7, 11)},
         r"heads of `query` must be a multiple of those of `key`. Received: "
         r"num_heads=7, num_key_value_heads=2."),
        ({"mask": ones(7, 5)},
         r"`mask` must broadcast to \(batch, num_heads, query_length, "
         r"key_length\)=\(3, 8, 5, 7\). Received: mask.shape=\(7, 5\). Did "
         r"you swap the query and key axes\?"),
        ({"mask": ones(3, 7)}, r"`mask` must broadcast.*mask.shape=\(3, 7\)"),
        ({"mask": ones(7)}, r"`mask` must have shape \(query_length, key_le"),
        ({"mask": masks.Causal() & masks.Lengths([1, 2])},
         r"`lengths` must broadcast.*lengths.shape=\(2,\)"),
        ({"mask": masks.Padding(ones(3, 5))},
         r"`key_mask` must broadcast.*key_mask.shape=\(3, 5\)"),
        ({"bias": ones(3, 5, 7)},
         r"`bias` must broadcast to .*=\(3, 8, 5, 7\). Received: "
         r"bias.shape=\(3, 5, 7\)"),
        ({"bias": functional.DistanceBias(ones(3, 9), 4)},
         r"`bias.values` must broadcast to .*bias.values.shape=\(3, 1, 1\)"),
        ({"sink": ones(2)},
         r"`sink` must have shape \(num_heads,\)=\(8,\). Received: "
         r"sink.shape=\(2,\)"),
        ({"score": functional.AdditiveScore(ones(13))},
         r"`score.vector` must broadcast to \(num_heads, units\)=\(8, 11\). "
         r"Received: score.vector.shape=\(13,\)"),
        ({"score": functional.AdditiveScore(ones(2, 11))},
         r"`score.vector` must broadcast.*shape=\(2, 11\)"),
        ({"query": np.ones((3, 5, 8, 11), int)},
         r"`query` must be of a float dtype. Received: query=int."),
        ({"key": np.ones((3, 7, 2, 11), "int32")},
         r"`key` must be of a float dtype. Received: key=int32."),
        ({"value": np.ones((3, 7, 2, 13), bool)},
         r"`value` must be of a float dtype. Received: value=bool."),
        ({"score": "dot"},
         r"`score` must be DotProductScore\(scale\) or AdditiveScore.*'dot'"),
        ({"dropout": 0.5},
         r"`dropout` must be Dropout\(rate, seed\) or None.*dropout=0.5"),
        ({"sink": [0.0, 0.0]}, r"`sink` must have shape.*shape=\(2,\)"),
        ({"score": functional.AdditiveScore([1.0] * 13)},
         r"`score.vector` must broadcast.*vector.shape=\(13,\)"),
        ({"implementation": "fast"},
         r"`implementation` must be one of 'auto', 'dense', 'flash', 'block.*"
         r"Received: implementation='fast'"),
        ({"logit_soft_cap": 0.0},
         r"`logit_soft_cap` must be a number above 0 or None. Received: "
         r"logit_soft_cap=0.0"),
        ({"logit_soft_cap": float("inf")},
         r"`logit_soft_cap` must be finite.*None sets no limit."),
    ],
)  # fmt: skip
def test_attend_refuses(changes, message):
    fitting = {
        "query": ones(3, 5, 8, 11),
        "key": ones(3, 7, 2, 11),
        "value": ones(3, 7, 2, 13),
    }
    with pytest.raises(ValueError, match=message):
        functional.attend(**{**fitting, **changes})


@pytest.mark.parametrize("implementation", ["dense", "blockwise"])
def test_attend_takes_lists(implementation):
    random = np.random.default_rng(47)
    x = random.normal(size=(2, 3, 2, 5)).astype("float32")
    options = {"query": x, "key": x, "value": x}
    options["implementation"] = implementation
    vector, sink = [1.0, -1.0, 0.5, 2.0, 0.0], [0.5, -0.5]
    found, expected = (
        functional.attend(
            **options, sink=of(sink), score=functional.AdditiveScore(of(vector))
        )
        for of in (list, lambda numbers: np.array(numbers, "float32"))
    )
    np.testing.assert_array_equal(found, expected)


def test_attend_takes_keywords_only():
    x = ones(2, 3, 5, 7)
    with pytest.raises(TypeError, match="positional argument"):
        functional.attend(x, x, x)
