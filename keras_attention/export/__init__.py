"""Models for others to run: TensorFlow Serving, onnxruntime and LiteRT.

A SavedModel takes text and answers text, without Python: `saved_model` writes
it, `signatures` says what it answers, `portability` refuses what a stock
server would not run, `weights` makes it smaller, `warm_up` and `guide` write
what lies beside it: first requests, and the commands of servers and clients.
`check` asks it something in a process that has TensorFlow alone.

An ONNX or LiteRT file takes ids and answers ids: `whole_search` traces it,
`onnx_folder` and `litert_folder` convert and check it, `runtime_folder` writes
vocabularies and a guide beside it.
"""

from keras_attention.export.check import ask_in_fresh_process
from keras_attention.export.check import check_saved_model
from keras_attention.export.litert_folder import export_litert
from keras_attention.export.onnx_folder import export_onnx
from keras_attention.export.portability import check_portable
from keras_attention.export.saved_model import export_saved_model
from keras_attention.export.warm_up import WarmUp

__all__ = [
    "WarmUp",
    "ask_in_fresh_process",
    "check_portable",
    "check_saved_model",
    "export_litert",
    "export_onnx",
    "export_saved_model",
]
