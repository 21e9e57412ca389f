"""Search for the best target sequences: greedy, sampling and beam.

The search drives a decoder through three methods and knows nothing else of
it (the step protocol, written out in `decode`), so it runs any model, eager,
in a `tf.function`, under XLA and on JAX.
"""

from keras_attention.decoding.constraints import MinLength
from keras_attention.decoding.constraints import NoRepeatNgram
from keras_attention.decoding.constraints import RepetitionPenalty
from keras_attention.decoding.constraints import Suppress
from keras_attention.decoding.loop import Decoded
from keras_attention.decoding.loop import decode
from keras_attention.decoding.scoring import score_tokens
from keras_attention.decoding.scoring import token_log_probabilities
from keras_attention.decoding.search import Beam
from keras_attention.decoding.search import Greedy
from keras_attention.decoding.search import Sample
from keras_attention.decoding.slots import gather_slots
from keras_attention.special_ids import BOS_ID as BOS
from keras_attention.special_ids import EOS_ID as EOS
from keras_attention.special_ids import PAD_ID as PAD

__all__ = [
    "BOS",
    "EOS",
    "PAD",
    "Beam",
    "Decoded",
    "Greedy",
    "MinLength",
    "NoRepeatNgram",
    "RepetitionPenalty",
    "Sample",
    "Suppress",
    "decode",
    "gather_slots",
    "score_tokens",
    "token_log_probabilities",
]
