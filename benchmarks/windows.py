"""What a mask rules out costs nothing: windows, padding, segments, causal.

python benchmarks/windows.py [--quick] [--parts window,lengths,segments,causal]
    [--passes forward,backward] [--lengths 8192,16384,32768] [--rounds 5]

Each part times the same attention with and without what its mask hides.
Backward means forward and backward; --lengths are those of the window.
"""

import keras
import measure
import numpy as np
import tensorflow as tf

from keras_attention import masks
from keras_attention.functional import attend

HEADS, KEY_DIM, WINDOW = 8, 64, 256
# The longest where the matrices of Keras take less than 8 GiB.
PEER_LENGTHS = {False: 8192, True: 4096}  # by whether gradients are taken
PATHS = {"graph": False, "XLA": True}


def tensors_of(batch, length):
    generator = np.random.default_rng(0)
    shape = (batch, length, HEADS, KEY_DIM)
    return [
        tf.constant(generator.normal(size=shape).astype("float32"))
        for _ in range(3)
    ]


def timed(attention, tensors, backward, jit_compile):
    @tf.function(jit_compile=jit_compile, autograph=False)
    def run(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = attention(*tensors)
            loss = tf.reduce_sum(tf.square(output))
        if not backward:
            return output
        return output, *tape.gradient(loss, tensors)

    return lambda: run(*tensors)


def ours(mask):
    def attention(query, key, value):
        return attend(
            query=query,
            key=key,
            value=value,
            mask=mask,
            implementation="blockwise",
        )

    return attention


def theirs(query, key, value):
    """Keras's attention under the same window, written as a matrix."""
    position = tf.range(tf.shape(query)[1])
    distance = position[:, None] - position
    visible = (distance >= 0) & (distance < WINDOW)
    return keras.ops.dot_product_attention(
        query, key, value, mask=visible[None, None]
    )


def check(functions, tensors, visible):
    """Against float64, on the first head and some queries of the last row.

    Args:
        functions: dict from name to function.
        tensors: query, key and value.
        visible: function of query and key positions.
    """
    query, key, value = (
        measure.view(x)[-1, :, 0].astype("float64") for x in tensors
    )
    queries = np.unique(np.linspace(0, len(query) - 1, 61, dtype=int))
    scores = query[queries] @ key.T / KEY_DIM**0.5
    seen = visible(queries[:, None], np.arange(len(key)))
    powers = np.exp(np.where(seen, scores, -np.inf))
    weights = powers / powers.sum(axis=-1, keepdims=True)

    def cut(result):
        output = result if hasattr(result, "shape") else result[0]
        return [measure.view(output)[-1, queries, 0]]

    measure.check(functions, [weights @ value], cut)


def in_window(query, key):
    return (key <= query) & (key > query - WINDOW)


def window(lengths, backward, rounds):
    """How time grows with the length, and what Keras takes at one length."""
    mask = masks.SlidingWindow(WINDOW - 1, 0)
    medians, rows = {}, []
    peer_length = min(*lengths, PEER_LENGTHS[backward])
    for length in sorted({*lengths, peer_length}):
        tensors = tensors_of(1, length)
        functions = {
            f"ours, {path}": timed(ours(mask), tensors, backward, jit_compile)
            for path, jit_compile in PATHS.items()
        }
        if length == peer_length:
            functions |= {
                f"Keras, {path}": timed(theirs, tensors, backward, jit_compile)
                for path, jit_compile in PATHS.items()
            }
        check(functions, tensors, in_window)
        timings = measure.time_in_turns(functions, rounds)
        peers = [t.median for n, t in timings.items() if "Keras" in n]
        for name, timing in timings.items():
            medians[name, length] = timing.median
            half = medians.get((name, length // 2))
            is_peer = "Keras" in name or not peers
            rows.append(
                [
                    name,
                    length,
                    f"{timing.median:.0f}",
                    f"{timing.median / half:.2f}" if half else "",
                    "" if is_peer else f"{min(peers) / timing.median:.1f}",
                ]
            )
    measure.print_table(
        ["", "length", "median ms", "times half the length", "times Keras"],
        rows,
    )


def compare(batch, length, whole, part, visible, backward, rounds):
    """Prints the time under mask `part` as a share of that under `whole`.

    Args:
        batch: number of rows.
        length: of queries and keys.
        whole: name and mask with little or nothing hidden.
        part: name and mask that hides more.
        visible: what `part` lets the last row see.
        backward: whether gradients are taken.
        rounds: as for `measure.time_in_turns`.
    """
    tensors = tensors_of(batch, length)
    functions = {
        (name, path): timed(ours(mask), tensors, backward, jit_compile)
        for name, mask in (whole, part)
        for path, jit_compile in PATHS.items()
    }
    hiding = {n: f for n, f in functions.items() if n[0] == part[0]}
    check(hiding, tensors, visible)
    timings = measure.time_in_turns(functions, rounds)
    rows = []
    for (name, path), timing in timings.items():
        share = timing.median / timings[whole[0], path].median
        rows.append([f"{name}, {path}", f"{timing.median:.0f}", f"{share:.2f}"])
    columns = [f"batch {batch}, length {length}", "median ms", "share"]
    measure.print_table(columns, rows)


def lengths(length, backward, rounds):
    compare(
        2,
        length,
        ("no padding", masks.Lengths([length, length])),
        ("half padded", masks.Lengths([length // 2, length // 2])),
        lambda query, key: (key < length // 2) & (query >= 0),
        backward,
        rounds,
    )


def segments(length, backward, rounds):
    size = length // 8
    ids = np.arange(length)[None] // size
    compare(
        1,
        length,
        ("causal", masks.Causal()),
        (
            "causal, 8 packed segments",
            masks.Causal() & masks.Segments(ids.astype("int32")),
        ),
        lambda query, key: (key <= query) & (key // size == query // size),
        backward,
        rounds,
    )


def causal(length, backward, rounds):
    compare(
        1,
        length,
        ("full", None),
        ("causal", masks.Causal()),
        lambda query, key: key <= query,
        backward,
        rounds,
    )


PARTS = {"lengths": lengths, "segments": segments, "causal": causal}


def main():
    parser = measure.parser_of(
        __doc__,
        parts=("window", *PARTS),
        passes=("forward", "backward"),
        lengths=(8192, 16384, 32768),
    )
    parser.set_defaults(rounds=5)
    options = parser.parse_args()
    length = 4096
    if options.quick:
        options.lengths, length = (1024, 2048), 1024
    measure.print_header(f"Masks, {HEADS} heads of {KEY_DIM}, blockwise")
    for part in options.parts:
        for passed in options.passes:
            backward = passed == "backward"
            print(f"\n{part}, {'forward + ' * backward}{passed}\n")
            if part == "window":
                window(options.lengths, backward, options.rounds)
            else:
                PARTS[part](length, backward, options.rounds)


if __name__ == "__main__":
    main()
