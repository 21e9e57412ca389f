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
# # Attention, from the formula to the layer
#
# A *query* looks for something; each *key* says what its *value* is about.
# Attention is a weighted mean of the values: the better a key answers the
# query, the more its value counts.
#
# What this notebook says is checked as it runs: where a claim has a number,
# the number is computed, and compared with `numpy.testing`.

# %%
# %matplotlib inline
import keras
import matplotlib.figure
import numpy as np

import keras_attention as ka

keras.utils.set_random_seed(7)

# %% [markdown]
# ## The formula
#
# For a query $q_t$, keys $k_1 \dots k_S$ and values $v_1 \dots v_S$:
#
# $$
# e_{ts} = \mathrm{score}(q_t, k_s)
# \qquad
# \alpha_{ts} = \frac{\exp e_{ts}}{\sum_{s'} \exp e_{ts'}}
# \qquad
# o_t = \sum_s \alpha_{ts} \, v_s
# $$
#
# Scores, softmax, mean. With $\mathrm{score}(q, k) = q \cdot k / \sqrt{d}$
# (Vaswani et al. 2017, equation 1) that is all of this:


# %%
def attention(query, key, value):
    scores = query @ key.T / np.sqrt(key.shape[-1])  # (T, S)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = powers / powers.sum(axis=-1, keepdims=True)  # (T, S)
    return weights @ value, weights


# %% [markdown]
# A small example for the whole page. Six keys lie in the plane: three in one
# direction, two in another, and one, `far`, three times as long as the first.
# Three queries look for *east*, for *north*, and for a point close to `ne`.

# %%
key_names = ["east", "e-n-e", "far", "ne", "north", "west"]
key = np.array(
    [[1.0, 0.0], [1.0, 0.4], [3.0, 0.0], [0.8, 0.8], [0.0, 1.0], [-1.0, 0.0]],
    "float32",
)
query_names = ["to east", "to north", "near ne"]
query = np.array([[2.0, 0.0], [0.0, 2.0], [0.7, 0.9]], "float32")
value = np.eye(6, dtype="float32")  # value s is a 1 in place s

output, weights = attention(query, key, value)
print(weights.round(2))

# Each row of weights sums to one. The values are the rows of the identity,
# so here the mean of the values is the weights themselves.
np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-6)
np.testing.assert_allclose(output, weights, rtol=1e-6)

# %%
figure = matplotlib.figure.Figure(figsize=(4.5, 3), layout="constrained")
axes = figure.subplots()
axes.axhline(0, color="0.85", zorder=0)
axes.axvline(0, color="0.85", zorder=0)
for points, names, shift, style in (
    (key, key_names, (5, -12), {"color": "tab:blue", "marker": "o"}),
    (query, query_names, (5, 5), {"color": "tab:orange", "marker": "^"}),
):
    axes.scatter(*points.T, **style)
    for point, name in zip(points, names, strict=True):
        axes.annotate(name, point, shift, textcoords="offset points")
axes.set(xlim=(-1.4, 3.8), ylim=(-0.5, 2.5), title="keys (o) and queries (^)")
figure

# %%
figure = ka.plots.plot_alignment(weights, key_names, query_names)
figure

# %% [markdown]
# ## From NumPy to `attend`
#
# `keras_attention.functional.attend` is the same formula for a batch and for
# several heads, with masks, biases and dropout, in at least float32. Every
# layer of the package calls it, so there is no second definition that could
# disagree. Axes are (batch, length, heads, width).

# %%
same, same_weights = ka.functional.attend(
    query=query[None, :, None, :],
    key=key[None, :, None, :],
    value=value[None, :, None, :],
    return_weights=True,
)
print("output ", same.shape)
print("weights", same_weights.shape)
np.testing.assert_allclose(same[0, :, 0], output, rtol=1e-5)
np.testing.assert_allclose(same_weights[0, 0], weights, rtol=1e-5)

# %% [markdown]
# The weights need a matrix of queries by keys. Where nobody asks to see them
# it need not exist: `implementation="blockwise"` goes over the keys block by
# block, and gives the same numbers.

# %%
blockwise = ka.functional.attend(
    query=query[None, :, None, :],
    key=key[None, :, None, :],
    value=value[None, :, None, :],
    implementation="blockwise",
)
np.testing.assert_allclose(blockwise, same, rtol=1e-5)

# %% [markdown]
# ## To the layer
#
# A layer adds weights where the score needs some, and everything that Keras
# expects of a layer. *Scaled* needs none.

# %%
layer = ka.DotProductAttention(score="scaled")
by_layer, layer_weights = layer(
    query[None], value[None], key[None], return_attention_scores=True
)
print("weights of the layer:", layer.weights)
np.testing.assert_allclose(by_layer[0], output, rtol=1e-5)

# %% [markdown]
# ## Six ways to compare
#
# | layer | $\mathrm{score}(q, k)$ | |
# |---|---|---|
# | `DotProductAttention("dot")` | $q \cdot k$ | Luong et al. 2015 |
# | `DotProductAttention("scaled")` | $q \cdot k / \sqrt{d}$ | Vaswani et al. 2017 |
# | `DotProductAttention("general")` | $(q W) \cdot k$ | Luong et al. 2015 |
# | `DotProductAttention("cosine")` | $\dfrac{q \cdot k}{\lvert q \rvert \, \lvert k \rvert}$ | Graves et al. 2014 |
# | `DotProductAttention("distance")` | $-\lvert q - k \rvert^2$ | |
# | `AdditiveAttention(units)` | $v \cdot \tanh(W_q q + W_k k)$ | Bahdanau et al. 2015 |
#
# The two scores with weights get weights that can be understood: for
# *general* a quarter turn, so that a query finds what lies to its left; for
# *additive* two units for each axis that together make a bump where query
# and key agree, $4 \tanh(k - q + 1) - 4 \tanh(k - q - 1)$.

# %%
turn = np.array([[0.0, 1.0], [-1.0, 0.0]], "float32")

# Additive scores have no bias in Bahdanau's paper: a constant third
# coordinate of the queries plays its part.
with_one = np.concatenate([query, np.ones((3, 1), "float32")], axis=1)
query_kernel = np.array(
    [[-1, -1, 0, 0], [0, 0, -1, -1], [1, -1, 1, -1]], "float32"
)
key_kernel = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], "float32")
vector = np.array([4, -4, 4, -4], "float32")

layers = {
    name: ka.DotProductAttention(score=name)
    for name in ("dot", "scaled", "general", "cosine", "distance")
}
layers["additive"] = ka.AdditiveAttention(units=4)
queries = {name: query for name in layers} | {"additive": with_one}

weights = {}
for name, layer in layers.items():
    layer.build(queries[name][None].shape, value[None].shape, key[None].shape)
    if name == "general":
        layer.set_weights([turn])
    if name == "additive":
        layer.set_weights([query_kernel, key_kernel, vector])
    _, found = layer(
        queries[name][None],
        value[None],
        key[None],
        return_attention_scores=True,
    )
    weights[name] = np.array(found[0])
    print(f"{name:9}", *(f"{w.name}{w.shape}" for w in layer.weights))

# %% [markdown]
# All of them on the same queries and keys, in one colour scale:

# %%
figure = matplotlib.figure.Figure(figsize=(9, 3.8), layout="constrained")
for axes, (name, found) in zip(
    figure.subplots(2, 3, sharex=True, sharey=True).flat,
    weights.items(),
    strict=True,
):
    image = axes.imshow(found, cmap="Blues", vmin=0, vmax=1)
    axes.set_title(name)
    axes.set_xticks(range(6), key_names, rotation=90)
    axes.set_yticks(range(3), query_names)
figure.colorbar(image, ax=figure.axes, shrink=0.6)
figure

# %% [markdown]
# Each row is the softmax of the formula in the table. Here are the formulas
# again, one line each:


# %%
def softmax(scores):
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


q, k = query[:, None, :], key[None, :, :]  # (T, 1, d), (1, S, d)
length = np.linalg.norm
formulas = {
    "dot": (q * k).sum(-1),
    "scaled": (q * k).sum(-1) / np.sqrt(2),
    "general": ((query @ turn)[:, None] * k).sum(-1),
    "cosine": (q * k).sum(-1) / (length(q, axis=-1) * length(k, axis=-1)),
    "distance": -np.square(q - k).sum(-1),
    "additive": np.tanh((with_one @ query_kernel)[:, None] + k @ key_kernel)
    @ vector,
}
for name, scores in formulas.items():
    np.testing.assert_allclose(
        weights[name], softmax(scores), rtol=1e-4, atol=1e-6, err_msg=name
    )

# %% [markdown]
# What the picture shows:
#
# - *dot* and *scaled* like long keys: `far` wins over `east`, though both
#   point the same way. *scaled* is the same, less sharp.
# - *general* looks where its matrix says: *to east* finds `north`.
# - *cosine* sees directions alone, so `east` and `far` tie. Its scores lie
#   between -1 and 1, which makes a flat softmax; `scale=` sharpens it.
# - *distance* and *additive* (with these weights) look for a key close by:
#   *near ne* finds `ne`.

# %%
east, far, ne, north = (
    key_names.index(n) for n in ("east", "far", "ne", "north")
)
assert weights["dot"][0].argmax() == weights["scaled"][0].argmax() == far
assert weights["scaled"].max() < weights["dot"].max()
assert weights["general"][0].argmax() == north
np.testing.assert_allclose(
    weights["cosine"][:, east], weights["cosine"][:, far], rtol=1e-5
)
assert weights["distance"][2].argmax() == weights["additive"][2].argmax() == ne

sharper = ka.DotProductAttention(score="cosine", scale=10.0)
_, sharp = sharper(
    query[None], value[None], key[None], return_attention_scores=True
)
print("largest weight of cosine:", weights["cosine"].max().round(2))
print("with scale=10:           ", np.max(sharp).round(2))

# %% [markdown]
# ## Masks
#
# A mask says which keys a query may attend to. In `keras_attention.masks` a
# mask is an object that describes a pattern; blue below means *may attend*.
#
# | mask | a query sees |
# |---|---|
# | `Causal()` | keys up to its own position |
# | `SlidingWindow(left, right)` | itself and its neighbours |
# | `Lengths(lengths)` | the first keys of its row: the rest is padding |
# | `Segments(ids)` | keys of its own segment: texts packed into one row |
# | `PrefixLM(lengths)` | a prefix in full, and what came before it |
#
# They join with `&` and `|`. `dense` makes the whole matrix, for pictures;
# attention asks for one block at a time, and skips blocks that are all white.

# %%
causal = ka.masks.Causal()
window = ka.masks.SlidingWindow(left=2, right=1)
lengths = ka.masks.Lengths(np.array([6]))
segments = ka.masks.Segments(np.array([[0, 0, 0, 1, 1, 1, 1, 2, 2, 2]]))
prefix = ka.masks.PrefixLM(np.array([4]))
patterns = {
    "Causal()": causal,
    "SlidingWindow(2, 1)": window,
    "Lengths([6])": lengths,
    "Segments([[0, 0, 0, 1, ...]])": segments,
    "PrefixLM([4])": prefix,
    "Causal & SlidingWindow": causal & window,
    "Causal & Segments": causal & segments,
    "Segments | SlidingWindow": segments | window,
}


def as_matrix(mask):
    dense = np.array(mask.dense(10, 10))
    return dense.reshape(dense.shape[-2:])  # of the only row of the batch


figure = matplotlib.figure.Figure(figsize=(12, 6.8), layout="constrained")
figure.get_layout_engine().set(hspace=0.06)
for axes, (name, mask) in zip(
    figure.subplots(2, 4).flat, patterns.items(), strict=True
):
    ka.plots.plot_mask(as_matrix(mask), title=name, axes=axes)
figure

# %%
t, s = np.arange(10)[:, None], np.arange(10)[None, :]  # query, key
np.testing.assert_array_equal(as_matrix(causal), s <= t)
np.testing.assert_array_equal(as_matrix(window), (s >= t - 2) & (s <= t + 1))
np.testing.assert_array_equal(as_matrix(prefix), (s <= t) | (s < 4))
np.testing.assert_array_equal(
    as_matrix(causal & segments), as_matrix(causal) & as_matrix(segments)
)
np.testing.assert_array_equal(
    as_matrix(segments | window), as_matrix(segments) | as_matrix(window)
)

# %% [markdown]
# Masked scores are *replaced* before the softmax: a masked key has the weight
# zero, and the rest still sums to one. What a masked key holds changes
# nothing.

# %%
layer = ka.DotProductAttention(score="dot")
first_four = ka.masks.Lengths(np.array([4]))


def masked(value, mask):
    return layer(
        query[None],
        value[None],
        key[None],
        attention_mask=mask,
        return_attention_scores=True,
    )


output, found = masked(value, first_four)
print(np.array(found[0]).round(2))
np.testing.assert_array_equal(found[0, :, 4:], 0.0)
np.testing.assert_allclose(np.sum(found[0], axis=-1), 1.0, rtol=1e-6)

other = value.copy()
other[4:] = 1e6
np.testing.assert_array_equal(masked(other, first_four)[0], output)

# %% [markdown]
# And a query with *nothing* to attend to? Softmax over nothing is 0 / 0.
# Here such a row is zero: weights, output and gradient. Never NaN, and never
# the mean of keys that were hidden.

# %%
nothing_for_the_second = np.ones((3, 6), bool)
nothing_for_the_second[1] = False
output, found = masked(value, nothing_for_the_second)
print(np.array(found[0]).round(2))
np.testing.assert_array_equal(found[0, 1], 0.0)
np.testing.assert_array_equal(output[0, 1], 0.0)

# %% [markdown]
# ## A model: feed-forward, attention, feed-forward
#
# The smallest model with attention in it, as an ordinary Keras model. The
# task is made up: a list of notes such as `c=4`, then questions such as
# `c?`; the answer to this one is 4. One feed-forward layer reads each note
# and each question, attention carries from the notes to the questions, and a
# feed-forward layer says the answer.

# %%
NAMES, DIGITS, NOTES, QUESTIONS = 8, 5, 6, 4
rng = np.random.default_rng(7)


def make_examples(number):
    names = rng.permuted(np.tile(np.arange(NAMES), (number, 1)), axis=1)
    names = names[:, :NOTES]  # no name twice
    digits = rng.integers(0, DIGITS, (number, NOTES))
    places = rng.integers(0, NOTES, (number, QUESTIONS))  # asked about
    inputs = {
        "names": names,
        "digits": digits,
        "questions": np.take_along_axis(names, places, axis=1),
    }
    return inputs, np.take_along_axis(digits, places, axis=1), places


names = keras.Input((NOTES,), dtype="int32", name="names")
digits = keras.Input((NOTES,), dtype="int32", name="digits")
questions = keras.Input((QUESTIONS,), dtype="int32", name="questions")

name_embedding = keras.layers.Embedding(NAMES, 16)
notes = keras.layers.Concatenate()(
    [name_embedding(names), keras.layers.Embedding(DIGITS, 16)(digits)]
)
notes = keras.layers.Dense(32, activation="relu")(notes)  # feed-forward
asked = keras.layers.Dense(32, activation="relu")(name_embedding(questions))
found, weights = ka.AdditiveAttention(32)(
    asked, notes, return_attention_scores=True
)
answer = keras.layers.Dense(32, activation="relu")(found)  # feed-forward
answer = keras.layers.Dense(DIGITS)(answer)

inputs = {"names": names, "digits": digits, "questions": questions}
model = keras.Model(inputs, answer)
looks = keras.Model(inputs, weights)  # the same weights, another output
print(f"{model.count_params():,} weights")

# %%
model.compile(
    optimizer=keras.optimizers.Adam(5e-3),
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    metrics=["accuracy"],
)
train_inputs, train_answers, _ = make_examples(4000)
history = model.fit(
    train_inputs, train_answers, batch_size=64, epochs=8, verbose=0
)
for epoch, (loss, accuracy) in enumerate(
    zip(history.history["loss"], history.history["accuracy"], strict=True), 1
):
    print(f"epoch {epoch}: loss {loss:.3f}, right answers {accuracy:.1%}")

# %% [markdown]
# On new lists, are the answers right, and does each question look most at the
# note that it asks about? Nobody told the model where to look.

# %%
test_inputs, test_answers, test_places = make_examples(500)
logits = model.predict(test_inputs, batch_size=500, verbose=0)
test_weights = looks.predict(test_inputs, batch_size=500, verbose=0)
right_answers = np.mean(logits.argmax(axis=-1) == test_answers)
right_places = np.mean(test_weights.argmax(axis=-1) == test_places)
print(f"right answers: {right_answers:.1%}   (by chance {1 / DIGITS:.0%})")
print(f"right places:  {right_places:.1%}   (by chance {1 / NOTES:.0%})")
assert right_answers > 0.9
assert right_places > 0.9

# %%
# The first list whose questions all differ.
example = next(
    n
    for n, asked in enumerate(test_inputs["questions"])
    if len(set(asked)) == QUESTIONS
)
notes = zip(
    test_inputs["names"][example], test_inputs["digits"][example], strict=True
)
figure = ka.plots.plot_alignment(
    test_weights[example],
    [f"{'abcdefgh'[name]}={digit}" for name, digit in notes],
    [f"{'abcdefgh'[name]}?" for name in test_inputs["questions"][example]],
    title="which note each question looked at",
)
figure

# %% [markdown]
# ## Where am I? Positional encoding
#
# Attention does not know the order of its keys: shuffle them, and the output
# stays. So the position is added to what stands there, as waves of many
# lengths (Vaswani et al. 2017, 3.5):
#
# $$
# PE(p, 2i) = \sin\!\left(p / 10000^{2i/d}\right)
# \qquad
# PE(p, 2i+1) = \cos\!\left(p / 10000^{2i/d}\right)
# $$

# %%
layer = ka.DotProductAttention()
shuffled = np.array([5, 2, 0, 4, 1, 3])
np.testing.assert_allclose(
    layer(query[None], value[None], key[None]),
    layer(query[None], value[None, shuffled], key[None, shuffled]),
    rtol=1e-5,
)

WIDTH = 32
encoding = np.array(ka.PositionalEncoding()(np.zeros((1, 60, WIDTH))))[0]
position, i = np.arange(60)[:, None], np.arange(WIDTH // 2)[None, :]
angle = position / 10000 ** (2 * i / WIDTH)
np.testing.assert_allclose(encoding[:, 0::2], np.sin(angle), atol=1e-5)
np.testing.assert_allclose(encoding[:, 1::2], np.cos(angle), atol=1e-5)

figure = matplotlib.figure.Figure(figsize=(8, 3.5), layout="constrained")
axes = figure.subplots()
image = axes.imshow(encoding.T, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
axes.set(xlabel="position", ylabel="entry of the vector")
figure.colorbar(image, ax=axes)
figure

# %% [markdown]
# ## Several heads at once
#
# One softmax finds one thing. Multi-head attention projects queries, keys and
# values $N$ times, attends $N$ times, and joins what was found:
#
# $$
# \mathrm{head}_i = \mathrm{softmax}\!\left(
#     \frac{(q W^Q_i)(k W^K_i)^\top}{\sqrt{d}}\right) v W^V_i
# \qquad
# o = [\mathrm{head}_1 \dots \mathrm{head}_N] \, W^O
# $$
#
# The waves above have a property that makes "two places before me" a matrix:
# $PE(p + n)$ is $PE(p)$ with each pair of sine and cosine turned by the angle
# $n / 10000^{2i/d}$. With these turns as query kernels, four heads look
# two back, one back, at themselves and one ahead.


# %%
def turned_by(steps):
    """The matrix that makes PE(p + steps) of PE(p)."""
    angles = steps / 10000 ** (2 * np.arange(WIDTH // 2) / WIDTH)
    sines, cosines = np.diag(np.sin(angles)), np.diag(np.cos(angles))
    matrix = np.zeros((WIDTH, WIDTH))
    matrix[0::2, 0::2], matrix[0::2, 1::2] = cosines, -sines
    matrix[1::2, 0::2], matrix[1::2, 1::2] = sines, cosines
    return matrix


np.testing.assert_allclose(
    encoding[:-3] @ turned_by(3), encoding[3:], atol=1e-5
)

STEPS, SHARPNESS = (-2, -1, 0, 1), 8.0
x = encoding[None, :12]
layer = ka.MultiHeadAttention(num_heads=4, key_dim=WIDTH, use_bias=False)
layer.build(x.shape, x.shape)
for weight in layer.weights:
    print(f"{weight.path:45}", weight.shape)
query_kernel = np.stack([SHARPNESS * turned_by(n) for n in STEPS], axis=1)
key_kernel = np.stack([np.eye(WIDTH)] * 4, axis=1)
layer.set_weights([query_kernel, key_kernel, *layer.get_weights()[2:]])

_, heads = layer(x, x, return_attention_scores=True)
figure = ka.plots.plot_heads(heads[0], title="heads that look -2, -1, 0 and +1")
figure

# %% [markdown]
# The query of position $p$ looks most at $p + n$, where there is one:

# %%
for head, steps in enumerate(STEPS):
    wanted = np.arange(12) + steps
    inside = (wanted >= 0) & (wanted < 12)
    most = np.argmax(heads[0, head], axis=-1)
    print(f"{steps:+d}:", most)
    np.testing.assert_array_equal(most[inside], wanted[inside])

# %% [markdown]
# `ka.MultiHeadAttention` takes the place of `keras.layers.MultiHeadAttention`:
# same arguments, same weights in the same order.

# %%
theirs = keras.layers.MultiHeadAttention(
    num_heads=4, key_dim=WIDTH, use_bias=False
)
theirs.build(x.shape, x.shape)
theirs.set_weights(layer.get_weights())
np.testing.assert_allclose(layer(x, x), theirs(x, x), atol=1e-5)
print("largest difference:", np.abs(layer(x, x) - theirs(x, x)).max())

# %% [markdown]
# Next: `02_train_align_export_serve` trains a model that writes English names
# in Chinese, looks at its alignments, and serves it.
