"""Is a sentence of a film review kind? SST-2, with attention pooling.

    python -m keras_attention.examples.sentiment --data DIR --output DIR

trains several small models on whole sentences, without pretrained vectors, and
reports the share of right answers of the mean of their logits. The words are
read with their neighbours, then pooled by attention (Yang et al. 2016); what
each word weighed is drawn in DIR/words.png.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import task
from keras_attention.examples.film_reviews import LENGTH
from keras_attention.examples.film_reviews import SOURCE
from keras_attention.examples.film_reviews import draw
from keras_attention.examples.film_reviews import encode
from keras_attention.examples.film_reviews import read_sentences
from keras_attention.examples.film_reviews import write_sample
from keras_attention.examples.fitting import fit

RECIPE = {
    "ensemble": 5,
    "min_count": 2,
    "units": 128,
    "dropout": 0.5,
    "epochs": 8,
    "batch_size": 32,
    "learning_rate": 1e-3,
}
QUICK = {"ensemble": 1, "min_count": 1, "units": 8, "epochs": 1}
QUICK |= {"batch_size": 8}
PUBLISHED = "82.7 (CNN)"


def build_models(
    vocabulary_size: int, units: int, dropout: float
) -> tuple[Any, Any]:
    """Returns two models that share all layers: the logit, and the weights."""
    import keras
    from keras import ops

    import keras_attention as ka

    ids = keras.Input((LENGTH,), dtype="int32")
    is_word = ops.not_equal(ids, 0)  # (B, LENGTH)
    words = keras.layers.Embedding(vocabulary_size, units)(ids)
    # Words are dropped as a whole, so that none decides alone.
    words = ka.layers.Dropout(dropout, noise_shape=(None, LENGTH, 1))(words)
    words = words * ops.cast(is_word, words.dtype)[..., None]
    near = keras.layers.Conv1D(units, 3, padding="same", activation="relu")
    read = ka.layers.Dropout(dropout)(words + near(words))
    pooling = ka.AttentionPooling(attention=ka.AdditiveAttention(units))
    pooled, weights = pooling(
        read, mask=is_word, return_attention_scores=True
    )  # (B, units), (B, LENGTH)
    logit = keras.layers.Dense(1)(ka.layers.Dropout(dropout)(pooled))
    return keras.Model(ids, logit), keras.Model(ids, weights)


def run(options: Any) -> task.Result:
    """Trains the models, and counts what their mean gets right."""
    import keras

    from keras_attention import Vocabulary

    data = [
        read_sentences(task.data_file(options.data, f"{name}.tsv"))
        for name in ("train", "dev", "test")
    ]
    words = Vocabulary.build(data[0][0], "symbols", min_count=options.min_count)
    train, dev, test = [(encode(texts, words), kind) for texts, kind in data]
    models, logits, minutes = [], [], 0.0
    for number in range(options.ensemble):
        keras.utils.set_random_seed(options.seed + number)
        model, weights = build_models(
            len(words), options.units, options.dropout
        )
        minutes += fit(
            model,
            train,
            dev,
            options,
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[keras.metrics.BinaryAccuracy(threshold=0.0)],
            monitor="val_binary_accuracy",
        )
        models.append((model, weights))
        logits.append(model.predict(test[0], verbose=0)[:, 0])
    each = [np.mean((found > 0) == test[1]) for found in logits]
    together = np.mean((np.mean(logits, axis=0) > 0) == test[1])
    with task.optional_picture():
        draw(*models[0], data[2][0], words, options.output / "words.png")
    return task.Result(
        task=f"sentiment, attention pooling, mean of {len(models)}",
        data=f"SST-2, {len(train[1]):,} sentences, {len(test[1]):,} to test",
        parameters=sum(model.count_params() for model, _ in models),
        minutes=minutes,
        figure=f"{together:.1%} right (one alone: {np.mean(each):.1%})",
        published=PUBLISHED,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="sentiment",
        description=__doc__,
        recipe=RECIPE,
        quick=QUICK,
        source=SOURCE,
        write_sample=write_sample,
    )


if __name__ == "__main__":
    sys.exit(main())
