"""What the examples from text to text share: train, go on, generate."""

import types
from collections.abc import Collection
from collections.abc import Sequence
from typing import Any

# Settings of an example that are not handed on to `training.train`.
OURS = ("unit", "vocabulary_size", "beam")


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
        recipe: names of those that are arguments of `training.train`; those
            in `OURS` are left out.
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
        callbacks=[training.KeepMemory()],
        resume=True,
        seed=options.seed,
        verbose=options.verbose,
        **chosen,
        **settings,
    )
    rows = training.HistoryFile(folder / "history.jsonl").rows()
    return model, sum(row["seconds"] for row in rows) / 60


def one_vocabulary(
    unit: str, size: int, pairs: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Returns arguments of `training.train` for one vocabulary of both sides.

    Pieces are those of byte pairs, which leave frequent words whole.

    Args:
        unit: "pieces", "words" or "symbols".
        size: the most entries.
        pairs: what pieces are learned from.
    """
    if unit != "pieces":
        return {
            "source_unit": unit,
            "target_unit": unit,
            "shared_vocabulary": True,
            "vocabulary_size": size,
        }
    from keras_attention.text import PieceVocabulary

    texts = (text for pair in pairs for text in pair)
    pieces = PieceVocabulary.build(
        texts, size, algorithm="byte_pair", character_coverage=1.0
    )
    return {"source_vocabulary": pieces, "target_vocabulary": pieces}


def generate(model: Any, sources: Sequence[str], search: Any) -> list[str]:
    """Returns the best target of each source."""
    return model.generate(list(sources), search, verbose=0).texts[:, 0].tolist()
