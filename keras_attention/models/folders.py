"""A trained model in a folder: model, vocabularies and card.

folder/model.keras               weights and configuration
folder/source_vocabulary.json    where the model has one
folder/target_vocabulary.json
folder/vocabulary.json           of a language model
folder/card.json                 what it is, made from what, how good; under
                                 "sha256" the digests of the files above,
                                 under "format" that of the folder
folder/history.jsonl             what `train` measured, epoch by epoch
folder/training.toml             what it was called with, if it was told

A folder may come from anybody: `load` looks at each file before Keras does.
"""

import contextlib
import json
import pathlib
from typing import Any

import keras

from keras_attention import files
from keras_attention import validation
from keras_attention.models import forking
from keras_attention.models import formats
from keras_attention.models import strict_json
from keras_attention.models import vocabularies
from keras_attention.models.digests import check_digest
from keras_attention.models.digests import digest_of
from keras_attention.models.finite import check_finite
from keras_attention.models.model_file import check_model_file
from keras_attention.models.tracing import parts_of

MODEL, CARD = "model.keras", "card.json"
HISTORY, CONFIGURATION = "history.jsonl", "training.toml"
# Only a folder that holds these is ever replaced,
MARKER_FILES = (MODEL, CARD)
# and nothing else but these.
OTHER_FILES = (
    *(f"{name}.json" for name in vocabularies.NAMES),
    HISTORY,
    CONFIGURATION,
)
# The card holds the digests of these files under this key.
DIGESTED_FILES = (MODEL, *(f"{name}.json" for name in vocabularies.NAMES))
DIGESTS = "sha256"
QUANTIZED = keras.dtype_policies.QuantizedDTypePolicy
# Errors of Keras show whole configurations.
MESSAGE_LENGTH = 1000


def save_folder(
    model: Any,
    folder: Any,
    card: dict,
    overwrite: bool,
    texts: dict[str, str] | None = None,
) -> None:
    """See `Seq2Seq.save_folder`; `texts` are further files, by their names."""
    _check_not_quantized(model)
    check_finite(model, "saved")
    card = _checked_card(card)
    with files.replace_folder(
        folder, MARKER_FILES, overwrite, OTHER_FILES
    ) as new:
        copy_of_weights(model, new).save(new / MODEL)
        for name, vocabulary in vocabularies.of(model).items():
            if vocabularies.has_file(vocabulary):
                vocabulary.save(new / f"{name}.json")
        digests = {name: digest_of(new / name) for name in DIGESTED_FILES}
        digests = {name: digest for name, digest in digests.items() if digest}
        card = {**card, formats.KEY: formats.FORMAT, DIGESTS: digests}
        text = json.dumps(card, indent=2, ensure_ascii=False)
        (new / CARD).write_text(text + "\n", encoding="utf-8")
        for name, text in (texts or {}).items():
            (new / name).write_text(text, encoding="utf-8")


def check_free(folder: Any, overwrite: bool) -> None:
    """Checks that `save_folder` may write, and raises a ValueError if not."""
    files.check_free(folder, overwrite, MARKER_FILES, OTHER_FILES)


def _check_not_quantized(model):
    if any(isinstance(part, QUANTIZED) for part in parts_of(model)):
        raise validation.invalid(
            "model",
            "a model of float weights to be saved, since its parts are made "
            "anew from their configurations, which know nothing of quantize",
            "one after quantize",
            "Save it before, and quantize what load returns; or export it "
            "with weights='int8'.",
        )


def copy_of_weights(model: Any, folder: pathlib.Path) -> Any:
    """Returns a copy that was never compiled, and has no LoRA.

    The state of an optimizer is twice as large as the weights. The weights
    go through a file, since that adds those of LoRA to their kernels.

    Args:
        model: a `Seq2Seq` or a `LanguageModel`.
        folder: path of an existing folder for that file.
    """
    copy = model.from_config(model.get_config())
    path = folder / "copied.weights.h5"
    model.save_weights(path)
    try:
        copy.load_weights(path)
    except ValueError:  # a config alone does not tell what layers share
        path = path.replace(folder / "copied.keras")
        model.save(path)
        copy = keras.saving.load_model(path, compile=False)
    path.unlink()
    return copy


def load(folder: Any, custom_objects: dict | None = None) -> Any:
    """Loads a model that `save_folder` wrote, with its vocabularies.

    The folder need not be trusted. Before anything is built, each file is
    checked: that it is one of those that were saved together, that it does
    not unpack to far more than it is, that the configuration names known
    classes alone, and that the weights are all in it. Known are the classes
    of this package, those that are registered with Keras in this process,
    those in `custom_objects`, and those of Keras that read no file and hold
    no code.

    Args:
        folder: path of the folder.
        custom_objects: dict from names to other classes and functions that
            the model may hold, as in `keras.saving.load_model`.

    Returns:
        A `Seq2Seq` or a `LanguageModel`.

    Raises:
        ValueError: if the folder does not hold a model, or one of its files
            is damaged, of another model, or might do harm.

    Example:

    >>> import tempfile
    >>> import keras_attention as ka
    >>> model = ka.build_seq2seq("luong", 11, 13, units=5)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     model.save_folder(f"{parent}/model")
    ...     ka.load(f"{parent}/model").max_length
    128
    """
    forking.check_tensorflow()
    folder = pathlib.Path(folder)
    files.recover(folder)
    if not (folder / MODEL).is_file():
        raise validation.invalid(
            "folder", f"a folder that holds {MODEL}", repr(str(folder))
        )
    written = _check_files(folder)
    with (
        _loading(folder / MODEL),
        formats.translated(folder / MODEL, written) as path,
    ):
        config = check_model_file(path, custom_objects)
        model = keras.saving.load_model(path, custom_objects)
    if not hasattr(model, "set_vocabularies"):
        raise validation.invalid(
            "folder",
            "the folder of a Seq2Seq or a LanguageModel",
            f"{str(folder)!r}, which holds a {type(model).__name__}",
        )
    _attach_vocabularies(model, folder, config)
    return model


def read_card(folder: Any) -> dict[str, Any]:
    """Returns the card of a model folder as a dict; empty if it has none.

    It is what `save_folder` was given; digests and format are left out.

    Args:
        folder: path of the folder.

    Raises:
        ValueError: if the file is not a JSON object.
    """
    path = pathlib.Path(folder) / CARD
    if not path.is_file():
        return {}
    with _loading(path):
        card = strict_json.read_object(path)
    card.pop(DIGESTS, None)
    if type(card.get(formats.KEY)) is int:
        del card[formats.KEY]
    return card


@contextlib.contextmanager
def _loading(path):
    """Makes one kind of error of all that a foreign file can cause."""
    try:
        yield
    except Exception as error:
        fault = _printable(str(error) or type(error).__name__)
        raise ValueError(
            f"The file {str(path)!r} cannot be loaded: {fault}"
        ) from error


def _printable(text):
    """Returns the text without its middle, and safe for a terminal."""
    if len(text) > MESSAGE_LENGTH:
        half = MESSAGE_LENGTH // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return "".join(
        character if character.isprintable() or character == "\n" else "?"
        for character in text
    )


def _checked_card(card):
    for key, kept in (
        (DIGESTS, "the digests of the files are"),
        (formats.KEY, "the format of the folder is"),
    ):
        if key in card:
            raise validation.invalid(
                "card",
                f"a dict without the key {key!r}, where {kept} kept",
                f"one with {key!r}",
                "`read_card` leaves it out.",
            )
    return strict_json.as_writable("card", card)


def _check_files(folder):
    """Checks that all files are regular, and were saved together.

    Returns:
        The format of the folder, see `formats`.
    """
    for name in (*DIGESTED_FILES, CARD):
        path = folder / name
        if path.exists() and not path.is_file():
            raise ValueError(
                f"The file {str(path)!r} cannot be loaded: it is not a "
                "regular file"
            )
    path = folder / CARD
    if not path.is_file():
        return 0
    with _loading(path):
        card = strict_json.read_object(path, allow_nan=True)
        written = formats.format_of(card)
        # Without digests, as the cards of version 0.1, nothing is compared.
        digests = card.get(DIGESTS)
        if not isinstance(digests, dict | None):
            raise ValueError(f"{DIGESTS!r} is not an object")
    for name in DIGESTED_FILES if digests is not None else ():
        with _loading(folder / name):
            check_digest(folder / name, digests.get(name))
    return written


def _attach_vocabularies(model, folder, config):
    """Sets the vocabularies from their files, and else from `config`."""
    found = vocabularies.of(model)
    for name in found:
        path = folder / f"{name}.json"
        if path.is_file():
            with _loading(path):
                configured = config["config"].get(name)
                found[name] = _read_vocabulary(path, configured)
    with _loading(folder):
        model.set_vocabularies(**found)


def _read_vocabulary(path, configured):
    # Here and not above: models run without TensorFlow, text does not.
    from keras_attention.text import vocabulary_from_dict

    data = strict_json.read_object(path)
    if configured not in (None, data):
        raise ValueError(f"it is not the vocabulary that {MODEL} holds")
    return vocabulary_from_dict(data)
