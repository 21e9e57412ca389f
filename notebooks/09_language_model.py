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
# # A language model of a reference manual
#
# A language model reads a text and says, at each place, how probable each next
# token is. Here the tokens are characters, and the text is one that every
# Python brings along: its reference manual, as `help()` shows it. A small
# Transformer learns from it for a minute; then it is asked how surprised it is,
# compared with a model that counts, and told to go on.

# %%
# %matplotlib inline
import logging
import pydoc_data.topics

import keras
import matplotlib.figure
import numpy as np

import keras_attention as ka
from keras_attention.examples.ngrams import WittenBellModel
from keras_attention.examples.text_lines import blocks_of
from keras_attention.examples.text_lines import rows_of

logging.getLogger("tensorflow").setLevel(logging.ERROR)
keras.utils.set_random_seed(9)

# %% [markdown]
# ## The text
#
# Paragraphs of prose, code left out, each on a line of its own. Every twentieth
# is held out, and neither model sees it before it is measured.

# %%
paragraphs = [
    " ".join(paragraph.split())
    for text in pydoc_data.topics.topics.values()
    for paragraph in text.split("\n\n")
    if paragraph.isascii() and paragraph.rstrip().endswith(".")
]
# A topic may be in another one as well.
paragraphs = [p for p in dict.fromkeys(paragraphs) if 40 < len(p) < 400]
paragraphs = paragraphs[:1500]
held_out = paragraphs[::20]
known = [p for number, p in enumerate(paragraphs) if number % 20]
vocabulary = ka.Vocabulary.build(known, "characters")
print(f"{sum(map(len, known)):,} characters in {len(known):,} paragraphs")
print(vocabulary)
print(held_out[5])

# %% [markdown]
# ## The model
#
# A decoder alone: each position attends to itself and what came before it
# (`Causal`), and the last layer says what comes next:
#
# $$
# p(x_{t+1} \mid x_1 \dots x_t) = \mathrm{softmax}(W h_t)
# $$
#
# It is trained on blocks of 96 characters, and paragraphs are longer. So
# positions are told by `AlibiBias`, a score that falls with the distance, at a
# slope of its own for each head (Press et al. 2022, 2108.12409): it holds for
# distances that no training had.

# %%
LENGTH, BATCH, EPOCHS = 96, 24, 9
model = ka.LanguageModel(
    ka.DecoderOnlyTransformer(
        len(vocabulary),
        units=96,
        num_layers=2,
        num_heads=4,
        dropout=0.0,
        position=ka.AlibiBias(4),
    ),
    max_length=80,
    vocabulary=vocabulary,
)
inputs, labels = blocks_of(rows_of(known, vocabulary), LENGTH)
steps = EPOCHS * -(-len(inputs) // BATCH)
model.compile(
    optimizer=keras.optimizers.Adam(
        ka.training.WarmupSchedule(5e-3, 80, "cosine", total_steps=steps),
        global_clipnorm=1.0,
    ),
    loss=ka.training.MaskedCrossentropy(),
    jit_compile=False,
)


class BatchLosses(keras.callbacks.Callback):
    """Keeps the loss after each batch: the mean of its epoch so far."""

    def __init__(self):
        super().__init__()
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])


losses = BatchLosses()
model.fit(
    inputs,
    labels,
    batch_size=BATCH,
    epochs=EPOCHS,
    verbose=0,
    callbacks=[losses],
)
print(f"{model.count_params():,} weights, {steps} steps")

# %% [markdown]
# ## How surprised is it?
#
# The surprise of a character is $-\log_2 p$, in bits: what it would take to
# write it down for somebody who has the same model. A fair guess among all
# characters takes about six and a half. Beside the Transformer stands a model
# of n-grams, which counts what followed the last one to five characters in the
# same text (Witten & Bell's smoothing).


# %%
def surprises(text):
    """Returns the bits of each character of a text, and of its end."""
    (row,) = rows_of([text], vocabulary)
    logits = model.predict_on_batch(row[None, :-1])[0]
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    chances = powers / powers.sum(axis=-1, keepdims=True)
    return -np.log2(chances[np.arange(len(row) - 1), row[1:]])


def bits_of(texts):
    return float(np.mean(np.concatenate([surprises(text) for text in texts])))


ngrams = {
    order: WittenBellModel(
        [row.tolist() for row in rows_of(known, vocabulary)],
        order,
        len(vocabulary),
    ).bits(row.tolist() for row in rows_of(held_out, vocabulary))
    for order in (1, 2, 4, 6)
}
bits = bits_of(held_out)
print(f"guess:       {np.log2(len(vocabulary)):.2f} bits a character")
for order, found in ngrams.items():
    print(f"{order}-grams:     {found:.2f}")
print(f"Transformer: {bits:.2f}")
assert bits < ngrams[2]

figure = matplotlib.figure.Figure(figsize=(7, 3), layout="constrained")
axes = figure.subplots()
means = np.array(losses.means) / np.log(2)
axes.plot(np.arange(1, len(means) + 1), means, label="Transformer, training")
axes.plot(len(means), bits, "D", color="black", label="Transformer, held out")
for number, (order, found) in enumerate(ngrams.items()):
    axes.axhline(found, color="0.7", linestyle="--")
    axes.text(70 * number, found, f"{order}-grams", va="bottom", color="0.4")
axes.set(xlabel="step", ylabel="bits a character", ylim=(0, 7))
axes.legend()
figure

# %% [markdown]
# A network learns in many steps what counting has after one look, and a manual
# repeats itself, which is what counting is best at.
#
# Where is the surprise? At the beginnings of words, mostly: once one has begun,
# the rest of it follows. The second sentence is from elsewhere, and each word of
# it is news to somebody who has read nothing but a manual.

# %%
sentences = [held_out[5][:70], "I am a dog. Where is the station?"]
figure = matplotlib.figure.Figure(figsize=(11, 4), layout="constrained")
for axes, text in zip(figure.subplots(2, 1), sentences, strict=True):
    found = surprises(text)[: len(text)]
    axes.bar(range(len(text)), found)
    axes.set_xticks(range(len(text)), text)
    axes.set(ylabel="bits", xlim=(-1, len(sentences[0])))
    axes.set_title(f"{found.mean():.2f} bits a character", loc="left")
figure

# %% [markdown]
# ## Go on
#
# The model reads a prompt in one pass, and then goes on from the keys and
# values it has kept, one character at a time; `stream` hands them over as they
# are made. Always the most probable character, `Greedy()`, soon goes round in
# circles. `Sample` draws, and a low temperature keeps it close to what is
# probable.

# %%
PROMPT = "The statement "
for piece in model.stream(PROMPT, max_length=60):
    print(piece, end="")
print()

# %%
for temperature in (0.3, 0.7, 1.2):
    search = ka.Sample(temperature=temperature, seed=1)
    said = model.generate([PROMPT] * 3, search, verbose=0)
    print(f"temperature {temperature}")
    for text in said.texts[:, 0]:
        print(f"   {PROMPT}{text}")

# %% [markdown]
# What it went on from is in the cache: generating a text step by step gives the
# same logits as reading it in one pass. The score of a text that was generated
# greedily is therefore minus its surprise, in nats:

# %%
greedy = model.generate([PROMPT], max_length=40, verbose=0)
text, score = str(greedy.texts[0, 0]), float(greedy.scores[0, 0])
size = int(greedy.lengths[0, 0])  # characters, and the end if it came
found = surprises(PROMPT + text)[len(PROMPT) :][:size]
print(f"by steps {score:.3f}, in one pass {-found.sum() * np.log(2):.3f}")
np.testing.assert_allclose(score, -found.sum() * np.log(2), rtol=1e-3)

# %% [markdown]
# ## Further
#
# `ka.export.export_saved_model(model, folder)` serves it; its signatures read a
# prompt and go on step by step. The example `characters` trains a larger one on
# a text of yours: `python -m keras_attention.examples.characters --help`.
# Subwords in place of characters: `ka.PieceVocabulary`.
