"""What the kernel of additive attention computes, from its operands alone.

Stands in for TensorFlow's bridge to XLA where no GPU is at hand, and is the
oracle of the kernel itself: `benchmarks/kernels/additive.py` says in words
what is computed here in float64, one head of one row after the other.
"""

import re

import numpy as np

CALL = re.compile(
    r"custom_call @\S+?gpu\.ptx\(.*?backend_config = \{(.*?)\}, o"
)
SETTING = re.compile(r'(\w+) = (?:"(.*?)"|(\d+) : i32)')
CUDA = 1


class Bridge:
    """Has the functions of `functional.fused.bridge`; the platform is CUDA."""

    def __init__(self):
        self.called = []  # names of kernels, as they are run

    def call_module(self, text, operands, shapes, dtypes):
        import tensorflow as tf

        if "custom_call" not in text:
            return [tf.constant(CUDA)]
        settings = settings_of(CALL.search(text).group(1))
        self.called.append(settings["name"])
        operands = [operand.numpy() for operand in operands]
        return [
            tf.constant(result, dtype)
            for result, dtype in zip(
                run(settings, operands, shapes), dtypes, strict=True
            )
        ]


def settings_of(text):
    """Returns the settings of a call as a dict, from what MLIR writes."""
    return {
        name: string if number == "" else int(number)
        for name, string, number in SETTING.findall(text)
    }


def run(settings, operands, shapes):
    """Returns the results, of these shapes, of the kernel that is called."""
    name, operands = settings["name"], list(operands)
    queries, keys, heads, key_heads = map(int, operands[7][:4])
    length, heads = {
        "key_gradients": (keys, key_heads),
    }.get(name, (queries, heads))
    rows = int(re.search(r"// rows (\d+)", settings["kernel_data"]).group(1))
    grid = tuple(settings[f"grid_{axis}"] for axis in "xyz")
    assert grid == (-(-length // rows), heads, len(operands[0]))
    assert settings["block_x"] == 32
    results = [np.zeros(shape) for shape in shapes]
    KERNELS[name](*operands, *results, rows=rows)
    return results


def each_head(query, key, value, vector, queries, keys, is_small, sizes):
    """Yields (row, head, key head), the shares tanh, and what is visible."""
    _, _, heads, key_heads, causal, window = map(int, sizes)
    query, key = (x.astype("float64") for x in (query, key))
    for row in range(len(query)):
        t = np.arange(query.shape[1])[:, None]
        s = np.arange(key.shape[1])
        visible = (t < queries[row]) & (s < keys[row])
        if causal:
            visible &= (s <= t) & (t - s < window)
        for head in range(heads):
            key_head = head // (heads // key_heads)
            left = query[row, :, head, None]
            right = key[row, None, :, key_head]
            if is_small[0]:  # exp(2 x) are given
                shares = 1.0 - 2.0 / (1.0 + left * right)  # (T, S, U)
            else:
                shares = np.tanh(left + right)
            scores = np.where(visible, shares @ vector[head], -np.inf)
            yield row, head, key_head, shares, scores


def forward(query, key, value, *rest, rows):
    *settings, output, logsumexp = rest
    heads = each_head(query, key, value, *settings)
    for row, head, key_head, _, scores in heads:
        highest = np.max(scores, axis=1, initial=-np.inf)
        highest = np.where(np.isfinite(highest), highest, 0.0)
        weights = np.exp(scores - highest[:, None])
        total = np.sum(weights, axis=1)
        some = total > 0
        total = np.where(some, total, 1.0)
        weights = weights / total[:, None]
        output[row, :, head] = weights @ value[row, :, key_head]
        known = np.where(some, highest + np.log(total), 0.0)
        logsumexp[row, head] = known


def each_gradient(query, key, value, vector, *rest):
    """Yields where, the shares, the weights, and gradients of the scores."""
    *settings, upstream, logsumexp, delta = rest
    heads = each_head(query, key, value, vector, *settings)
    for row, head, key_head, shares, scores in heads:
        weights = np.exp(scores - logsumexp[row, head][:, None])
        change = upstream[row, :, head] @ value[row, :, key_head].T
        change = weights * (change - delta[row, head][:, None])
        yield row, head, key_head, shares, weights, change


def query_gradients(query, key, value, vector, *rest, rows):
    *rest, query_gradient, vector_gradient = rest
    for row, head, _, shares, _, change in each_gradient(
        query, key, value, vector, *rest
    ):
        slopes = (1 - shares**2) * vector[head]
        query_gradient[row, :, head] = np.einsum("tsu,ts->tu", slopes, change)
        for block in range(vector_gradient.shape[2]):
            part = slice(block * rows, (block + 1) * rows)
            vector_gradient[row, head, block] = np.einsum(
                "tsu,ts->u", shares[part], change[part]
            )


def key_gradients(query, key, value, vector, *rest, rows):
    *rest, key_gradient, value_gradient = rest
    upstream = rest[4]
    for row, head, key_head, shares, weights, change in each_gradient(
        query, key, value, vector, *rest
    ):
        slopes = (1 - shares**2) * vector[head]
        key_gradient[row, :, key_head] += np.einsum(
            "tsu,ts->su", slopes, change
        )
        value_gradient[row, :, key_head] += weights.T @ upstream[row, :, head]


KERNELS = {
    function.__name__: function
    for function in (forward, query_gradients, key_gradients)
}
