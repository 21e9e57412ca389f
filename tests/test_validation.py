import fractions
import re

import keras
import numpy as np
import pytest

from keras_attention import validation


@pytest.mark.parametrize(
    "check, value",
    [
        (validation.check_positive_integer, 1),
        (validation.check_positive_integer, 7),
        (validation.check_rate, 0),
        (validation.check_rate, 0.0),
        (validation.check_rate, 0.999),
        (validation.check_positive_number, 1e-9),
        (validation.check_positive_number, 30),
    ],
)
def test_check_returns_a_good_value(check, value):
    assert check("argument", value) == value


FLOATS = [np.float16, np.float32, np.float64, fractions.Fraction]
INTEGERS = [np.int8, np.uint32, np.int64]


@pytest.mark.parametrize("kind", [int, float, *FLOATS, *INTEGERS])
@pytest.mark.parametrize(
    "check",
    [
        validation.check_rate,
        validation.check_number,
        validation.check_positive_number,
    ],
)
def test_any_real_number_becomes_a_float(check, kind):
    given = 0 if check is validation.check_rate else 3
    found = check("argument", kind(given))
    assert type(found) is float
    assert found == given


@pytest.mark.parametrize("kind", [int, *INTEGERS])
def test_any_integer_becomes_an_int(kind):
    sizes = (
        validation.check_positive_integer("units", kind(3)),
        validation.check_divisor("num_heads", kind(3), "units", 6),
    )
    assert [type(size) for size in sizes] == [int, int]
    assert sizes == (3, 3)


@pytest.mark.parametrize("value", [float("nan"), np.float32("nan"), True, "5"])
def test_number_refuses(value):
    message = f"`scale` must be a number. Received: scale={value!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        validation.check_number("scale", value)


@pytest.mark.parametrize(
    "check",
    [validation.check_positive_integer, validation.check_positive_number],
)
def test_check_lets_none_through_where_it_is_optional(check):
    assert check("argument", None, optional=True) is None


@pytest.mark.parametrize(
    "value", [0, -3, 2.0, True, "5", None, np.int64(0), np.float32(2), np.True_]
)
def test_positive_integer_refuses(value):
    message = f"`units` must be a positive integer. Received: units={value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        validation.check_positive_integer("units", value)


@pytest.mark.parametrize("value", [0, -3, True, float("nan"), "5"])
def test_positive_number_refuses(value):
    message = f"`cap` must be a number above 0 or None. Received: cap={value!r}"
    with pytest.raises(ValueError, match=message):
        validation.check_positive_number("cap", value, optional=True)


@pytest.mark.parametrize("value", [float("inf"), 1e39, 10**40])
@pytest.mark.parametrize(
    "check", [validation.check_number, validation.check_positive_number]
)
def test_numbers_are_finite_in_float32(check, value):
    message = f"`cap` must be finite in float32. Received: cap={value!r}."
    with pytest.raises(ValueError, match=re.escape(message)):
        check("cap", value)
    assert check("cap", 3e38) == 3e38
    with pytest.raises(ValueError, match="cap=inf. None sets no limit.$"):
        validation.check_positive_number("cap", float("inf"), optional=True)


def test_numbers_below_float32_are_refused():
    with pytest.raises(ValueError, match="`scale` must be finite"):
        validation.check_number("scale", -float("inf"))


@pytest.mark.parametrize("value", [1, 1.0, -0.1, float("nan")])
def test_rate_refuses_what_is_out_of_range(value):
    message = rf"`rate` must be in \[0, 1\). Received: rate={value}."
    with pytest.raises(ValueError, match=message):
        validation.check_rate("rate", value)


@pytest.mark.parametrize("value", [True, None, "0.1"])
def test_rate_refuses_what_is_no_number(value):
    message = rf"`rate` must be a number in \[0, 1\). Received: rate={value!r}."
    with pytest.raises(ValueError, match=message):
        validation.check_rate("rate", value)


def test_choice_lists_what_there_is():
    assert validation.check_choice("norm", "pre", ("pre", "post")) == "pre"
    message = "`norm` must be one of 'pre', 'post'. Received: norm='per'."
    with pytest.raises(ValueError, match=message):
        validation.check_choice("norm", "per", ("pre", "post"))


def test_invalid_ends_with_the_fix():
    error = validation.invalid("units", "odd", 4, "Add one.")
    assert str(error) == "`units` must be odd. Received: units=4. Add one."


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 3)),
        [[0, 0, 0], [0, 0, 0]],
        keras.KerasTensor((2, 3)),
        keras.ops.zeros((2, 3)),
    ],
    ids=["array", "list", "symbolic", "tensor"],
)
def test_shape_of_any_kind_of_tensor(value):
    assert validation.shape_of(value) == (2, 3)
    validation.check_rank("value", value, 2, "(batch, units)")
    message = r"`value` must have shape \(batch,\). Received: value.shape=\(2, "
    with pytest.raises(ValueError, match=message):
        validation.check_rank("value", value, 1, "(batch,)")


@pytest.mark.parametrize(
    "shape", [(), (7,), (5, 7), (1, 7), (2, 1, 5, 7), (2, 3, None, 7)]
)
@pytest.mark.parametrize("target", [(2, 3, 5, 7), (None, 3, None, None)])
def test_broadcasts_accepts_what_numpy_would(shape, target):
    validation.check_broadcasts("mask", shape, target, "axes")
    known = tuple(5 if size is None else size for size in shape)
    assert np.broadcast_shapes(known, (2, 3, 5, 7)) == (2, 3, 5, 7)


@pytest.mark.parametrize(
    "shape", [(5,), (7, 5), (2, 5, 7), (3, 2, 5, 7), (1, 2, 3, 5, 7), (0,)]
)
def test_broadcasts_refuses(shape):
    message = (
        r"`mask` must broadcast to \(a, b\)=\(2, 3, 5, 7\). Received: "
        rf"mask.shape=\({', '.join(map(str, shape))},?\). Fix."
    )
    with pytest.raises(ValueError, match=message):
        validation.check_broadcasts(
            "mask", shape, (2, 3, 5, 7), "(a, b)", "Fix."
        )
