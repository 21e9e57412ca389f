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
# # Train, look at the alignments, export, serve
#
# From pairs of strings to a SavedModel that answers strings with strings:
# English names of places, languages, scripts and currencies, written in
# Chinese. It is real data: the translations that the package `pycountry`
# brings along. Most of them copy the sound (*Angola*, 安哥拉, ān gē lā), some
# translate (*sign language*, 手语), many do both.
#
# The budget is small on purpose, about a minute of two CPU cores, and so is
# what the model learns. All numbers below come from this very run.

# %%
# %matplotlib inline
import gettext
import logging
import tempfile
from pathlib import Path

import keras
import matplotlib.figure
import numpy as np
import pycountry
import tensorflow as tf

import keras_attention as ka

logging.getLogger("tensorflow").setLevel(logging.ERROR)
keras.utils.set_random_seed(1)

# %% [markdown]
# ## The pairs
#
# Each ISO standard has a database and a table of translations. A name that is
# the same in both languages was not translated, and is left out.

# %%
DATABASES = {
    "iso3166-1": pycountry.countries,
    "iso3166-2": pycountry.subdivisions,
    "iso3166-3": pycountry.historic_countries,
    "iso639-3": pycountry.languages,
    "iso639-5": pycountry.language_families,
    "iso4217": pycountry.currencies,
    "iso15924": pycountry.scripts,
}


def read_names():
    """Returns the pairs (English, Chinese) of all standards, sorted."""
    found = set()
    for standard, database in DATABASES.items():
        table = gettext.translation(
            standard, pycountry.LOCALES_DIR, languages=["zh_CN"]
        )
        found |= {(each.name, table.gettext(each.name)) for each in database}
    return sorted(pair for pair in found if pair[0] != pair[1])


names = read_names()
for english, chinese in names[200:1200:125]:
    print(f"{english:24} {chinese}")
print(f"{len(names):,} pairs")

# %% [markdown]
# Short names are enough here, and quick to train on. A tenth of the English
# names is held out: which ones, their own hash decides, so a name is always
# on the same side. The units are characters, on both sides.

# %%
short = [(e, c) for e, c in names if len(e) < 16 and len(c) < 10]
train_pairs, held_out = map(list, ka.training.Pairs(short).split(0.1))
source = ka.Vocabulary.build(english for english, _ in train_pairs)
target = ka.Vocabulary.build(chinese for _, chinese in train_pairs)

assert not {e for e, _ in train_pairs} & {e for e, _ in held_out}
unseen = sum(not set(c) <= set(target.tokens) for _, c in held_out)
print(f"{len(train_pairs):,} pairs to train on, {len(held_out)} held out")
print(source, "->", target)
print(f"{unseen} held-out names need a Chinese character never seen")

# %% [markdown]
# ## Training
#
# `make_dataset` sorts the pairs into batches of like length, and from there
# on it is plain Keras. The model is that of Bahdanau et al. (2015): a recurrent
# encoder that reads both ways, a recurrent decoder, and additive attention
# between them.

# %%
EPOCHS, BATCH = 12, 32
model = ka.build_seq2seq(
    "bahdanau",
    source,
    target,
    units=128,
    cell="gru",
    dropout=0.2,
    max_length=12,
    seed=1,
)
batches = ka.training.make_dataset(
    train_pairs, source, target, batch_size=BATCH, num_buckets=3, repeat=True
)
steps = -(-len(train_pairs) // BATCH)
model.compile(
    optimizer=keras.optimizers.Adam(
        ka.training.WarmupSchedule(
            4e-3, steps, "cosine", total_steps=EPOCHS * steps
        ),
        global_clipnorm=1.0,
    ),
    loss=ka.training.MaskedCrossentropy(),
    metrics=[ka.training.TokenAccuracy()],
    jit_compile=False,  # compiling pays off in longer trainings only
)
history = model.fit(
    batches,
    epochs=EPOCHS,
    steps_per_epoch=steps,
    validation_data=ka.training.make_dataset(
        held_out, source, target, batch_size=BATCH, num_buckets=3, shuffle=False
    ),
    shuffle=False,  # `make_dataset` did
    verbose=0,  # 1 draws a progress bar
).history

# %%
figure = matplotlib.figure.Figure(figsize=(8, 3), layout="constrained")
for axes, name in zip(
    figure.subplots(1, 2), ("loss", "token_accuracy"), strict=True
):
    axes.plot(range(1, EPOCHS + 1), history[name], label="training")
    axes.plot(range(1, EPOCHS + 1), history[f"val_{name}"], label="held out")
    axes.set(xlabel="epoch", title=name.replace("_", " "))
    axes.legend()
figure

# %% [markdown]
# ## How good is it?
#
# Token accuracy is kind: it is told the right characters so far. What counts
# is what the model writes by itself. *Exact match* is the share of names that
# are right in every character; the *error rate* counts the characters to be
# changed, added or dropped, over the characters there should be. Where the
# tables have two translations of a name, both are right.

# %%
references = {}
for english, chinese in short:
    references.setdefault(english, []).append(chinese)


def measure(pairs):
    asked = sorted({english for english, _ in pairs})
    written = model.generate(asked, verbose=0).texts[:, 0].tolist()
    right = [references[english] for english in asked]
    return (
        ka.training.exact_match(right, written),
        ka.training.error_rate(right, written, unit="characters"),
    )


for side, pairs in (
    ("trained on", train_pairs[:: len(train_pairs) // len(held_out)]),
    ("held out", held_out),
):
    exact, errors = measure(pairs)
    print(
        f"{side:10}: exact match {exact:6.1%}, character errors {errors:6.1%}"
    )

# %%
asked = sorted({english for english, _ in held_out})
greedy = model.generate(asked, verbose=0)
written = dict(zip(asked, greedy.texts[:, 0].tolist(), strict=True))
for english in asked[:: len(asked) // 12]:
    mark = "=" if written[english] in references[english] else " "
    wanted = " / ".join(references[english])
    print(f"{mark} {english:20} {written[english]:10} wanted: {wanted}")

# %% [markdown]
# ## Where did it look?
#
# Each row below is a character that the model wrote; the dark cells are the
# letters that it read for it. `<eos>` is the end of a name, and a token like
# the others. Where no installed font has Chinese characters, the labels are
# their numbers, such as `\u5b89` for 安; install Noto Sans CJK, for one, to
# read them.

# %%
right = [e for e in asked if written[e] in references[e]]
chosen = sorted(right or asked, key=len)[-1]  # the longest of them
figure = model.plot_alignment(chosen)
figure

# %%
figure = model.plot_alignment("Dominican Peso")
figure

# %% [markdown]
# The pictures are drawn from `alignments`, which `generate` returns with the
# texts: for each character written a row of weights that sums to one.

# %%
one = model.generate(["Angola"])
rows, columns = one.lengths[0, 0], len("Angola") + 1  # and <eos>
weights = one.alignments[0, 0, :rows, :columns]
print(one.texts[0, 0], weights.shape)
np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)

# %% [markdown]
# ## Second thoughts
#
# A beam keeps several beginnings alive and returns the best names, with their
# scores: log probability, divided by $((5 + n) / 6)$ so that the $n$
# characters of a long name are not held against it.

# %%
beam = ka.Beam(width=4, num_hypotheses=4)
some = ["Angola", "Dominican Peso", "Northern Sami", chosen]
some = list(dict.fromkeys(some))  # each once
several = model.generate(some, search=beam)
for english, texts, scores in zip(
    some, several.texts, several.scores, strict=True
):
    print(f"{english}:")
    for text, score in zip(texts, scores, strict=True):
        print(f"  {score:7.2f}  {text}")
assert (np.diff(several.scores, axis=1) <= 0).all()  # best first

# %% [markdown]
# ## More pairs, more time
#
# Sentences are the same thing with more of everything. The model in
# `saved_models/en_zh`, a Transformer, was trained on 18,000 of them with the same
# calls: words in, characters out. It answers as the one above does, and shows
# where it looked. 隻 is the measure word of a dog: one *animal of* dog.

# %%
checkout = Path(ka.__file__).parents[1]
translator = ka.load(checkout / "saved_models" / "en_zh" / "model")
translations = translator.generate(["I am a dog."], search=ka.Beam(5))
print(translations.texts[0, 0])
assert translations.texts[0, 0] == "我是一隻狗。"

# %%
figure = translator.plot_alignment("I am a dog.", search=ka.Beam(5))
figure

# %% [markdown]
# ## Serve it
#
# One call writes a SavedModel, with vocabularies, search and all. What reads
# it is TensorFlow alone, in any language: below there is no Keras and nothing
# of this package. The `README.md` inside has the commands for TensorFlow
# Serving.

# %%
folder = tempfile.TemporaryDirectory()
saved = ka.export.export_saved_model(
    model, Path(folder.name) / "names" / "1", search=beam
)
for path in sorted(saved.rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size:>9,} bytes  {path.relative_to(saved)}")

# %%
served = tf.saved_model.load(str(saved))
print(sorted(served.signatures))
answer = served.signatures["serving_default"](text=tf.constant(some))
for english, text, score in zip(
    some, answer["text"].numpy(), answer["score"].numpy(), strict=True
):
    print(f"{english:20} {text.decode():10} {score:.2f}")

# %% [markdown]
# It says what `generate` says, in every one of the four hypotheses:

# %%
answers = served.signatures["n_best"](text=tf.constant(some))
texts = np.vectorize(bytes.decode)(answers["text"].numpy())
np.testing.assert_array_equal(texts, several.texts)
np.testing.assert_allclose(answers["score"], several.scores, rtol=1e-4)
assert [t.decode() for t in answer["text"].numpy()] == list(several.texts[:, 0])

folder.cleanup()

# %% [markdown]
# ## Further
#
# `ka.training.train` does the training of this notebook in one call: it keeps
# the best epoch, goes on after a crash, and saves the model in a folder.
# `keras-attention train pairs.tsv` does so from the command line.
#
# Would more epochs help? The curves above say how much is left: once the
# held-out loss no longer falls while the training loss does, the model needs
# more names and not more time. 18 epochs instead of 12 were tried: 8% of the
# held-out names right, as here. Some of it cannot be had from these pairs at
# all: *Tigre* alone does not say that it is a language, so that 提格雷 must end
# in 语, and many sounds have several Chinese characters.
