"""The settings of a training: one frozen object, checked as it is made."""

import dataclasses
import inspect
import os
from collections.abc import Iterable
from collections.abc import Sequence
from typing import Any

import keras

from keras_attention import files
from keras_attention import validation
from keras_attention.choices import BLEU_TOKENIZERS
from keras_attention.choices import DECAYS
from keras_attention.choices import MONITORS
from keras_attention.decoding import Greedy
from keras_attention.decoding.search import check_search
from keras_attention.models import build_seq2seq
from keras_attention.training import aids
from keras_attention.training import optimizers
from keras_attention.training import vocabulary_settings as vocabularies
from keras_attention.training.survey import BATCH_SIZE
from keras_attention.training.survey import check_batching
from keras_attention.training.text_metrics import check_metrics

GIVEN_BY_TRAIN = {"kind", "source_vocabulary", "target_vocabulary", "seed"}
DEFAULT_KIND = "transformer"
# What a saved model has decided already.
OF_THE_MODEL = (
    "kind",
    "source_unit",
    "target_unit",
    "source_vocabulary",
    "target_vocabulary",
    "shared_vocabulary",
    "vocabulary_size",
    "min_count",
)
# What an optimizer of the caller has decided already.
OF_THE_OPTIMIZER = ("learning_rate", "warmup_steps", "decay", "clip_norm")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """The arguments of `train`, which says what they mean.

    NumPy numbers become those of Python, which JSON can write; the path of
    the folder is resolved; kind and units get their defaults where the model
    is new.

    Raises:
        ValueError: if one is out of range, or two exclude each other.
        TypeError: if there is an unknown option.
        ImportError: if `monitor` needs a package that is not installed.
    """

    pairs: Any
    folder: str | os.PathLike
    kind: str | None = None
    validation_pairs: Any = None
    columns: Sequence | None = None
    initial_folder: str | os.PathLike | None = None
    source_unit: str | None = None
    target_unit: str | None = None
    source_vocabulary: Any = None
    target_vocabulary: Any = None
    shared_vocabulary: bool = False
    vocabulary_size: int | None = None
    min_count: int = 1
    max_source_length: int | None = None
    max_target_length: int | None = None
    epochs: int = 10
    batch_size: int = BATCH_SIZE
    batch_tokens: int | None = None
    pad_to_multiple_of: int | None = None
    optimizer: Any = "adam"
    learning_rate: float = 1e-3
    warmup_steps: int | None = None
    decay: str = "cosine"
    clip_norm: float | None = 1.0
    label_smoothing: float = 0.0
    alignment_loss: Any = None
    scheduled_sampling: Any = None
    monitor: str = "error_rate"
    bleu_tokenizer: str = "13a"
    patience: int | None = None
    average: int | None = None
    search: Any = Greedy()  # noqa: RUF009 (frozen)
    max_measured: int | None = 1000
    max_minutes: float | None = None
    checkpoint_every: int = 1000
    resume: bool = False
    overwrite: bool = False
    seed: int = 0
    jit_compile: bool | str = "auto"
    strategy: Any = None
    callbacks: Sequence = ()
    configuration: str | None = None
    verbose: int = 1
    options: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        for name, value in vars(self).items():
            self._set(name, validation.without_numpy(value))
        options = {
            n: validation.without_numpy(v) for n, v in self.options.items()
        }
        self._set("options", options)
        self._set("callbacks", _as_callbacks(self.callbacks))
        _check_numbers(self)
        _check_choices(self)
        check_search(self.search)
        _check_configuration(self)
        _check_options(self)
        _check_optimizer(self)
        aids.check(self.alignment_loss, self.scheduled_sampling)
        _check_initial_model(self)
        if self.initial_folder is None:
            self._set("kind", self.kind or DEFAULT_KIND)
            vocabularies.check(self)
            for side in vocabularies.SIDES:
                self._set(f"{side}_unit", vocabularies.unit_of(self, side))
        self._set("folder", files.resolved(self.folder))

    @property
    def limits(self) -> tuple[int | None, int | None]:
        """The most ids of a source and of a target."""
        return self.max_source_length, self.max_target_length

    @property
    def batching(self) -> dict:
        """What says how large batches are, as keyword arguments."""
        names = ("batch_size", "batch_tokens")
        return {name: getattr(self, name) for name in names}

    @property
    def options_for_json(self) -> dict:
        """The options of the model by name, objects as their configs."""
        serialize = keras.saving.serialize_keras_object
        return {n: _nameless(serialize(v)) for n, v in self.options.items()}

    @property
    def has_own_optimizer(self) -> bool:
        """Whether the caller gave a whole optimizer, not a name."""
        return not isinstance(self.optimizer, str)

    def changed(self, names: Sequence[str]) -> list[str]:
        """Returns those of `names` that are not left at their defaults."""
        defaults = {f.name: f.default for f in dataclasses.fields(self)}
        return [n for n in names if getattr(self, n) != defaults[n]]

    def _set(self, name, value):
        object.__setattr__(self, name, value)


def _nameless(described):
    """Returns a serialized object without the names that Keras counts up."""
    if not isinstance(described, dict):
        return described
    is_layer = "trainable" in described
    return {
        name: _nameless(value)
        for name, value in described.items()
        if not (is_layer and name == "name")
    }


def _as_callbacks(given):
    """Returns callbacks as `fit` takes them, one or several, as a tuple."""
    if given is None:
        return ()
    is_list = isinstance(given, Iterable)
    callbacks = tuple(given) if is_list else (given,)
    for callback in callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            fix = "Make an object of it." if isinstance(callback, type) else ""
            raise validation.invalid(
                "callbacks",
                "objects of `keras.callbacks.Callback`",
                repr(callback),
                fix,
            )
    return callbacks


def _check_numbers(settings):
    for name in ("epochs", "checkpoint_every", "min_count"):
        validation.check_positive_integer(name, getattr(settings, name))
    check_batching(**settings.batching)
    for name in (
        "max_source_length",
        "max_target_length",
        "average",
        "max_measured",
        "pad_to_multiple_of",
        "patience",
        "vocabulary_size",
    ):
        value = getattr(settings, name)
        validation.check_positive_integer(name, value, optional=True)
    for name in ("clip_norm", "max_minutes"):
        value = getattr(settings, name)
        validation.check_positive_number(name, value, optional=True)
    validation.check_positive_number("learning_rate", settings.learning_rate)
    validation.check_rate("label_smoothing", settings.label_smoothing)
    validation.check_count("seed", settings.seed)
    if settings.warmup_steps is not None:
        validation.check_count("warmup_steps", settings.warmup_steps)


def _check_choices(settings):
    validation.check_choice("monitor", settings.monitor, MONITORS)
    if settings.monitor != "loss":
        check_metrics([settings.monitor])
    tokenizer = settings.bleu_tokenizer
    validation.check_choice("bleu_tokenizer", tokenizer, BLEU_TOKENIZERS)
    validation.check_choice("decay", settings.decay, DECAYS)
    if settings.jit_compile not in ("auto", True, False):
        raise validation.invalid(
            "jit_compile", "'auto', True or False", repr(settings.jit_compile)
        )


def _check_configuration(settings):
    text = settings.configuration
    if not isinstance(text, str | None):
        raise validation.invalid("configuration", "a text or None", repr(text))


def _check_options(settings):
    known = set(inspect.signature(build_seq2seq).parameters) - GIVEN_BY_TRAIN
    unknown = sorted(set(settings.options) - known)
    if unknown:
        raise TypeError(
            f"train() got unexpected arguments {unknown}. The options of the "
            f"model are {sorted(known)}."
        )


def _check_optimizer(settings):
    optimizers.check(settings.optimizer)
    if settings.has_own_optimizer:
        for name in settings.changed(OF_THE_OPTIMIZER):
            raise ValueError(
                f"`{name}` must not be given with an `optimizer` of your own, "
                "which has it already. Received: "
                f"{name}={getattr(settings, name)!r}. Set it in the "
                "optimizer, or give the name of one, such as 'adamw'."
            )


def _check_initial_model(settings):
    if settings.initial_folder is None:
        return
    given = {n: getattr(settings, n) for n in settings.changed(OF_THE_MODEL)}
    for name, value in {**given, **settings.options}.items():
        raise ValueError(
            f"`{name}` must not be given with `initial_folder`, whose model "
            f"has it already. Received: {name}={value!r}."
        )
