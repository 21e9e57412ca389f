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
# # Images and speech
#
# An encoder is any Keras model that ends in vectors (batch, positions, width).
# So a picture of numbers, or the samples of a microphone, become text in the
# same way as text does: an encoder of their own, and then the decoder, the
# search and the pictures that the other notebooks have. All data is made here,
# by code.

# %%
# %matplotlib inline
import keras
import matplotlib.figure
import numpy as np

import keras_attention as ka
from keras_attention.examples import speech_encoder
from keras_attention.examples import speech_files

keras.utils.set_random_seed(6)
DIGITS = "zero one two three four five six seven eight nine".split()
words = ka.Vocabulary.build(DIGITS, unit="words")

# %% [markdown]
# ## Pictures of numbers
#
# Three digits, made of seven segments as on an old pocket calculator, each at a
# height of its own, in a cloud of grey dots. What there is to say about such a
# picture is *seven zero seven*.

# %%
SEGMENTS = {  # (row, column, height, width) in a box of 9 x 6 pixels
    "top": (0, 0, 1, 6),
    "middle": (4, 0, 1, 6),
    "bottom": (8, 0, 1, 6),
    "upper left": (0, 0, 5, 1),
    "upper right": (0, 5, 5, 1),
    "lower left": (4, 0, 5, 1),
    "lower right": (4, 5, 5, 1),
}
ABSENT = [  # from each digit
    ["middle"],
    ["top", "middle", "bottom", "upper left", "lower left"],
    ["upper left", "lower right"],
    ["upper left", "lower left"],
    ["top", "bottom", "lower left"],
    ["upper right", "lower left"],
    ["upper right"],
    ["middle", "bottom", "upper left", "lower left"],
    [],
    ["lower left"],
]
HEIGHT, WIDTH, COUNT = 20, 40, 3


def glyph_of(digit):
    glyph = np.zeros((9, 6), "float32")
    for name, (row, column, height, width) in SEGMENTS.items():
        if name not in ABSENT[digit]:
            glyph[row : row + height, column : column + width] = 1.0
    return glyph


GLYPHS = [glyph_of(digit) for digit in range(10)]


def draw_images(number, generator):
    """Returns images (number, HEIGHT, WIDTH, 1) and their digits."""
    images = generator.uniform(0, 0.5, (number, HEIGHT, WIDTH, 1))
    digits = generator.integers(10, size=(number, COUNT))
    for image, row in zip(images, digits, strict=True):
        left = generator.integers(1, 4)
        for digit in row:
            top = generator.integers(0, HEIGHT - 9)
            image[top : top + 9, left : left + 6, 0] += 0.8 * GLYPHS[digit]
            left += 6 + generator.integers(3, 8)
    return images.astype("float32"), digits


def sentences(digits):
    return [" ".join(DIGITS[digit] for digit in row) for row in digits]


def for_training(source, texts):
    """What the model reads, with teacher forcing, and what it shall say."""
    ids = np.array(words.encode(texts))  # (number, length), ends in EOS
    begun = np.pad(ids, ((0, 0), (1, 0)), constant_values=1)  # BOS
    return {"source": source, "target": begun[:, :-1]}, ids


generator = np.random.default_rng(6)
images, digits = draw_images(3000, generator)
new_images, new_digits = draw_images(200, generator)

figure = matplotlib.figure.Figure(figsize=(8, 1.9), layout="constrained")
for axes, image, text in zip(
    figure.subplots(1, 3), images, sentences(digits), strict=False
):
    axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1.3)
    axes.set_title(text)
    axes.set_axis_off()
figure

# %% [markdown]
# Two convolutions look at the picture closely and make 5 x 10 patches of it,
# each of which knows its row and its column by the waves of
# `PositionalEncoding2D`. Flattened, they are the keys of a decoder with
# additive attention, that of Bahdanau et al. (2015) for sentences, and of Xu et
# al. (2015, 1502.03044) for pictures.

# %%
ROWS, COLUMNS, UNITS = HEIGHT // 4, WIDTH // 4, 64
eye = keras.Sequential(
    [
        keras.Input((HEIGHT, WIDTH, 1)),
        keras.layers.Conv2D(
            UNITS, 5, strides=2, padding="same", activation="relu"
        ),
        keras.layers.Conv2D(
            UNITS, 5, strides=2, padding="same", activation="relu"
        ),
        ka.PositionalEncoding2D(),
        keras.layers.Reshape((ROWS * COLUMNS, UNITS)),
    ]
)
reader = ka.Seq2Seq(
    eye,
    ka.RNNDecoder(len(words), UNITS, ka.AdditiveAttention(UNITS), cell="gru"),
    max_length=COUNT + 2,
    target_vocabulary=words,
)


def fit(model, inputs, labels, epochs, batch_size=32):
    steps = epochs * -(-len(labels) // batch_size)
    model.compile(
        optimizer=keras.optimizers.Adam(
            ka.training.WarmupSchedule(4e-3, 50, "cosine", total_steps=steps),
            global_clipnorm=1.0,
        ),
        loss=ka.training.MaskedCrossentropy(),
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    history = model.fit(
        inputs, labels, batch_size=batch_size, epochs=epochs, verbose=0
    )
    print("loss:", *(f"{loss:.3f}" for loss in history.history["loss"]))


fit(reader, *for_training(images, sentences(digits)), epochs=8)
said = reader.generate(new_images, batch_size=200, verbose=0)
right = ka.training.exact_match(
    sentences(new_digits), said.texts[:, 0].tolist()
)
print(f"new pictures read without an error: {right:.1%}")
assert right > 0.8

# %% [markdown]
# ## Where did it look?
#
# For each word the weights of the 50 patches, laid over the picture. A patch has
# seen the 13 x 13 pixels around it, so one beside a digit, or on its rim, knows all
# of it. Nobody said where a digit is, nor that one reads from left to right.

# %%
figure = matplotlib.figure.Figure(figsize=(9, 6), layout="constrained")
for axes_of_row, image, text, weights in zip(
    figure.subplots(4, COUNT),
    new_images,
    said.texts[:, 0],
    said.alignments[:, 0],
    strict=False,
):
    for axes, word, seen in zip(
        axes_of_row, text.split(), weights, strict=False
    ):
        axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1.3)
        axes.imshow(
            np.ones((ROWS, COLUMNS)),
            cmap="Reds",
            vmin=0,
            vmax=1.5,
            alpha=0.8 * seen.reshape(ROWS, COLUMNS),
            extent=(-0.5, WIDTH - 0.5, HEIGHT - 0.5, -0.5),
        )
        axes.set_title(word)
    for axes in axes_of_row:
        axes.set_axis_off()
figure

# %% [markdown]
# ## Tones
#
# A telephone dials with two tones at once: the rows of its keypad have low
# ones, the columns high ones. Here is somebody who dials in a noisy room, some
# keys pressed longer than others, and a model that writes down the number.

# %%
LOW, HIGH = (697, 770, 852, 941), (1209, 1336, 1477)
KEYPAD = {d: divmod(d - 1, 3) for d in range(1, 10)} | {0: (3, 1)}
RATE = speech_files.RATE  # samples in a second


def tone_of(digit, generator):
    row, column = KEYPAD[digit]
    times = np.arange(generator.integers(RATE // 8, RATE // 4)) / RATE
    waves = [
        np.sin(2 * np.pi * (pitch * times + generator.uniform()))
        for pitch in (LOW[row], HIGH[column])
    ]
    return 2000 * sum(waves)


def dial(number, least, most, generator):
    """Returns samples (number, length), padded with 0, and what was dialled."""
    counts = generator.integers(least, most + 1, number)
    dialled = [generator.integers(10, size=count) for count in counts]
    samples = [
        speech_files.said([tone_of(d, generator) for d in row], generator)
        for row in dialled
    ]
    longest = most * (RATE // 4 + RATE // 8)
    return speech_files.padded(samples, longest), sentences(dialled)


sounds, texts = dial(1500, 3, 5, generator)
print(sounds.shape, texts[:2])

# %% [markdown]
# The encoder is that of the example `speech`: the power of 40 bands of pitch,
# two recurrent layers, one position for 64 milliseconds. The samples go in as
# they are, so that the trained model takes them from a file, or a server from
# its callers, with nothing before it. A decoder with *location-sensitive*
# attention (Chorowski et al. 2015) sees where it has been: of three sevens in a
# row, which one is next?

# %%
listener = ka.Seq2Seq(
    speech_encoder.new_encoder(units=UNITS, num_layers=1, dropout=0.1),
    ka.RNNDecoder(
        len(words),
        UNITS,
        ka.LocationSensitiveAttention(
            UNITS, filters=8, kernel_size=11, cumulative=True
        ),
        cell="gru",
    ),
    max_length=12,
    target_vocabulary=words,
)
fit(listener, *for_training(sounds, texts), epochs=6)


def share_heard(least, most):
    sounds, texts = dial(100, least, most, np.random.default_rng(least))
    heard = listener.generate(sounds, batch_size=100, verbose=0)
    return ka.training.exact_match(texts, heard.texts[:, 0].tolist())


right, longer = share_heard(3, 5), share_heard(7, 7)
print(f"3 to 5 digits, as in the training: {right:.0%}")
print(f"7 digits, more than ever before:   {longer:.0%}")
assert right > 0.8

# %% [markdown]
# Above the sound, below it what the model heard, on the same axis of time.
# Silences are read by nobody.

# %%
NUMBER = [7, 7, 7, 0, 1]
generator = np.random.default_rng(1)
samples = speech_files.said([tone_of(d, generator) for d in NUMBER], generator)
source = speech_files.padded([samples])
heard = listener.generate(source, verbose=0)
text = str(heard.texts[0, 0])
print(text)

seconds = source.shape[1] / RATE
figure = matplotlib.figure.Figure(figsize=(9, 4.4), layout="constrained")
above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.3))
above.specgram(
    source[0, : len(samples)],
    NFFT=speech_files.WINDOW,
    Fs=RATE,
    noverlap=speech_files.HOP,
    cmap="Greys",
)
above.set(ylabel="pitch (Hz)", ylim=(0, 2000))
rows = heard.lengths[0, 0]
below.imshow(
    heard.alignments[0, 0, :rows],
    cmap="Blues",
    aspect="auto",
    extent=(0, seconds, rows - 0.5, -0.5),
)
below.set_yticks(range(rows), [*text.split(), "<eos>"][:rows])
below.set(xlabel="seconds", xlim=(0, seconds))
figure

# %% [markdown]
# ## Further
#
# The examples `images`, `captions`, `speech` and `spoken_words` do this with
# pictures of clothes and recordings of people: `python -m
# keras_attention.examples.speech --help`. What they reach stands in
# `benchmarks/RESULTS.md`.
