"""Peak memory of one call beside its peers, each in a fresh process.

python benchmarks/memory.py [--quick] [--lengths 1024,2048,4096,8192,16384]
    [--passes forward,backward] [--kernels dot,additive]

Backward means forward and backward. The peaks are also kept in memory.json, so
that a run of some lengths adds to the runs before it, and memory.png draws
those of dot products with their gradients.

A cell whose matrices would take 16 GiB or more is not run: what they would
take is printed instead, in parentheses.
"""

import json
import sys
from pathlib import Path

import measure

HERE = Path(__file__).parent
HEADS, KEY_DIM, UNITS = 8, 64, 256
# name: whether the score matrix is built.
CELLS = {
    "dot": {
        "ours, graph": False,
        "ours, XLA": False,
        "Keras, graph": True,
        "Keras, XLA": True,
        "JAX, jit": True,
        "PyTorch": False,
    },
    "additive": {
        "ours, graph": False,
        "ours, XLA": False,
        "Keras, graph": True,
        "Keras, XLA": True,
    },
}
MOST = 16.0  # GiB
WARM = 64  # length of the call before, which pays for all but the length


def matrices(kernel, passed, length):
    """GiB of the matrices that a cell which builds them holds at once."""
    entries = HEADS * length**2 if kernel == "dot" else length**2 * UNITS
    return entries * 4 * (5 if passed == "backward" else 2) / 2**30


def array(length, kernel):
    import numpy as np

    shape = (HEADS, KEY_DIM) if kernel == "dot" else (1, UNITS)
    generator = np.random.default_rng(0)
    return generator.normal(size=(1, length, *shape)).astype("float32")


def tensorflow_call(kernel, name, passed):
    import keras
    import tensorflow as tf

    from keras_attention import masks
    from keras_attention.functional import AdditiveScore
    from keras_attention.functional import DotProductScore
    from keras_attention.functional import attend

    vector = tf.ones(UNITS) / UNITS

    def ours(x):
        additive = kernel == "additive"
        return attend(
            query=x,
            key=x,
            value=x,
            score=AdditiveScore(vector) if additive else DotProductScore(),
            mask=masks.Causal(),
            implementation="blockwise",
        )

    def theirs(x):
        if kernel == "dot":
            return keras.ops.dot_product_attention(x, x, x, is_causal=True)
        layer = keras.layers.AdditiveAttention(use_scale=False)
        return layer([x[:, :, 0], x[:, :, 0]], use_causal_mask=True)

    function = ours if name.startswith("ours") else theirs

    @tf.function(jit_compile=name.endswith("XLA"), autograph=False)
    def run(x):
        if passed == "forward":
            return function(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(function(x)))
        return tape.gradient(loss, x)

    return lambda x: run(tf.constant(x))


def jax_call(passed):
    import jax

    def function(x):
        return jax.nn.dot_product_attention(x, x, x, is_causal=True)

    def loss(x):
        return (function(x) ** 2).sum()

    return jax.jit(function if passed == "forward" else jax.grad(loss))


def torch_call(passed):
    import torch

    def run(x):
        x = torch.tensor(x).transpose(1, 2).contiguous()
        x.requires_grad_(passed == "backward")
        output = torch.nn.functional.scaled_dot_product_attention(
            x, x, x, is_causal=True
        )
        if passed == "forward":
            return output
        output.square().sum().backward()
        return x.grad

    return run


def cell(kernel, name, passed, length):
    """Prints by how many MiB the call makes this process grow."""
    if name.startswith("JAX"):
        call = jax_call(passed)
    elif name == "PyTorch":
        call = torch_call(passed)
    else:
        call = tensorflow_call(kernel, name, passed)
    measure.finish(call(array(WARM, kernel)))
    x = array(int(length), kernel)
    print(json.dumps(measure.growth(lambda: measure.finish(call(x)))))


def peak_of(kernel, name, passed, length):
    """Returns a peak in MiB; "failed", or in parentheses what is too much."""
    needed = matrices(kernel, passed, length)
    if CELLS[kernel][name] and needed >= MOST:
        return f"({needed:,.0f} GiB)"
    peak = measure.run_cell(sys.argv[0], kernel, name, passed, length)
    return "failed" if peak is None else round(peak)


def plot(peaks, path=HERE / "memory.png"):
    """Draws how the peaks of dot products with their gradients grow.

    What builds the matrix is drawn on, hollow and dashed, as it grows: four
    times as much for twice the length.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    lengths = sorted({int(cell.split("/")[1]) for cell in peaks})
    for name, builds_matrix in CELLS["dot"].items():
        cells = {n: peaks.get(f"dot/{n}/backward/{name}") for n in lengths}
        points = [(n, peak / 1024) for n, peak in cells.items() if peak]
        if not points:
            continue
        style = "o-" if name.startswith("ours") else "s-"
        label = name.replace("ours", "keras_attention")
        (line,) = axis.loglog(*zip(*points, strict=True), style, label=label)
        last, peak = points[-1]
        beyond = [(n, peak * (n / last) ** 2) for n in lengths if n >= last]
        if builds_matrix and len(beyond) > 1:
            axis.loglog(
                *zip(*beyond, strict=True),
                "s--",
                color=line.get_color(),
                markerfacecolor="white",
                zorder=1,
            )
    axis.set_xticks(lengths, [f"{n:,}" for n in lengths])
    axis.minorticks_off()
    axis.set_yticks(
        [1 / 16, 1 / 4, 1, 4, 16], ["1/16", "1/4", *"1 4".split(), "16"]
    )
    axis.set_xlabel("positions")
    axis.set_ylabel("peak memory, GiB")
    axis.set_title("Causal attention, forward + backward, 8 heads of 64")
    axis.grid(alpha=0.3)
    axis.legend(title="dashed: extrapolated")
    figure.savefig(path, dpi=110)


def main():
    parser = measure.parser_of(
        __doc__,
        lengths=(1024, 2048, 4096, 8192, 16384),
        passes=("forward", "backward"),
        kernels=tuple(CELLS),
    )
    parser.add_argument("--cell", nargs=4)
    options = parser.parse_args()
    if options.cell:
        cell(*options.cell)
        return
    if options.quick:
        options.lengths, options.passes = (1024,), ("backward",)
    measure.print_header("Peak memory, causal, MiB")
    peaks = {}
    for kernel in options.kernels:
        for passed in options.passes:
            found = {
                (name, length): peak_of(kernel, name, passed, length)
                for name in CELLS[kernel]
                for length in options.lengths
            }
            print(
                f"\n{kernel}, {'forward + ' * (passed == 'backward')}{passed}\n"
            )
            measure.print_table(
                ["", *map(str, options.lengths)],
                [
                    [name, *(str(found[name, n]) for n in options.lengths)]
                    for name in CELLS[kernel]
                ],
            )
            peaks |= {
                f"{kernel}/{length}/{passed}/{name}": peak
                for (name, length), peak in found.items()
                if isinstance(peak, int)
            }
    if not options.quick:
        plot(measure.keep(peaks, HERE / "memory.json"))


if __name__ == "__main__":
    main()
