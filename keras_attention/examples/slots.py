"""What a command wants, and its details: SNIPS, slots and intents.

    python -m keras_attention.examples.slots --data DIR

A recurrent encoder reads the words both ways, each word attends to all
others, and is tagged; the intent is read from a pooling by attention. Words
are also read letter by letter, so that a title never seen has a shape. No
vector is pretrained, and each tag is decided by itself.
"""

import random
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import snips
from keras_attention.examples import task
from keras_attention.examples.fitting import fit
from keras_attention.examples.snips import LENGTH
from keras_attention.examples.snips import LETTERS

HELD_OUT = 700  # training commands that choose the epoch
RECIPE = {
    "units": 96,
    "dropout": 0.4,
    "epochs": 15,
    "batch_size": 32,
    "learning_rate": 2e-3,
}
QUICK = {"units": 8, "epochs": 1, "batch_size": 7}
PUBLISHED = "slot F1 87.8, intent 96.7 (attention BiRNN, another split)"


def build_model(vocabularies: dict, units: int, dropout: float) -> Any:
    """Returns a model from words and letters to logits of tags and intent."""
    import keras
    from keras import layers
    from keras import ops

    import keras_attention as ka

    sizes = {name: len(entries) for name, entries in vocabularies.items()}
    words = keras.Input((LENGTH,), dtype="int32", name="words")
    letters = keras.Input((LENGTH, LETTERS), dtype="int32", name="letters")
    is_word = ops.not_equal(words, 0)  # (B, LENGTH)
    spelt = layers.Embedding(sizes["letters"], 16)(letters)
    spelt = layers.Conv2D(48, (1, 3), padding="same", activation="relu")(spelt)
    spelt = ops.max(spelt, axis=2)  # (B, LENGTH, 48)
    known = layers.Embedding(sizes["words"], units)(words)
    # Whole words are dropped, so that letters and neighbours must do too.
    known = ka.layers.Dropout(dropout / 2, noise_shape=(None, LENGTH, 1))(known)
    read = ka.layers.Dropout(dropout)(ops.concatenate([known, spelt], axis=-1))
    # XLA has no kernels of cuDNN.
    cell = layers.LSTM(units, return_sequences=True, use_cudnn=False)
    read = layers.Bidirectional(cell)(
        read, mask=is_word
    )  # (B, LENGTH, 2 units)
    attention = ka.MultiHeadAttention(4, units // 4, dropout=dropout)
    found = attention(read, read, query_mask=is_word, value_mask=is_word)
    read = ka.layers.Dropout(dropout)(layers.LayerNormalization()(read + found))
    pooled = ka.AttentionPooling(attention=ka.AdditiveAttention(units))(
        read, mask=is_word
    )  # (B, 2 units)
    return keras.Model(
        {"words": words, "letters": letters},
        {
            "tags": layers.Dense(sizes["tags"], name="tags")(read),
            "intent": layers.Dense(sizes["intents"], name="intent")(pooled),
        },
    )


def tags_of(
    model: Any, inputs: dict, commands: list[snips.Command], vocabulary: Any
) -> tuple[list[list[str]], np.ndarray]:
    """Returns the tags of the words, and the numbers of the intents."""
    logits = model.predict(inputs, batch_size=100, verbose=0)
    logits["tags"][..., :4] = -np.inf  # padding, the end, unknown: no tags
    best = np.array(vocabulary.tokens)[logits["tags"].argmax(-1)]
    tags = []
    for row, command in zip(best.tolist(), commands, strict=True):
        number = len(command.words)
        tags.append((row[: LENGTH - 1] + ["O"] * number)[:number])
    return tags, logits["intent"].argmax(-1)


def run(options: Any) -> task.Result:
    """Trains the model and measures it on the validation files."""
    import keras

    from keras_attention import training

    commands = snips.read_commands(options.data, "train")
    random.Random(options.seed).shuffle(commands)
    held_out = min(HELD_OUT, len(commands) // 4)
    dev, commands = commands[:held_out], commands[held_out:]
    test = snips.read_commands(options.data, "validate")
    vocabularies = snips.make_vocabularies(commands)
    model = build_model(vocabularies, options.units, options.dropout)
    minutes = fit(
        model,
        snips.encode(commands, vocabularies),
        snips.encode(dev, vocabularies),
        options,
        loss={
            "tags": training.MaskedCrossentropy(),
            "intent": keras.losses.SparseCategoricalCrossentropy(
                from_logits=True
            ),
        },
        monitor="val_tags_loss",
    )
    inputs, labels = snips.encode(test, vocabularies)
    tags, intents = tags_of(model, inputs, test, vocabularies["tags"])
    f1 = training.span_f1([list(command.tags) for command in test], tags)
    return task.Result(
        task="slots and intents, BiLSTM with self-attention",
        data=f"SNIPS, {len(commands):,} commands, {len(test):,} to test",
        parameters=model.count_params(),
        minutes=minutes,
        figure=f"slot F1 {100 * f1:.1f}, intent "
        f"{np.mean(intents == labels['intent']):.1%}",
        published=PUBLISHED,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="slots",
        description=__doc__,
        recipe=RECIPE,
        quick=QUICK,
        source=snips.SOURCE,
        write_sample=snips.write_sample,
    )


if __name__ == "__main__":
    sys.exit(main())
