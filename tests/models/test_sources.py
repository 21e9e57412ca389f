"""What may hold the sources of `generate`."""

import numpy as np
import pytest
from keras import ops

from keras_attention.models import sources

TEXTS = ["abc", "é", ""]
BYTES = [text.encode("utf-8") for text in TEXTS]


class Series:
    """Stands for what pandas gives: no list, but NumPy can read it."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype or object)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (TEXTS, TEXTS),
        (tuple(BYTES), BYTES),
        (np.array(TEXTS), TEXTS),
        (np.array(BYTES), BYTES),
        (np.array(TEXTS, dtype=object), TEXTS),
        ([np.str_("abc"), np.bytes_(b"d")], ["abc", b"d"]),
        (list(np.array(TEXTS)[:, None].reshape(3)), TEXTS),
        ([np.array(text) for text in TEXTS], TEXTS),
        (Series(TEXTS), TEXTS),
        (np.array([], dtype=str), []),
        ([], []),
    ],
)
def test_texts_are_read_from_any_container(source, expected):
    assert sources.texts_of(source) == expected


@pytest.mark.tensorflow_only
def test_texts_are_read_from_tensors():
    import tensorflow as tf

    tensor = tf.constant(TEXTS)
    assert sources.texts_of(tensor) == BYTES
    assert sources.texts_of(list(tensor)) == BYTES
    with pytest.raises(ValueError, match="Received: source=b'abc'. Put it in"):
        sources.texts_of(tensor[0])


@pytest.mark.parametrize(
    "source", [[[4, 5]], np.array([[4, 5]]), (np.array([4, 5]),), [[[4], [5]]]]
)
def test_ids_are_no_texts(source):
    assert sources.texts_of(source) is None


@pytest.mark.parametrize(
    "ids",
    [[[4, 5]], ([4, 5],), np.array([[4, 5]], "uint8"), [np.array([4, 5])]],
)
def test_ids_become_a_matrix(ids):
    for source in (ids, ops.convert_to_tensor(ids)):
        matrix = sources.ids_of(source)
        assert matrix.tolist() == [[4, 5]]
        assert matrix.dtype == "int32"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("abc", "a list of strings or .*source='abc'. Put it in a list"),
        (np.array("abc"), "source='abc'. Put it in a list"),
        ({"source": ["abc"]}, r"a list of strings or .*: source=\{'source'"),
        (None, "a list of strings or an integer matrix.*source=None"),
        (["abc", 5], "`source` must be all strings or all ids"),
        (Series(["abc", float("nan")]), "all strings or all ids"),
        ([["abc", "de"]], r"must be a list of strings .*shape \(1, 2\) of <U3"),
        (np.array([["abc"]]), r"must be a list of strings .*shape \(1, 1\)"),
    ],
)
def test_other_sources_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        if sources.texts_of(source) is None:
            sources.ids_of(source)
