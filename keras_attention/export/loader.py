"""Asks a SavedModel in a process that has TensorFlow and nothing else.

    python loader.py FOLDER < requests.json > answers.json

The requests are a list of {"signature": name, "inputs": {name: value}}, the
answers a list of {name: value}. Neither keras nor keras_attention can be
imported in that process, so this file imports nothing of the package.
"""

import json
import sys
from typing import Any


def main(folder: str) -> None:
    requests = json.load(sys.stdin)
    for name in ("keras", "keras_attention"):
        sys.modules[name] = None  # from here on its import fails
    import tensorflow as tf

    loaded = tf.saved_model.load(folder)
    answers = [ask(tf, loaded, **request) for request in requests]
    json.dump(answers, sys.stdout)


def ask(
    tf: Any, loaded: Any, signature: str, inputs: dict[str, Any]
) -> dict[str, Any]:
    """Returns the answer of one signature as nested lists."""
    function = loaded.signatures[signature]
    _, specs = function.structured_input_signature
    tensors = {}
    for name, value in inputs.items():
        shape = _shape(value, specs[name].shape)
        tensor = tf.constant(_encoded(value), specs[name].dtype)
        tensors[name] = tf.reshape(tensor, shape)
    outputs = function(**tensors)
    return {name: _plain(tensor.numpy()) for name, tensor in outputs.items()}


def _shape(value, shape):
    """The shape of a nested list, of an empty one too."""
    sizes = []
    for size in shape.as_list():
        sizes.append(len(value) if isinstance(value, list) else size or 0)
        value = value[0] if isinstance(value, list) and value else None
    return sizes


def _encoded(value):
    """Strings as UTF-8; a lone surrogate becomes broken UTF-8."""
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, str):
        return value.encode("utf-8", errors="surrogatepass")
    return value


def _plain(array):
    if array.dtype.kind != "O":
        return array.tolist()
    return _decoded(array.tolist())


def _decoded(value):
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value.decode("utf-8")


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this file: its modules are not for here
    main(sys.argv[1])
