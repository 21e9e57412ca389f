"""Images named in two languages: a picture in, its name out.

    python -m keras_attention.examples.captions --data DIR

A `Seq2Seq` from patches of an image (`RotaryEmbedding2D`) to words. The first
is the language, so to ask for one, the name of the other is ruled out.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import image_files as files
from keras_attention.examples import task
from keras_attention.examples.fitting import fit_all
from keras_attention.examples.image_encoders import new_encoder
from keras_attention.examples.task import Result

RECIPE = {
    "units": 64,
    "num_layers": 3,
    "patch": 4,  # pixels on a side
    "dropout": 0.1,
    "epochs": 15,
    "batch_size": 128,
    "learning_rate": 2e-3,
}
QUICK = {"units": 16, "num_layers": 1, "epochs": 1, "batch_size": 32}


def run(options: Any) -> Result:
    """Trains a model, and measures it in each language."""
    from keras_attention.training import MaskedCrossentropy

    data, names, (images, labels), (tested, wanted) = files.read_images(
        options.data
    )
    model = new_model(names, data, images.shape[1:], options)
    # Each image is named in one language, drawn by chance.
    drawn = np.random.default_rng(options.seed).integers(2, size=len(labels))
    texts = captions_of(names)  # (2, 10)
    ids = model.target_vocabulary.encode(texts.ravel()).numpy()
    ids = np.pad(ids, ((0, 0), (1, 0)), constant_values=1)  # BOS
    target = ids[texts.shape[1] * drawn + labels]
    minutes = fit_all(
        model,
        {"source": images, "target": target[:, :-1]},
        target[:, 1:],
        loss=MaskedCrossentropy(),
        options=options,
        steps=-(-len(labels) // options.batch_size),
        batch_size=options.batch_size,
    )
    figures = [
        f"{share:.2%} in {language}"
        for language, share in exact_in_each(model, names, tested, wanted)
    ]
    model.save_folder(options.output / "captions", overwrite=True)
    return Result(
        task="images, named in two languages",
        data=data,
        parameters=model.count_params(),
        minutes=minutes,
        figure="exact: " + ", ".join(figures),
        published="none",
    )


def captions_of(names: dict[str, list[str]]) -> np.ndarray:
    """Returns the captions (languages, classes): "german kleid"."""
    return np.array([[f"{x} {name}" for name in names[x]] for x in names])


def new_model(names: dict, data: str, shape: tuple, options: Any) -> Any:
    """Returns a model from images to captions."""
    import keras_attention as ka

    words = ka.Vocabulary.build(captions_of(names).ravel(), unit="words")
    decoder = ka.TransformerDecoder(
        len(words),
        options.units,
        num_layers=1,
        num_heads=options.units // 16,
        dropout=options.dropout,
    )
    encoder = new_encoder("patches", data, shape, options)
    return ka.Seq2Seq(encoder, decoder, 8, target_vocabulary=words)


def exact_in_each(model: Any, names: dict, images: Any, labels: Any) -> list:
    """Returns pairs: a language, and the share of images named right in it."""
    import keras_attention as ka
    from keras_attention.decoding import Suppress
    from keras_attention.training import exact_match

    languages, shares = list(names), []
    for captions, other in zip(
        captions_of(names), languages[::-1], strict=True
    ):
        tag = int(model.target_vocabulary.encode([other])[0, 0])
        search = ka.Greedy(constraints=[Suppress([tag])])
        found = model.generate(images, search, batch_size=256)
        shares.append(exact_match(captions[labels], found.texts[:, 0]))
    return list(zip(languages, shares, strict=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="captions",
        description="Learn to name what images show, in two languages.",
        recipe=RECIPE,
        quick=QUICK,
        source=files.SOURCE,
        write_sample=files.write_sample,
    )


if __name__ == "__main__":
    sys.exit(main())
