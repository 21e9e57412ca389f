"""What `generate` is given: strings, a matrix of ids, or arrays."""

import warnings
from typing import Any

import numpy as np
from keras import ops

from keras_attention import validation
from keras_attention.models.source_signature import SourceSignature
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID

TEXT_KINDS = "SUTO"  # dtypes of NumPy that may hold strings


def texts_of(source: Any, name: str = "source") -> list | None:
    """Returns the strings of `source` as a list, or None if it holds ids.

    Args:
        source: list, tuple, array, tensor or pandas series of one axis.
        name: of the argument, for errors.

    Raises:
        ValueError: if `source` is a single string, or a mixture of strings
            and ids.
    """
    if isinstance(source, (str, bytes)):
        raise _not_a_list(source, name)
    if not isinstance(source, (list, tuple)):
        array = np.asarray(source)
        if array.dtype.kind not in TEXT_KINDS:
            return None
        source = array.tolist()
        if array.ndim == 0:
            raise _not_a_list(source, name)
    items = [_plain(item) for item in source]
    kinds = {isinstance(item, (str, bytes)) for item in items}
    if len(kinds) > 1:
        raise validation.invalid(
            name, "all strings or all ids", "a mixture of both"
        )
    return None if kinds == {False} else items


def ids_of_texts(
    texts: list, vocabulary: Any, length: int | None
) -> np.ndarray:
    """Returns what a tokenizer makes of texts, int32 (batch, source_length).

    Args:
        texts: list of str or bytes.
        vocabulary: a `Vocabulary`, or a tokenizer with `encode(texts)`.
        length: that of all sources of the model, or None for any. Shorter
            texts are padded; of longer ones the beginning is read, with a
            warning.
    """
    if not texts:
        return np.zeros((0, length or 1), "int32")
    ids = np.array(vocabulary.encode(texts))
    if length is None:
        return ids
    cut = np.any(ids[:, length:] != PAD_ID, axis=1)
    if cut.any():
        warnings.warn(
            f"{cut.sum()} of {len(texts)} texts have more than {length - 1} "
            "tokens, which is what the encoder reads, and were cut off.",
            stacklevel=2,
        )
    ids = ids[:, :length]
    ids[cut, -1] = EOS_ID
    return np.pad(ids, ((0, 0), (0, length - ids.shape[1])))


def ids_of(source: Any, name: str = "source", size: int = 2**31) -> np.ndarray:
    """Returns `source` as an int32 matrix (batch, source_length).

    Args:
        source: a matrix of integers, an array, tensor or list.
        name: of the argument, for errors.
        size: how many ids there are.

    Raises:
        ValueError: if it is not a matrix of integers, or one of them is
            below 0 or not below `size`.
    """
    if isinstance(source, (list, tuple)):
        _check_lengths(name, source, "ids", "Pad the shorter ones with 0.")
        if not source:
            return np.zeros((0, 1), "int32")
    ids = ops.convert_to_numpy(source)
    if ids.ndim != 2 or (ids.size and ids.dtype.kind not in "iu"):
        raise ValueError(
            f"`{name}` must be a list of strings or an integer matrix (batch, "
            f"length). Received: shape {ids.shape} of {ids.dtype}."
        )
    if not ids.size:  # no column at all is as good as padding
        return np.zeros((len(ids), max(ids.shape[1], 1)), "int32")
    if ids.min() < 0 or ids.max() >= size:  # before a cast would wrap them
        raise validation.invalid(
            name,
            f"ids from 0 to {size - 1}",
            f"ids from {ids.min()} to {ids.max()}",
        )
    return ids.astype("int32")


def arrays_of(source: Any, signature: SourceSignature) -> np.ndarray:
    """Returns `source` as an array (batch, ...) of the signature's dtype.

    Raises:
        ValueError: if it has another shape, or does not hold numbers.
    """
    expected = f"numbers of shape (batch, *{signature.shape})"
    if isinstance(source, (list, tuple)):
        fix = "Pad the shorter ones and give `source_mask`."
        _check_lengths("source", source, "numbers", fix)
    array = ops.convert_to_numpy(source)
    if not array.size and array.shape[:1] == (0,):  # no source at all
        array = np.zeros((0, *(size or 1 for size in signature.shape)))
    fits = array.ndim == 1 + len(signature.shape) and all(
        wanted in (None, size)
        for wanted, size in zip(signature.shape, array.shape[1:], strict=True)
    )
    if not fits or array.dtype.kind not in "iufbV":  # V: bfloat16
        received = f"shape {array.shape} of {array.dtype}"
        raise validation.invalid("source", expected, received)
    if array.dtype.kind == "f" and "int" in signature.dtype:
        raise validation.invalid("source", signature.dtype, array.dtype)
    return ops.convert_to_numpy(ops.cast(array, signature.dtype))


def _check_lengths(name, rows, kind, fix):
    lengths = sorted({np.shape(row)[0] for row in rows if np.ndim(row)})
    if len(lengths) > 1:
        raise validation.invalid(
            name, "rows of one length", f"rows of {lengths} {kind}", fix
        )


def _plain(item):
    """Returns a scalar of an array or tensor as what it holds."""
    is_scalar = getattr(item, "shape", None) == ()
    return np.asarray(item).item() if is_scalar else item


def _not_a_list(source, name):
    is_text = isinstance(source, (str, bytes))
    return validation.invalid(
        name,
        "a list of strings or an integer matrix",
        repr(source),
        "Put it in a list." if is_text else "",
    )
