"""Questions about short stories: bAbI tasks 1, 2, 4 and 6.

    python -m keras_attention.examples.babi --data DIR --tasks 1 2 4 6

trains one model for each task (Weston et al. 2015, arXiv 1502.05698) and
reports the share of right answers. The model is an end-to-end memory network
(Sukhbaatar et al. 2015, arXiv 1503.08895): the question attends to the
sentences, is changed by what it finds, and attends again. Three things differ
from the paper. The embedding of a word is multiplied by a learned matrix for
its place in the sentence, where the paper has fixed weights. Each hop ends in a
dense layer with ReLU. Of the embeddings, only those that neighbouring hops
share are tied. `--first 1000` trains on as few questions as the published
baselines have.
"""

import itertools
import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

from keras_attention.examples import task
from keras_attention.examples.babi_stories import FILES
from keras_attention.examples.babi_stories import PUBLISHED
from keras_attention.examples.babi_stories import SOURCE
from keras_attention.examples.babi_stories import WORDS
from keras_attention.examples.babi_stories import encode
from keras_attention.examples.babi_stories import read_task
from keras_attention.examples.babi_stories import share_right
from keras_attention.examples.babi_stories import write_sample
from keras_attention.examples.fitting import fit

RECIPE = {
    "tasks": list(FILES),
    "first": 10_000,
    "memories": 50,
    "units": 64,
    "hops": 3,
    "epochs": 20,
    "batch_size": 32,
    "learning_rate": 3e-3,
}
QUICK = {"tasks": ["1"], "units": 8, "hops": 2, "epochs": 2}


def build_model(
    vocabulary_size: int, answers: int, memories: int, units: int, hops: int
) -> Any:
    """Returns a memory network: logits of answers to stories and questions."""
    import keras
    from keras import ops

    import keras_attention as ka

    story = keras.Input((memories, WORDS), dtype="int32", name="story")
    question = keras.Input((WORDS,), dtype="int32", name="question")

    def read(ids):
        is_word = ops.cast(ops.not_equal(ids, 0), "float32")[..., None]
        words = keras.layers.Embedding(vocabulary_size, units)(ids) * is_word
        words = ops.reshape(words, (-1, *ids.shape[1:-1], WORDS * units))
        return keras.layers.Dense(units)(words)  # (B, ..., units)

    is_sentence = ops.any(ops.not_equal(story, 0), axis=-1)  # (B, memories)
    # The age of a sentence is its position. Each (B, memories, units).
    memory = [
        ka.LearnedPositionalEncoding(memories)(read(story))
        for _ in range(hops + 1)
    ]
    state = read(question)[:, None]  # (B, 1, units)
    # A hop finds by one memory what the next holds.
    for key, value in itertools.pairwise(memory):
        found = ka.DotProductAttention("dot")(
            state, value, key, value_mask=is_sentence
        )
        both = ops.concatenate([state, found], axis=-1)
        state = state + keras.layers.Dense(units, activation="relu")(both)
    logits = keras.layers.Dense(answers)(state[:, 0])  # (B, answers)
    return keras.Model({"story": story, "question": question}, logits)


def run(options: Any) -> Iterator[task.Result]:
    """Trains a model for each task."""
    for number in options.tasks:
        yield _result(number, options)


def _result(number, options):
    import keras

    from keras_attention import Vocabulary

    train, test = read_task(options.data, number)
    train = train[: options.first]
    texts = (" ".join((*story, question)) for story, question, _ in train)
    words = Vocabulary.build(texts, unit="symbols")
    answers = sorted({answer for *_, answer in train})
    print(f"\nTask {number}: {len(train):,} questions, {len(test):,} to test")
    longest = max(len(story) for story, _, _ in train)
    memories = min(options.memories, longest)
    (inputs, labels), test_data = (
        encode(part, words, answers, memories) for part in (train, test)
    )
    sizes = len(words), len(answers), memories, options.units
    model = build_model(*sizes, options.hops)
    # The last tenth of the questions chooses the epoch.
    size = int(0.9 * len(train))
    first, last = (
        ({name: rows[part] for name, rows in inputs.items()}, labels[part])
        for part in (slice(size), slice(size, None))
    )
    minutes = fit(
        model,
        first,
        last,
        options,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        monitor="val_accuracy",
    )
    right = share_right(model, *test_data)
    return task.Result(
        task=f"bAbI task {number}, memory network, {options.hops} hops",
        data=f"{len(train):,} questions, {len(test):,} to test",
        parameters=model.count_params(),
        minutes=minutes,
        figure=f"{100 * right:.1f}% right",
        published=PUBLISHED.get(number, "none"),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="babi",
        description=__doc__,
        recipe=RECIPE,
        quick=QUICK,
        source=SOURCE,
        write_sample=write_sample,
        choices={"tasks": FILES},
    )


if __name__ == "__main__":
    sys.exit(main())
