"""The sentences of SST-2, their ids, and a picture of what words weigh."""

import pathlib
from typing import Any

import numpy as np

from keras_attention.examples import task

LENGTH = 56  # words of the longest sentence, its end, and a few
SOURCE = "a folder with train.tsv, dev.tsv and test.tsv of SST-2: sentence, "
SOURCE += "tab, 0 or 1 (Socher et al. 2013; no licence stated)"
DRAWN = 6  # sentences


def read_sentences(path: pathlib.Path) -> tuple[list[str], np.ndarray]:
    """Returns the sentences of a file and their labels, 0 or 1."""
    with task.reading(path, "lines of a sentence, a tab, and 0 or 1"):
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.rsplit("\t", 1) for line in lines if line.strip()]
        labels = np.array([{"0": 0, "1": 1}[label] for _, label in rows])
        if not rows:
            raise ValueError("nothing")
    return [text.lower() for text, _ in rows], labels


def encode(sentences: list[str], vocabulary: Any) -> np.ndarray:
    """Returns ids (sentences, LENGTH); 0 is padding."""
    ids = np.asarray(vocabulary.encode(sentences, max_length=LENGTH))
    return np.pad(ids, ((0, 0), (0, LENGTH - ids.shape[1])))


def draw(
    model: Any,
    weigher: Any,
    sentences: list[str],
    vocabulary: Any,
    path: pathlib.Path,
) -> None:
    """Draws what each word of a few short sentences weighed."""
    short = [text for text in sentences if 4 < len(text.split()) < 12][:DRAWN]
    if not short:
        print("No picture: no sentence has 5 to 11 words")
        return
    import matplotlib.figure

    from keras_attention import plots

    ids = encode(short, vocabulary)
    logits, weights = (
        part.predict(ids, verbose=0) for part in (model, weigher)
    )
    figure = matplotlib.figure.Figure((9, 1.3 * len(short)), layout="tight")
    for row, text in enumerate(short):
        tokens = [*text.split(), "<eos>"]
        plots.plot_alignment(
            weights[row][None, : len(tokens)],
            tokens,
            ["kind" if logits[row, 0] > 0 else "unkind"],
            axes=figure.add_subplot(len(short), 1, row + 1),
        )
    plots.save_figure(figure, path)


def write_sample(folder: pathlib.Path) -> None:
    """Writes a few sentences whose adjective decides."""
    lines = [
        f"{start} film is {adjective} , says {who}\t{label}"
        for start in ("this", "the", "that")
        for adjective, label in (("lovely", 1), ("dull", 0), ("moving", 1))
        for who in ("everybody", "a critic")
    ]
    for name in ("train", "dev", "test"):
        (folder / f"{name}.tsv").write_text("\n".join(lines) + "\n")
