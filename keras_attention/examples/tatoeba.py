"""English to Chinese on Tatoeba: words in, characters out.

    python -m keras_attention.examples.tatoeba --data tatoeba_en_zh \\
        --output saved_models/en_zh

trains a small Transformer on 18,000 short pairs, measures it on a twentieth
that the hash of the English side holds out, draws which word each character
came from, and exports a SavedModel that speaks text.

    DIR/model/          the Keras model, its vocabularies and its card
    DIR/1/              the SavedModel, in the layout of TensorFlow Serving
    DIR/alignment.png   which English words each character was read from
    DIR/README.md       what the model is, how good, and whose sentences
"""

import hashlib
import pathlib
import sys
import types
from collections.abc import Sequence

from keras_attention.examples import task
from keras_attention.examples import text_to_text
from keras_attention.examples.tatoeba_card import export_and_describe

SOURCE = (
    "train.tsv, pairs of the Mandarin Chinese - English sentences of "
    "tatoeba.org, with a tab between (CC BY 2.0 FR)"
)
FILE = "train.tsv"
SAMPLE = (
    "Hi.\t嗨。",
    "Hello!\t你好。",
    "Get out!\t滾出去！",
    "I won!\t我赢了。",
)
RECIPE = {
    "kind": "transformer",
    "units": 128,
    "feed_forward_units": 256,
    "num_heads": 4,
    "num_layers": 3,
    "dropout": 0.3,
    "attention_dropout": 0.1,
    "label_smoothing": 0.1,
    "min_count": 2,
    "epochs": 50,
    "batch_tokens": 2048,
    "learning_rate": 3e-3,
    "warmup_steps": 500,
    "average": 5,
    "beam": 5,
}
QUICK = {"units": 8, "num_heads": 2, "num_layers": 1, "epochs": 1, "beam": 2}
QUICK |= {"min_count": 1, "batch_tokens": 64, "warmup_steps": 0}


def is_held_out(english: str) -> bool:
    """Whether a sentence is kept from training: its own hash decides."""
    digest = hashlib.sha256(english.encode()).hexdigest()
    return int(digest[:8], 16) % 20 == 0


def write_sample(folder: pathlib.Path) -> None:
    """Writes a few pairs as the file of the data."""
    text = "".join(f"{line}\n" for line in SAMPLE)
    (folder / FILE).write_text(text, encoding="utf-8")


def run(options: types.SimpleNamespace) -> task.Result:
    """Trains, measures, draws, exports, and writes the page."""
    from keras_attention import Beam
    from keras_attention import training

    pairs = list(training.read_pairs(task.data_file(options.data, FILE)))
    parts = {False: [], True: []}
    for pair in pairs:
        parts[is_held_out(pair[0])].append(pair)
    model, minutes = text_to_text.train(
        options,
        RECIPE,
        parts[False],
        parts[True],
        source_unit="words",
        target_unit="characters",
        tie_embeddings=True,
        monitor="bleu",
        bleu_tokenizer="zh",
        max_measured=None,
    )
    search, references = Beam(options.beam), {}
    for english, chinese in parts[True]:
        references.setdefault(english, []).append(chinese)
    found = text_to_text.generate(model, list(references), search)
    scores = training.measure_texts(
        list(references.values()), found, ["bleu", "chrf"], "characters", "zh"
    )
    figure = "{bleu:.1f} BLEU (zh), {chrf:.1f} chrF".format(**scores)
    if not options.quick:
        facts = figure, len(references)
        export_and_describe(model, options.output, search, *facts)
    return task.Result(
        f"translation en -> zh, characters out, beam {options.beam}",
        f"Tatoeba, {len(references):,} sentences held out",
        model.count_params(),
        minutes,
        figure,
        "none",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="tatoeba",
        description="Translate short sentences, English to Chinese.",
        recipe=RECIPE,
        quick=QUICK,
        source=SOURCE,
        write_sample=write_sample,
    )


if __name__ == "__main__":
    sys.exit(main())
