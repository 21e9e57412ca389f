"""A SavedModel for TensorFlow Serving: text in, text out, without Python.

`saved_model` writes it, `signatures` says what it answers, `portability`
refuses what a stock server would not run, `guide` writes the commands beside
it, and `check` asks it something in a process that has TensorFlow alone.
"""

from keras_attention.export.check import ask_in_fresh_process
from keras_attention.export.check import check_saved_model
from keras_attention.export.portability import check_portable
from keras_attention.export.saved_model import export_saved_model

__all__ = [
    "ask_in_fresh_process",
    "check_portable",
    "check_saved_model",
    "export_saved_model",
]
