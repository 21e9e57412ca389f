"""Requests that TensorFlow Serving answers before it takes any other.

A server reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord
file of `PredictionLog` messages. The first request of a signature is slow;
with these it is not a client's.
"""

import dataclasses
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from keras_attention import validation
from keras_attention.export.guide_texts import MAX_BATCH_SIZE
from keras_attention.export.records import COMPILED
from keras_attention.export.records import NAMES
from keras_attention.export.records import PORTABLE
from keras_attention.export.traced import TracedSignatures
from keras_attention.text.units import as_text_tensor

MOST_RECORDS = 1000  # with more a server does not load the model
FOLDER, FILE = "assets.extra", "tf_serving_warmup_requests"

# Numbers of the fields in TensorFlow Serving's messages: each holds text or
# another message.
PREDICT_LOG = 6  # of PredictionLog
REQUEST = 1  # of PredictLog
MODEL_SPEC, INPUTS = 1, 2  # of PredictRequest
SIGNATURE_NAME = 3  # of ModelSpec
KEY, VALUE = 1, 2  # of an entry of a map


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """What a server is asked while it loads the model.

    Each signature is asked for the first source, the first 2, 4 and so on up
    to 32, so that sizes of batches up to that have been seen; and for all of
    them, by 32, since a server that batches refuses larger requests.

    Args:
        texts: list of str or bytes, such as clients will send; of a model
            that reads no text an array of sources, (number, ...).
        signatures: names of the signatures; those that were not exported are
            left out. Leave `compiled` out unless the server is started with
            XLA: a server whose warm-up fails does not load the model.

    Raises:
        ValueError: if there is no source, or no such signature.

    Example:

    >>> from keras_attention.export import WarmUp
    >>> WarmUp(["a text", "another"]).signatures
    ('serving_default', 'n_best', 'tokens', 'score', 'encode', 'decode_step')
    """

    texts: Sequence | np.ndarray
    signatures: Sequence = PORTABLE

    def __post_init__(self):
        is_array = isinstance(self.texts, np.ndarray)
        if not isinstance(self.texts, (list, tuple, np.ndarray)) or not len(
            self.texts
        ):
            raise validation.invalid(
                "texts",
                "a list of at least one string, or an array of sources",
                repr(self.texts)[:80],
            )
        if not is_array:
            as_text_tensor(self.texts)  # or an error
        for name in self.signatures:
            validation.check_choice("signatures", name, NAMES)

    @property
    def is_text(self) -> bool:
        """Whether the sources are strings."""
        return not isinstance(self.texts, np.ndarray)

    def batches(self) -> Iterator[Any]:
        """Yields the tensors of sources that are asked at once."""
        sources = self.texts
        if self.is_text:
            sources = as_text_tensor(sources)
        size = 1
        while size < min(len(sources), MAX_BATCH_SIZE):
            yield tf.convert_to_tensor(sources[:size])
            size *= 2
        for start in range(0, len(sources), MAX_BATCH_SIZE):
            some = sources[start : start + MAX_BATCH_SIZE]
            yield tf.convert_to_tensor(some)


def write(
    folder: Any, warm_up: WarmUp, traced: dict, signatures: TracedSignatures
) -> None:
    """Writes the records into the folder of a SavedModel.

    Args:
        folder: path of the SavedModel.
        warm_up: a `WarmUp`.
        traced: dict of concrete functions by signature name.
        signatures: what they are of.
    """
    asked = [name for name in warm_up.signatures if name in traced]
    count = len(asked) * sum(1 for _ in warm_up.batches())
    if count > MOST_RECORDS:
        raise validation.invalid(
            "warm_up",
            f"at most {MOST_RECORDS:,} requests, as a server reads them",
            f"{len(warm_up.texts):,} sources for {len(asked)} signatures, "
            f"which are {count:,}",
        )
    path = folder / FOLDER / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for sources in warm_up.batches():
            for name in asked:
                inputs = signatures.asked_of(name, sources)
                if name != COMPILED:  # what fails here, fails on the server
                    traced[name](**inputs)
                writer.write(prediction_log(name, inputs))


def prediction_log(signature: str, inputs: dict) -> bytes:
    """Returns a request as the bytes of a `PredictionLog`.

    Args:
        signature: name of the signature.
        inputs: dict of tensors by name.
    """
    request = _field(MODEL_SPEC, _field(SIGNATURE_NAME, signature.encode()))
    for name, tensor in inputs.items():
        value = tf.make_tensor_proto(tensor.numpy()).SerializeToString()
        entry = _field(KEY, name.encode()) + _field(VALUE, value)
        request += _field(INPUTS, entry)
    return _field(PREDICT_LOG, _field(REQUEST, request))


def _field(number, content):
    """A field of a protocol buffer: its tag, the length, the bytes."""
    has_length = 2  # the wire type of text and messages
    return _varint(number << 3 | has_length) + _varint(len(content)) + content


def _varint(value):
    """Seven bits a byte, the lowest first; the top bit says more follow."""
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])
