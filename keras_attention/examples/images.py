"""Images, read row by row or seen as patches: what do they show?

    python -m keras_attention.examples.images --data DIR

- `rows`: a bidirectional GRU over the rows of pixels.
- `patches`: a Transformer over patches that know their row and their column
  (`RotaryEmbedding2D`).

Both end in attention pooling: one vector, in which each row or patch counts as
much as it matters.
"""

import sys
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_attention.examples import image_files as files
from keras_attention.examples import task
from keras_attention.examples.fitting import fit_all
from keras_attention.examples.image_encoders import new_encoder
from keras_attention.examples.task import Result

MODELS = ["rows", "patches"]
RECIPE = {
    "models": MODELS,
    "units": 64,
    "num_layers": 3,  # of the Transformer
    "patch": 4,  # pixels on a side
    "dropout": 0.1,
    "epochs": 15,
    "batch_size": 128,
    "learning_rate": 2e-3,
}
QUICK = {
    "models": MODELS[:1],
    "units": 16,
    "num_layers": 1,
    "epochs": 1,
    "batch_size": 32,
}


def run(options: Any) -> Iterator[Result]:
    """Trains and measures each model."""
    import keras

    data, _, training, (tested, wanted) = files.read_images(options.data)
    for kind in options.models:
        print(f"\n{kind}", flush=True)
        model = new_classifier(kind, data, tested.shape[1:], options)
        minutes = fit_all(
            model,
            *training,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            options=options,
            steps=-(-len(training[1]) // options.batch_size),
            batch_size=options.batch_size,
        )
        found = model.predict(tested, 256, verbose=0).argmax(axis=-1)
        model.save(options.output / f"{kind}.keras")
        yield Result(
            task=f"images, {kind}",
            data=data,
            parameters=model.count_params(),
            minutes=minutes,
            figure=f"{np.mean(found == wanted):.2%}",
            published=files.PUBLISHED[data][kind],
        )


def new_classifier(kind: str, data: str, shape: tuple, options: Any) -> Any:
    """Returns a model from images to the logits of ten classes."""
    import keras

    import keras_attention as ka

    encoder = new_encoder(kind, data, shape, options)
    attention = ka.AdditiveAttention(options.units)
    x = ka.AttentionPooling(attention=attention)(encoder.output)  # (B, width)
    x = ka.layers.Dropout(options.dropout)(x)
    return keras.Model(encoder.input, keras.layers.Dense(10)(x))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the example from the command line; returns the exit status."""
    return task.main(
        run,
        arguments,
        name="images",
        description="Learn what images show, from their rows or patches.",
        recipe=RECIPE,
        quick=QUICK,
        source=files.SOURCE,
        write_sample=files.write_sample,
        choices={"models": MODELS},
    )


if __name__ == "__main__":
    sys.exit(main())
