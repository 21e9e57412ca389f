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
# # One layer in your own model
#
# Four models that are yours, with one layer of attention in each: labels for
# words, the sentiment of a sentence, answers from a story, and a vector of a
# whole set. Each is an ordinary Keras model that trains with `fit` in a few
# seconds; all data is made here. The weights of attention come out beside the
# answer, so each model can show what it looked at.

# %%
# %matplotlib inline
import keras
import matplotlib.figure
import numpy as np

import keras_attention as ka

keras.utils.set_random_seed(5)
generator = np.random.default_rng(5)


def pick(choices):
    return str(generator.choice(choices))


def ids_of(vocabulary, sentences):
    return np.array(vocabulary.encode(sentences))  # padded with 0


def compile_and_fit(model, inputs, labels, loss, epochs):
    model.compile(
        optimizer=keras.optimizers.Adam(1e-2), loss=loss, jit_compile=False
    )
    model.fit(inputs, labels, batch_size=128, epochs=epochs, verbose=0)


# %% [markdown]
# ## Labels: noun or verb?
#
# In *I am a dog.* the dog is a noun, in *they dog a man.* it is a verb; so it
# is with *fish*, *watch* and *cook*. Which one, the neighbours say. A model
# that sees one word at a time can only guess.

# %%
AMBIGUOUS = ["dog", "fish", "watch", "cook", "duck", "fly"]
NOUNS, VERBS = ["man", "cat", "apple"], ["eat", "see", "like"]
PRONOUNS, ARTICLES = ["I", "you", "they", "we"], ["a", "the"]
LABELS = ["noun", "verb", "pronoun", "article", "modal", "stop"]


def draw_sentence():
    """Returns pairs of a word and its label."""
    thing = [
        (pick(ARTICLES), "article"),
        (pick(NOUNS + AMBIGUOUS * 2), "noun"),
    ]
    subject = [(pick(PRONOUNS), "pronoun")]
    verb = [(pick(VERBS + AMBIGUOUS), "verb")]
    if generator.random() < 0.3:
        verb = [(pick(["am", "are"]), "verb")]
    elif generator.random() < 0.5:
        verb = [(pick(["can", "must"]), "modal"), *verb]
        subject = subject if generator.random() < 0.5 else list(thing)
        other = [(pick(ARTICLES), "article"), (pick(NOUNS + AMBIGUOUS), "noun")]
        return [*subject, *verb, *other, (".", "stop")]
    return [*subject, *verb, *thing, (".", "stop")]


def labelled(number):
    drawn = [draw_sentence() for _ in range(number)]
    texts = [" ".join(word for word, _ in pairs) for pairs in drawn]
    longest = max(map(len, drawn)) + 1  # and <eos>
    labels = np.full((number, longest), -1)  # -1: nothing to be labelled
    for row, pairs in enumerate(drawn):
        labels[row, : len(pairs)] = [LABELS.index(label) for _, label in pairs]
    return texts, labels


texts, labels = labelled(3000)
words = ka.Vocabulary.build(texts, unit="symbols")
for text, row in zip(texts[:3], labels, strict=False):
    names = (LABELS[label] for label in row if label >= 0)
    print(text, " -> ", *names)

# %% [markdown]
# The layer is `ka.MultiHeadAttention`, in the place that Keras's own has in
# other models. Padding is hidden by the mask of the embedding; nothing has to
# be handed over. `attention_mask=SlidingWindow(1, 1)` lets a word see itself
# and its two neighbours.


# %%
def labeller(with_attention):
    ids = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(len(words), 32, mask_zero=True)(ids)
    outputs = []
    if with_attention:
        layer = ka.MultiHeadAttention(
            num_heads=2, key_dim=16, position=ka.RelativePositionBias(2)
        )
        found, weights = layer(
            x,
            x,
            attention_mask=ka.masks.SlidingWindow(1, 1),
            return_attention_scores=True,
        )
        x = keras.layers.Concatenate()([x, found])
        outputs = [weights]
    x = keras.layers.Dense(32, activation="relu")(x)
    logits = keras.layers.Dense(len(LABELS))(x)
    return keras.Model(ids, logits), keras.Model(ids, [logits, *outputs])


new_texts, new_labels = labelled(500)
new_ids = ids_of(words, new_texts)
unclear = np.isin(np.array(words.tokens)[new_ids], AMBIGUOUS)
loss = keras.losses.SparseCategoricalCrossentropy(
    from_logits=True, ignore_class=-1
)
for with_attention in (False, True):
    model, looks = labeller(with_attention)
    compile_and_fit(model, ids_of(words, texts), labels, loss, epochs=4)
    best = model.predict(new_ids, verbose=0).argmax(-1)
    length = new_ids.shape[1]
    right = (best == new_labels[:, :length])[unclear].mean()
    name = "with attention" if with_attention else "word by word"
    print(f"{name:15} right on ambiguous words: {right:.1%}")
assert right > 0.97

# %% [markdown]
# What the two heads look at for *dog*, once a noun and once a verb: mostly at what
# stands before it and after it.

# %%
figure = matplotlib.figure.Figure(figsize=(9, 6), layout="constrained")
for axes_of_row, text in zip(
    figure.subplots(2, 2), ("I am a dog .", "they dog a man ."), strict=True
):
    logits, weights = looks(ids_of(words, [text]))
    names = np.array(LABELS)[np.argmax(logits[0], -1)]
    tokens = text.split()
    rows = [f"{t} ({n})" for t, n in zip(tokens, names, strict=False)]
    for head, axes in enumerate(axes_of_row):
        ka.plots.plot_alignment(
            weights[0, head, : len(tokens)],
            [*tokens, "<eos>"],
            rows,
            title=f"head {head}",
            axes=axes,
        )
        axes.set(xlabel="", ylabel="")
figure

# %% [markdown]
# ## Sentiment: which words count?
#
# A review says many things, and its opinion in one or two words, which *not*
# turns around. `AttentionPooling` makes one vector of all words: a learned
# query looks for those that matter (Yang et al. 2016, equations 5 to 7),
# $\alpha_t \propto \exp(v \cdot \tanh(W h_t + b))$.

# %%
GOOD = ["wonderful", "funny", "moving", "brilliant"]
BAD = ["boring", "silly", "dreadful", "slow"]
FILLING = "the a film story actor music is was very with and of this".split()


def draw_reviews(number):
    reviews, kind = [], []
    for _ in range(number):
        good, denied = generator.random(2) < (0.5, 0.4)
        opinion = [pick(GOOD if good else BAD)]
        opinion = ["not", *opinion] if denied else opinion
        filling = [pick(FILLING) for _ in range(generator.integers(5, 14))]
        place = generator.integers(len(filling) + 1)
        reviews.append(" ".join([*filling[:place], *opinion, *filling[place:]]))
        kind.append(good != denied)
    return reviews, np.array(kind, "float32")


reviews, kind = draw_reviews(2000)
words = ka.Vocabulary.build(reviews, unit="symbols")

ids = keras.Input((None,), dtype="int32")
x = keras.layers.Embedding(len(words), 24)(ids)
x = keras.layers.Conv1D(24, 3, padding="same", activation="relu")(x)
pooled, weights = ka.AttentionPooling(attention=ka.AdditiveAttention(24))(
    x, mask=keras.ops.not_equal(ids, 0), return_attention_scores=True
)
logit = keras.layers.Dense(1)(pooled)
model, looks = keras.Model(ids, logit), keras.Model(ids, [logit, weights])
compile_and_fit(
    model,
    ids_of(words, reviews),
    kind,
    keras.losses.BinaryCrossentropy(from_logits=True),
    epochs=6,
)

new_reviews, new_kind = draw_reviews(500)
new_ids = ids_of(words, new_reviews)
logits = model.predict(new_ids, verbose=0)[:, 0]
right = np.mean((logits > 0) == new_kind)
print(f"right on new reviews: {right:.1%}")
assert right > 0.95

# %% [markdown]
# The redder a word, the more it counted.

# %%
logits, weights = looks.predict(new_ids[:6], verbose=0)
figure = matplotlib.figure.Figure(figsize=(11, 2.6), layout="constrained")
axes = figure.subplots()
axes.imshow(weights, cmap="Reds", vmin=0, vmax=1, aspect="auto")
for row, review in enumerate(new_reviews[:6]):
    for column, word in enumerate(review.split()):
        strong = weights[row, column] > 0.6
        axes.text(
            column,
            row,
            word,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if strong else "black",
        )
axes.set_yticks(range(6), ["good" if x > 0 else "bad" for x in logits[:, 0]])
axes.set_xticks([])
figure

# %% [markdown]
# ## Answers from a story
#
# Mary goes to the garden, John to the kitchen, and Mary to the hall. *Where is
# Mary?* The last sentence about her has the answer (the first task of bAbI,
# Weston et al. 2015, 1502.05698). Each sentence is a vector, the question is
# the query, and one `ka.AdditiveAttention` finds the sentence.

# %%
PEOPLE = ["Mary", "John", "Sandra", "Daniel"]
PLACES = ["garden", "kitchen", "hall", "office", "bedroom"]
SENTENCES = 8


def draw_stories(number):
    people = generator.integers(len(PEOPLE), size=(number, SENTENCES))
    places = generator.integers(len(PLACES), size=(number, SENTENCES))
    # One of the people who are in the story is asked for.
    asked = people[
        np.arange(number), generator.integers(SENTENCES, size=number)
    ]
    is_asked = people == asked[:, None]
    last = SENTENCES - 1 - is_asked[:, ::-1].argmax(axis=1)
    answers = places[np.arange(number), last]
    return {"people": people, "places": places, "asked": asked}, answers, last


people = keras.Input((SENTENCES,), dtype="int32", name="people")
places = keras.Input((SENTENCES,), dtype="int32", name="places")
asked = keras.Input((), dtype="int32", name="asked")
names = keras.layers.Embedding(len(PEOPLE), 32)
sentences = names(people) + keras.layers.Embedding(len(PLACES), 32)(places)
sentences = ka.LearnedPositionalEncoding(SENTENCES)(sentences)
question = names(asked)[:, None]  # (batch, 1 query, 32)
found, weights = ka.AdditiveAttention(32)(
    question, sentences, return_attention_scores=True
)
answer = keras.layers.Dense(len(PLACES))(found[:, 0])
inputs = {"people": people, "places": places, "asked": asked}
model = keras.Model(inputs, answer)
looks = keras.Model(inputs, weights)

stories, answers, _ = draw_stories(6000)
compile_and_fit(
    model,
    stories,
    answers,
    keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    epochs=8,
)
new_stories, new_answers, new_places = draw_stories(500)
right = model.predict(new_stories, verbose=0).argmax(-1) == new_answers
seen = looks.predict(new_stories, verbose=0)[:, 0]
print(f"right answers:   {right.mean():.1%}")
print(f"right sentences: {np.mean(seen.argmax(-1) == new_places):.1%}")
assert right.mean() > 0.9

# %%
figure = matplotlib.figure.Figure(figsize=(10, 3.2), layout="constrained")
# Stories whose answer is not in the last sentence.
shown = np.flatnonzero(new_places < SENTENCES - 1)[:3]
for axes, story in zip(figure.subplots(1, 3), shown, strict=True):
    told = [
        f"{PEOPLE[person]} went to the {PLACES[place]}"
        for person, place in zip(
            new_stories["people"][story],
            new_stories["places"][story],
            strict=True,
        )
    ]
    axes.imshow(
        seen[story][:, None], cmap="Blues", vmin=0, vmax=1, aspect="auto"
    )
    axes.set_yticks(range(SENTENCES), told)
    axes.set_xticks([])
    axes.set_title(f"Where is {PEOPLE[new_stories['asked'][story]]}?")
figure

# %% [markdown]
# ## A set as one vector
#
# A bag of up to twenty things, each with a colour and a value; what is the
# value of the red one? The mean of a bag has washed it out. The largest entry of
# each dimension has it, once the layer before has learned to push all others
# down. Attention pooling learns to look for it. Padding, the rest of a bag that
# is not full, counts for nothing.

# %%
COLOURS, MOST = 6, 20


def draw_bags(number):
    colours = generator.integers(1, COLOURS, (number, MOST))
    red = generator.integers(0, 5, number)  # within every bag
    colours[np.arange(number), red] = 0
    values = generator.uniform(-1, 1, (number, MOST))
    sizes = generator.integers(5, MOST + 1, number)
    is_real = np.arange(MOST) < sizes[:, None]
    things = np.concatenate(
        [np.eye(COLOURS)[colours], values[..., None]], axis=-1
    )
    wanted = values[np.arange(number), red]
    return {"things": things.astype("float32"), "is_real": is_real}, wanted


def mean(x, mask):
    return keras.layers.GlobalAveragePooling1D()(x, mask=mask)


def largest(x, mask):
    hidden = keras.ops.where(mask[..., None], x, -1e9)
    return keras.layers.GlobalMaxPooling1D()(hidden)


def attention(x, mask):
    return ka.AttentionPooling(num_heads=2)(x, mask=mask)


bags, wanted = draw_bags(4000)
new_bags, new_wanted = draw_bags(500)
errors = {}
for pooling in (mean, largest, attention):
    things = keras.Input((None, COLOURS + 1), name="things")
    is_real = keras.Input((None,), dtype="bool", name="is_real")
    x = keras.layers.Dense(32, activation="relu")(things)
    x = pooling(x, is_real)
    x = keras.layers.Dense(32, activation="relu")(x)
    model = keras.Model(
        {"things": things, "is_real": is_real}, keras.layers.Dense(1)(x)
    )
    compile_and_fit(model, bags, wanted, "mse", epochs=6)
    told = model.predict(new_bags, verbose=0)[:, 0]
    errors[pooling.__name__] = np.sqrt(np.mean((told - new_wanted) ** 2))
print({name: f"{error:.3f}" for name, error in errors.items()})
assert errors["attention"] < 0.5 * errors["mean"]

figure = matplotlib.figure.Figure(figsize=(5, 1.8), layout="constrained")
axes = figure.subplots()
axes.barh(list(errors), list(errors.values()))
axes.axvline(new_wanted.std(), color="0.5", linestyle="--")
axes.set(xlabel="error (dashed: of who always says the mean)")
figure

# %% [markdown]
# ## Further
#
# The examples `slots`, `sentiment` and `babi` do the first three with real
# data; what they reach stands in `benchmarks/RESULTS.md`. A layer in a model
# that exists already: `ka.replace_attention(model)`, in the notebook on long
# sequences.
