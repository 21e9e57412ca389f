"""Names that arguments may take.

They stand here, and not with the code that they choose, because the command
line offers them before it imports Keras.
"""

ENCODERS = ("rnn", "cnn", "transformer")
DECODERS = ("bahdanau", "luong", "rnn", "transformer")
# Kinds of models that have a name of one word.
SHORT_NAMES = {
    "transformer": "transformer-transformer",
    "bahdanau": "rnn-bahdanau",
    "luong": "rnn-luong",
}
KINDS = (
    *SHORT_NAMES,
    *(f"{encoder}-{decoder}" for encoder in ENCODERS for decoder in DECODERS),
)
CELLS = ("lstm", "gru", "simple")
SCORES = ("dot", "scaled", "general", "cosine", "distance")
UNITS = ("characters", "words", "symbols")
# Pieces are learned: what counts tokens alone knows the others.
VOCABULARY_UNITS = (*UNITS, "pieces")
DECAYS = ("constant", "inverse_sqrt", "linear", "cosine")
ALIGNMENT_LOSSES = ("coverage", "diagonal")
MONITORS = ("error_rate", "exact_match", "loss")
WEIGHT_FORMATS = ("float16", "bfloat16", "int8")
# Ends of the names of pictures.
PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
