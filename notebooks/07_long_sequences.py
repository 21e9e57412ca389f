# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Long sequences, beside Keras
#
# Attention compares every query with every key. Keras writes the comparisons
# down as a matrix of queries by keys: twice the length, four times the memory.
# Here the matrix is never built where nobody asked to see it. The same layer,
# the same weights and the same numbers; this notebook measures what it saves,
# on lengths that a small machine can hold.

# %%
# %matplotlib inline
import inspect
import json
import subprocess
import sys
import time

import keras
import matplotlib.figure
import numpy as np
import tensorflow as tf

import keras_attention as ka

keras.utils.set_random_seed(7)
HEADS, KEY_DIM, WIDTH = 4, 32, 64
WINDOW = 128

# %% [markdown]
# ## The same layer
#
# `ka.MultiHeadAttention` takes the arguments of Keras's layer and its weights
# in the same order. With them it gives the same numbers.

# %%
theirs = keras.layers.MultiHeadAttention(HEADS, KEY_DIM)
ours = ka.MultiHeadAttention(HEADS, KEY_DIM)
for layer in (theirs, ours):
    layer.build((None, None, WIDTH), (None, None, WIDTH))
ours.set_weights(theirs.get_weights())

x = keras.random.normal((1, 700, WIDTH), seed=1)
np.testing.assert_allclose(
    ours(x, x, use_causal_mask=True),
    theirs(x, x, use_causal_mask=True),
    atol=1e-5,
)

# %% [markdown]
# ## How it is done
#
# A softmax needs the largest score and the sum over all keys, and both can be
# kept up to date while the keys go by, one block after the other (Milakov &
# Gimelshein 2018, 1805.02867; Rabe & Staats 2021, 2112.05682; Dao et al. 2022,
# 2205.14135). With $m$ the largest score so far, $\ell$ the sum and $o$ the
# weighted sum of the values, a block with scores $e_s$ changes them to
#
# $$
# m' = \max(m, \max_s e_s), \qquad
# \ell' = e^{m - m'} \ell + \sum_s e^{e_s - m'}, \qquad
# o' = e^{m - m'} o + \sum_s e^{e_s - m'} v_s
# $$
#
# and at the end the output is $o / \ell$. That is all of it, for one query:

# %%
generator = np.random.default_rng(7)
scores, values = generator.normal(size=1000), generator.normal(size=(1000, 3))
most, total, output = -np.inf, 0.0, np.zeros(3)
for start in range(0, 1000, 128):
    block = slice(start, start + 128)
    new_most = max(most, scores[block].max())
    powers = np.exp(scores[block] - new_most)
    kept = np.exp(most - new_most)
    total = kept * total + powers.sum()
    output = kept * output + powers @ values[block]
    most = new_most

softmax = np.exp(scores) / np.exp(scores).sum()
np.testing.assert_allclose(output / total, softmax @ values, rtol=1e-10)

# %% [markdown]
# Blocks in which nobody may attend to anybody are not computed. A mask tells
# which keys a block of queries can see at all; below, 2,048 positions in blocks
# of 128, blue where there is something to do.

# %%
LENGTH, BLOCK = 2048, 128
starts = np.arange(0, LENGTH, BLOCK)
masks = {
    "full": ka.masks.SlidingWindow(LENGTH, LENGTH),
    "causal": ka.masks.Causal(),
    f"causal window of {WINDOW}": ka.masks.SlidingWindow(WINDOW - 1, 0),
    "window to both sides": ka.masks.SlidingWindow(WINDOW, WINDOW),
}
figure = matplotlib.figure.Figure(figsize=(11, 3), layout="constrained")
for axes, (name, mask) in zip(
    figure.subplots(1, 4), masks.items(), strict=True
):
    computed = np.zeros((len(starts), len(starts)), bool)
    for row, start in enumerate(starts):
        first, end = mask.key_range(start, start + BLOCK, LENGTH)
        computed[row] = (starts + BLOCK > int(first)) & (starts < int(end))
    ka.plots.plot_mask(
        computed, title=f"{name}: {computed.mean():.0%}", axes=axes
    )
    axes.set(xlabel="block of keys", ylabel="block of queries")
figure

# %% [markdown]
# ## Time and memory
#
# One example goes through the layer, forward and backward, as in training. The
# time is the median of three calls. The memory is how far the peak of the process
# has risen since the first call, of 1,100 positions. What a process has once taken it keeps
# and uses again, so each contender gets a process of its own, and its lengths
# come in growing order.


# %%
def contender(name, lengths):
    """Prints a line of JSON for each length: milliseconds and MiB."""
    import json
    import resource
    import sys
    import time

    import keras
    import numpy as np
    import tensorflow as tf

    import keras_attention as ka

    layers = {"Keras": keras.layers.MultiHeadAttention}
    layer = layers.get(name, ka.MultiHeadAttention)(num_heads=4, key_dim=32)
    options = {"use_causal_mask": True}
    if name == "ours, window":
        options = {"attention_mask": ka.masks.SlidingWindow(127, 0)}

    @tf.function(input_signature=[tf.TensorSpec((1, None, 64))])
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x, x, **options)))
        return tape.gradient(loss, [x, *layer.trainable_variables])

    def run(length):
        start = time.perf_counter()
        step(tf.random.normal((1, length, 64)))[0].numpy()
        return 1e3 * (time.perf_counter() - start)

    def peak():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)

    run(1100)  # pays for what is needed once: compiled programs, for one
    before = peak()
    for length in lengths:
        durations = [run(length) for _ in range(3)]
        print(json.dumps([float(np.median(durations)), peak() - before]))


SOURCE = inspect.getsource(contender)
LENGTHS = [1024, 2048, 4096]
CONTENDERS = {  # and the lengths of each
    "ours, window": LENGTHS,
    "ours, causal": LENGTHS,
    "Keras": LENGTHS[:2],  # a step of the next takes a GiB
}
measured = {}
print(f"{'':14}length  milliseconds  MiB")
for name, lengths in CONTENDERS.items():
    told = subprocess.run(
        [sys.executable, "-c", f"{SOURCE}\ncontender({name!r}, {lengths})"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    for length, line in zip(lengths, told.splitlines(), strict=True):
        measured[name, length] = json.loads(line)
        duration, memory = measured[name, length]
        print(f"{name:14}{length:6,}{duration:14.0f}{memory:5.0f}")

# %% [markdown]
# On axes that double, a line that is twice as steep is a square.

# %%
figure = matplotlib.figure.Figure(figsize=(10, 3.6), layout="constrained")
for number, (axes, title) in enumerate(
    zip(
        figure.subplots(1, 2),
        ("milliseconds of a training step", "MiB at its peak"),
        strict=True,
    )
):
    for name in CONTENDERS:
        lengths = [n for of, n in measured if of == name]
        numbers = [max(measured[name, n][number], 1) for n in lengths]
        axes.loglog(lengths, numbers, "o-", base=2, label=name)
    axes.set_xticks(LENGTHS, LENGTHS)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set(title=title, xlabel="length")
    axes.grid(alpha=0.3)
axes.legend()
figure

# %% [markdown]
# Up to a million pairs of query and key, length 1,024, the matrix is small and
# quick, and ours builds it as well; from there on the length of each batch
# decides. Without a window it is memory that is saved first: each block of the
# matrix is computed a second time on the way back. The window grows by the
# length alone. What else runs on the machine shows in the times, so they are
# told and not tested; the memory is tested.

# %%
LONGEST = CONTENDERS["Keras"][-1]
_, ours_memory = measured["ours, causal", LONGEST]
_, keras_memory = measured["Keras", LONGEST]
matrix = HEADS * LONGEST**2 * 4 / 2**20
print(f"one score matrix has {matrix:.0f} MiB")
assert ours_memory < matrix < keras_memory

# %% [markdown]
# ## A model that you have already
#
# `ka.replace_attention` puts these layers into a model made of Keras's, with
# its weights. What it changed, kept and what differs, it says.

# %%
tokens = keras.Input((None,), dtype="int32")
x = keras.layers.Embedding(100, WIDTH)(tokens)
for _ in range(2):
    attention = keras.layers.MultiHeadAttention(HEADS, KEY_DIM)
    x = keras.layers.LayerNormalization()(x + attention(x, x))
    x = x + keras.layers.Dense(WIDTH, activation="relu")(x)
model = keras.Model(tokens, keras.layers.Dense(5)(x))

replacement = ka.replace_attention(model)
print(replacement)
ids = generator.integers(1, 100, (1, 2048))
before, after = (
    each.predict_on_batch(ids) for each in (model, replacement.model)
)
np.testing.assert_allclose(after, before, atol=1e-4)

# %% [markdown]
# ## When the time is too long as well
#
# Blocks save memory; the comparisons of all with all are still made. These
# layers make fewer. A window is exact about what is near. `PooledAttention`
# averages neighbouring keys, so that single positions blur. `LinearAttention`
# keeps a sum of fixed size in place of the past, and recalls single positions
# worst. All of them on 4,096 positions, forward, of which the first two are the
# same layer:

# %%
LENGTH = 4096
x = tf.random.normal((1, LENGTH, WIDTH))
calls = {
    "all with all": tf.function(ours),
    "window of 128 to both sides": tf.function(
        lambda x, y: ours(
            x, y, attention_mask=ka.masks.SlidingWindow(WINDOW, WINDOW)
        )
    ),
    "pooled, 8 keys in one": tf.function(
        ka.PooledAttention(HEADS, KEY_DIM, pool_size=8)
    ),
    "linear": tf.function(ka.LinearAttention(HEADS, KEY_DIM)),
}
durations = {}
for name, call in calls.items():
    call(x, x)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        call(x, x).numpy()
        times.append(1e3 * (time.perf_counter() - start))
    durations[name] = np.median(times)
    print(f"{name:30}{durations[name]:6.1f} ms")

figure = matplotlib.figure.Figure(figsize=(7, 2), layout="constrained")
axes = figure.subplots()
axes.barh(list(durations), list(durations.values()))
axes.invert_yaxis()
axes.set(xlabel=f"milliseconds for {LENGTH:,} positions")
figure

# %% [markdown]
# ## Further
#
# `benchmarks/RESULTS.md` has the same for lengths up to 16,384 and beside JAX
# and PyTorch, measured on a machine that did nothing else. Which layer for
# what: `docs/which_attention.md`.
