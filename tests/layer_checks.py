"""`run_layer_checks`: what every layer of the package must pass.

Each check is a function, so that a failure names it in the traceback.
"""

import dataclasses
import inspect
import json

import keras
import numpy as np
from keras import ops

# How far a half-precision layer may be from the float32 one, relative to the
# largest number in the output.
HALF_TOLERANCE = {"float16": 1e-2, "bfloat16": 6e-2}


def run_layer_checks(
    layer_class,
    init_arguments,
    call_arguments,
    expected_output_shape,
    expected_weights=None,
    weights_without_gradient=(),
    half_tolerance=None,
    tmp_path=None,
    passes_mask_on=True,
):
    """Checks all that a Keras layer owes its user.

    Args:
        layer_class: the class.
        init_arguments: dict of constructor arguments.
        call_arguments: dict of call arguments. Arrays become tensors: the
            first axis is the batch and the second a length, which may change
            (of `attention_mask`, the last two). All else is passed as it is.
        expected_output_shape: a shape, or a list of shapes for more outputs.
        expected_weights: {path below the layer: shape}, in order.
        weights_without_gradient: paths of weights that the output does not
            depend on, as a bias of all keys alike.
        half_tolerance: replaces parts of `HALF_TOLERANCE`.
        tmp_path: folder for the saved model.
        passes_mask_on: whether the output has the Keras mask of the first
            input, or none.
    """
    shapes = expected_output_shape
    case = Case(
        layer_class,
        init_arguments,
        call_arguments,
        shapes if isinstance(shapes, list) else [shapes],
    )
    check_config_holds_every_argument(case)
    check_config_round_trip(case)
    check_weights(case, expected_weights or {})
    check_build_from_shapes(case)
    check_output_shape(case)
    check_symbolic_output(case)
    check_graph_and_compiled(case)
    check_half_precision(case, {**HALF_TOLERANCE, **(half_tolerance or {})})
    check_tensors_are_left_alone(case)
    check_mask_is_passed_on(case, passes_mask_on)
    if tmp_path is not None:
        check_saved_model(case, tmp_path / "model.keras")
    check_training_step(case, weights_without_gradient)


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer, what it is called with, and the shapes that come out."""

    layer_class: type
    init_arguments: dict
    call_arguments: dict
    output_shapes: list

    @property
    def arrays(self):
        return {
            name: value.astype("float32") if value.dtype.kind == "f" else value
            for name, value in self.call_arguments.items()
            if isinstance(value, np.ndarray)
        }

    @property
    def flags(self):
        arrays = self.arrays
        return {k: v for k, v in self.call_arguments.items() if k not in arrays}

    @property
    def shorter_arrays(self):
        return {name: a[shorter_slice(name)] for name, a in self.arrays.items()}

    def new_layer(self, **changes):
        return self.layer_class(**{**self.init_arguments, **changes})

    def built_layer(self):
        layer = self.new_layer()
        self.outputs(layer)
        return layer

    def outputs(self, layer, arrays=None):
        """Calls the layer and returns the list of its outputs."""
        arrays = self.arrays if arrays is None else arrays
        outputs = layer(**arrays, **self.flags)
        return list(outputs) if isinstance(outputs, tuple) else [outputs]


def length_axes(name):
    """Axes whose size may change from call to call, the batch aside."""
    return (-2, -1) if name == "attention_mask" else (1,)


def shorter_slice(name):
    one_less = slice(None, -1)
    if name == "attention_mask":
        return (..., one_less, one_less)
    return (slice(None), one_less)


def dynamic_shape(name, array):
    """The shape of an array with None for the batch and the lengths."""
    shape = [None, *array.shape[1:]]
    for axis in length_axes(name):
        shape[axis] = None
    return tuple(shape)


def as_float64(tensor):
    return ops.convert_to_numpy(ops.cast(tensor, "float32")).astype("float64")


def assert_all_close(actual, expected, tolerance=1e-5, what=""):
    assert len(actual) == len(expected)
    for one, other in zip(actual, expected, strict=True):
        one, other = as_float64(one), as_float64(other)
        size = max(1.0, np.abs(other).max(initial=0))
        np.testing.assert_allclose(
            one, other, rtol=0, atol=tolerance * size, err_msg=what
        )


class _MaskReader(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.supports_masking = True
        self.masks = []

    def call(self, inputs, mask=None):
        self.masks.append(mask)
        return inputs


def mask_of(tensor):
    """Returns the Keras mask of a tensor, or None."""
    reader = _MaskReader()
    reader(tensor)
    return reader.masks[0]


# --- configuration -----------------------------------------------------------


def as_json(config):
    return json.dumps(config, sort_keys=True)


def check_config_holds_every_argument(case):
    parameters = inspect.signature(case.layer_class.__init__).parameters
    names = {
        name
        for name, parameter in parameters.items()
        if name != "self" and parameter.kind is not parameter.VAR_KEYWORD
    }
    layer = case.new_layer()
    before = layer.get_config()
    assert names - set(before) == set(), "arguments missing from the config"
    case.outputs(layer)
    assert as_json(layer.get_config()) == as_json(before), "changed by build"
    for name, value in case.init_arguments.items():
        if value is None or isinstance(value, (bool, int, float, str)):
            found = before[name]
            if isinstance(found, dict):  # an object, which a name stands for
                found = found["class_name"].lower()
                value = value.replace("_", "")
            assert found == value, f"{name}={value} is {found} in the config"


def check_config_round_trip(case):
    layer = case.new_layer()
    config = layer.get_config()
    again = case.layer_class.from_config(config)
    assert as_json(again.get_config()) == as_json(config)
    text = json.dumps(keras.saving.serialize_keras_object(layer))
    again = keras.saving.deserialize_keras_object(json.loads(text))
    assert type(again) is case.layer_class
    assert as_json(again.get_config()) == as_json(config)


# --- weights and shapes ------------------------------------------------------


def weight_shapes(layer):
    return {
        weight.path.removeprefix(layer.name + "/"): tuple(weight.shape)
        for weight in layer.weights
    }


def check_weights(case, expected):
    shapes = weight_shapes(case.built_layer())
    assert list(shapes.items()) == list(expected.items())


def check_build_from_shapes(case):
    called = case.built_layer()
    layer = case.new_layer()
    shapes = {f"{name}_shape": a.shape for name, a in case.arrays.items()}
    wanted = inspect.signature(layer.build).parameters
    shapes = {k: v for k, v in shapes.items() if k in wanted} or {
        "input_shape": next(iter(shapes.values()))  # Keras's usual name
    }
    layer.build(**shapes)
    assert layer.built
    assert weight_shapes(layer) == weight_shapes(called)
    layer.set_weights(called.get_weights())
    assert_all_close(case.outputs(layer), case.outputs(called))


def check_output_shape(case):
    """Keras's wrappers ask for it, before the first call."""
    layer, arrays = case.new_layer(), case.arrays
    (_, first), *others = arrays.items()
    names = inspect.signature(layer.compute_output_shape).parameters
    shapes = {f"{name}_shape": array.shape for name, array in others}
    found = layer.compute_output_shape(
        first.shape, **{name: shapes[name] for name in names if name in shapes}
    )
    assert tuple(found) == tuple(case.output_shapes[0])


def check_symbolic_output(case):
    eager = case.outputs(case.new_layer())
    assert [tuple(x.shape) for x in eager] == case.output_shapes
    dtypes = [keras.backend.standardize_dtype(x.dtype) for x in eager]
    for shape_of in (lambda name, array: array.shape, dynamic_shape):
        symbolic = case.outputs(
            case.new_layer(),
            {
                name: keras.KerasTensor(shape_of(name, array), str(array.dtype))
                for name, array in case.arrays.items()
            },
        )
        assert [x.dtype for x in symbolic] == dtypes
        for found, expected in zip(symbolic, case.output_shapes, strict=True):
            fits = len(found.shape) == len(expected) and all(
                a in (b, None)
                for a, b in zip(found.shape, expected, strict=True)
            )
            exact = tuple(found.shape) == expected
            is_static = shape_of is not dynamic_shape
            assert exact if is_static else fits, (found.shape, expected)


# --- paths and dtypes --------------------------------------------------------


def check_graph_and_compiled(case):
    """A graph takes any lengths; a compiler makes a program for each."""
    layer = case.built_layer()
    if keras.backend.backend() == "jax":
        import jax

        asked = [(jax.jit(lambda a: case.outputs(layer, a)), case.arrays)]
    else:
        import tensorflow as tf

        signature = {
            name: tf.TensorSpec(dynamic_shape(name, array), array.dtype)
            for name, array in case.arrays.items()
        }
        graph, compiled = (
            tf.function(
                lambda arrays: case.outputs(layer, arrays),
                input_signature=[signature],
                jit_compile=jit,
            )
            for jit in (False, True)
        )
        asked = [
            (graph, case.arrays),
            (graph, case.shorter_arrays),
            (compiled, case.arrays),
        ]
    for number, (function, arrays) in enumerate(asked):
        tensors = {k: ops.convert_to_tensor(a) for k, a in arrays.items()}
        eager = case.outputs(layer, arrays)
        assert_all_close(function(tensors), eager, what=f"path {number}")


def check_half_precision(case, tolerance):
    layer = case.built_layer()
    expected = case.outputs(layer)
    for dtype in ("float16", "bfloat16"):
        half = case.new_layer(dtype=f"mixed_{dtype}")
        case.outputs(half)
        half.set_weights(layer.get_weights())
        outputs = case.outputs(half)
        dtypes = {keras.backend.standardize_dtype(x.dtype) for x in outputs}
        assert dtypes == {dtype}
        assert_all_close(outputs, expected, tolerance[dtype], dtype)


# --- masks and tensors of the caller -----------------------------------------


def masked_first_input(case):
    """Arrays of the case with a Keras mask on the first, and that mask."""
    arrays = dict(case.arrays)
    name = next(iter(arrays))
    first = arrays[name].copy()
    first[0, -1] = 0.0
    mask = np.ones(first.shape[:2], bool)
    mask[0, -1] = False
    arrays[name] = keras.layers.Masking()(first)
    return name, arrays, mask


def check_tensors_are_left_alone(case):
    name, arrays, mask = masked_first_input(case)
    tensors = {k: ops.convert_to_tensor(v) for k, v in arrays.items()}
    tensors[name] = arrays[name]
    before = {k: np.array(v) for k, v in tensors.items()}
    case.outputs(case.new_layer(), tensors)
    kept = mask_of(tensors[name])
    assert kept is not None, "the layer took the Keras mask off its input"
    np.testing.assert_array_equal(kept, mask)
    for key, tensor in tensors.items():
        np.testing.assert_array_equal(np.array(tensor), before[key])


def check_mask_is_passed_on(case, passes_mask_on=True):
    _, arrays, mask = masked_first_input(case)
    passed_on = mask_of(case.outputs(case.new_layer(), arrays)[0])
    if not passes_mask_on:
        assert passed_on is None, "the output has a mask of another length"
        return
    assert passed_on is not None, "the output has lost the Keras mask"
    np.testing.assert_array_equal(passed_on, mask)


# --- models ------------------------------------------------------------------


def functional_model(case, layer, with_probe=False):
    """The layer in a functional model with dynamic lengths.

    The probe is a dense layer before the first input: it shows that gradients
    reach the input, and gives a layer without weights something to train.
    """
    inputs = {
        name: keras.Input(
            dynamic_shape(name, array)[1:], dtype=str(array.dtype), name=name
        )
        for name, array in case.arrays.items()
    }
    tensors = dict(inputs)
    if with_probe:
        name = next(iter(inputs))
        width = inputs[name].shape[-1]
        tensors[name] = keras.layers.Dense(width, name="probe")(inputs[name])
    return keras.Model(inputs, case.outputs(layer, tensors))


def check_saved_model(case, path):
    model = functional_model(case, case.new_layer())
    model.save(path)
    loaded = keras.saving.load_model(path)
    for arrays in (case.arrays, case.shorter_arrays):
        assert_all_close(loaded(arrays), model(arrays), tolerance=0)


def check_training_step(case, weights_without_gradient=()):
    """Trains compiled: XLA refuses more than a graph or an eager step does."""
    layer = case.new_layer()
    model = functional_model(case, layer, with_probe=True)
    before = {w.path: np.array(w) for w in model.trainable_weights}
    generator = np.random.default_rng(7)
    targets = [
        generator.normal(size=shape).astype("float32")
        for shape in case.output_shapes
    ]
    model.compile("sgd", ["mse"] * len(targets), jit_compile=True)
    # The trackers of several losses are variables, as the optimizer's are: if
    # the first step made them, TensorFlow would trace it a second time.
    model.compute_loss(y=targets, y_pred=targets)
    batch_size = len(targets[0])
    history = model.fit(
        case.arrays, targets, batch_size=batch_size, epochs=1, verbose=0
    )
    assert np.isfinite(history.history["loss"][0])
    still = [f"{layer.name}/{path}" for path in weights_without_gradient]
    for weight in model.trainable_weights:
        after = np.array(weight)
        assert np.all(np.isfinite(after)), weight.path
        has_changed = np.any(after != before[weight.path])
        assert has_changed or weight.path in still, (
            f"{weight.path} is untrained"
        )


# --- gradients, for the tests of single layers -------------------------------


def loss_gradients(layer, arrays, cotangent, **flags):
    """Gradients of sum(first output * cotangent), as float64 arrays.

    Returns a dict {name: gradient} over the arrays given and over the
    trainable weights of the layer, which must be built.
    """
    arrays = {name: ops.convert_to_tensor(a) for name, a in arrays.items()}
    weights, fixed = (
        [ops.convert_to_tensor(np.array(variable)) for variable in variables]
        for variables in (
            layer.trainable_variables,
            layer.non_trainable_variables,
        )
    )

    def loss(arrays, weights):
        outputs, _ = layer.stateless_call(weights, fixed, **arrays, **flags)
        first = outputs[0] if isinstance(outputs, tuple) else outputs
        return ops.sum(first * ops.cast(cotangent, first.dtype))

    if keras.backend.backend() == "jax":
        import jax

        found = jax.grad(loss, argnums=(0, 1))(arrays, weights)
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch([arrays, weights])
            result = loss(arrays, weights)
        found = tape.gradient(result, (arrays, weights))
    names = [weight.name for weight in layer.trainable_variables]
    named = {**found[0], **dict(zip(names, found[1], strict=True))}
    return {name: np.array(g, dtype="float64") for name, g in named.items()}
