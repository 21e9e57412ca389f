"""Writes one folder of what a version saves, with the answers it gives.

A release adds the folder that it writes, named after it, and never changes
those that are there: `test_old_formats.py` holds every later version to them.
Where a format changes between releases, the folder is named after the commit:

    git worktree add /tmp/old COMMIT
    PYTHONPATH=/tmp/old python tests/old_formats/write_all.py VERSION-COMMIT

    models/NAME/       a model folder for each kind of vocabulary
    served/            a SavedModel, with its weights in half precision
    vocabularies/      the files of vocabularies alone
    training/          a training that is not finished
    answers.json       what all of them answer
"""

import json
import pathlib
import sys

import numpy as np

import keras_attention as ka
from keras_attention import export
from keras_attention.text import PieceVocabulary
from keras_attention.text import Vocabulary
from keras_attention.training import train

HERE = pathlib.Path(__file__).parent
TEXTS = ["cab face", "Dad", "feed a bee!", "", "\u00fcber \U0001f642"]
PAIRS = [
    (word, " ".join(reversed(word.upper())))
    for word in ("ab", "cab", "bad", "fed", "dab", "face")
] * 2
TRAINING = {
    "kind": "cnn-rnn",
    "cell": "simple",
    "validation_pairs": PAIRS[:3],
    "target_unit": "symbols",
    "units": 3,
    "dropout": 0.3,
    "batch_size": 3,
    "epochs": 3,
    "average": 2,
    "patience": 3,
    "checkpoint_every": 2,
    "seed": 11,
    "verbose": 0,
}
STOPPED_AT = 7  # of 12 steps: past the first epoch


def vocabularies():
    """A vocabulary of each kind, by name."""
    letters = [*"abcdefgh!", "\u00fc"]
    unigram = ["\u2581", "\u2581ca", "ee", "fa", *letters]
    merged = ["\u2581", "ca", "fe", "ce", *letters]
    some_bytes = [f"<0x{byte:02X}>" for byte in range(256)]
    return {
        "characters": Vocabulary.build(["abcdefgh !"]),
        "words": Vocabulary.build(["a cab, a bee", "feed dad"], unit="words"),
        "symbols": Vocabulary.build(["A B C D E F G"], unit="symbols"),
        "unigram": PieceVocabulary(
            unigram, [-1.0 - n / 7 for n in range(len(unigram))]
        ),
        "byte_pair": PieceVocabulary(
            [*merged, *some_bytes],
            [-1.0 - n for n in range(len(merged) + 256)],
            "byte_pair",
            unknown="bytes",
        ),
    }


def model_of(kind, source, target, **options):
    of = vocabularies()
    model = ka.build_seq2seq(
        kind, of[source], of[target], units=4, max_length=6, **options
    )
    draw = np.random.default_rng(20)
    model.set_weights([draw.normal(0.0, 1.5, w.shape) for w in model.weights])
    return model


# Each kind of vocabulary, and of attention.
MODELS = {
    "bahdanau": ("characters", "symbols", {}),
    "transformer": ("unigram", "characters", {"num_heads": 2, "num_layers": 1}),
    "luong": ("byte_pair", "words", {}),
    "cnn-luong": ("words", "unigram", {"cell": "simple"}),
}


def models():
    """A model of each kind, by name."""
    return {
        kind: model_of(kind, source, target, **options)
        for kind, (source, target, options) in MODELS.items()
    }


def answers_of(model):
    """What a model answers: by a search, and for given targets."""
    found = model.generate(TEXTS, ka.Beam(3, num_hypotheses=2))
    source = model.source_vocabulary.encode(TEXTS)
    target = np.array([[1, 4, 5]] * len(TEXTS), "int32")
    logits = np.asarray(model({"source": source, "target": target}))
    if len({*np.round(found.scores[:, 0], 3)}) < 3:
        raise RuntimeError("the answers do not tell the sources apart")
    return {
        "texts": found.texts.tolist(),
        "scores": found.scores.tolist(),
        "logits": logits[:, -1].tolist(),
    }


def stop_training(folder):
    """Leaves a training as a crash does."""
    import keras

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == STOPPED_AT:
                raise KeyboardInterrupt

    try:
        train(PAIRS, folder, callbacks=[Stop()], **TRAINING)
    except KeyboardInterrupt:
        return
    raise RuntimeError("the training has ended")


def finish_training(folder):
    """Goes on with the training; returns what it ends at."""
    model, card = train(PAIRS, folder, resume=True, **TRAINING)
    return {
        "weights": [weight.tolist() for weight in model.get_weights()],
        "metrics": card["metrics"],
    }


def write_vocabularies(folder):
    folder.mkdir()
    answers = {}
    for name, vocabulary in vocabularies().items():
        vocabulary.save(folder / f"{name}.json")
        answers[name] = vocabulary.encode(TEXTS).numpy().tolist()
    return answers


def write_models(folder):
    answers = {}
    for name, model in models().items():
        model.save_folder(folder / name)
        answers[name] = answers_of(model)
    return answers


def write_served(folder):
    model = model_of("cnn-luong", "characters", "symbols", cell="simple")
    export.export_saved_model(
        model,
        folder,
        ka.Greedy(),
        max_source_length=11,
        weights="float16",
        signatures=["serving_default"],
    )
    # As the SavedModel stores them.
    model.set_weights([w.astype("float16") for w in model.get_weights()])
    found = model.generate([text[:10] for text in TEXTS])
    return {
        "texts": found.texts[:, 0].tolist(),
        "scores": found.scores[:, 0].tolist(),
    }


def write_training(folder):
    import shutil
    import tempfile

    folder.mkdir()
    stop_training(folder / "model")
    with tempfile.TemporaryDirectory() as parent:
        copy = pathlib.Path(parent) / "copy"
        shutil.copytree(folder, copy)
        return finish_training(copy / "model")


def write(folder):
    folder.mkdir()
    answers = {
        "vocabularies": write_vocabularies(folder / "vocabularies"),
        "models": write_models(folder / "models"),
        "served": write_served(folder / "served"),
        "training": write_training(folder / "training"),
    }
    text = json.dumps(answers, ensure_ascii=False)
    (folder / "answers.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(HERE / sys.argv[1])
