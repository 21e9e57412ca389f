"""What a training on several devices shares: sums, and bits of chance.

Under a `tf.distribute` strategy each replica sees a part of the batch. What is
a mean over the whole batch needs sums over all parts; random bits must differ
from part to part. Elsewhere there is one replica, and nothing to do.
"""

import sys
from typing import Any

from keras import backend
from keras import ops


def num_replicas() -> int:
    """Returns how many replicas of this model train together.

    Example:

    >>> from keras_attention.functional import replicas
    >>> replicas.num_replicas()
    1
    """
    strategy = _strategy()
    return 1 if strategy is None else strategy.num_replicas_in_sync


def num_workers(strategy: Any) -> int:
    """Returns how many processes train together under a strategy.

    Args:
        strategy: a `tf.distribute.Strategy`.
    """
    resolver = strategy.cluster_resolver
    if resolver is None or resolver.task_type is None:
        return 1
    cluster = resolver.cluster_spec()
    # Others, such as an evaluator, have no part in it.
    jobs = {"chief", "worker"} & set(cluster.jobs)
    return sum(cluster.num_tasks(job) for job in jobs)


def sum_over_replicas(tensors: Any) -> Any:
    """Returns the sum of each tensor over all replicas, the same for each.

    Every replica must call it, in the same order.

    Args:
        tensors: a tensor, or a list of them.

    Example:

    >>> from keras_attention.functional import replicas
    >>> replicas.sum_over_replicas(3.0)
    3.0
    """
    context = _context()
    if context is None:
        return tensors
    return context.all_reduce("SUM", tensors)


def share_of_replica(weights: Any) -> Any:
    """Returns n w / W: weights w here, W on all of the n replicas.

    A mean with these weights over what one replica sees, times this, is its
    part of the mean over the whole batch: the mean over the replicas of such
    parts, which is what Keras makes of a loss, is that mean. So a replica
    whose rows are mostly padding counts for less.

    Args:
        weights: float tensor of any shape.

    Returns:
        Scalar; 1.0 where there is one replica, 0 where all weights are 0.
    """
    if _context() is None:
        return 1.0
    here = ops.sum(weights)
    return num_replicas() * ops.divide_no_nan(here, sum_over_replicas(here))


def rows_of_replica(batch: Any) -> Any:
    """Returns the numbers that the rows here have in the batch of all.

    As `make_dataset(num_parts=)` deals them out: every n-th of n replicas.

    Args:
        batch: the number of rows here.

    Returns:
        int32 tensor (batch,).
    """
    rows = ops.arange(batch, dtype="int32")
    context = _context()
    if context is None:
        return rows
    first = ops.cast(context.replica_id_in_sync_group, "int32")
    return rows * num_replicas() + first


def seed_of_replica(seed: Any) -> Any:
    """Returns a seed that differs from replica to replica.

    Keras gives each of them the same, with which each would drop the same.

    Args:
        seed: integer tensor (words,).

    Returns:
        The seed, or where there are several replicas (words + 1,).
    """
    context = _context()
    if context is None:
        return seed
    number = ops.cast(context.replica_id_in_sync_group, seed.dtype)
    return ops.concatenate([seed, ops.reshape(number, (1,))])


def _strategy():
    # A process that has not imported TensorFlow has no strategy.
    tensorflow = sys.modules.get("tensorflow")
    if backend.backend() != "tensorflow" or tensorflow is None:
        return None
    return tensorflow.distribute.get_strategy()


def _context():
    """The context of the replica that is traced; None if it is alone."""
    if num_replicas() == 1:
        return None
    return sys.modules["tensorflow"].distribute.get_replica_context()
