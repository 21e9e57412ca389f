"""An encoder of speech: from samples to a vector for each 64 milliseconds."""

from typing import Any

from keras_attention.examples import speech_files as files

BANDS = 40  # of the mel scale


def new_encoder(units: int, num_layers: int, dropout: float) -> Any:
    """Returns a model from samples to (batch, positions, units)."""
    import keras

    # Keras's own draws its bits several times over in a program of XLA.
    from keras_attention.layers import Dropout

    samples = keras.Input((None,))
    mel = keras.layers.MelSpectrogram(
        fft_length=files.WINDOW,
        sequence_stride=files.HOP,
        sampling_rate=files.RATE,
        num_mel_bins=BANDS,
        min_power=1.0,  # so that padding, and it alone, is 0 decibels
        top_db=1e9,  # or the loudest of the batch would decide what is heard
    )(samples)  # (B, BANDS, 4 * S + 1)
    x = keras.layers.Cropping1D((0, 1))(keras.layers.Permute((2, 1))(mel))
    x = keras.layers.Reshape((-1, files.STACKED * BANDS))(x)  # (B, S, 160)
    x = keras.layers.BatchNormalization()(keras.layers.Masking()(x))
    x = keras.layers.Dense(units, activation="relu")(x)  # (B, S, units)
    for _ in range(num_layers):
        x = Dropout(dropout)(x)
        lstm = keras.layers.LSTM(
            units // 2, return_sequences=True, use_cudnn=False
        )
        x = keras.layers.Bidirectional(lstm)(x)
    return keras.Model(samples, Dropout(dropout)(x))
