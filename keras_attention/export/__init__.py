"""A SavedModel for TensorFlow Serving: text in, text out, without Python.

`saved_model` writes it, `signatures` says what it answers, `portability`
refuses what a stock server would not run, `guide` writes the commands beside
it and `check` asks it something in a process of its own.
"""

from keras_attention.export.saved_model import export_saved_model

__all__ = ["export_saved_model"]
