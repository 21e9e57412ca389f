"""Where a training runs: on one device, on several, on several machines.

`tf.distribute` is the engine of Keras 3 on TensorFlow. Each device holds a
replica of the model and sees a part of each batch; the gradients are summed.
Machines are workers, each a process of its own that TF_CONFIG tells who the
others are. One of them is the chief, which alone writes.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_attention import validation
from keras_attention.choices import STRATEGIES
from keras_attention.functional.replicas import num_workers
from keras_attention.training.callbacks import TimeBudget
from keras_attention.training.pipeline import shapes_of_part
from keras_attention.training.timed_rate import TimedRate


@dataclasses.dataclass(frozen=True)
class Distribution:
    """A strategy, and what a training asks of it.

    Args:
        strategy: a `tf.distribute.Strategy`, that of one device included.

    Example:

    >>> from keras_attention.training.distribution import distribution_of
    >>> distribution = distribution_of(None)
    >>> distribution.num_replicas, distribution.is_chief
    (1, True)
    """

    strategy: tf.distribute.Strategy

    @property
    def num_replicas(self) -> int:
        """Replicas on all machines together."""
        return self.strategy.num_replicas_in_sync

    @property
    def num_workers(self) -> int:
        """Processes that train together."""
        return num_workers(self.strategy)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes."""
        if self.num_workers == 1:
            return True
        resolver = self.strategy.cluster_resolver
        if "chief" in resolver.cluster_spec().jobs:
            return resolver.task_type == "chief"
        return resolver.task_id == 0

    @property
    def _num_local(self):
        return self.num_replicas // self.num_workers

    def scope(self) -> contextlib.AbstractContextManager:
        """Within it, variables are made for all replicas."""
        if self.strategy is tf.distribute.get_strategy():
            return contextlib.nullcontext()
        return self.strategy.scope()

    def dataset(self, make: Callable) -> Any:
        """Returns the batches of this process, each replica its part.

        Args:
            make: function of `num_parts` and `parts`, as `make_dataset` has
                them, that returns a `tf.data.Dataset`.
        """
        if self.num_replicas == 1:
            return make(num_parts=1, parts=None)

        def of_worker(context):
            first = context.input_pipeline_id * self._num_local
            parts = range(first, first + self._num_local)
            return make(num_parts=self.num_replicas, parts=parts)

        return self.strategy.distribute_datasets_from_function(of_worker)

    def shapes(self, shapes: Sequence[tuple]) -> tuple:
        """Returns the shapes that a replica sees of batches of these."""
        return shapes_of_part(shapes, self.num_replicas)

    def of_chief(self, values: Sequence[float]) -> list[float]:
        """Returns the numbers that the chief has, in every process.

        Every process must call it, with as many numbers; it waits for all.
        """
        values = [float(value) for value in values]
        if self.num_workers == 1:
            return values
        return self._sum(values if self.is_chief else [0.0] * len(values))

    def check_alike(self, facts: dict) -> None:
        """Checks that every process has the same facts; it waits for all.

        Args:
            facts: dict for JSON.

        Raises:
            ValueError: in every process, if one differs from the chief.
        """
        if self.num_workers == 1:
            return
        text = json.dumps(facts, sort_keys=True, default=repr)
        digest = hashlib.sha256(text.encode()).hexdigest()
        number = float(int(digest[:12], 16))  # 48 bits, which float64 holds
        (of_chief,) = self.of_chief([number])
        (differing,) = self._sum([float(number != of_chief)])
        if differing:
            raise ValueError(
                "Every worker must have the same pairs, in the same order, and "
                "the same settings as the chief. Received: other ones on "
                f"{differing:.0f} of {self.num_workers} workers, this one "
                f"{'not ' * (number == of_chief)}among them."
            )

    def _sum(self, values):
        """Returns the sums of numbers of all processes."""
        shares = tf.constant(values, tf.float64) / self._num_local
        per_replica = self.strategy.run(tf.identity, args=(shares,))
        return self.strategy.reduce("SUM", per_replica, None).numpy().tolist()

    def wait_for_all(self) -> None:
        """Returns when every process has come here."""
        self.of_chief([0.0])

    def check(self, settings: Any) -> None:
        """Checks that a training can run here as its settings ask.

        Args:
            settings: a `TrainingSettings`.

        Raises:
            ValueError: if it cannot.
        """
        if settings.jit_compile is True and self.num_replicas > 1:
            raise validation.invalid(
                "jit_compile",
                "'auto' or False where several replicas train together, whose "
                "sums XLA has no operations for",
                True,
            )
        if settings.max_minutes is not None and self.num_workers > 1:
            raise validation.invalid(
                "max_minutes",
                "None with several workers, whose clocks differ",
                settings.max_minutes,
                "Give `epochs` or `patience`.",
            )
        by_clock = (TimeBudget, TimedRate)
        clocks = [c for c in settings.callbacks if isinstance(c, by_clock)]
        if clocks and self.num_workers > 1:
            raise validation.invalid(
                "callbacks",
                "without one that looks at the clock with several workers, "
                "whose clocks differ",
                type(clocks[0]).__name__,
            )
        size, given = settings.batch_size, settings.batch_tokens
        if given is None and size % self.num_replicas:
            raise validation.invalid(
                "batch_size",
                f"a multiple of the {self.num_replicas} replicas, for it is "
                "the batch of all together",
                size,
            )


class LogsOfChief(keras.callbacks.Callback):
    """Gives every worker the results of the chief, at the end of each epoch.

    What ends a training or chooses an epoch is then decided alike everywhere,
    even where machines round differently. It stands after what measures.

    Args:
        distribution: a `Distribution`.
    """

    def __init__(self, distribution: Distribution):
        super().__init__()
        self.distribution = distribution

    def on_epoch_end(
        self, epoch: int, logs: dict[str, Any] | None = None
    ) -> None:
        names = sorted(logs)
        found = self.distribution.of_chief([logs[name] for name in names])
        logs.update(zip(names, found, strict=True))


@dataclasses.dataclass
class Course:
    """What the chief tells the others before a training begins."""

    is_finished: bool = False  # nothing is left to train


@contextlib.contextmanager
def telling_the_others(distribution: Distribution) -> Iterator[Course]:
    """Within it the chief finds out what to do; then the others know, too."""
    course = Course()
    try:
        yield course
    except BaseException:
        distribution.of_chief([math.nan])
        raise
    distribution.of_chief([course.is_finished])


def told_by_the_chief(distribution: Distribution) -> Course:
    """Waits for what the chief found out.

    Raises:
        ValueError: if it refuses to train.
    """
    (is_finished,) = distribution.of_chief([0.0])
    if math.isnan(is_finished):
        raise ValueError(
            "The chief, worker 0, refuses to train: its own error says why."
        )
    return Course(bool(is_finished))


def distribution_of(strategy: Any) -> Distribution:
    """Returns where a training runs.

    Args:
        strategy: "mirrored", all GPUs of this machine; "multi_worker", the
            machines that the environment variable TF_CONFIG names; a
            `tf.distribute.Strategy`; or None, that of the scope this is
            called in, by default one device.

    Raises:
        ValueError: if it is none of these; where TF_CONFIG is missing; where
            TensorFlow has run already, before "multi_worker".
    """
    if strategy == "mirrored":
        strategy = tf.distribute.MirroredStrategy()
    elif strategy == "multi_worker":
        strategy = _multi_worker()
    elif strategy is None:
        strategy = tf.distribute.get_strategy()
    unfit = tf.distribute.experimental.ParameterServerStrategy
    is_one = isinstance(strategy, tf.distribute.Strategy)
    if not is_one or isinstance(strategy, unfit):
        names = ", ".join(map(repr, STRATEGIES))
        raise validation.invalid(
            "strategy",
            f"{names}, None, or a tf.distribute.Strategy of which each "
            "replica has all weights",
            repr(strategy),
        )
    return Distribution(strategy)


def _multi_worker():
    if not os.environ.get("TF_CONFIG"):
        raise validation.invalid(
            "strategy",
            "'multi_worker' where the environment variable TF_CONFIG names "
            "the workers and says which one this is",
            "'multi_worker' without TF_CONFIG",
            'Such as {"cluster": {"worker": ["host1:2222", "host2:2222"]}, '
            '"task": {"type": "worker", "index": 0}}, with another index on '
            "each machine.",
        )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy()
    except RuntimeError as error:
        raise validation.invalid(
            "strategy",
            "'multi_worker' before TensorFlow has run anything in this "
            "process, models and tensors included",
            "'multi_worker' after",
            f"{error}",
        ) from error
