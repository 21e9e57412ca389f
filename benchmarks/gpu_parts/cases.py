"""One attention to time: its sizes, its float64 definition, its cost.

NumPy alone. Letters in shape comments: B batch, T = S length, N heads, H
width of a head, R rows that are checked.
"""

import dataclasses

import numpy as np

TOKENS, HIDDEN = 16384, 2048  # of a batch, as in the tables of FlashAttention
WINDOW = 256  # keys that a query sees, its own the last
UNITS = 256  # of additive scores
WINDOW_HEADS, ADDITIVE_BATCH = 4, 4  # what a dense program has room for
ROWS = {"dot": 33, "additive": 9}  # that are checked, of a head
# Largest error of a row, relative to the row; see `error_of`.
TOLERANCES = {"bfloat16": 4e-2, "tensorfloat32": 5e-3, "float32": 2e-4}


@dataclasses.dataclass(frozen=True)
class Case:
    """Attention of one shape.

    Args:
        key: what it is called in tables and by the targets.
        batch, length, heads, width: sizes; queries and keys are as many.
        mask: "full", "causal" or "window", which is causal too.
        window: how many keys a query sees where the mask is a window.
        score: "dot" or "additive", of one head and `width` units.
        backward: whether the gradients are computed too.
        dtype: of the inputs.
        precision: of float32 products, as JAX names it; None elsewhere.
    """

    key: str
    batch: int
    length: int
    heads: int
    width: int
    mask: str = "causal"
    window: int | None = None
    score: str = "dot"
    backward: bool = False
    dtype: str = "bfloat16"
    precision: str | None = None

    @property
    def shapes(self):
        """Shape of each input: query, key, value, vector?, upstream?."""
        whole = (self.batch, self.length, self.heads, self.width)
        shapes = [whole] * 3
        if self.score == "additive":
            shapes.append((self.width,))
        return [*shapes, whole] if self.backward else shapes

    @property
    def operations(self):
        """Useful operations of the usual formula; None for additive scores."""
        if self.score == "additive":
            return None
        keys = {
            "full": self.length,
            "causal": self.length / 2,
            "window": self.window,
        }[self.mask]
        pairs = self.batch * self.heads * self.length * keys
        return 4 * pairs * self.width * (3.5 if self.backward else 1)

    @property
    def dense_bytes(self):
        """Bytes of the matrices that a dense program holds at once."""
        entries = self.batch * self.heads * self.length**2
        if self.score == "additive" and self.backward:
            return entries * (self.width + 4) * 4
        return entries * 4 * (5 if self.backward else 2)

    @property
    def float32_products(self):
        """What ours is told of them; peers have a setting of their library."""
        return "backend" if self.precision == "tensorfloat32" else "exact"

    @property
    def tolerance(self):
        return TOLERANCES[self.precision or self.dtype]


def attention_case(length, mask="causal", width=128, tiny=False, **changes):
    """Returns the `Case` of a length in thousands of positions."""
    backward = changes.get("backward", False)
    rest = [name for name in ("dtype", "precision") if name in changes]
    key = ", ".join(
        [
            f"{length}k {mask}",
            f"d{width}",
            "forward + backward" if backward else "forward",
            *(changes[name] for name in rest),
        ]
    )
    length *= 1024
    heads = WINDOW_HEADS if mask == "window" else HIDDEN // width
    sizes = {
        "batch": max(1, TOKENS // length),
        "length": length,
        "heads": heads,
        "width": width,
        "window": WINDOW if mask == "window" else None,
    }
    if tiny:
        sizes = {name: _tiny(name, size) for name, size in sizes.items()}
    return Case(key, mask=mask, **sizes, **changes)


def additive_case(length, tiny=False, backward=False):
    """Returns the same for additive scores, float32 without a mask."""
    sizes = {
        "batch": ADDITIVE_BATCH,
        "length": 1024 * length,
        "heads": 1,
        "width": UNITS,
    }
    if tiny:
        sizes = {name: _tiny(name, size) for name, size in sizes.items()}
    passes = "forward + backward" if backward else "forward"
    return Case(
        f"{length}k additive, {passes}",
        mask="full",
        score="additive",
        backward=backward,
        dtype="float32",
        precision="tensorfloat32",
        **sizes,
    )


def _tiny(name, size):
    """A small size that stands for a large one: many blocks are still many."""
    if name in ("batch", "heads"):
        return min(size, 2)
    divisor = {"length": 32, "width": 8, "window": 16}[name]
    return None if size is None else size // divisor


def checked_heads(case):
    """Returns the (row of the batch, head) whose numbers are checked."""
    return sorted({(0, 0), (case.batch - 1, case.heads - 1)})


def checked_rows(case):
    """Returns the queries that are checked: ends, and some between."""
    rows = np.linspace(0, case.length - 1, ROWS[case.score])
    return np.unique(rows.astype(int))


def is_checked(case):
    """Returns which upstream gradients are not zero in the check, (B, T, N, 1).

    With the gradient of some rows alone, that of every key is cheap to know.
    """
    chosen = np.zeros((case.batch, case.length, case.heads, 1), bool)
    for row, head in checked_heads(case):
        chosen[row, checked_rows(case), head] = True
    return chosen


def reference(case, arrays):
    """Returns the results to compare with, float64, as `cut` returns them."""
    arrays = [np.asarray(x) for x in arrays]
    vector = arrays[3].astype("float64") if case.score == "additive" else None
    rows, found = checked_rows(case), []
    for row, head in checked_heads(case):
        query, key, value = (
            x[row, :, head].astype("float64") for x in arrays[:3]
        )
        upstream = None
        if case.backward:
            upstream = arrays[-1][row, rows, head].astype("float64")
        found.append(_one_head(case, query[rows], key, value, vector, upstream))
    *whole, last = map(list, zip(*found, strict=True))
    if case.backward and vector is not None:
        return [*(x for part in whole for x in part), sum(last)]
    return [x for part in (*whole, last) for x in part]


def _one_head(case, query, key, value, vector, upstream):
    """Returns output (R, H), and gradients of query, key, value, vector."""
    if vector is None:
        scores = query @ key.T / np.sqrt(case.width)  # (R, S)
    else:
        tanh = np.tanh(query[:, None] + key)  # (R, S, H)
        scores = tanh @ vector
    scores[~_visible(case)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    output = weights @ value  # (R, H)
    if upstream is None:
        return [output]
    slopes = upstream @ value.T  # (R, S)
    slopes -= np.sum(upstream * output, axis=-1, keepdims=True)
    slopes *= weights
    value_gradient = weights.T @ upstream
    if vector is None:
        slopes /= np.sqrt(case.width)
        return [output, slopes @ key, slopes.T @ query, value_gradient]
    inner = slopes[:, :, None] * (1 - tanh**2) * vector  # (R, S, H)
    return [
        output,
        inner.sum(axis=1),
        inner.sum(axis=0),
        value_gradient,
        np.einsum("rs,rsh->h", slopes, tanh),
    ]


def _visible(case):
    rows, keys = checked_rows(case)[:, None], np.arange(case.length)
    visible = np.ones((len(rows), case.length), bool)  # (R, S)
    if case.mask != "full":
        visible &= keys <= rows
    if case.mask == "window":
        visible &= keys > rows - case.window
    return visible


def cut(case, results):
    """Returns what is checked of the results of a program, NumPy arrays."""
    rows, parts = checked_rows(case), []
    for number, result in enumerate(results):
        if number == 4:  # the gradient of the vector
            parts.append(result)
            continue
        for row, head in checked_heads(case):
            part = result[row, :, head]
            parts.append(part[rows] if number < 2 else part)
    return [np.asarray(part, "float64") for part in parts]


def error_of(found, expected):
    """Returns the largest error of a row, relative to its norm.

    Among rows much shorter than the others, to that of the median row: a
    gradient is small where much cancels.
    """
    ratios = []
    for part, wanted in zip(found, expected, strict=True):
        sizes = np.linalg.norm(np.atleast_2d(wanted), axis=-1)
        errors = np.linalg.norm(np.atleast_2d(part - wanted), axis=-1)
        floor = np.median(sizes[sizes > 0])
        ratios.append(np.max(errors / np.maximum(sizes, floor)))
    return float(np.max(ratios))  # NaN if one is
