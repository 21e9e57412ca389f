"""From sources to what a decoder attends to, whatever the encoder.

The mask of the encoded source is, in this order: an explicit `source_mask`;
the Keras mask that the encoder gives its output (`compute_mask`); ids that are
not 0, where the encoder keeps the length of its source; none, so that all
positions are real.
"""

import dataclasses
import warnings
import weakref
from typing import Any
from typing import NamedTuple

import keras
from keras import ops

from keras_attention import validation
from keras_attention.layers.attention.call_masks import check_sequence_mask
from keras_attention.masks.booleans import as_boolean
from keras_attention.models.encoder import Encoder
from keras_attention.models.parts import takes
from keras_attention.models.source_signature import SourceSignature

# An encoder that gives this many positions for as many read keeps the length;
# a prime, which no stride divides.
PROBED_LENGTH = 13

# What was found of an encoder of Keras before its `supports_masking` was set
# here: with that it has a mask on its output whatever its layers do.
_CARRIES_MASK = weakref.WeakKeyDictionary()


class Encoded(NamedTuple):
    """What a decoder is given of a source."""

    values: Any  # (batch, source_length, width)
    mask: Any  # boolean (batch, source_length), or None: all are real
    initial_state: Any  # list of (batch, units), or None

    def for_decoder(self) -> dict[str, Any]:
        """Keyword arguments for the `call` and the `start` of a decoder."""
        if self.initial_state is None:
            return {}
        return {"initial_state": self.initial_state}

    def mask_or_ones(self) -> Any:
        """Returns the mask; all True where all positions are real."""
        if self.mask is not None:
            return self.mask
        return ops.ones(ops.shape(self.values)[:2], dtype="bool")


@dataclasses.dataclass(frozen=True)
class EncoderFacts:
    """What is known of an encoder before any source is read.

    Args:
        signature: shape and dtype of a source.
        width: width of the encoded source.
        state_widths: those of the states that follow it, given to a decoder
            that takes `initial_state`.
        keeps_length: whether each position of a source has its own vector.
        gives_mask: whether the encoder says which positions are real.
        takes_mask: whether a `source_mask` is handed on to it.
        carries_mask: whether its output has a mask where it is given one.
        max_positions: how many positions the encoder tells apart, or None.
    """

    signature: SourceSignature
    width: int
    state_widths: tuple
    keeps_length: bool
    gives_mask: bool
    takes_mask: bool
    carries_mask: bool
    max_positions: int | None

    @property
    def tells_padding(self) -> bool:
        """Whether ids of 0 are padding that the decoder must not see."""
        known = self.gives_mask or self.keeps_length
        return self.signature.is_ids and known

    @property
    def cuts_padding(self) -> bool:
        """Whether ids that are 0 at the end change no answer.

        An encoder that has no mask may read them: convolutions do.
        """
        is_free = self.signature.shape[0] is None
        return self.signature.is_ids and is_free and self.gives_mask

    @property
    def cuts_hidden(self) -> bool:
        """Whether what a `source_mask` hides at the end changes no answer."""
        is_free = self.signature.shape[0] is None
        return is_free and self.keeps_length and self.carries_mask

    @property
    def needs_source_mask(self) -> bool:
        """Whether only a `source_mask` can tell arrays of several lengths."""
        is_array = not self.signature.is_ids
        may_be_padded = self.signature.shape[0] is None and self.keeps_length
        return is_array and may_be_padded and not self.gives_mask


def facts_of(
    encoder: keras.layers.Layer, decoder: Any, signature: SourceSignature
) -> EncoderFacts:
    """Builds an encoder and returns what is known of it.

    Raises:
        ValueError: if it does not return (batch, source_length, width).
    """
    source = signature.symbol
    values, *states = keras.tree.flatten(encoder(source))
    _check_encoded(values)
    if not takes_initial_state(decoder):
        states = []
    keeps_length = _keeps_length(encoder, signature, values.shape[1])
    takes_mask = keeps_length and takes(encoder.call, "mask")
    gives_mask = _gives_mask(encoder, source)
    carries_mask = gives_mask or (takes_mask and _carries_mask(encoder, source))
    if takes_mask:
        # Or Keras warns that a `source_mask` is lost, where it is not.
        encoder.supports_masking = True
    return EncoderFacts(
        signature,
        values.shape[-1],
        tuple(state.shape[-1] for state in states),
        keeps_length,
        gives_mask,
        takes_mask,
        carries_mask,
        getattr(encoder, "max_positions", None),
    )


def encode(
    model: Any,
    source: Any,
    source_mask: Any = None,
    initial_state: Any = None,
    training: bool | None = None,
) -> Encoded:
    """See `Seq2Seq.encode`."""
    facts, options = model.encoder_facts, {}
    if source_mask is not None:
        source_mask = as_boolean("source_mask", source_mask)
        source_mask = ops.cast(source_mask, "bool")
        if facts.takes_mask:
            options["mask"] = source_mask
    outputs = model.encoder(source, training=training, **options)
    values, *states = keras.tree.flatten(outputs)
    _check_encoded(values)
    if source_mask is None:
        source_mask = keras_mask_of(values)
    else:
        check_sequence_mask("source_mask", source_mask, values.shape[:2])
    if source_mask is None and facts.tells_padding:
        source_mask = ops.not_equal(source, 0)  # (B, S)
    if takes_initial_state(model.decoder):
        states = states if initial_state is None else list(initial_state)
        return Encoded(values, source_mask, states or None)
    if initial_state is not None:
        raise validation.invalid(
            "initial_state",
            "None where the decoder's `call` and `start` do not take it",
            f"{len(initial_state)} tensors",
        )
    return Encoded(values, source_mask, None)


def takes_initial_state(decoder: Any) -> bool:
    """Whether a decoder can be told the state it begins with."""
    return takes(decoder.call, "initial_state") and takes(
        decoder.start, "initial_state"
    )


def _check_encoded(values):
    if len(values.shape) == 3 and values.shape[-1] is not None:
        return
    fix = "Its last axis must have a fixed size."
    if len(values.shape) > 3:
        fix = (
            "Put keras.layers.Reshape((-1, width)) at its end, which makes "
            "one sequence of all positions."
        )
    raise validation.invalid(
        "encoder",
        "a layer that returns (batch, source_length, width)",
        f"one that returns {tuple(values.shape)}",
        fix,
    )


def _keeps_length(encoder, signature, encoded_length):
    read = signature.shape[0]
    if isinstance(encoder, Encoder):
        return True
    if read is not None:
        return read == encoded_length
    shape = (None, PROBED_LENGTH, *signature.shape[1:])
    probe = keras.KerasTensor(shape, dtype=signature.dtype)
    try:
        outputs = keras.tree.flatten(encoder.compute_output_spec(probe))
    except Exception:  # of the backend, if it cannot read this length
        return False
    return outputs[0].shape[1] == PROBED_LENGTH


class _MaskReader(keras.layers.Layer):
    """Keras hands the mask of a tensor to layers that ask for it."""

    mask = None

    def __init__(self):
        super().__init__(name="mask_reader", autocast=False)
        self.supports_masking = True

    def call(self, tensor, mask=None):
        self.mask = mask
        return tensor


class _MaskProbe(keras.layers.Layer):
    """Traces an encoder: symbolic tensors of Keras carry no masks."""

    def __init__(self, encoder):
        super().__init__(name="mask_probe", autocast=False)
        self.encoder = encoder
        self.finds_mask = False

    def call(self, source, **options):
        outputs = self.encoder(source, training=False, **options)
        values, *_ = keras.tree.flatten(outputs)
        self.finds_mask = keras_mask_of(values) is not None
        return values


def _gives_mask(encoder, source):
    if isinstance(encoder, Encoder):
        return True
    if hasattr(encoder, "members"):  # an ensemble
        return any(_gives_mask(member, source) for member in encoder.members)
    probe = _MaskProbe(encoder)
    probe.compute_output_spec(source)
    return probe.finds_mask


def _carries_mask(encoder, source):
    """Whether an encoder that takes a mask does not lose it.

    Models of Keras's layers take one whatever their layers do with it.
    """
    if hasattr(encoder, "members"):  # an ensemble
        return all(
            takes(member.call, "mask") and _carries_mask(member, source)
            for member in encoder.members
        )
    if not type(encoder).call.__module__.startswith("keras."):
        return True
    if encoder not in _CARRIES_MASK:
        probe = _MaskProbe(encoder)
        mask = keras.KerasTensor(source.shape[:2], dtype="bool")
        with warnings.catch_warnings():  # of a layer inside that loses it
            warnings.simplefilter("ignore", UserWarning)
            probe.compute_output_spec(source, mask=mask)
        _CARRIES_MASK[encoder] = probe.finds_mask
    return _CARRIES_MASK[encoder]


class _MaskWriter(keras.layers.Layer):
    """Keras gives the output of a layer the mask that the layer computes."""

    def __init__(self, mask):
        super().__init__(name="mask_writer", autocast=False)
        self.mask = mask

    def call(self, tensor):
        return tensor

    def compute_mask(self, tensor, previous_mask=None):
        return self.mask


def keras_mask_of(tensor: Any) -> Any:
    """Returns the Keras mask that a tensor carries, or None."""
    reader = _MaskReader()
    reader(tensor)
    return reader.mask


def with_keras_mask(tensor: Any, mask: Any) -> Any:
    """Returns a tensor like this one that carries a Keras mask."""
    return _MaskWriter(mask)(tensor)
