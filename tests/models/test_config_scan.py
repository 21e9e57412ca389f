"""Which classes a configuration may name, and that they are found."""

import ast
import inspect
import re
import sys

import keras
import pytest
from keras import layers

import keras_attention as ka
from keras_attention.models import keras_classes
from keras_attention.models.builder import KINDS
from keras_attention.models.config_scan import check_config

# Whatever reads a file or makes code goes by one of these names.
DANGEROUS = {
    "TFSMLayer",
    "__import__",
    "eval",
    "exec",
    "file_utils",
    "func_load",
    "get_file",
    "gfile",
    "import_module",
    "joblib",
    "load_model",
    "marshal",
    "open",
    "pickle",
    "read_text",
    "saved_model",
}


def entry(module, name, **more):
    """An object as Keras writes it."""
    registered = {"registered_name": None}
    return {
        "module": module,
        "class_name": name,
        "config": {},
        **registered,
        **more,
    }


def at_places(found):
    """The same entry at each kind of place where Keras looks."""
    dense = entry("keras.layers", "Dense")
    return {
        "root": found,
        "encoder": entry("keras", "Sequential", config={"encoder": found}),
        "list": entry("keras", "Sequential", config={"layers": [dense, found]}),
        "dtype": {**dense, "config": {"dtype": found}},
        "initializer": {**dense, "config": {"kernel_initializer": found}},
        "build_config": {**dense, "build_config": {"input_shape": found}},
        "compile_config": {**dense, "compile_config": {"loss": [{"a": found}]}},
        "value": {"class_name": "__numpy__", "config": {"value": [found]}},
        "plain dict": {"a": {"b": [[{"c": found}]]}},
    }


def public_classes(module):
    """The public classes of a module of Keras, by name."""
    return dict(inspect.getmembers(module, inspect.isclass))


def allowed_modules():
    """Source files of all that configs may name, base classes left out."""
    classes = [getattr(layers, name, None) for name in keras_classes.LAYERS]
    sources = set(keras_classes.OPERATION_MODULES)
    for name in keras_classes.MODULES:
        module = keras
        for part in name.split("."):
            module = getattr(module, part)
        classes += public_classes(module).values()
        sources |= {
            function.__module__
            for _, function in inspect.getmembers(module, inspect.isfunction)
        }
    for found in classes:
        sources |= set() if found is None else sources_of(found)
    return sorted(name for name in sources if name.startswith("keras."))


def sources_of(found):
    """Modules where a class and its bases are written."""
    # Models save and load themselves when they are told to.
    bases = [c for c in found.__mro__ if not issubclass(keras.Model, c)]
    return {base.__module__ for base in bases}


def names_in(module):
    """All names and attributes in the code of a module."""
    nodes = list(ast.walk(ast.parse(inspect.getsource(sys.modules[module]))))
    names = {getattr(node, "id", "") for node in nodes}
    return names | {getattr(node, "attr", "") for node in nodes}


def test_each_public_layer_of_keras_is_sorted():
    public = set(public_classes(layers))
    sorted_ones = keras_classes.LAYERS | set(keras_classes.REFUSED_LAYERS)
    assert public - sorted_ones == set()
    assert keras_classes.LAYERS & set(keras_classes.REFUSED_LAYERS) == set()


def test_allowed_classes_read_no_file_and_hold_no_code():
    modules = allowed_modules()
    found = {name: names_in(name) & DANGEROUS for name in modules}
    assert len(modules) > 90
    assert {name: used for name, used in found.items() if used} == {}


@pytest.mark.parametrize("name", ["Lambda", "StringLookup", "TFSMLayer"])
def test_search_for_dangers_finds_those_of_refused_layers(name):
    sources = sources_of(getattr(layers, name))
    assert any(names_in(source) & DANGEROUS for source in sources)


@pytest.mark.parametrize("name", sorted(keras_classes.REFUSED_LAYERS))
def test_refused_layers_are_refused(name):
    with pytest.raises(ValueError, match=rf"config\.json is .*{name}"):
        check_config(entry("keras.layers", name))


@pytest.mark.parametrize("place", sorted(at_places({})))
def test_foreign_class_is_found_anywhere(place):
    harmless = entry("keras.layers", "Dense")
    assert check_config(at_places(harmless)[place]) == {}
    graph = entry("keras.layers", "TFSMLayer", config={"filepath": "/x"})
    with pytest.raises(ValueError, match="TFSMLayer.*runs the graph"):
        check_config(at_places(graph)[place])


@pytest.mark.parametrize(
    "found",
    [
        entry("keras.src.export.tfsm_layer", "TFSMLayer"),
        entry("keras.src.layers.core.lambda_layer", "Lambda"),
        entry("keras.src.ops.numpy", "np"),
        entry("keras.src.ops.core", "Map"),
        entry("keras.src.models.functional", "Model"),
        entry("keras.layers", "Unheard"),
        entry("keras.layers", "__class__"),
        entry("keras.layers.Dense", "from_config"),
        entry("keras", "layers.Lambda"),
        entry("keras", "Lambda"),
        entry("keras.losses", "__loader__"),
        entry("keras.losses", "Lambda"),
        entry("keras.optimizers.legacy", "Adam"),
        entry("keras.utils", "FeatureSpace"),
        entry("keras.saving", "KerasFileEditor"),
        entry("keras_hub.models", "Backbone"),
        entry("os", "system"),
        entry("builtins", "eval"),
        entry(None, "Lambda"),
        entry("", ""),
        entry("keras.layers", "Lambda", registered_name="keras_attention>No"),
        entry("keras.layers", "keras_attention>Seq2Seq"),
        entry("keras.layers", "Lambda", registered_name="Dense"),
        entry("keras.layers", "Lambda", shared_object_id=7),
        {"module": "keras.layers", "class_name": "Lambda"},
    ],
    ids=str,
)
def test_what_is_not_known_is_refused(found):
    with pytest.raises(ValueError, match="not known|holds code|runs the graph"):
        check_config({"config": found})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.utils", "get_file"),
        ("keras.saving", "load_model"),
        ("keras.losses", "deserialize"),
        ("keras.activations", "get"),
        ("keras.activations", "__loader__"),
        ("builtins", "eval"),
        ("builtins", "deserialize"),
        ("os", "system"),
        (None, "relu"),
    ],
)
def test_foreign_function_is_refused(module, name):
    with pytest.raises(ValueError, match=f"the function {module}.{name}"):
        check_config({"a": entry(module, "function", config=name)})


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("keras.activations", "gelu"),
        ("builtins", "gelu"),
        ("builtins", "mean_squared_error"),
        ("keras.metrics", "categorical_accuracy"),
    ],
)
def test_function_of_keras_is_allowed(module, name):
    function = entry(module, "function", config=name, registered_name=name)
    assert check_config({"activation": function}) == {}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"class_name": "__lambda__", "config": {}}, "holds code"),
        ({"class_name": "__typespec__", "config": []}, "holds code"),
        ({"class_name": "__main__", "config": {}}, "holds code"),
        ({"class_name": "Dense", "config": {}}, "no module"),
        ({"class_name": ["Dense"]}, "something else than text"),
        (entry(["keras"], "Dense"), "something else than text"),
        (entry("keras.layers", "Dense", registered_name=[]), "else than text"),
        (entry("keras", "function", config=None), "without a name"),
        (entry("keras", "function", config={"a": 5}), "without a name"),
        (
            {"class_name": "__numpy__", "config": {"dtype": "S1000000000"}},
            "an array of 'S1000000000'",
        ),
        (
            {"class_name": "__tensor__", "config": {"dtype": ["float32"]}},
            "not of numbers",
        ),
    ],
    ids=str,
)
def test_odd_entry_is_refused(found, message):
    with pytest.raises(ValueError, match=message):
        check_config({"config": {"layers": [found]}})


def test_error_says_where_and_what_to_do():
    found = {"encoder": {"config": {"layers": [{}, entry("mine", "Layer")]}}}
    place = re.escape("config.json['encoder']['config']['layers'][1]")
    what = "'the class mine.Layer': it is not known"
    ways = ".*`custom_objects`.*register_keras_serializable.*load_model"
    with pytest.raises(ValueError, match=rf"^{place} is {what}{ways}"):
        check_config(found)


class Stranger(keras.layers.Layer):
    pass


def test_registered_class_is_allowed():
    found = entry("mine", "Stranger", registered_name="mine>Stranger")
    with pytest.raises(ValueError, match="mine.Stranger.*is not known"):
        check_config(found)
    with keras.saving.CustomObjectScope({"mine>Stranger": Stranger}):
        assert check_config(found) == {"mine>Stranger": Stranger}


def test_custom_objects_are_allowed():
    found = entry("mine", "Stranger", registered_name="Stranger")
    custom_objects = {"Stranger": Stranger}
    assert check_config(found, custom_objects) == custom_objects
    lookup = entry("keras.layers", "StringLookup")
    custom_objects = {"StringLookup": keras.layers.StringLookup}
    assert check_config(lookup, custom_objects) == {}
    with pytest.raises(ValueError, match="reads a vocabulary from any file"):
        check_config(lookup, {"Stranger": Stranger})


def test_deep_nesting_is_refused():
    config = {}
    for _ in range(300):
        config = {"layer": [config]}
    with pytest.raises(
        ValueError, match=r"^config\.json\.\.\.\[.*nested more than 200"
    ):
        check_config(config)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_the_builder_is_known(kind):
    heads = {"num_heads": 2} if "transformer" in kind else {}
    model = ka.build_seq2seq(kind, 11, 13, units=4, **heads)
    named = check_config(keras.saving.serialize_keras_object(model))
    assert named["keras_attention>Seq2Seq"] is ka.Seq2Seq


def test_functional_model_is_known():
    inputs = keras.Input((3, 5), name="floats")
    hidden = layers.Bidirectional(layers.GRU(7, return_sequences=True))(inputs)
    hidden = keras.ops.mean(keras.ops.relu(hidden) + 1.0, axis=1)
    hidden = keras.Sequential([layers.Dense(2, "gelu")])(hidden)
    model = keras.Model(inputs, hidden)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 11)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        [keras.metrics.MeanMetricWrapper(keras.metrics.categorical_accuracy)],
    )
    assert check_config(keras.saving.serialize_keras_object(model)) == {}
