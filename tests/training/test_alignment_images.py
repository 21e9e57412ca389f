"""Pictures of alignments that are written while `fit` runs, read back."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_attention as ka

PAIRS = [("abc", "cba"), ("bca", "acb"), ("cab", "bac")]
SOURCES = ["abc", "cab"]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    texts = ka.Vocabulary.build(["abc"])
    model = ka.build_seq2seq("luong", texts, texts, units=5, max_length=5)
    loss = ka.training.MaskedCrossentropy()
    model.compile(optimizer="adam", loss=loss, run_eagerly=True)
    return model


def fit(model, *callbacks, epochs=3):
    vocabulary = model.source_vocabulary
    data = ka.training.make_dataset(
        PAIRS, vocabulary, model.target_vocabulary, batch_size=3
    )
    options = {"epochs": epochs, "shuffle": False, "verbose": 0}
    model.fit(data, callbacks=list(callbacks), **options)


def images_in(folder):
    """Returns {tag: [(step, decoded picture), ...]} of a folder of logs."""
    from tensorboard.backend.event_processing import event_accumulator

    logs = event_accumulator.EventAccumulator(
        str(folder), size_guidance={event_accumulator.TENSORS: 0}
    )
    logs.Reload()
    found = {}
    for tag in logs.Tags()["tensors"]:
        for event in logs.Tensors(tag):
            width, height, png = event.tensor_proto.string_val
            picture = tf.io.decode_png(png).numpy()
            assert picture.shape[:2] == (int(height), int(width))
            found.setdefault(tag, []).append((event.step, picture))
    return found


def test_alignments_are_written_at_their_epochs(model, tmp_path):
    folder = tmp_path / "not" / "yet"
    callback = ka.training.AlignmentImages(folder, SOURCES, every=2)
    fit(model, callback, epochs=3)
    found = images_in(folder)
    assert sorted(found) == ["alignment/0", "alignment/1"]
    for pictures in found.values():
        assert [step for step, _ in pictures] == [1, 2]  # the last one too
        for _, picture in pictures:
            assert picture.std() > 10  # neither blank nor black


def test_the_picture_is_that_of_the_model(model, tmp_path):
    callback = ka.training.AlignmentImages(tmp_path, ["bca"])
    callback.set_model(model)
    callback.write(epoch=7)
    (((step, picture),),) = images_in(tmp_path).values()
    path = tmp_path / "expected.png"
    ka.plots.save_figure(model.plot_alignment("bca"), path, dpi=80)
    expected = tf.io.decode_png(path.read_bytes(), channels=3)
    assert step == 7
    np.testing.assert_array_equal(picture, expected)


def test_a_model_without_texts_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(loss="mse")
    callback = ka.training.AlignmentImages(tmp_path, SOURCES)
    with pytest.raises(ValueError, match="`model` must be a `Seq2Seq` with bo"):
        model.fit(
            np.ones((2, 3)), np.ones((2, 2)), verbose=0, callbacks=[callback]
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": "hello"}, "`sources` must be a list of.*into a list"),
        ({"sources": []}, "`sources` must be a list of texts, at least one"),
        ({"sources": [b"a"]}, "`sources` must be a list of texts"),
        ({"every": 0}, "`every` must be a positive integer.*every=0"),
        ({"max_length": 0}, "`max_length` must be a positive integer or None"),
    ],
)
def test_bad_arguments_of_the_callback_are_named(options, message):
    options = {"sources": SOURCES, **options}
    with pytest.raises(ValueError, match=message):
        ka.training.AlignmentImages("logs", **options)


def test_missing_tensorboard_is_explained(monkeypatch):
    monkeypatch.delattr(tf.summary, "image")
    callback = ka.training.AlignmentImages("logs", SOURCES)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        callback.on_train_begin()
