"""Which changes of a model `generate` notices, and which cost no trace."""

import concurrent.futures
import dataclasses
import time
import warnings

import keras
import numpy as np
import pytest
from keras import ops
from small_models import randomize
from small_models import small_model
from small_models import source_ids

import keras_attention as ka
from keras_attention import functional
from keras_attention.models import tracing

pytestmark = pytest.mark.tensorflow_only  # elsewhere nothing is traced


def scores_of(model):
    return model.generate(source_ids(), verbose=0).scores


@pytest.fixture
def model():
    return small_model("cnn", "luong", max_length=4)


@pytest.fixture
def traces(model, monkeypatch):
    """The list of all traces of the model's encoder, one entry for each."""
    found = []
    call = model.encoder.call

    def recording(source, training=None):
        found.append(source.shape)
        return call(source, training=training)

    monkeypatch.setattr(model.encoder, "call", recording)
    return found


def quantize(model):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the layers that Keras skips
        model.quantize("int8")


def add_lora(model):
    layer = model.decoder.readout
    layer.enable_lora(2)
    randomize(layer)


def change_dtype(model):
    layer = model.encoder.convolutions[0]
    layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")


def replace_a_layer(model):
    other = randomize(small_model("cnn", "luong"), seed=4)
    model.encoder.convolutions[0] = other.encoder.convolutions[0]


def compile_with_another_activation(model):
    model.decoder.readout.activation = keras.activations.linear
    model.compile("sgd", "mse")


@pytest.mark.parametrize(
    "change",
    [
        quantize,
        add_lora,
        change_dtype,
        replace_a_layer,
        compile_with_another_activation,
    ],
)
def test_generate_follows_a_change_of_the_model(model, change):
    before = scores_of(model)
    change(model)
    after = scores_of(model)
    assert np.abs(after - before).max() > 1e-6
    model._generator.functions.clear()
    np.testing.assert_array_equal(after, scores_of(model))


def assign_weights(model):
    randomize(model, seed=4)


def freeze(model):
    model.encoder.trainable = False


def evaluate(model):
    inputs = {"source": source_ids(), "target": np.ones((3, 2), "int32")}
    model.evaluate(inputs, np.ones((3, 2)), verbose=0)


@pytest.mark.parametrize("harmless", [assign_weights, freeze, evaluate])
def test_generate_is_not_traced_again_for_what_a_trace_reads(
    model, traces, harmless
):
    model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
    before = scores_of(model)
    assert len(traces) == 1
    harmless(model)
    traces.clear()
    after = scores_of(model)
    assert traces == []
    changes = np.abs(after - before).max() > 1e-3
    assert changes == (harmless is assign_weights)


def test_other_vocabularies_need_no_other_trace(model, traces):
    from keras_attention.text import Vocabulary

    source = Vocabulary.build(["abcdefg"])
    targets = Vocabulary.build(["ABCDEFGHI"]), Vocabulary.build(["JKLMNOPQR"])
    texts = []
    for target in targets:
        model.set_vocabularies(source, target)
        texts.append(model.generate(["abc"]).texts[0, 0])
    assert len(traces) == 1
    translation = str.maketrans("ABCDEFGHI", "JKLMNOPQR")
    assert texts[0] and texts[0].translate(translation) == texts[1]


@dataclasses.dataclass
class NotThree:
    """A constraint without a hash, as dataclasses are that may change."""

    token: int = 3

    def __call__(self, log_probabilities, tokens, index):
        ids = ops.arange(log_probabilities.shape[-1])
        return ops.where(ids == self.token, -float("inf"), log_probabilities)


def test_a_constraint_needs_no_hash(model, traces):
    for _ in range(2):
        search = ka.Greedy(constraints=[NotThree()])
        assert not np.any(model.generate(source_ids(), search).tokens == 3)
    assert len(traces) == 1
    model.generate(source_ids(), ka.Greedy(constraints=[NotThree(4)]))
    assert len(traces) == 2


def test_parts_are_found_once_in_attributes_lists_and_dicts():
    outer, shared = keras.layers.Layer(), keras.layers.Dense(3)
    shared.build((None, 2))
    outer.first = shared
    outer.nested = {"list": [keras.layers.Layer(), shared]}
    parts = tracing.parts_of(outer)
    layers, variables = (
        [part for part in parts if isinstance(part, kind)]
        for kind in (keras.Layer, keras.Variable)
    )
    assert layers.count(shared) == 1
    assert len(layers) == 3
    assert len(variables) == 2


def test_a_trace_for_declared_batches_serves_no_others(model, traces):
    """Within them attention may be dense, which long sources must not meet."""
    with functional.declared_batches([(2, 5, 7)]):
        scores_of(model)
        scores_of(model)
    assert len(traces) == 1
    scores_of(model)
    assert len(traces) == 2
    with functional.float32_products("backend"):
        scores_of(model)
    assert len(traces) == 3
    scores_of(model)
    assert len(traces) == 3


def test_functions_that_are_no_longer_asked_are_dropped(model, monkeypatch):
    monkeypatch.setattr(tracing, "MOST_FUNCTIONS", 2)
    functions, made = tracing.TracedFunctions(model), []
    for key in ("a", "b", "a", "c", "a", "b"):
        assert (
            functions.get(key, lambda key=key: made.append(key) or key) == key
        )
    assert made == ["a", "b", "c", "b"]


def test_threads_get_one_function(model):
    functions, made = tracing.TracedFunctions(model), []

    def slowly():
        made.append(1)
        time.sleep(0.05)  # the others would begin theirs
        return object()

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        found = threads.map(
            lambda _: functions.get("a", slowly),
            range(32),
        )
        assert len(set(map(id, found))) == len(made) == 1
