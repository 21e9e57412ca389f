"""What `Seq2Seq.compile` adds to teacher forcing, and plain calls pay for not.

An alignment loss is any callable of `weights`, `target_mask` and
`source_mask`, and, if it has such an argument, of the `alignment` that came
with the data; it returns a scalar. Scheduled sampling is any callable that
replaces some of the true tokens which the decoder reads: a function of the
decoder, the target, the `Encoded` source and the step of the optimizer.
"""

import dataclasses
from collections.abc import Callable
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_attention import validation
from keras_attention.models.encoding import Encoded
from keras_attention.models.parts import takes

AIDS = ("alignment_loss", "scheduled_sampling")


class Attended(NamedTuple):
    """What a model that has an alignment loss returns in training."""

    logits: Any  # (batch, target_length, vocabulary)
    weights: Any  # (batch, target_length, source_length)
    source_mask: Any  # boolean (batch, source_length)


@dataclasses.dataclass(frozen=True)
class TrainingAids:
    """The aids of one model, checked as they are made.

    Args:
        model: a `Seq2Seq`.
        alignment_loss: see above, or None.
        scheduled_sampling: see above, or None.

    Raises:
        ValueError: if one is no callable, or the model cannot have it.
    """

    model: Any
    alignment_loss: Callable | None = None
    scheduled_sampling: Callable | None = None

    def get_config(self) -> dict[str, Any]:
        """Returns the aids that there are, ready for `Seq2Seq.compile`."""
        found = {name: getattr(self, name) for name in AIDS}
        return {
            name: keras.saving.serialize_keras_object(aid)
            for name, aid in found.items()
            if aid is not None
        }

    def __post_init__(self):
        for name in AIDS:
            found = getattr(self, name)
            if found is not None and not callable(found):
                raise validation.invalid(
                    name, "a callable or None", repr(found)
                )
        decoder = self.model.decoder
        if self.scheduled_sampling is not None:
            _check_backend(self.scheduled_sampling)
        if self.alignment_loss is not None and not takes(
            decoder.call, "return_attention_scores"
        ):
            raise validation.invalid(
                "alignment_loss",
                "None where the `call` of the decoder does not take "
                "`return_attention_scores`",
                repr(self.alignment_loss),
            )

    def decode(
        self, target: Any, encoded: Encoded, training: bool | None
    ) -> Any:
        """Runs the decoder over a target.

        Returns:
            The logits, or an `Attended` where there is an alignment loss.
        """
        options = {"training": training, **encoded.for_decoder()}
        if self.alignment_loss is not None:
            options["return_attention_scores"] = True
        outputs = self.model.decoder(
            self._read(target, encoded),
            encoded.values,
            encoded_mask=encoded.mask,
            **options,
        )
        if self.alignment_loss is None:
            return outputs
        return Attended(*outputs, encoded.mask_or_ones())

    def _read(self, target, encoded):
        """Returns the target that the decoder reads."""
        if self.scheduled_sampling is None:
            return target
        step = ops.cast(self.model.optimizer.iterations, "int32")
        return self.scheduled_sampling(
            self.model.decoder, target, encoded, step
        )

    def loss_of(self, inputs: dict, attended: Attended) -> Any:
        """Returns the alignment loss, a scalar.

        Raises:
            ValueError: if it needs alignments and the inputs have none.
        """
        options = {}
        if takes(self.alignment_loss, "alignment"):
            if "alignment" not in inputs:
                raise validation.invalid(
                    "inputs",
                    "a dict with the key 'alignment' too, (batch, "
                    "target_length, source_length), where the alignment loss "
                    "is guided by it",
                    f"a dict with the keys {list(inputs)}",
                )
            options["alignment"] = inputs["alignment"]
        return self.alignment_loss(
            weights=attended.weights,
            target_mask=self.model.compute_mask(inputs),
            source_mask=attended.source_mask,
            **options,
        )


def logits_of(outputs: Any) -> Any:
    """Returns the logits of what a model returned, in training or not."""
    return outputs.logits if isinstance(outputs, Attended) else outputs


def _check_backend(scheduled_sampling):
    # On JAX the forward pass of `fit` is not given the optimizer, so its step
    # would be frozen in the trace.
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise validation.invalid(
            "scheduled_sampling",
            f"None on the backend {backend!r}, whose `fit` does not tell a "
            "model the step",
            repr(scheduled_sampling),
        )
