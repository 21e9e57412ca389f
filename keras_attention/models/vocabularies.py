"""Vocabularies of a model: which ones fit, and how they travel in a config."""

import contextlib
import contextvars
from typing import Any

import keras

from keras_attention import validation

METHODS = ("encode", "decode", "token_strings", "__len__")
# Of a Seq2Seq, and of a LanguageModel.
NAMES = ("source_vocabulary", "target_vocabulary", "vocabulary")

_are_left_out = contextvars.ContextVar("_are_left_out", default=False)


def check(name: str, vocabulary: Any, part: keras.layers.Layer) -> None:
    """Raises a ValueError unless `vocabulary` is None or fits its part.

    Args:
        name: one of `NAMES`.
        vocabulary: a `text.Vocabulary`, another tokenizer, or None.
        part: the encoder or decoder that reads or writes its ids.
    """
    if vocabulary is None:
        return
    check_methods(name, vocabulary)
    size = getattr(part, "vocabulary_size", None)
    if size not in (None, len(vocabulary)):  # layers of Keras do not tell
        raise ValueError(
            f"`{name}` must have {size} entries, as "
            f"the {part.name} was built with. Received: "
            f"len({name})={len(vocabulary)}. Is it the vocabulary of "
            "another model?"
        )


def check_methods(name: str, vocabulary: Any) -> None:
    """Raises a ValueError unless it has what every tokenizer has."""
    missing = [has for has in METHODS if not hasattr(vocabulary, has)]
    if missing:
        raise validation.invalid(
            name,
            "a text.Vocabulary, a tokenizer with encode, decode, "
            "token_strings and __len__, or None",
            f"{vocabulary!r} without {', '.join(missing)}",
        )


def check_can_be_saved(name: str, vocabulary: Any) -> None:
    """Raises a ValueError unless it has a config, as ours do."""
    needs = ["get_config", "from_config"]  # Keras makes neither
    if not _has_config(vocabulary):
        needs = ["to_dict"]
    if all(hasattr(vocabulary, has) for has in needs):
        return
    raise validation.invalid(
        name,
        "a text.Vocabulary or a tokenizer with `get_config` and `from_config` "
        "where the model is saved, pickled or cloned",
        repr(vocabulary),
        "Register the class with keras.saving.register_keras_serializable, "
        "or detach the vocabularies: set_vocabularies with None.",
    )


def of(model: Any) -> dict[str, Any]:
    """Returns the vocabularies of a model by name, None where it lacks one."""
    return {n: getattr(model, n) for n in NAMES if hasattr(model, n)}


def to_config(model: Any) -> dict[str, Any]:
    """Returns the vocabularies of a model by name, each as a plain dict.

    Raises:
        ValueError: if a tokenizer has no config.
    """
    if _are_left_out.get():
        return {}
    return {name: _to_config(name, found) for name, found in of(model).items()}


def from_config(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the vocabularies that `to_config` described, by name."""
    return {n: _from_config(config[n]) for n in NAMES if n in config}


def has_file(vocabulary: Any) -> bool:
    """Whether a model folder holds it as JSON, as it does vocabularies of ours.

    Another tokenizer is in the configuration of the model alone.
    """
    return hasattr(vocabulary, "to_dict") and not _has_config(vocabulary)


def deepcopy_of(model: Any) -> Any:
    """Returns a copy of a model that shares its vocabularies.

    Keras copies a model through its config. A tokenizer need not have one,
    and nothing changes it.
    """
    with _left_out_of_configs():
        make, arguments = model.__reduce__()
    copy = make(*arguments)
    copy.set_vocabularies(**of(model))
    return copy


@contextlib.contextmanager
def _left_out_of_configs():
    """Makes `to_config` return nothing, in this thread."""
    token = _are_left_out.set(True)
    try:
        yield
    finally:
        _are_left_out.reset(token)


def _has_config(vocabulary):
    return hasattr(vocabulary, "get_config")


def _to_config(name, vocabulary):
    if vocabulary is None:
        return None
    check_can_be_saved(name, vocabulary)
    if _has_config(vocabulary):
        return keras.saving.serialize_keras_object(vocabulary)
    return vocabulary.to_dict()


def _from_config(config):
    if config is None:
        return None
    if "class_name" in config:
        return keras.saving.deserialize_keras_object(config)
    # Here and not above: models run without TensorFlow, text does not.
    from keras_attention.text import vocabulary_from_dict

    return vocabulary_from_dict(config)
