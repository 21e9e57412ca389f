"""Recordings of digits, joined and in batches; the encoder that reads them."""

import wave

import numpy as np
import pytest

from keras_attention.examples import speech_files as files


def write(path, samples):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, files.RATE, 0, "NONE", None))
        file.writeframes(np.asarray(samples, "<i2").tobytes())


def test_recordings_are_read_by_digit_and_index(tmp_path):
    for digit in range(10):
        write(tmp_path / f"{digit}_ann_3.wav", [digit, -300])
        write(tmp_path / f"{digit}_bob_12.wav", [1000 * digit])
    (tmp_path / "notes.txt").write_text("not a recording")
    test = files.read_recordings(tmp_path, files.SIDES["test"])
    assert [[x.tolist() for x in takes] for takes in test] == [
        [[digit, -300]] for digit in range(10)
    ]
    trained = files.read_recordings(tmp_path, files.SIDES["training"])
    assert trained[7][0].tolist() == [7000]
    assert trained[7][0].dtype == np.float32


def test_sides_share_no_recording():
    indices = [index for side in files.SIDES.values() for index in side]
    assert sorted(indices) == list(range(50))


def test_missing_recordings_are_told(tmp_path):
    write(tmp_path / "0_ann_3.wav", [1])
    with pytest.raises(ValueError, match="'0_george_0.wav', of each digit"):
        files.read_recordings(tmp_path, range(5))


@pytest.mark.parametrize("vary", [False, True])
def test_digits_are_said_one_after_the_other(vary):
    takes = [np.full(3000, 9000.0), np.full(1000, -9000.0)]
    generator = np.random.default_rng(3)
    samples = files.said(takes, generator, vary)
    high, low = np.flatnonzero(samples > 2000), np.flatnonzero(samples < -2000)
    assert 0 < high[0] and high[-1] < low[0] and low[-1] < len(samples) - 1
    exact = (len(high), len(low)) == (3000, 1000)
    assert exact != vary
    assert 0.85 < len(high) / 3000 < 1.15
    assert np.all(samples != 0)  # zeros are padding


def test_sequence_says_its_words():
    recordings = [[np.full(500, 1000.0 * (digit + 1))] for digit in range(10)]
    samples, text = files.sequence(recordings, 4, np.random.default_rng(5))
    loud = np.round(samples / 1000)
    found = [
        int(now) - 1
        for before, now in zip(loud, loud[1:], strict=False)
        if now > 0 and before == 0
    ]
    assert len(text.split()) == 4
    assert {files.WORDS[digit] for digit in found} <= set(text.split())


def test_batches_have_few_shapes(tmp_path):
    files.write_sample(tmp_path)
    recordings = files.read_sides(tmp_path)["training"]
    drawn = files.batches(recordings, [[1, 2], [3]], seed=0)
    for longest, lengths in ((15360, {1, 2}), (20480, {3}), (15360, {1, 2})):
        samples, texts = next(drawn)
        assert samples.shape == (files.BATCH, longest)
        assert samples.dtype == np.float32
        assert {len(text.split()) for text in texts} == lengths


@pytest.mark.tensorflow_only
def test_padding_changes_nothing_that_the_encoder_hears():
    from keras_attention.examples.speech_encoder import new_encoder
    from keras_attention.models.encoding import keras_mask_of

    generator = np.random.default_rng(7)
    first, longer = (
        generator.normal(0, 300, size).astype("float32")
        for size in (1900, 5300)
    )
    encoder = new_encoder(units=6, num_layers=2, dropout=0.5)
    alone = encoder(files.padded([first]))
    both = encoder(files.padded([first, longer]))
    masks = np.array(keras_mask_of(both))
    real = masks.sum(axis=1)
    assert masks.shape == both.shape[:2] == (2, 11)
    assert real[0] == np.sum(keras_mask_of(alone)) == 4
    np.testing.assert_allclose(alone[0, :4], both[0, :4], atol=1e-6)
