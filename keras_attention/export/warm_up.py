"""Requests that TensorFlow Serving answers before it takes any other.

A server reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord
file of `PredictionLog` messages. The first request of a signature is slow;
with these it is not a client's.
"""

import collections.abc
import dataclasses

import tensorflow as tf

from keras_attention import validation
from keras_attention.export.signatures import COMPILED
from keras_attention.export.signatures import NAMES
from keras_attention.export.signatures import PORTABLE
from keras_attention.text.units import as_text_tensor

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

    Each signature is asked for the first text, the first 2, 4, 8 and so on,
    and all of them, so that sizes of batches up to that have been seen.

    Args:
        texts: list of str or bytes, such as clients will send.
        signatures: names of the signatures. Leave `compiled` out unless the
            server is started with XLA: a server whose warm-up fails does not
            load the model.

    Raises:
        ValueError: if there is no text, or no such signature.

    Example:

    >>> from keras_attention.export import WarmUp
    >>> WarmUp(["a text", "another"]).signatures
    ('serving_default', 'n_best', 'tokens', 'score', 'encode', 'decode_step')
    """

    texts: collections.abc.Sequence
    signatures: collections.abc.Sequence = PORTABLE

    def __post_init__(self):
        if not isinstance(self.texts, (list, tuple)) or not self.texts:
            raise validation.invalid(
                "texts", "a list of at least one string", repr(self.texts)[:80]
            )
        as_text_tensor(self.texts)  # or an error
        for name in self.signatures:
            validation.check_choice("signatures", name, NAMES)


def write(folder, warm_up, traced, encode):
    """Writes the records into the folder of a SavedModel.

    Args:
        folder: path of the SavedModel.
        warm_up: a `WarmUp`.
        traced: dict of concrete functions by signature name.
        encode: function from texts to the ids that `tokens` takes.
    """
    path = folder / FOLDER / FILE
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for texts in _batches(as_text_tensor(warm_up.texts)):
            for name in warm_up.signatures:
                inputs = _inputs_of(name, texts, traced, encode)
                if name != COMPILED:  # what fails here, fails on the server
                    traced[name](**inputs)
                writer.write(prediction_log(name, inputs))


def prediction_log(signature, inputs):
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


def _batches(texts):
    size = 1
    while size < len(texts):
        yield texts[:size]
        size *= 2
    yield texts


def _inputs_of(name, text, traced, encode):
    """The inputs of a signature, made from texts alone."""
    if name == "tokens":
        return {"ids": encode(text)}
    if name == "score":
        return {"text": text, "target": traced["serving_default"](text)["text"]}
    if name == "decode_step":
        said = tf.zeros([len(text), 0], tf.int32)
        return {**traced["encode"](text), "ids": said}
    return {"text": text}
