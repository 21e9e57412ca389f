"""Operations in ONNX have the numbers that they have in NumPy."""

import numpy as np
import onnxruntime
import tensorflow as tf
import tf2onnx

from keras_attention.export import onnx_operations

INF = float("inf")
X = np.array([-12, -7, 0, 7, 12], "int32")
FLOATS = np.array([-1.5, -INF, 0.0, 2.5, INF], "float32")
EXPECTED = {
    "quotients": X // 8,
    "remainders": X % 8,
    "remainders_below": X % -5,
    "float_quotients": np.array([-1.0, 0.0, 1.0], "float32"),
    "float_remainders": np.array([0.5, 0.0, 0.5], "float32"),
    "chosen": np.where(X < 0, 3.0, FLOATS),
    "chosen_booleans": np.where(X < 0, X < -8, X > 8),
    "sums": np.array([0, 7, 0, -7], "int32"),
    "nothing": np.zeros((3, 0), "float32"),
}


def operations(x, floats):
    finite = tf.gather(floats, [0, 2, 3])
    return {
        "quotients": x // 8,
        "remainders": x % 8,
        "remainders_below": x % -5,
        "float_quotients": finite // 2.0,
        "float_remainders": finite % 2.0,
        "chosen": tf.where(x < 0, 3.0, floats),
        "chosen_booleans": tf.where(x < 0, x < -8, x > 8),
        # -12, 7 and 12 fall on one place.
        "sums": tf.scatter_nd([[1], [3], [0], [1], [1]], x, [4]),
        "nothing": tf.reshape(floats[:, None][:0], tf.stack([3, x[2]])),
    }


def answers(handlers):
    """Returns what onnxruntime answers, by name."""
    function = tf.function(operations, autograph=False)
    proto, _ = tf2onnx.convert.from_function(
        function,
        [tf.TensorSpec([None], "int32"), tf.TensorSpec([None], "float32")],
        opset=18,
        custom_op_handlers=handlers,
    )
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {"x": X, "floats": FLOATS})
    return dict(zip(names, found, strict=True))


def test_numbers_are_those_of_numpy():
    found = answers(onnx_operations.handlers())
    for name, expected in EXPECTED.items():
        np.testing.assert_array_equal(found[name], expected, err_msg=name)


def test_without_handlers_some_are_others():
    """Those for which a newer tf2onnx may make a handler superfluous."""
    kept = onnx_operations.handlers()
    for name in ("FloorDiv", "FloorMod", "ScatterNd"):
        del kept[name]
    found = answers(kept)
    others = {n for n in EXPECTED if not np.array_equal(found[n], EXPECTED[n])}
    assert others == {"quotients", "remainders", "remainders_below", "sums"}
