"""What an exported model answers where there is no Keras."""

import json

import numpy as np
from fresh_process import run_fresh

from keras_attention import export

PROGRAM = """
import json, sys
sys.modules["keras"] = sys.modules["keras_attention"] = None
import tensorflow as tf
loaded = tf.saved_model.load(sys.argv[1])
texts = tf.constant(json.loads(sys.argv[2]))
answer = loaded.signatures["n_best"](text=texts)
hidden = not any(name.startswith("keras.") for name in sys.modules)
print(json.dumps({
    "text": [[t.decode() for t in row] for row in answer["text"].numpy()],
    "score": answer["score"].numpy().tolist(),
    "alignments": answer["alignments"].numpy().tolist(),
    "hidden": hidden,
}))
"""
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
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    done = run_fresh(str(program), str(folder), json.dumps(TEXTS))
    told = json.loads(done.stdout.splitlines()[-1])
    expected = model.generate(TEXTS, search)
    assert told["hidden"]
    assert told["text"] == np.asarray(expected.texts).tolist()
    np.testing.assert_allclose(told["score"], expected.scores, atol=1e-5)
    return told
