"""Strings to ids and back, in plain TensorFlow operations.

Everything here is traceable, so the code that reads the training file is the
code that answers inside the SavedModel. A SavedModel that uses a `Vocabulary`
carries its tokens inside and needs neither this package nor other libraries.
String operations and tables cannot be compiled by XLA: keep them outside
functions traced with `jit_compile=True`.

`units` cuts text into tokens; `vocabulary` gives them ids. `pieces` does both
for parts of words that were learned: `reading` finds the words, `unigram` and
`byte_pair` cut them.
"""

from keras_attention.special_ids import BOS_ID
from keras_attention.special_ids import EOS_ID
from keras_attention.special_ids import PAD_ID
from keras_attention.special_ids import UNKNOWN_ID
from keras_attention.text.pieces import PieceVocabulary
from keras_attention.text.reading import Reading
from keras_attention.text.units import UNITS
from keras_attention.text.vocabulary import SPECIAL_TOKENS
from keras_attention.text.vocabulary import Vocabulary
from keras_attention.text.vocabulary_files import read_vocabulary
from keras_attention.text.vocabulary_files import vocabulary_from_dict

__all__ = [
    "BOS_ID",
    "EOS_ID",
    "PAD_ID",
    "PieceVocabulary",
    "Reading",
    "SPECIAL_TOKENS",
    "UNITS",
    "UNKNOWN_ID",
    "Vocabulary",
    "read_vocabulary",
    "vocabulary_from_dict",
]
