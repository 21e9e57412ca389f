"""Losses on two devices, each of which has half of the rows.

    python program_of_losses.py OUTPUT

writes what each makes of the halves, summed as `fit` sums, what it makes of
all rows, and two seeds that the devices draw with.
"""

import json
import sys

import numpy as np
import program_of_replicas
import tensorflow as tf

from keras_attention import training
from keras_attention.functional.replicas import seed_of_replica

ROWS, TARGET, SOURCE, IDS = 6, 5, 7, 11
# Uneven: the first device has seven real tokens, the other two.
LENGTHS = (4, 2, 1, 1, 1, 0)
LOSSES = {
    "MaskedCrossentropy": training.MaskedCrossentropy(0.1),
    "SequenceLoss": training.SequenceLoss(),
    "SequenceLoss, by time": training.SequenceLoss(
        sum_over_timesteps=False, sum_over_batch=True
    ),
    "SequenceLoss, by row": training.SequenceLoss(
        sum_over_timesteps=True, sum_over_batch=False
    ),
}
ALIGNMENT_LOSSES = {
    "DiagonalAlignmentLoss": training.DiagonalAlignmentLoss(),
    "CoverageLoss": training.CoverageLoss(),
}


def rows():
    generator = np.random.default_rng(3)
    real = np.arange(TARGET) < np.array(LENGTHS)[:, None]  # (B, T)
    labels = generator.integers(1, IDS, (ROWS, TARGET)) * real
    logits = generator.normal(size=(ROWS, TARGET, IDS)).astype("float32")
    weights = generator.random((ROWS, TARGET, SOURCE)).astype("float32")
    return labels.astype("int32"), logits, weights


def losses_of(labels, logits, weights, num_replicas):
    """The sums of what `fit` takes the gradients of."""
    found = {
        name: tf.reduce_sum(loss(labels, logits))
        for name, loss in LOSSES.items()
    }
    real = labels != 0
    is_source = tf.ones((tf.shape(labels)[0], SOURCE), bool)
    for name, loss in ALIGNMENT_LOSSES.items():
        found[name] = loss(weights, real, is_source) / num_replicas
    return found


def main(output):
    strategy = program_of_replicas.strategy_of("mirrored")
    data = rows()

    def part(number, count):
        share = [x[number * (ROWS // count) :][: ROWS // count] for x in data]
        return [tf.constant(x) for x in share]

    halves = strategy.experimental_distribute_values_from_function(
        lambda context: part(context.replica_id_in_sync_group, 2)
    )

    @tf.function
    def run(inputs):
        seed = seed_of_replica(tf.constant([3, 5], tf.uint32))
        return losses_of(*inputs, 2), seed

    losses, seeds = strategy.run(run, args=(halves,))
    found = {
        "halves": {
            name: float(sum(strategy.experimental_local_results(value)))
            for name, value in losses.items()
        },
        "whole": {
            name: float(value)
            for name, value in losses_of(*part(0, 1), 1).items()
        },
        "seeds": [
            seed.numpy().tolist()
            for seed in strategy.experimental_local_results(seeds)
        ],
    }
    with open(output, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
