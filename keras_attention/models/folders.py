"""A trained model in a folder: model, vocabularies and card.

folder/model.keras               weights and configuration
folder/source_vocabulary.json    where the model has one
folder/target_vocabulary.json
folder/card.json                 what it is, made from what, how good
"""

import contextlib
import json
import os
import pathlib
import shutil
import tempfile

import keras

from keras_attention import validation

MODEL, CARD = "model.keras", "card.json"
VOCABULARIES = ("source_vocabulary", "target_vocabulary")


def save_folder(model, folder, card, overwrite):
    """See `Seq2Seq.save_folder`."""
    with new_folder(folder, (MODEL, CARD), overwrite) as beside:
        # A copy was never compiled: it is saved without the state of the
        # optimizer, which is twice as large as the weights.
        copy = model.from_config(model.get_config())
        copy.set_weights(model.get_weights())
        copy.save(beside / MODEL)
        for name in VOCABULARIES:
            vocabulary = getattr(model, name)
            if vocabulary is not None:
                vocabulary.save(beside / f"{name}.json")
        text = json.dumps(card, indent=2, ensure_ascii=False)
        (beside / CARD).write_text(text + "\n", encoding="utf-8")


@contextlib.contextmanager
def new_folder(folder, proof, overwrite):
    """Yields a folder beside `folder` to write in, then puts it in its place.

    Whatever fails on the way, at `folder` is what was there before.

    Args:
        folder: path of the folder to make.
        proof: names of files; a folder with all of them may be replaced.
        overwrite: whether to replace one.

    Raises:
        ValueError: if `folder` may not be written.
    """
    folder = pathlib.Path(folder)
    check_free(folder, overwrite, proof)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = pathlib.Path(
        tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent)
    )
    try:
        yield beside
        os.chmod(beside, 0o755)  # mkdtemp makes it private
        _put(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _put(new, folder):
    """Renames `new` to `folder`; what was there goes last, or comes back."""
    old = new.with_name(f"{new.name}-old")
    if folder.exists():
        folder.rename(old)
    try:
        new.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def check_free(folder, overwrite, proof=(MODEL, CARD)):
    """Raises a ValueError unless a folder may be written at `folder`.

    What lacks a file of `proof` is never replaced.
    """
    folder = pathlib.Path(folder)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not overwrite:
        raise validation.invalid(
            "folder",
            "a path where nothing is yet",
            repr(str(folder)),
            "Choose another path, or set overwrite=True (--overwrite).",
        )
    if not all((folder / name).is_file() for name in proof):
        raise validation.invalid(
            "folder",
            f"a folder with {' and '.join(proof)}, where one is to be replaced",
            repr(str(folder)),
            "Nothing else is ever replaced.",
        )


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
