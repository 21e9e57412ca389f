"""The oracle: attention by its definition, in float64 NumPy loops.

Nothing here is fast or clever. One pair of query and key at a time, Python
integers and `if`, so that a reader can check it against the papers by eye.
It shares no arithmetic with the package: of a mask or a bias it reads the
fields and applies what the docstring says of them.
"""

import itertools

import numpy as np

from keras_attention import masks
from keras_attention.functional import DistanceBias
from keras_attention.functional import LinearDistanceBias
from keras_attention.functional import QueryDistanceBias
from keras_attention.functional.biases import Bias
from keras_attention.functional.biases import TensorBias

# --- scores: score(head, q, k) of one query vector and one key vector --------


def dot(scale=1.0):
    return lambda head, q, k: scale * sum(q * k)


def scaled():
    return lambda head, q, k: sum(q * k) / np.sqrt(len(q))


def general(kernel):
    return lambda head, q, k: sum((q @ kernel) * k)


def cosine(scale=1.0):
    def score(head, q, k):
        return scale * sum(q * k) / np.sqrt(sum(q * q)) / np.sqrt(sum(k * k))

    return score


def distance(scale=1.0):
    return lambda head, q, k: -scale * sum((q - k) ** 2)


def additive(vector):
    """`vector` is (units,), or (num_heads, units)."""

    def score(head, q, k):
        v = vector if np.ndim(vector) == 1 else vector[head % len(vector)]
        return sum(v * np.tanh(q + k))

    return score


# --- masks -------------------------------------------------------------------


def is_visible(mask, row, head, query, key):
    """Whether the mask lets this query see this key, by its definition."""
    match mask:
        case None:
            return True
        case masks.And(masks=parts):
            return all(is_visible(p, row, head, query, key) for p in parts)
        case masks.Or(masks=parts):
            return any(is_visible(p, row, head, query, key) for p in parts)
        case masks.Causal(offset=offset):
            return key <= query + _entry(offset, row)
        case masks.SlidingWindow(left=left, right=right, offset=offset):
            position = query + _entry(offset, row)
            after = left is None or key >= position - left
            before = right is None or key <= position + right
            return after and before
        case masks.PrefixLM(prefix_lengths=lengths, offset=offset):
            in_prefix = key < _entry(lengths, row)
            return in_prefix or key <= query + _entry(offset, row)
        case masks.GlobalTokens(count=count, offset=offset):
            return min(query + _entry(offset, row), key) < _entry(count, row)
        case masks.Lengths(lengths=lengths):
            return key < _entry(lengths, row)
        case masks.Padding(key_mask=key_mask):
            return bool(_entry(key_mask, row, key))
        case masks.QueryPadding(query_mask=query_mask):
            return bool(_entry(query_mask, row, query))
        case masks.Segments(query_ids=query_ids, key_ids=key_ids):
            key_ids = query_ids if key_ids is None else key_ids
            return _entry(query_ids, row, query) == _entry(key_ids, row, key)
        case masks.Array(mask=array):
            index = {2: (), 3: (row,), 4: (row, head)}[np.ndim(array)]
            return bool(_entry(array, *index, query, key))
    return bool(np.broadcast_to(mask, (row + 1, head + 1, query + 1, key + 1)))


def _entry(array, *index):
    """The entry at `index`; one number, or an axis of size 1, serves all."""
    array = np.asarray(array)
    for place in index[: array.ndim]:
        array = array[0 if len(array) == 1 else place]
    return array


def dense_mask(mask, shape):
    """The whole mask as a boolean array of (B, N, T, S)."""
    result = np.zeros(shape, bool)
    for place in np.ndindex(*shape):
        result[place] = is_visible(mask, *place)
    return result


# --- biases ------------------------------------------------------------------


def dense_bias(bias, shape):
    """The whole bias as a float64 array of (B, N, T, S)."""
    if bias is None:
        return np.zeros(shape)
    if not isinstance(bias, Bias):
        return np.broadcast_to(np.asarray(bias, "float64"), shape)
    result = np.zeros(shape)
    for place in np.ndindex(*shape):
        result[place] = _bias_at(bias, *place)
    return result


def _bias_at(bias, row, head, query, key):
    match bias:
        case DistanceBias(values=values, zero=zero):
            values = _entry(values, head)
        case QueryDistanceBias(values=values, zero=zero):
            values = _entry(values, row, head, query)
        case LinearDistanceBias(slopes=slopes, offset=offset):
            distance = key - query + int(_entry(offset, row))
            return -float(_entry(slopes, head)) * abs(distance)
        case TensorBias(tensor=tensor):
            missing = 4 - np.ndim(tensor)
            place = (row, head, query, key)[missing:]
            return float(_entry(tensor, *place))
    index = int(_entry(zero, row)) + key - query
    return float(values[min(max(index, 0), len(values) - 1)])


# --- normalisers --------------------------------------------------------------


def _summing_to_one(weights_at, low, high):
    """The weights at the threshold, between two, that makes them sum to 1."""
    for _ in range(100):
        middle = (low + high) / 2
        if weights_at(middle).sum() > 1:
            low = middle
        else:
            high = middle
    return weights_at(low)


def _sparsemax(z):
    def weights_at(t):
        return np.maximum(z - t, 0)

    return _summing_to_one(weights_at, z.max() - 1, z.max())


def _entmax15(z):
    def weights_at(t):
        return np.maximum(z / 2 - t, 0) ** 2

    return _summing_to_one(weights_at, z.max() / 2 - 1, z.max() / 2)


def _sigmoid(z):
    weights = 1 / (1 + np.exp(-z))
    return weights / weights.sum()


def _hardmax(z):
    return np.eye(len(z))[z.argmax()]  # the first of equals


def _softmax(z):
    odds = np.exp(z - z.max())
    return odds / odds.sum()


NORMALIZERS = {
    "softmax": _softmax,
    "hardmax": _hardmax,
    "sparsemax": _sparsemax,
    "entmax15": _entmax15,
    "sigmoid": _sigmoid,
}


def normalized(name, scores, visible=None):
    """The weights that a normaliser makes: row by row, of what is visible."""
    scores = np.asarray(scores, "float64")
    seen = np.broadcast_to(True if visible is None else visible, scores.shape)
    weights = np.zeros(scores.shape)
    for row in np.ndindex(scores.shape[:-1]):
        if seen[row].any():
            found = NORMALIZERS[name](scores[row][seen[row]])
            weights[row][seen[row]] = found
    return weights


# --- attention ---------------------------------------------------------------


def attend(
    query,
    key,
    value,
    score=None,
    mask=None,
    bias=None,
    logit_soft_cap=None,
    sink=None,
    keep=None,
    rate=0.0,
):
    """Returns (output (B, T, N, V), weights before dropout (B, N, T, S)).

    score, soft cap, bias, mask, softmax with the sink in its denominator,
    dropout, values: one row of scores at a time. `keep` holds the keep bits
    of dropout at `rate`, (B, N, T, S).
    """
    query, key, value = (np.asarray(x, "float64") for x in (query, key, value))
    batch, queries, heads, _ = query.shape
    _, keys, kv_heads, _ = key.shape
    group = heads // kv_heads
    shape = (batch, heads, queries, keys)
    score = score or scaled()
    bias = dense_bias(bias, shape)
    visible = dense_mask(mask, shape) & (bias != -np.inf)
    weights = np.zeros(shape)
    output = np.zeros((batch, queries, heads, value.shape[-1]))
    for b, n, t in itertools.product(*map(range, shape[:3])):
        seen = [s for s in range(keys) if visible[b, n, t, s]]
        if not seen:
            continue  # nothing to attend to: zero weights, zero output
        scores = []
        for s in seen:
            one = score(n, query[b, t, n], key[b, s, n // group])
            if logit_soft_cap is not None:
                one = logit_soft_cap * np.tanh(one / logit_soft_cap)
            scores.append(one + bias[b, n, t, s])
        in_sum = scores if sink is None else [*scores, float(sink[n])]
        top = max(in_sum)
        total = sum(np.exp(x - top) for x in in_sum)
        for s, one in zip(seen, scores, strict=True):
            weight = weights[b, n, t, s] = np.exp(one - top) / total
            if keep is not None:
                weight = weight * keep[b, n, t, s] / (1 - rate)
            output[b, t, n] += weight * value[b, s, n // group]
    return output, weights


def directional_derivative(function, arguments, name, direction, step=1e-5):
    """(f(x + h u) - f(x - h u)) / 2h, with x = arguments[name]."""
    x = np.asarray(arguments[name], "float64")
    ahead = function(**{**arguments, name: x + step * direction})
    behind = function(**{**arguments, name: x - step * direction})
    return (ahead - behind) / (2 * step)


# --- random bits -------------------------------------------------------------


def random_bits(seed, *indices):
    """The hash of `functional.random_bits`, in Python integers.

    `seed` is an integer, hashed as its two 32-bit halves, low first, or a
    list of 32-bit words.
    """
    words = seed if isinstance(seed, list) else [seed, seed >> 32]
    state = 0
    for word in words:
        state = _murmur3_finaliser((state ^ (word % 2**32)) + 0x9E3779B9)
    for index in indices:
        state ^= _murmur3_finaliser(index + 0x9E3779B9)
        state = _murmur3_finaliser(state)
    return state


def _murmur3_finaliser(bits):
    bits %= 2**32
    bits ^= bits >> 16
    bits = bits * 0x85EBCA6B % 2**32
    bits ^= bits >> 13
    bits = bits * 0xC2B2AE35 % 2**32
    return bits ^ bits >> 16


def keep_bits(rate, seed, shape):
    """Which weights dropout keeps: those whose bits are >= rate * 2**32."""
    keep = np.zeros(shape, bool)
    for place in np.ndindex(*shape):
        keep[place] = random_bits(seed, *place) >= round(rate * 2**32)
    return keep
