"""What the examples from text to text share: train, go on, generate."""

import types
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

# Settings of an example that `training.train` does not know.
OURS = ("unit", "beam")


def train(
    options: types.SimpleNamespace,
    recipe: Collection[str],
    pairs: Sequence[tuple[str, str]],
    held_out: Sequence[tuple[str, str]],
    **settings: Any,
) -> tuple[Any, float]:
    """Trains in `output`/model, or goes on with what was cut short there.

    Args:
        options: those of the example.
        recipe: names of those that are arguments of `training.train`; "unit"
            and "beam" are left out.
        pairs: (source, target) pairs to train on.
        held_out: those that choose the best epoch.
        **settings: further arguments of `training.train`.

    Returns:
        The model, and the minutes that its epochs took in all.
    """
    from keras_attention import training

    folder = options.output / "model"
    chosen = {n: getattr(options, n) for n in recipe if n not in OURS}
    model, _ = training.train(
        pairs,
        folder,
        validation_pairs=held_out,
        # Compiling takes minutes, and halves the hours of a training.
        jit_compile="auto" if options.quick else True,
        resume=True,
        seed=options.seed,
        verbose=options.verbose,
        **chosen,
        **settings,
    )
    rows = training.HistoryFile(folder / "history.jsonl").rows()
    return model, sum(row["seconds"] for row in rows) / 60


def generate(model: Any, sources: Sequence[str], search: Any) -> list[str]:
    """Returns the best target of each source."""
    return model.generate(list(sources), search, verbose=0).texts[:, 0].tolist()
