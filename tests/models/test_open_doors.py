"""Encoders, decoders and tokenizers of other people in one `Seq2Seq`."""

import keras
import numpy as np
import open_doors
import pytest
from keras import ops
from open_doors import CASES
from open_doors import REAL
from open_doors import TARGET_IDS
from small_models import assert_close
from small_models import randomize

import keras_attention as ka

TARGET = np.array([[1, 5, 6, 7], [1, 8, 2, 0], [1, 2, 0, 0]])
LABELS = np.array([[5, 6, 7, 2], [8, 2, 0, 0], [2, 0, 0, 0]])
BEAM = ka.Beam(3, num_hypotheses=2)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    make, inputs = CASES[request.param]
    return randomize(make()), inputs


def test_it_trains(case):
    model, inputs = case
    again = model.from_config(model.get_config())
    again.set_weights(model.get_weights())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    again.compile(keras.optimizers.SGD(0.1), loss, run_eagerly=True)
    x = {**inputs, "target": TARGET}
    logits = np.float64(ops.convert_to_numpy(again(x)))
    odds = np.exp(logits - logits.max(axis=-1, keepdims=True))
    gains = np.log(odds / odds.sum(axis=-1, keepdims=True))
    gains = np.take_along_axis(gains, LABELS[..., None], axis=-1)[..., 0]
    history = again.fit(x, LABELS, batch_size=3, verbose=0).history
    assert_close(history["loss"][0], -gains[LABELS != 0].mean(), 1e-4)
    before = model.encoder.trainable_weights[0]
    assert np.any(again.encoder.trainable_weights[0] != before)


@pytest.mark.tensorflow_only
def test_greedy_search_says_what_teacher_forcing_prefers(case):
    model, inputs = case
    found = model.generate(**inputs, search=ka.Greedy(), batch_size=2)
    tokens = model.generate(**inputs, search=BEAM, batch_size=2)
    assert tokens.scores.shape == (3, 2)
    if hasattr(found, "texts"):
        ids = np.array(model.target_vocabulary.encode(found.texts[:, 0]))
    else:
        ids = found.tokens[:, 0]
    ids = np.pad(ids, ((0, 0), (0, 4)))[:, :4]
    target = np.pad(ids, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
    logits = model({**inputs, "target": target}, training=False)
    logits = ops.convert_to_numpy(logits).copy()
    logits[..., :2] = -np.inf  # never said
    for row, length in enumerate(found.lengths[:, 0]):
        best = logits[row, :length].argmax(axis=-1)
        np.testing.assert_array_equal(best, ids[row, :length])


@pytest.mark.tensorflow_only
def test_a_saved_folder_answers_alike(case, tmp_path):
    model, inputs = case
    model.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    assert loaded.source_signature == model.source_signature
    expected = model.generate(**inputs, search=BEAM)
    found = loaded.generate(**inputs, search=BEAM)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["frames", "masked frames", "ids"])
def test_padding_of_the_source_changes_nothing(name):
    make, inputs = CASES[name]
    model = randomize(make())
    wider = {}
    for key, array in inputs.items():
        widths = [(0, 0), (0, 3), (0, 0)][: array.ndim]
        wider[key] = np.pad(array, widths)
    assert_close(
        model({**wider, "target": TARGET}), model({**inputs, "target": TARGET})
    )


def test_an_explicit_mask_goes_before_that_of_the_encoder():
    model = randomize(open_doors.id_model())
    shown = model.encode(open_doors.IDS).mask
    np.testing.assert_array_equal(shown, open_doors.IDS != 0)
    hidden = model.encode(open_doors.IDS, source_mask=REAL).mask
    np.testing.assert_array_equal(hidden, REAL)


def test_ids_tell_padding_where_an_encoder_of_keras_has_no_mask():
    embedding = keras.layers.Embedding(11, 4)
    model = ka.Seq2Seq(embedding, ka.RNNDecoder(13, 5))
    found = model.encode(open_doors.IDS).mask
    np.testing.assert_array_equal(found, open_doors.IDS != 0)
    strided = keras.Sequential([embedding, keras.layers.AveragePooling1D(2)])
    model = ka.Seq2Seq(strided, ka.RNNDecoder(13, 5))
    assert model.encode(open_doors.IDS).mask is None


def test_facts_of_encoders():
    facts = {name: make().encoder_facts for name, (make, _) in CASES.items()}
    found = {
        name: (f.width, f.keeps_length, f.gives_mask, f.needs_source_mask)
        for name, f in facts.items()
    }
    assert found == {
        "images": (8, False, False, False),
        "frames": (8, True, True, False),
        "masked frames": (5, True, False, True),
        "ids": (6, True, True, False),
        "decoder": (6, True, True, False),
    }


@keras.saving.register_keras_serializable(package="tests")
class ToldDecoder(open_doors.GRUDecoder):
    """Begins with the state that it is told."""

    def start(
        self, encoded, source_mask, max_length, beams=1, initial_state=None
    ):
        state = super().start(encoded, source_mask, max_length, beams)
        if initial_state is None:
            return state
        return ops.repeat(initial_state[0][:, None], beams, 1), state[1]

    def call(
        self,
        target,
        encoded,
        encoded_mask=None,
        initial_state=None,
        training=None,
    ):
        hidden, _ = self.start(encoded, encoded_mask, None, 1, initial_state)
        embedded = self.embedding(target)  # (B, T, U)
        return self.logits(self.recurrent(embedded, hidden[:, 0]))


def test_the_decoder_begins_with_the_states_of_the_encoder():
    model = ka.Seq2Seq(
        open_doors.FrameEncoder(), ToldDecoder(TARGET_IDS, 5), max_length=4
    )
    randomize(model)
    inputs = {"source": open_doors.frames(), "source_mask": REAL}
    outputs = model.encoder(inputs["source"], mask=REAL)
    state = outputs[1]
    told = model({**inputs, "target": TARGET})
    direct = model.decoder(TARGET, outputs[0], initial_state=list(state))
    assert_close(told, direct)
    zeros = [np.zeros((3, 5), "float32")]
    other = model({**inputs, "target": TARGET, "initial_state": zeros})
    direct = model.decoder(TARGET, outputs[0], initial_state=zeros)
    assert_close(other, direct)
    assert np.abs(np.array(other) - np.array(told)).max() > 0.01


@pytest.mark.tensorflow_only
def test_generate_begins_with_the_state_that_it_is_given():
    model = ka.Seq2Seq(
        open_doors.FrameEncoder(), ToldDecoder(TARGET_IDS, 5), max_length=4
    )
    randomize(model, scale=1.5)
    inputs = {"source": open_doors.frames(), "source_mask": REAL}
    states = model.encode(**inputs).initial_state
    expected = model.generate(**inputs, batch_size=2)
    given = [np.array(state) for state in states]
    found = model.generate(**inputs, initial_state=given)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert_close(found.scores, expected.scores)
    other = model.generate(**inputs, initial_state=[-given[0]])
    assert np.abs(other.scores - found.scores).max() > 0.01


def test_a_state_that_a_decoder_does_not_take_is_refused():
    model = open_doors.id_model()
    decoder = open_doors.GRUDecoder(TARGET_IDS, 5)
    model = ka.Seq2Seq(model.encoder, decoder)
    with pytest.raises(ValueError, match="`initial_state` must be None where"):
        model.encode(open_doors.IDS, initial_state=[np.ones((3, 5))])


class NoDecoder(keras.layers.Layer):
    def start(self, encoded, source_mask, max_length, beams=1):
        return encoded


def inputs_of_two():
    inputs = [keras.Input((None, 3)), keras.Input((None, 3))]
    return keras.Model(inputs, keras.layers.Add()(inputs))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {
                "encoder": keras.layers.Conv2D(8, 3),
                "source_signature": ((5, 7, 3), "float32"),
            },
            r"returns \(None, 3, 5, 8\)\. Put keras\.layers\.Reshape\(\(-1,",
        ),
        (
            {"decoder": NoDecoder()},
            "NoDecoder without step, reorder, call, compute_mask, vocabulary",
        ),
        ({"encoder": inputs_of_two()}, "a model of one input.*one of 2 inputs"),
        ({"source_signature": "float32"}, "`source_signature` must be a keras"),
        ({"source_signature": ((0,), "int32")}, "`source_signature` must be a"),
    ],
    ids=["image", "decoder", "two inputs", "signature", "size"],
)
def test_parts_that_do_not_fit_are_refused(change, message):
    parts = {"encoder": ka.CNNEncoder(11, 6), "decoder": ka.RNNDecoder(13, 5)}
    with pytest.raises(ValueError, match=message):
        ka.Seq2Seq(**{**parts, **change})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.ones((2, 5, 7, 4)), r"numbers of shape \(batch, \*\(5, 7, 3\)\)"),
        (np.ones((5, 7, 3)), r"Received: source=shape \(5, 7, 3\)"),
        (["a"], "`source` must be numbers of shape"),
        ([np.ones((5, 7, 3)), np.ones((4, 7, 3))], r"rows of one length.*4, 5"),
    ],
    ids=["channels", "one image", "text", "ragged"],
)
def test_sources_of_another_shape_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        open_doors.image_model().generate(source)


@pytest.mark.tensorflow_only
def test_a_tokenizer_of_somebody_else_reads_and_writes(tmp_path):
    model = randomize(open_doors.digits_model())
    texts = ["12", "7x5", ""]
    ids = np.array(model.source_vocabulary.encode(texts))
    assert ids[:, :4].tolist() == [[5, 6, 2, 0], [11, 3, 9, 2], [2, 0, 0, 0]]
    found = model.generate(texts, BEAM)
    tokens = model.generate(ids, BEAM).tokens
    said = np.array(model.target_vocabulary.decode(tokens)).astype(str)
    np.testing.assert_array_equal(found.texts, said)
    model.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    assert type(loaded.source_vocabulary) is open_doors.Digits
    np.testing.assert_array_equal(
        loaded.generate(texts, BEAM).texts, found.texts
    )


@pytest.mark.tensorflow_only
def test_arrays_have_no_source_vocabulary():
    digits = open_doors.Digits()
    with pytest.raises(ValueError, match="`source_vocabulary` must be None wh"):
        open_doors.image_model().set_vocabularies(digits, None)
