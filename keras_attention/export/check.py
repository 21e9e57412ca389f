"""Asks an exported model something, as a client without Python code would."""

import json
import os
import pathlib
import subprocess
import sys
from collections.abc import Sequence

from keras_attention import validation
from keras_attention.export import loader

SAVED_MODEL = "saved_model.pb"


def check_saved_model(
    folder: str | pathlib.Path,
    texts: Sequence[str] = ("a",),
    signature: str = "serving_default",
) -> dict[str, list]:
    """Loads a SavedModel in a fresh process and lets it answer.

    The process has TensorFlow, but neither Keras nor this package: what
    answers is what the folder holds.

    Args:
        folder: path of the SavedModel.
        texts: list of strings to answer.
        signature: name of a signature that takes `text` alone.

    Returns:
        The outputs of the signature, a dict of nested lists: for
        `serving_default` `text` and `score`, one of each per text.

    Raises:
        ValueError: if `folder` does not hold a SavedModel, or `texts` is one
            string.
        RuntimeError: if it cannot be loaded or does not answer; the message
            ends with what the process said.
    """
    if isinstance(texts, (str, bytes)):
        raise validation.invalid("texts", "a list of strings", repr(texts)[:80])
    folder = pathlib.Path(folder)
    if not (folder / SAVED_MODEL).is_file():
        raise validation.invalid(
            "folder", f"a folder that holds {SAVED_MODEL}", repr(str(folder))
        )
    request = {"signature": signature, "inputs": {"text": list(texts)}}
    return ask_in_fresh_process(folder, [request])[0]


def ask_in_fresh_process(
    folder: str | pathlib.Path, requests: list[dict]
) -> list[dict[str, list]]:
    """Returns the answers of a SavedModel to many requests.

    Args:
        folder: path of the SavedModel.
        requests: list of {"signature": name, "inputs": {name: lists}}.

    Returns:
        List of {name: nested lists}, in the same order.

    Raises:
        RuntimeError: if the process fails.
    """
    done = subprocess.run(
        [sys.executable, loader.__file__, str(folder)],
        input=json.dumps(requests),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(
            f"The SavedModel {str(folder)!r} does not answer in a process "
            f"without Keras. It said:\n{done.stderr[-2000:]}"
        )
    return json.loads(done.stdout)
