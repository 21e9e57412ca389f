"""Checks of arguments, and the one wording of their errors.

Every error names the argument, says what was expected, shows what came, and
where it helps says how to mend it.
"""

import math
import numbers
from collections.abc import Collection
from collections.abc import Iterable
from typing import Any

import numpy as np

LARGEST = float(np.finfo("float32").max)
SCORE_AXES = "(batch, num_heads, query_length, key_length)"


def invalid(
    name: str, expected: Any, received: Any, fix: str = ""
) -> ValueError:
    """Returns the `ValueError` for one bad argument, ready to raise."""
    message = f"`{name}` must be {expected}. Received: {name}={received}."
    return ValueError(f"{message} {fix}".rstrip())


def check_positive_integer(
    name: str, value: Any, optional: bool = False
) -> int | None:
    """Returns `value`, a positive integer (or an allowed None), as an int."""
    if optional and value is None:
        return None
    if not is_integer(value) or value <= 0:
        expected = "a positive integer" + (" or None" if optional else "")
        raise invalid(name, expected, repr(value))
    return int(value)


def check_count(name: str, value: Any) -> int:
    """Returns `value`, an integer of at least 0, as an int."""
    if not is_integer(value) or value < 0:
        raise invalid(name, "an integer of at least 0", repr(value))
    return int(value)


def check_rate(name: str, value: Any) -> float:
    """Returns `value`, a dropout rate with 0 <= rate < 1, as a float."""
    if not is_number(value):
        raise invalid(name, "a number in [0, 1)", repr(value))
    if not 0 <= value < 1:
        raise invalid(name, "in [0, 1)", value)
    return float(value)


def check_positive_number(
    name: str, value: Any, optional: bool = False
) -> float | None:
    """Returns `value`, above zero (or an allowed None), as a float.

    It is finite in float32, in which it meets tensors.
    """
    if optional and value is None:
        return None
    if not is_number(value) or not value > 0:
        expected = "a number above 0" + (" or None" if optional else "")
        raise invalid(name, expected, repr(value))
    if _is_beyond_float32(value):
        fix = "None sets no limit." if optional else ""
        raise invalid(name, "finite in float32", repr(value), fix)
    return float(value)


def check_number(name: str, value: Any) -> float:
    """Returns `value`, a real number of any sign, as a float.

    It is finite in float32, in which it meets tensors.
    """
    if not is_number(value) or math.isnan(value):
        raise invalid(name, "a number", repr(value))
    if _is_beyond_float32(value):
        raise invalid(name, "finite in float32", repr(value))
    return float(value)


def _is_beyond_float32(value):
    # As a number of Python: as float16 the bound itself would be infinite.
    number = int(value) if is_integer(value) else float(value)
    return abs(number) > LARGEST


def is_integer(value: Any) -> bool:
    """Whether `value` is a Python or NumPy integer; bool is not."""
    # bool is an int in Python, and True as a size is always a slip.
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Whether `value` is a Python or NumPy real number; bool is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def without_numpy(value: Any) -> Any:
    """Returns a NumPy scalar as that of Python, which JSON has a form for."""
    return value.item() if isinstance(value, np.generic) else value


def check_choice(name: str, value: Any, choices: Collection) -> Any:
    """Returns `value` if it is one of `choices`."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise invalid(name, f"one of {listed}", repr(value))
    return value


def shape_of(value: Any) -> tuple:
    """Returns the shape of a tensor, symbolic or not, or of nested lists."""
    return tuple(value.shape if hasattr(value, "shape") else np.shape(value))


def check_rank(name: str, tensor: Any, rank: int, meaning: str) -> None:
    """Checks that `tensor` has `rank` axes; `meaning` names them."""
    if len(shape_of(tensor)) != rank:
        raise ValueError(
            f"`{name}` must have shape {meaning}. "
            f"Received: {name}.shape={shape_of(tensor)}."
        )


def check_sequence_shape(name: str, shape: tuple) -> None:
    """Checks that `shape` is that of a batch of sequences of vectors."""
    if len(shape) != 3:
        raise ValueError(
            f"`{name}` must have shape (batch, length, width). "
            f"Received: {name}.shape={tuple(shape)}."
        )


def check_broadcasts(
    name: str,
    shape: Iterable,
    target: Iterable,
    meaning: str,
    fix: str = "",
    received: tuple | None = None,
) -> None:
    """Checks that `shape` broadcasts to `target`; None sizes fit anything.

    `received` is the shape to show, where `shape` has been aligned.
    """
    shape = tuple(shape)
    target = tuple(target)
    padded = (1,) * (len(target) - len(shape)) + shape
    fits = len(shape) <= len(target) and all(
        size in (1, wanted) or None in (size, wanted)
        for size, wanted in zip(padded, target, strict=True)
    )
    if not fits:
        message = (
            f"`{name}` must broadcast to {meaning}={target}. "
            f"Received: {name}.shape={received or shape}."
        )
        raise ValueError(f"{message} {fix}".rstrip())


def check_divisor(name: str, value: Any, of_name: str, of_value: int) -> int:
    """Returns `value` if it is a positive integer that divides `of_value`."""
    value = check_positive_integer(name, value)
    if of_value % value:
        raise invalid(
            name,
            f"a divisor of {of_name}={of_value}",
            value,
            f"Choose {of_name} a multiple of {name}.",
        )
    return value
