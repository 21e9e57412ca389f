"""A trained model in a folder: model, vocabularies and card.

folder/model.keras               weights and configuration
folder/source_vocabulary.json    where the model has one
folder/target_vocabulary.json
folder/card.json                 what it is, made from what, how good
"""

import json
import pathlib

import keras

from keras_attention import files
from keras_attention import validation

MODEL, CARD = "model.keras", "card.json"
VOCABULARIES = ("source_vocabulary", "target_vocabulary")
# Only a folder that holds these is ever replaced.
MARKER_FILES = (MODEL, CARD)


def save_folder(model, folder, card, overwrite):
    """See `Seq2Seq.save_folder`."""
    with files.whole_folder(folder, MARKER_FILES, overwrite) as new:
        # A copy was never compiled: it is saved without the state of the
        # optimizer, which is twice as large as the weights.
        copy = model.from_config(model.get_config())
        copy.set_weights(model.get_weights())
        copy.save(new / MODEL)
        for name in VOCABULARIES:
            vocabulary = getattr(model, name)
            if vocabulary is not None:
                vocabulary.save(new / f"{name}.json")
        text = json.dumps(card, indent=2, ensure_ascii=False)
        (new / CARD).write_text(text + "\n", encoding="utf-8")


def load(folder):
    """Loads a model that `save_folder` wrote, with its vocabularies.

    Args:
        folder: path of the folder.

    Returns:
        A `Seq2Seq`.

    Raises:
        ValueError: if the folder does not hold a model.

    Example:

    >>> import tempfile
    >>> import keras_attention as ka
    >>> model = ka.build_seq2seq("luong", 11, 13, units=5)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     model.save_folder(f"{parent}/model")
    ...     ka.load(f"{parent}/model").max_length
    128
    """
    folder = pathlib.Path(folder)
    files.recover(folder)
    if not (folder / MODEL).is_file():
        raise validation.invalid(
            "folder", f"a folder that holds {MODEL}", repr(str(folder))
        )
    model = keras.saving.load_model(folder / MODEL)
    if not hasattr(model, "set_vocabularies"):
        raise validation.invalid(
            "folder",
            "the folder of a Seq2Seq",
            f"{str(folder)!r}, which holds a {type(model).__name__}",
        )
    vocabularies = []
    for name in VOCABULARIES:
        path = folder / f"{name}.json"
        vocabularies.append(_load_vocabulary(path) if path.exists() else None)
    model.set_vocabularies(*vocabularies)
    return model


def read_card(folder):
    """Returns the card of a model folder as a dict; empty if it has none."""
    path = pathlib.Path(folder) / CARD
    if not path.is_file():
        return {}
    return json.loads(path.read_text(encoding="utf-8"))


def _load_vocabulary(path):
    # Here and not above: models run without TensorFlow, text does not.
    from keras_attention.text import Vocabulary

    return Vocabulary.load(path)
