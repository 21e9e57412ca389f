"""Decoding speed beside its peers, and how it grows.

python benchmarks/decoding.py [--batches 1,32] [--beams 1,4] [--steps 64]
    [--peers CTranslate2,KerasHub] [--rounds 5] [--growth decoding.png]

An encoder and a decoder of three layers each, width 256, 4 heads, vocabulary
8000, source of 32 ids, random weights. The end is never said, so everybody
makes every step. A peer that is not installed is left out, and a line says so.
"""

import argparse
import dataclasses
import time

import decoding_peers
import keras
import numpy as np
import tensorflow as tf
from measure import print_header
from measure import print_table
from measure import time_in_turns

from keras_attention.decoding import BOS
from keras_attention.decoding import EOS
from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import Suppress
from keras_attention.decoding import score_tokens
from keras_attention.models import build_seq2seq
from keras_attention.models.generation import generate_tokens

SOURCE_LENGTH = 32
SLOW = 5.0  # seconds: what takes longer is timed once, not `rounds` times


@dataclasses.dataclass(frozen=True)
class Sizes:
    """What all the models have in common."""

    units: int = 256
    feed_forward_units: int = 1024
    heads: int = 4
    layers: int = 3
    vocabulary: int = 8000
    max_length: int = 256


def our_model(sizes):
    keras.utils.set_random_seed(0)
    model = build_seq2seq(
        "transformer",
        sizes.vocabulary,
        sizes.vocabulary,
        units=sizes.units,
        num_layers=sizes.layers,
        num_heads=sizes.heads,
        feed_forward_units=sizes.feed_forward_units,
        dropout=0.0,
    )
    ids = np.ones((1, 2), "int32")
    model({"source": ids, "target": ids})
    return model


def our_search(beams):
    constraints = [Suppress((EOS,))]
    if beams == 1:
        return Greedy(constraints=constraints)
    return Beam(width=beams, length_penalty=0.0, constraints=constraints)


def ours(model, jit_compile):
    """Returns a peer, as those of `decoding_peers`."""

    def peer(source, beams, steps):
        search = our_search(beams)
        decode = tf.function(
            lambda ids: generate_tokens(model, ids, search, steps),
            jit_compile=jit_compile,
            autograph=False,
        )
        ids = tf.constant(source)
        return lambda: decode(ids).tokens.numpy()[:, 0]

    return peer


def everyone(model, sizes, names):
    """Yields name and peer: ours, and those whose package is installed."""
    yield "ours, compiled", ours(model, True)
    yield "ours, graph", ours(model, False)
    for name, make in decoding_peers.peers(sizes).items():
        if not any(part in name for part in names):
            continue
        try:
            yield name, make()
        except ImportError as error:
            print(f"{name} left out: {error}")


def check_ours(model, source, steps):
    """Raises unless compiled = graph, and cached scores = teacher-forced."""
    for beams in (1, 4):
        search = our_search(beams)

        def decode(ids, search=search):
            return generate_tokens(model, ids, search, steps)

        compiled = tf.function(decode, jit_compile=True, autograph=False)
        found = tf.function(decode, autograph=False)(source)
        np.testing.assert_array_equal(found.tokens, compiled(source).tokens)
        tokens = found.tokens.numpy()[:, 0]
        target = np.pad(tokens, ((0, 0), (1, 0)), constant_values=BOS)[:, :-1]
        logits = model({"source": source, "target": target}, training=False)
        # In the search what may not be said is taken off, not shared out.
        np.testing.assert_allclose(
            found.scores[:, 0], score_tokens(logits, tokens), rtol=1e-4
        )


def seconds_of(function):
    """Returns what a call returns, and the seconds that it takes."""
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def measure(peers, source, beams, steps, rounds):
    """Returns tokens per second and seconds of the first call, by name."""
    batch, functions, first, seconds = len(source), {}, {}, {}
    for name, peer in peers.items():
        function = peer(source, beams, steps)
        _, first[name] = seconds_of(function)
        tokens, second = seconds_of(function)
        if tokens.shape != (batch, steps):
            raise ValueError(f"{name} did not make all {steps} steps.")
        if second > SLOW:
            seconds[name] = second
        else:
            functions[name] = function
    timed = time_in_turns(functions, rounds)
    seconds |= {name: t.median / 1000 for name, t in timed.items()}
    speeds = {n: batch * steps / seconds[n] for n in peers}
    return speeds, {n: first[n] - seconds[n] for n in peers}


def compare(peers, arguments, source):
    """Prints a table for each batch size and each width of the beam."""
    for batch in arguments.batches:
        for beams in arguments.beams:
            print_header(
                f"batch {batch}, {f'beam {beams}' if beams > 1 else 'greedy'}, "
                f"{arguments.steps} steps"
            )
            speeds, compiling = measure(
                peers, source[:batch], beams, arguments.steps, arguments.rounds
            )
            our_speed = speeds["ours, compiled"]
            print_table(
                ("", "tokens/s", "ours, compiled / it", "first call more by"),
                [
                    [
                        name,
                        f"{speed:.0f}",
                        f"{our_speed / speed:.2f}",
                        f"{compiling[name]:.1f} s",
                    ]
                    for name, speed in speeds.items()
                ],
            )


def first_tokens(model, arguments, source):
    """Prints how long the first token takes: encoder, start and one step."""
    print_header("first token, milliseconds")
    rows = []
    for batch in arguments.batches:
        functions = {
            name: ours(model, jit)(source[:batch], 1, 1)
            for name, jit in (("compiled", True), ("graph", False))
        }
        timings = time_in_turns(functions, arguments.rounds)
        rows.append([batch, *(f"{t.median:.1f}" for t in timings.values())])
    print_table(("batch", "compiled", "graph"), rows)


GROWTH = {
    "steps": [(8, 1, steps) for steps in (16, 32, 64, 128)],
    "beam": [(8, beams, 32) for beams in (1, 2, 4, 8)],
    "batch": [(batch, 1, 32) for batch in (1, 4, 16, 32)],
}
AXES = {"batch": 0, "beam": 1, "steps": 2}
FIXED = {
    "steps": "batch 8, greedy",
    "beam": "batch 8, 32 steps",
    "batch": "greedy, 32 steps",
}


def growth(model, arguments, source):
    """Prints and draws how our cost grows with steps, beam and batch."""
    print_header("growth: milliseconds of a compiled decode")
    curves, rows = {}, []
    for name, cells in GROWTH.items():
        curves[name] = []
        for batch, beams, steps in cells:
            run = ours(model, True)(source[:batch], beams, steps)
            timing = time_in_turns({"": run}, arguments.rounds)[""]
            size = (batch, beams, steps)[AXES[name]]
            curves[name].append((size, timing.median))
            tokens = batch * steps * 1000 / timing.median
            rows.append(
                [batch, beams, steps, f"{timing.median:.1f}", f"{tokens:.0f}"]
            )
    print_table(("batch", "beam", "steps", "ms", "tokens/s"), rows)
    draw(curves, arguments.growth)


def draw(curves, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(curves), figsize=(9, 3), sharey=True)
    for axis, (name, points) in zip(axes, curves.items(), strict=True):
        axis.plot(*zip(*points, strict=True), marker="o")
        axis.set(xlabel=name, xlim=(0, None), title=FIXED[name])
        axis.grid(alpha=0.3)
    axes[0].set(ylabel="milliseconds", ylim=(0, None))
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def numbers(text):
    return [int(part) for part in text.split(",")]


def parse_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batches", type=numbers, default=[1, 32])
    parser.add_argument("--beams", type=numbers, default=[1, 4])
    parser.add_argument("--steps", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", default="CTranslate2,KerasHub,Transformers")
    parser.add_argument("--growth", help="where to draw how the cost grows")
    return parser.parse_args()


def main():
    arguments, sizes = parse_arguments(), Sizes()
    generator = np.random.default_rng(0)
    shape = (max(32, *arguments.batches), SOURCE_LENGTH)
    source = generator.integers(4, sizes.vocabulary, shape).astype("int32")
    model = our_model(sizes)
    check_ours(model, source[:3], 16)
    names = [name for name in arguments.peers.split(",") if name]
    peers = dict(everyone(model, sizes, names))
    compare(peers, arguments, source)
    first_tokens(model, arguments, source)
    if arguments.growth:
        growth(model, arguments, source)


if __name__ == "__main__":
    main()
