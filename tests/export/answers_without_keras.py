"""What an exported model answers where there is no Keras."""

import numpy as np
from without_keras import ask_without_keras

from keras_attention import export

TEXTS = ["cab", "a", "hgfe"]


def check_answers_without_keras(model, search, tmp_path):
    """Exports a model, moves it, and compares its answers with `generate`.

    Returns:
        What the SavedModel answered, by name.
    """
    export.export_saved_model(
        model, tmp_path / "1", search, signatures=["n_best"]
    )
    folder = (tmp_path / "1").rename(tmp_path / "moved")
    asked = [{"signature": "n_best", "inputs": {"text": TEXTS}}]
    (told,) = ask_without_keras(folder, asked)
    expected = model.generate(TEXTS, search)
    assert told["text"] == np.asarray(expected.texts).tolist()
    np.testing.assert_allclose(told["score"], expected.scores, atol=1e-5)
    return told
