"""Vocabularies of a model: which ones fit, and how they travel in a config."""

import contextlib
import contextvars

import keras

from keras_attention import validation

NAMES = ("source_vocabulary", "target_vocabulary")

_are_left_out = contextvars.ContextVar("_are_left_out", default=False)


def check(name, vocabulary, part):
    """Raises a ValueError unless `vocabulary` is None or fits its part.

    Args:
        name: "source_vocabulary" or "target_vocabulary".
        vocabulary: a `text.Vocabulary`, another tokenizer, or None.
        part: the encoder or decoder that reads or writes its ids.
    """
    if vocabulary is None:
        return
    if not hasattr(vocabulary, "token_strings"):
        raise validation.invalid(
            name, "a text.Vocabulary or None", repr(vocabulary)
        )
    if len(vocabulary) != part.vocabulary_size:
        raise ValueError(
            f"`{name}` must have {part.vocabulary_size} entries, as "
            f"the {part.name} was built with. Received: "
            f"len({name})={len(vocabulary)}. Is it the vocabulary of "
            "another model?"
        )


def to_config(model):
    """Returns the vocabularies of a model by name, each as a plain dict.

    Raises:
        ValueError: if a tokenizer has no config.
    """
    if _are_left_out.get():
        return {}
    return {name: _to_config(name, getattr(model, name)) for name in NAMES}


def from_config(config):
    """Returns the vocabularies that `to_config` described, by name."""
    return {name: _from_config(config.get(name)) for name in NAMES}


@contextlib.contextmanager
def left_out_of_configs():
    """Makes `to_config` return nothing, in this thread."""
    token = _are_left_out.set(True)
    try:
        yield
    finally:
        _are_left_out.reset(token)


def _to_config(name, vocabulary):
    if vocabulary is None:
        return None
    if hasattr(vocabulary, "get_config"):
        return keras.saving.serialize_keras_object(vocabulary)
    if hasattr(vocabulary, "to_dict"):
        return vocabulary.to_dict()
    raise validation.invalid(
        name,
        "a text.Vocabulary or a tokenizer with `get_config` where the model "
        "is saved, pickled or cloned",
        repr(vocabulary),
        "Register the class with keras.saving.register_keras_serializable, "
        "or detach the vocabularies with set_vocabularies(None, None).",
    )


def _from_config(config):
    if config is None:
        return None
    if "class_name" in config:
        return keras.saving.deserialize_keras_object(config)
    # Here and not above: models run without TensorFlow, text does not.
    from keras_attention.text import Vocabulary

    return Vocabulary.from_dict(config)
