"""The picture, the SavedModel and the page beside the model of `tatoeba`."""

import pathlib
from typing import Any

from keras_attention.examples import task

TEXTS = ("Hello!", "I am a dog", "I am a dog.", "Where is the station?")
PICTURE_TEXT = "Do you like music?"
PAGE = """\
# English to Chinese

Short English sentences in, Chinese out: in simplified or in traditional
characters, as the sentences that the model learned from are.

{texts}

- {figure}, on {held_out:,} English sentences that were not trained on: those
  whose SHA-256, the first 8 hexadecimal digits modulo 20, is 0. They also chose
  the best epoch, so another twentieth may be a little worse.
- {weights:,} weights. `model/card.json` says how they were trained.
- `1/` is the SavedModel, its weights stored as float16. Where it is missing,
  `python -m keras_attention export model 1 --weights float16 --beam 5`
  makes it.
- `alignment.png` shows which English words each character was read from.

The sentences are those of [Tatoeba](https://tatoeba.org) and its contributors,
under [CC BY 2.0 FR](https://creativecommons.org/licenses/by/2.0/fr/). The model
was trained on them; they are not part of it.
"""


def export_and_describe(
    model: Any, output: pathlib.Path, search: Any, figure: str, held_out: int
) -> None:
    """Draws an alignment, exports the model, asks it, and writes the page.

    Args:
        model: the trained `Seq2Seq`.
        output: folder to write.
        search: how the SavedModel searches.
        figure: what was measured.
        held_out: on how many sentences.
    """
    from keras_attention import export
    from keras_attention import plots

    with task.optional_picture():
        picture = model.plot_alignment(PICTURE_TEXT, search)
        plots.save_figure(picture, output / "alignment.png")
    served = output / "1"
    export.export_saved_model(
        model, served, search, overwrite=True, weights="float16"
    )
    answers = export.check_saved_model(served, TEXTS)["text"]
    texts = [f"- `{t}` -> {a}" for t, a in zip(TEXTS, answers, strict=True)]
    page = PAGE.format(
        texts="\n".join(texts),
        figure=figure,
        held_out=held_out,
        weights=model.count_params(),
    )
    (output / "README.md").write_text(page, encoding="utf-8")
    print("The SavedModel, in a process without Keras, says:", *texts, sep="\n")
