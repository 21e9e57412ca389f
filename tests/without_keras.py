"""A process that has TensorFlow and neither Keras nor this package.

It answers for all the exported models that a test process asks about, so that
TensorFlow is imported once for all of them.
"""

import functools
import json
import subprocess
import sys

from keras_attention.export import loader

PROGRAM = """
import json, runpy, sys, traceback
sys.modules["keras"] = sys.modules["keras_attention"] = None
import tensorflow as tf
ask = runpy.run_path(sys.argv[1])["ask"]
for line in sys.stdin:
    task = json.loads(line)
    told = {}
    try:
        loaded = tf.saved_model.load(task["folder"])
        told["answers"] = [ask(tf, loaded, **r) for r in task["requests"]]
    except Exception:
        told["error"] = traceback.format_exc()
    told["hidden"] = not any(n.startswith("keras.") for n in sys.modules)
    print(json.dumps(told), flush=True)
"""


@functools.cache
def process():
    """The process, which ends when its input does."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, loader.__file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def ask_without_keras(folder, requests):
    """Returns what a SavedModel answers, as `export.ask_in_fresh_process`.

    Args:
        folder: path of the SavedModel.
        requests: list of {"signature": name, "inputs": {name: lists}}.
    """
    task = {"folder": str(folder), "requests": requests}
    process().stdin.write(json.dumps(task) + "\n")
    process().stdin.flush()
    told = json.loads(process().stdout.readline() or '{"error": "It ended."}')
    assert "error" not in told, told["error"]
    assert told["hidden"]
    return told["answers"]
