"""Scheduled sampling: in training, the decoder reads some of its own tokens."""

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_attention import validation
from keras_attention.decoding import Greedy
from keras_attention.decoding import Sample
from keras_attention.decoding.sampling import draw
from keras_attention.decoding.sampling import most_probable
from keras_attention.functional import random_bits
from keras_attention.functional import random_uniform
from keras_attention.functional.replicas import rows_of_replica
from keras_attention.functional.scan import scan
from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID

# What a decoder never reads in `generate`, but for its first BOS.
SPECIAL = (PAD_ID, BOS_ID, EOS_ID)


@keras.saving.register_keras_serializable(package="keras_attention")
class InverseSigmoidDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Falls from nearly 1 to 0 along a sigmoid.

    Bengio et al. 2015, section 2.4, at step i:

        k / (k + exp(i / k))

    Their linear and exponential decays are Keras's `PolynomialDecay` and
    `ExponentialDecay`.

    Args:
        k: number of at least 1. The value is 1/2 at step k log k.
        name: name of the schedule.

    Call arguments:
        step: number of steps made before this one, as Keras counts.

    Returns:
        Scalar float32.

    Raises:
        ValueError: if `k` is below 1.

    Example:

    >>> from keras_attention.training import InverseSigmoidDecay
    >>> decay = InverseSigmoidDecay(k=1000)
    >>> [round(float(decay(step)), 3) for step in (0, 6908, 20000)]
    [0.999, 0.5, 0.0]
    """

    def __init__(self, k: float, name: str = "inverse_sigmoid_decay"):
        super().__init__()
        if validation.check_positive_number("k", k) < 1:
            raise validation.invalid("k", "at least 1", k)
        self.k = float(k)
        self.name = name

    def __call__(self, step):
        exponent = ops.cast(step, "float32") / self.k
        # The same as above, and 0 where the power overflows.
        return 1.0 / (1.0 + ops.exp(exponent) / self.k)

    def get_config(self) -> dict[str, Any]:
        return {"k": self.k, "name": self.name}


@keras.saving.register_keras_serializable(package="keras_attention")
class ScheduledSampling:
    """Lets the decoder read tokens of its own in place of some true ones.

    At each position of the target, the true token is read with probability
    `teacher_forcing`, and otherwise one that the model itself draws from its
    logits of the position before. The loss stays that of the true labels.

    - In steps (the default): Bengio et al. 2015, arXiv 1506.03099. What is
      drawn depends on all that was drawn before. The decoder runs step by
      step, as in `generate` and without a gradient, to choose the inputs; the
      training pass over them is then that of teacher forcing. It costs what
      generating the target greedily costs, so recurrent decoders pay about
      once more for the forward pass.
    - `in_parallel`: Mihaylova & Martins 2019, arXiv 1906.07651, in two
      passes. What is drawn depends on the true tokens before. One parallel
      pass more, also without a gradient: for Transformers.

    No gradient flows through what was drawn. PAD, BOS and EOS are never
    drawn, because in `generate` no decoder reads them. The random bits hash
    (seed, step, row, position) and nothing else: a training that goes on
    from a checkpoint draws what it would have drawn.

    Feeding back an output in place of a token (`ScheduledOutputTrainingSampler`
    of tfa) has no counterpart: it is for decoders that read vectors, and
    these read ids.

    Args:
        teacher_forcing: probability of the true token, in [0, 1]; or a
            function of the step that returns it, such as
            `InverseSigmoidDecay(k)` and the schedules in
            `keras.optimizers.schedules`.
        search: `Sample(...)`, or `Greedy()` for the most probable token;
            without constraints.
        in_parallel: see above.

    Call arguments:
        decoder: a decoder as in `Seq2Seq`.
        target: integer tensor (batch, target_length), begins with BOS.
        encoded: what `Seq2Seq.encode` returned.
        step: integer, or integer tensor, the step of the optimizer.

    Returns:
        Integer tensor (batch, target_length): the target to read.

    Masking:
        Padding and EOS stay.

    Raises:
        ValueError: if an argument is out of range.

    Example:

    >>> import keras_attention as ka
    >>> from keras_attention.training import InverseSigmoidDecay
    >>> from keras_attention.training import ScheduledSampling
    >>> model = ka.build_seq2seq("luong", 11, 13, units=5)
    >>> model.compile(
    ...     "adam",
    ...     ka.training.MaskedCrossentropy(),
    ...     scheduled_sampling=ScheduledSampling(InverseSigmoidDecay(k=2000)),
    ... )
    """

    def __init__(
        self,
        teacher_forcing: float | Callable,
        search: Any = Sample(),  # noqa: B008 (frozen)
        in_parallel: bool = False,
    ):
        is_share = validation.is_number(teacher_forcing) and (
            0 <= teacher_forcing <= 1
        )
        if not (is_share or callable(teacher_forcing)):
            raise validation.invalid(
                "teacher_forcing",
                "a number in [0, 1] or a function of the step",
                repr(teacher_forcing),
            )
        self.teacher_forcing = teacher_forcing
        _check_search(search)
        self.search = search
        self.in_parallel = in_parallel

    def __call__(
        self, decoder: Any, target: Any, encoded: Any, step: Any
    ) -> Any:
        target = ops.cast(target, "int32")
        batch, length = ops.shape(target)
        rows = rows_of_replica(batch)
        # One number for a row at a step, as `draw` takes it.
        seeds = ops.cast(random_bits(self._seed, step, rows), "int32")  # (B,)
        positions = ops.arange(length, dtype="int32")
        is_true = self._is_true(target, step, seeds, positions)
        choose = self._in_one_pass if self.in_parallel else self._in_steps
        drawn = choose(decoder, target, encoded, seeds, positions, is_true)
        return ops.where(is_true, target, ops.stop_gradient(drawn))

    @property
    def _seed(self):
        return getattr(self.search, "seed", 0)

    def _is_true(self, target, step, seeds, positions):
        """Returns where the true token is read, boolean (B, T)."""
        share = self.teacher_forcing
        share = share(step) if callable(share) else share
        # Another stream than that of the draws, which end in a token.
        uniform = random_uniform(self._seed, seeds[:, None], positions)
        is_true = uniform < ops.cast(share, "float32")  # (B, T)
        is_true = ops.logical_or(is_true, positions == 0)  # BOS
        return ops.logical_or(is_true, _is_special(target))

    def _in_one_pass(self, decoder, target, encoded, seeds, positions, is_true):
        logits = decoder(
            target,
            encoded.values,
            encoded_mask=encoded.mask,
            training=False,
            **encoded.for_decoder(),
        )  # (B, T, V)
        drawn = self._draw(logits, seeds, positions[:, None])  # (B, T)
        return ops.pad(drawn, ((0, 0), (1, 0)))[:, :-1]  # read one later

    def _in_steps(self, decoder, target, encoded, seeds, positions, is_true):
        def advance(carried, now):
            state, drawn = carried  # (B,)
            true, is_true, position = now
            read = ops.where(is_true, true, drawn)
            logits, state, _ = decoder.step(read[:, None], state, position)
            following = self._draw(logits, seeds, position)[:, 0]  # (B,)
            return (state, following), drawn

        batch, length = ops.shape(target)
        state = decoder.start(
            encoded.values,
            encoded.mask_or_ones(),
            length,
            beams=1,
            **encoded.for_decoder(),
        )
        inputs = (ops.transpose(target), ops.transpose(is_true), positions)
        like = keras.KerasTensor((target.shape[0],), "int32")
        first = (state, ops.zeros((batch,), dtype="int32"))
        _, drawn = scan(advance, first, inputs, like)  # (T, B)
        return ops.transpose(drawn)  # (B, T)

    def _draw(self, logits, seeds, position):
        """Returns tokens (B, K) of logits (B, K, V)."""
        size = logits.shape[-1]
        ids = ops.arange(size, dtype="int32")
        logits = ops.log_softmax(ops.cast(logits, "float32"), axis=-1)
        logits = ops.where(_is_special(ids), -float("inf"), logits)
        if isinstance(self.search, Greedy):
            return most_probable(logits)[0]
        return draw(self.search, logits, seeds, position)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            "teacher_forcing": serialize(self.teacher_forcing),
            "search": _search_to_config(self.search),
            "in_parallel": self.in_parallel,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ScheduledSampling":
        deserialize = keras.saving.deserialize_keras_object
        found = config["search"]
        return cls(
            deserialize(config["teacher_forcing"]),
            Greedy() if found is None else Sample(**found),
            config["in_parallel"],
        )


def _is_special(ids: Any) -> Any:
    """Marks PAD, BOS and EOS among ids of any shape."""
    special = ops.convert_to_tensor(SPECIAL, dtype="int32")
    return ops.any(ids[..., None] == special, axis=-1)


def _check_search(search):
    if not isinstance(search, (Greedy, Sample)):
        raise validation.invalid(
            "search", "a Greedy() or Sample() object", repr(search)
        )
    if search.constraints or getattr(search, "num_samples", 1) != 1:
        raise validation.invalid(
            "search", "one of one sample, without constraints", repr(search)
        )


def _search_to_config(search):
    """Returns what `Sample` is made from; None for `Greedy`."""
    if isinstance(search, Greedy):
        return None
    config = dataclasses.asdict(search)
    return {n: v for n, v in config.items() if n != "constraints"}
