"""A training that tests start in processes of their own.

    python program_of_replicas.py FOLDER PLACE OUTPUT [ARGUMENTS]

trains in FOLDER on "one" device, on two "mirrored" ones, or as a "worker" of
those that TF_CONFIG names, and writes what came of it to OUTPUT. ARGUMENTS is
a dict for JSON of further arguments of `train`, and "dies_at": the step at
which a worker that is not the chief is killed.
"""

import json
import os
import sys

import keras
import numpy as np
import tensorflow as tf

from keras_attention import training

WORDS = [a + b + c for a in "abcd" for b in "abcd" for c in ("", "a", "dbb")]
PAIRS = [(word, " ".join(word.upper())) for word in WORDS]
ARGUMENTS = {
    "kind": "cnn-rnn",
    "cell": "gru",
    "units": 5,
    "dropout": 0.0,
    "target_unit": "symbols",
    "validation_pairs": PAIRS[::7],
    "batch_size": 12,
    "epochs": 2,
    "learning_rate": 0.03,
    "clip_norm": 0.2,  # lower than the norms that come
    "alignment_loss": None,
    "average": 2,
    "checkpoint_every": 1,
    "verbose": 0,
}


class Die(keras.callbacks.Callback):
    """Ends the process as a lost machine does."""

    def __init__(self, step):
        super().__init__()
        self.steps_left = step

    def on_train_batch_end(self, batch, logs=None):
        self.steps_left -= 1
        if not self.steps_left:
            os._exit(9)


def strategy_of(place):
    if place == "worker":
        return "multi_worker"
    if place == "one":
        return None
    (processor,) = tf.config.list_physical_devices("CPU")
    halves = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(processor, halves)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def train_at(folder, place, arguments):
    """Returns the logs of the epoch that was saved, and the weights."""
    arguments = {**ARGUMENTS, **arguments}
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {})
    dies_at = arguments.pop("dies_at", None)
    if dies_at and task.get("index"):
        arguments["callbacks"] = [Die(dies_at)]
    model, card = training.train(
        PAIRS, folder, strategy=strategy_of(place), **arguments
    )
    return card["metrics"], model.get_weights()


if __name__ == "__main__":
    folder, place, output, *more = sys.argv[1:]
    metrics, weights = train_at(folder, place, *map(json.loads, more or ["{}"]))
    np.savez(output, *weights, metrics=json.dumps(metrics))
