"""What the texts of a model are worth, measured while `fit` runs."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention import validation
from keras_attention.choices import BLEU_TOKENIZERS
from keras_attention.choices import METRICS
from keras_attention.choices import UNITS
from keras_attention.decoding import Greedy
from keras_attention.decoding.search import check_search
from keras_attention.training.pairs import Pairs
from keras_attention.training.rates import counted_unit
from keras_attention.training.text_metrics import USUAL_METRICS
from keras_attention.training.text_metrics import check_metrics
from keras_attention.training.text_metrics import measure_texts

SOURCES_AT_ONCE = 1024


class GenerationMetrics(keras.callbacks.Callback):
    """Generates for held-out sources and measures what comes out.

    Token accuracy knows the true target so far; this does not. The results
    enter the logs of `fit` as `val_exact_match`, `val_error_rate` and so on,
    where early stopping and best checkpoints find them. Place it before
    those.

    Args:
        pairs: path, list of paths or list of (source, target); targets of one
            source are its references.
        every: epochs between two measurements; the logs repeat the last. The
            first epoch is measured too.
        search: search object, such as `Greedy()`.
        prefix: beginning of the names in the logs.
        unit: unit of the error rate. Defaults to the target vocabulary's, of
            another tokenizer to characters.
        max_sources: measure on so many sources, spread evenly; None on all.
        batch_size: how many sources run at once.
        metrics: what is measured, names that `measure_texts` knows.
        bleu_tokenizer: see `bleu`.

    Raises:
        ValueError: if an argument is out of range, or the pairs are broken.
        ImportError: "bleu" or "chrf" without sacrebleu.

    Example:

    >>> from keras_attention.training import GenerationMetrics
    >>> metrics = GenerationMetrics([("lead", "L IY D"), ("lead", "L EH D")])
    >>> metrics.references
    [['L IY D', 'L EH D']]
    """

    remembered = METRICS  # by `Checkpoints`; None where not measured

    def __init__(
        self,
        pairs: Any,
        every: int = 1,
        search: Any = Greedy(),  # noqa: B008 (frozen)
        prefix: str = "val_",
        unit: str | None = None,
        max_sources: int | None = None,
        batch_size: int = 64,
        metrics: Sequence[str] = USUAL_METRICS,
        bleu_tokenizer: str = "13a",
    ):
        super().__init__()
        self.metrics = check_metrics(metrics)
        self.bleu_tokenizer = validation.check_choice(
            "bleu_tokenizer", bleu_tokenizer, BLEU_TOKENIZERS
        )
        self.every = validation.check_positive_integer("every", every)
        validation.check_positive_integer(
            "max_sources", max_sources, optional=True
        )
        self.search = check_search(search)
        self.prefix = prefix
        if unit is not None:
            validation.check_choice("unit", unit, UNITS)
        self.unit = unit
        self.batch_size = validation.check_positive_integer(
            "batch_size", batch_size
        )
        found = {}
        pairs = pairs if isinstance(pairs, Pairs) else Pairs(pairs)
        for source, target in pairs:
            found.setdefault(source, []).append(target)
        self.sources = _spread(list(found), max_sources)
        self.references = [found[source] for source in self.sources]
        self._forget()

    def _forget(self):
        for name in METRICS:
            setattr(self, name, None)

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._forget()

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        is_due = (epoch + 1) % self.every == 0 or not self.results()
        if is_due or epoch + 1 == self.params.get("epochs"):
            self.measure()
        if logs is not None:
            logs.update(self.results())

    def results(self) -> dict[str, float]:
        """Returns the last results as the logs name them; empty before."""
        values = {name: getattr(self, name) for name in self.metrics}
        return {
            f"{self.prefix}{name}": value
            for name, value in values.items()
            if value is not None
        }

    def measure(self) -> tuple[float, ...]:
        """Generates now; returns the results in the order of `metrics`."""
        texts = []
        for start in range(0, len(self.sources), SOURCES_AT_ONCE):
            generated = self.model.generate(
                self.sources[start : start + SOURCES_AT_ONCE],
                search=self.search,
                batch_size=self.batch_size,
                verbose=0,
            )
            texts += generated.texts[:, 0].tolist()
        unit = self.unit or counted_unit(self.model.target_vocabulary)
        found = measure_texts(
            self.references, texts, self.metrics, unit, self.bleu_tokenizer
        )
        for name, value in found.items():
            setattr(self, name, value)
        return tuple(found.values())


def _spread(items, number):
    """Returns at most `number` of the items, evenly spread."""
    if number is None or len(items) <= number:
        return items
    return [items[place * len(items) // number] for place in range(number)]
