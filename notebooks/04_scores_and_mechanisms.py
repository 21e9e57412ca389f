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
# # Every score and every mechanism, side by side
#
# Attention is three choices: how a query is compared with a key (the *score*),
# how scores become weights (the *normalizer*), and what is remembered from one
# query to the next (the *mechanism*). Here all of them stand next to each
# other: first the scores and normalizers on the same numbers, then twelve
# mechanisms that learn the same small task.

# %%
# %matplotlib inline
import logging
import random

import keras
import matplotlib.figure
import numpy as np

import keras_attention as ka

# TensorFlow warns where one function is traced often; here each model is new.
logging.getLogger("tensorflow").setLevel(logging.ERROR)

# %% [markdown]
# ## Five normalizers
#
# Scores $e_1 \dots e_S$ of one query become weights. *Softmax* gives every key
# something. *Sparsemax* and *entmax* (with $\alpha = 1.5$) give exact zeros.
# *Hardmax* chooses one key, and has no gradient. *Sigmoid* divides by the sum
# of the sigmoids, so that several keys may share.
#
# | name | weights | paper |
# |---|---|---|
# | `softmax` | $\exp e_s \,/\, \sum \exp e_{s'}$ | |
# | `entmax15` | $\max(0, e_s / 2 - \tau)^2$ | Peters et al. 2019, 1905.05702 |
# | `sparsemax` | $\max(0, e_s - \tau)$ | Martins & Astudillo 2016, 1602.02068 |
# | `hardmax` | 1 at the largest | |
# | `sigmoid` | $\sigma(e_s) \,/\, \sum \sigma(e_{s'})$ | Chorowski et al. 2015, 1506.07503 |
#
# with the threshold $\tau$ that makes the weights sum to one. The scores below
# rise evenly from -2 to 2; look at where the bars reach zero.

# %%
NORMALIZERS = ["softmax", "entmax15", "sparsemax", "hardmax", "sigmoid"]
scores = np.linspace(-2, 2, 9, dtype="float32")

figure = matplotlib.figure.Figure(figsize=(10, 2.4), layout="constrained")
for axes, normalizer in zip(
    figure.subplots(1, 5, sharey=True), NORMALIZERS, strict=True
):
    # A query of 1 and keys that are the scores: q * k is the score.
    _, weights = ka.functional.attend(
        query=np.ones((1, 1, 1, 1), "float32"),
        key=scores[None, :, None, None],
        value=scores[None, :, None, None],
        normalizer=normalizer,
        return_weights=True,
    )
    weights = np.array(weights)[0, 0, 0]
    axes.bar(scores, weights, width=0.4)
    axes.set(title=normalizer, xlabel="score", ylim=(0, 1.05))
    np.testing.assert_allclose(weights.sum(), 1.0, rtol=1e-5)
figure

# %% [markdown]
# ## Six scores, five normalizers
#
# The same three queries and six keys for all. Each picture has the queries as
# rows and the keys as columns; keys 0 to 2 point in one direction, key 2 is
# three times as long, keys 3 and 4 lie to its left and key 5 opposite. The
# formulas are those of the first notebook. The scores with weights of their
# own, *general* and *additive*, have random ones here: what they prefer is
# learned, and no picture of it says more than the training of a model does.

# %%
key = np.array(
    [[1.0, 0.0], [1.0, 0.4], [3.0, 0.0], [0.8, 0.8], [0.0, 1.0], [-1.0, 0.0]],
    "float32",
)[None]
query = np.array([[2.0, 0.0], [0.0, 2.0], [0.7, 0.9]], "float32")[None]

SCORES = {
    name: lambda normalizer, name=name: ka.DotProductAttention(
        name, normalizer=normalizer, kernel_initializer=new_kernel()
    )
    for name in ("dot", "scaled", "general", "cosine", "distance")
}
SCORES["additive"] = lambda normalizer: ka.AdditiveAttention(
    4, normalizer=normalizer, kernel_initializer=new_kernel()
)


def new_kernel():
    return keras.initializers.RandomNormal(stddev=1.0, seed=12)


figure = matplotlib.figure.Figure(figsize=(9, 6.4), layout="constrained")
grid = figure.subplots(len(SCORES), len(NORMALIZERS), sharex=True, sharey=True)
for row, (name, new_layer) in enumerate(SCORES.items()):
    for axes, normalizer in zip(grid[row], NORMALIZERS, strict=True):
        _, weights = new_layer(normalizer)(
            query, key, return_attention_scores=True
        )
        image = axes.imshow(weights[0], cmap="Blues", vmin=0, vmax=1)
        axes.set_xticks(range(6))
        axes.set_yticks(range(3))
        np.testing.assert_allclose(np.sum(weights, -1), 1.0, rtol=1e-5)
        if row == 0:
            axes.set_title(normalizer)
        if normalizer == NORMALIZERS[0]:
            axes.set_ylabel(name)
figure.colorbar(image, ax=grid, shrink=0.5)
figure

# %% [markdown]
# ## A task for all mechanisms
#
# A mechanism is used one query at a time: the decoder of a
# sequence-to-sequence model asks, reads, writes a token, and asks again. What
# it remembers decides which tasks are easy for it. The task here has two
# halves, told apart by the first sign of the source:
#
# - `>` *in order*, as in speech: the letters as they come, vowels drawn out to
#   two. `>cab` is said `caab`.
# - `<` *backwards*: `<cab` becomes `bac`. Whoever cannot go back fails here.

# %%
LETTERS = "abcdefgh"
VOWELS = "ae"
TRAIN, TEST, LONGEST = 4000, 100, 7


def in_order(word):
    return "".join(2 * c if c in VOWELS else c for c in word)


def draw_pairs(number, seed):
    generator = random.Random(seed)
    pairs = []
    while len(pairs) < number:
        length = generator.randint(3, LONGEST)
        word = "".join(generator.choices(LETTERS, k=length))
        pairs += [(">" + word, in_order(word)), ("<" + word, word[::-1])]
    return pairs[:number]


train_pairs = draw_pairs(TRAIN, seed=1)
known = set(train_pairs)
test_pairs = [p for p in draw_pairs(4 * TEST, seed=2) if p not in known]
halves = {
    sign: [pair for pair in test_pairs if pair[0][0] == sign][:TEST]
    for sign in "><"
}
source = ka.Vocabulary.build([LETTERS + "<>"])
target = ka.Vocabulary.build([LETTERS])
for pair in train_pairs[:4]:
    print(*pair, sep="  ->  ")

# %% [markdown]
# ## Twelve mechanisms
#
# Each goes into the same decoder by one argument. How much each of them costs
# and where it comes from stands in `docs/which_attention.md`.
#
# | mechanism | a query sees | it remembers |
# |---|---|---|
# | additive, general | every key | nothing |
# | sparsemax | every key, few at a time | nothing |
# | local-m | a window at its own number | nothing |
# | local-p | a window where it predicts | nothing |
# | coverage | every key | how much each was read in all |
# | location-sensitive | every key | the weights before |
# | forward | the key before, or the next | the weights before; with an agent, when to move on |
# | monotonic | keys from the last one on | where it stopped |
# | MoChA | a few keys that end there | where it stopped |
# | Gaussian mixture | places, not contents | how far each bell is |

# %%
UNITS = 32
LOCATION = {"filters": 8, "kernel_size": 5, "cumulative": True}


def normalized():
    return ka.AdditiveAttention(UNITS, normalize=True)


MECHANISMS = {
    "additive": ka.AdditiveAttention(UNITS),
    "general": ka.DotProductAttention("general"),
    "additive, sparsemax": ka.AdditiveAttention(UNITS, normalizer="sparsemax"),
    "local-m": ka.LocalAttention(2, UNITS),
    "local-p": ka.LocalAttention(2, UNITS, predictive=True),
    "coverage": ka.CoverageAttention(UNITS),
    "location-sensitive": ka.LocationSensitiveAttention(UNITS, **LOCATION),
    "forward": ka.ForwardAttention(UNITS),
    "forward, with agent": ka.ForwardAttention(
        UNITS, use_transition_agent=True
    ),
    "monotonic": ka.MonotonicAttention(score=normalized(), score_bias=-1.0),
    "MoChA": ka.MonotonicAttention(
        score=normalized(), chunk_size=3, score_bias=-1.0
    ),
    "Gaussian mixture": ka.GaussianMixtureAttention(UNITS, num_mixtures=3),
}

# %% [markdown]
# The encoder is made of convolutions that see three letters at a time: what is
# further away, only attention can bring. All models have the same recurrent
# decoder, the same data, and as many steps.

# %%
EPOCHS, BATCH = 5, 64
batches = ka.training.make_dataset(
    train_pairs, source, target, batch_size=BATCH, num_buckets=1, repeat=True
)
STEPS = TRAIN // BATCH


def train(mechanism):
    keras.utils.set_random_seed(4)
    model = ka.Seq2Seq(
        ka.CNNEncoder(len(source), UNITS, num_layers=1),
        ka.RNNDecoder(len(target), UNITS, mechanism, cell="gru"),
        max_length=2 * LONGEST + 1,
        source_vocabulary=source,
        target_vocabulary=target,
    )
    model.compile(
        optimizer=keras.optimizers.Adam(
            ka.training.WarmupSchedule(
                6e-3, 50, "cosine", total_steps=EPOCHS * STEPS
            ),
            global_clipnorm=1.0,
        ),
        loss=ka.training.MaskedCrossentropy(),
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    model.fit(
        batches,
        epochs=EPOCHS,
        steps_per_epoch=STEPS,
        shuffle=False,
        verbose=0,
    )
    return model


def share_right(model, pairs):
    answers = model.generate([s for s, _ in pairs], batch_size=128, verbose=0)
    return ka.training.exact_match(
        [wanted for _, wanted in pairs], answers.texts[:, 0].tolist()
    )


# %%
WORD = "cabbage"
found, alignments = {}, {}
print(f"{'':22}weights  in order  backwards")
for name, mechanism in MECHANISMS.items():
    model = train(mechanism)
    found[name] = {sign: share_right(model, halves[sign]) for sign in "><"}
    alignments[name] = model.generate([">" + WORD, "<" + WORD], verbose=0)
    print(
        f"{name:22}{mechanism.count_params():7,}"
        f"{found[name]['>']:10.0%}{found[name]['<']:11.0%}"
    )

# %% [markdown]
# Whoever sees every key learns both halves. A window at the query's own number
# is left behind by the vowels, and cannot be at the other end of the word.
# Forward and monotonic attention never go back: they read in order, or not at
# all. What looks like a weakness is what one wants in speech, where a glance
# back is always an error, and where the answer must begin before the source
# ends. Monotonic attention pays for it in training: it learns softly and answers
# hard, and takes longer to learn that than this notebook lasts.

# %%
assert min(found["additive"].values()) > 0.9
assert min(found["location-sensitive"].values()) > 0.9
for name in ("forward", "monotonic", "MoChA"):
    assert found[name]["<"] < 0.5 < found["additive"]["<"]

figure = matplotlib.figure.Figure(figsize=(8, 4.2), layout="constrained")
axes = figure.subplots()
rows = np.arange(len(found))
for shift, sign, label in ((-0.2, ">", "in order"), (0.2, "<", "backwards")):
    axes.barh(
        rows + shift,
        [right[sign] for right in found.values()],
        0.4,
        label=label,
    )
axes.set_yticks(rows, list(found))
axes.invert_yaxis()
axes.set(xlim=(0, 1.02), xlabel="words right in every letter")
axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2)
figure

# %% [markdown]
# ## Where each of them looked
#
# One picture for each mechanism: the letters that it wrote for `>cabbage`, one
# row each, and what it read for them. Rows that move to the right one key at a
# time, two rows for a vowel, are what the task is. Sparsemax has the cleanest
# rows, monotonic attention one key in each, and the Gaussian mixture bells that
# know places and no letters.


# %%
def draw(row, title):
    """Draws the alignments that all mechanisms have for one of the sources."""
    figure = matplotlib.figure.Figure(figsize=(12, 10), layout="constrained")
    for axes, (name, result) in zip(
        figure.subplots(3, 4).flat, alignments.items(), strict=True
    ):
        text = str(result.texts[row, 0])
        length = result.lengths[row, 0]
        # A text that was cut at the greatest length has no end.
        ends = ["<eos>"] * (length - len(text))
        ka.plots.plot_alignment(
            result.alignments[row, 0, :length, : len(WORD) + 2],
            [*title, "<eos>"],
            [*text, *ends],
            axes=axes,
        )
        axes.set_title(f"{name}\n{text}", fontsize=11)
        axes.set(xlabel="", ylabel="")
    return figure


figure = draw(0, ">" + WORD)
figure

# %% [markdown]
# And backwards, `<cabbage`: a diagonal from the upper right to the lower left,
# where the mechanism can go there.

# %%
figure = draw(1, "<" + WORD)
figure

# %% [markdown]
# ## Further
#
# A mechanism of your own subclasses `ka.AttentionMechanism`; its docstring has
# one of twenty lines. On a real task, spoken digits, the twelve stand in a
# table of `benchmarks/RESULTS.md`. For whole sequences, where queries do
# not wait for each other, see `docs/which_attention.md`, and the notebook on
# long sequences.
