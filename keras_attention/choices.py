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
# What generated texts are measured by: the first two are always there.
METRICS = (
    "exact_match",
    "error_rate",
    "word_error_rate",
    "character_error_rate",
    "bleu",
    "chrf",
    "rouge_1",
    "rouge_l",
)
MONITORS = (*METRICS, "loss")
STRATEGIES = ("mirrored", "multi_worker")
BLEU_TOKENIZERS = ("13a", "intl", "zh", "char", "none")
EXPORT_FORMATS = ("saved_model", "onnx", "litert")
WEIGHT_FORMATS = ("float16", "bfloat16", "int8")
# Ends of the names of pictures.
PICTURE_SUFFIXES = (".png", ".pdf", ".svg")
# Ends of the names of pages to look into attention.
PAGE_SUFFIXES = (".html", ".htm")
# Shells whose completion is written.
SHELLS = ("bash", "zsh", "tcsh")
