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

SOURCE = (
    "train.tsv, pairs of the Mandarin Chinese - English sentences of "
    "tatoeba.org, with a tab between (CC BY 2.0 FR)"
)
FILE, PICTURE_TEXT = "train.tsv", "Do you like music?"
TEXTS = ("Hello!", "I am a dog", "I am a dog.", "Where is the station?")
SAMPLE = ("Hi.\t嗨。", "Hello!\t你好。", "I try.\t让我来。", "I won!\t我赢了。")
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
PAGE = """\
# English to Chinese

Short English sentences in, Chinese out, some in simplified and some in
traditional characters, as the sentences that it learned from are.

{texts}

- {figure} on {held_out} English sentences that were not trained on, those whose
  SHA-256, the first 8 hexadecimal digits modulo 20, is 0. They chose the epoch.
- {parameters:,} weights; `model/card.json` says how they were trained.
- Sentences: [Tatoeba](https://tatoeba.org) and its contributors, [CC BY 2.0
  FR](https://creativecommons.org/licenses/by/2.0/fr/). The model was made from
  them, and they were changed in nothing but being cut into words.
"""


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
    from keras_attention import export
    from keras_attention import plots
    from keras_attention import training

    pairs = list(training.read_pairs(task.data_file(options.data, FILE)))
    held_out = [pair for pair in pairs if is_held_out(pair[0])]
    if options.quick:
        held_out = held_out or pairs[:2]
    rest = [pair for pair in pairs if pair not in held_out]
    model, minutes = text_to_text.train(
        options,
        RECIPE,
        rest,
        held_out,
        source_unit="words",
        target_unit="characters",
        tie_embeddings=True,
        monitor="bleu",
        bleu_tokenizer="zh",
    )
    search, references = Beam(options.beam), {}
    for english, chinese in held_out:
        references.setdefault(english, []).append(chinese)
    found = text_to_text.generate(model, list(references), search)
    scores = training.measure_texts(
        list(references.values()), found, ["bleu", "chrf"], "characters", "zh"
    )
    figure = "{bleu:.1f} BLEU (zh), {chrf:.1f} chrF".format(**scores)
    picture = model.plot_alignment(PICTURE_TEXT, search)
    plots.save_figure(picture, options.output / "alignment.png")
    served = options.output / "1"
    export.export_saved_model(
        model, served, search, overwrite=True, weights="float16"
    )
    answers = export.check_saved_model(served, TEXTS)["text"]
    texts = [
        f"- `{one}` -> {zh}" for one, zh in zip(TEXTS, answers, strict=True)
    ]
    page = PAGE.format(
        texts="\n".join(texts),
        figure=figure,
        held_out=len(references),
        parameters=model.count_params(),
    )
    (options.output / "README.md").write_text(page, encoding="utf-8")
    print("\n".join(texts))
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
