"""Models of every kind that is exported, and sources for them."""

import contextlib
import sys
import typing
from pathlib import Path

import keras
import served_models
import tensorflow as tf

import keras_attention as ka
from keras_attention import export
from keras_attention.export.language_signatures import LanguageSignatures
from keras_attention.export.records import PORTABLE
from keras_attention.export.signatures import Signatures
from keras_attention.text import PieceVocabulary

sys.path.append(str(Path(__file__).parent.parent / "models"))

import language_models  # noqa: E402
import open_doors  # noqa: E402
from small_models import randomize  # noqa: E402

BEAM = ka.Beam(3, num_hypotheses=2)
TEXTS = ["cab", "hgfe", "\udcffa\U0001f600"]
NO_ROWS = ("serving_default", "n_best", "tokens", "score")
LONGEST = 11


class Kind(typing.NamedTuple):
    """A model, three sources, the search, and the names of signatures."""

    build: typing.Callable
    sources: typing.Any = TEXTS
    search: typing.Any = BEAM
    signatures: tuple = PORTABLE


def letters(unit="characters"):
    return ka.Vocabulary.build(["abcdefgh"], unit)


def pieces():
    alphabet = ["▁", "ca", "▁ca", "hg", *"abcdefgh"]
    scores = [-1.0 - number / 7 for number in range(len(alphabet))]
    every_byte = [f"<0x{byte:02X}>" for byte in range(256)]
    target = PieceVocabulary(
        [*alphabet, *every_byte],
        [-1.0 - number for number in range(len(alphabet) + 256)],
        "byte_pair",
        unknown="bytes",
    )
    source = PieceVocabulary(alphabet, scores)
    return ka.build_seq2seq("bahdanau", source, target, units=5, max_length=7)


def luong():
    words = letters()
    return ka.build_seq2seq("luong", words, words, units=5, max_length=7)


def location():
    words = letters()
    decoder = ka.RNNDecoder(
        len(words),
        5,
        ka.LocationSensitiveAttention(7, 3, 5),
        cell=keras.layers.GRUCell(7),
    )
    encoder = ka.CNNEncoder(len(words), 11)
    return ka.Seq2Seq(encoder, decoder, 5, words, words)


def language(name, vocabulary=None):
    decoder = language_models.DECODERS[name]()
    return ka.LanguageModel(decoder, 7, vocabulary)


def language_of_text():
    size = language_models.IDS
    words = ka.Vocabulary.build(["abcdefgh "], max_size=size)
    return language("window", words)


def arrays(name):
    build, options = open_doors.CASES[name]
    return Kind(build, options["source"])


KINDS = {
    **dict.fromkeys(served_models.KINDS),  # exported by `served_models`
    "pieces": Kind(pieces),
    "samples": Kind(luong, search=ka.Sample(1.5, num_samples=3, seed=1)),
    "location": Kind(location),
    "somebody's tokenizer": Kind(open_doors.digits_model, ["12", "7x5", ""]),
    "images": arrays("images"),
    "frames": arrays("frames"),
    "masked frames": arrays("masked frames"),
    "ids": arrays("ids"),
    "somebody's decoder": arrays("decoder"),
    "language of text": Kind(language_of_text),
    "language of ids": Kind(
        lambda: language("learned"), language_models.PROMPTS[:3]
    ),
    "recurrent language": Kind(
        lambda: language("recurrent"),
        language_models.PROMPTS[:3],
        signatures=NO_ROWS,
    ),
}


class Served(typing.NamedTuple):
    """A SavedModel, and the functions that it was made of, in this process."""

    version: str  # the name that a server has it under
    folder: Path
    offered: typing.Any
    sources: typing.Any
    signatures: tuple
    tolerance: float  # of bfloat16, in which a graph rounds elsewhere


def exported(name, served, folder):
    """Returns the `Served` of a kind.

    Args:
        name: key of `KINDS`.
        served: function without arguments that returns what
            `served_models.served` does.
        folder: path to export to.
    """
    if name in served_models.KINDS:
        model, search = served_models.reference(name), _search_of(name)
        limits = served_models.MAX_LENGTH, served_models.MAX_SOURCE_LENGTH
        folder, kind = served()[name]["folder"], Kind(None)
    else:
        keras.utils.set_random_seed(7)
        kind = KINDS[name]
        model, search = randomize(kind.build()), kind.search
        limits = model.max_length, LONGEST
        export.export_saved_model(
            model,
            folder,
            search,
            max_source_length=LONGEST,
            signatures=kind.signatures,
        )
    is_language = isinstance(model, ka.LanguageModel)
    functions = LanguageSignatures if is_language else Signatures
    offered = functions(model, search, *limits, contextlib.nullcontext)
    tolerance = 0.05 if name in served_models.DTYPES else 1e-5
    return Served(
        name, folder, offered, kind.sources, kind.signatures, tolerance
    )


def _search_of(name):
    _, _, search, _ = served_models.KINDS[name]
    return search


def inputs_of(case, name):
    """Returns the inputs of a signature, arrays by name, of three rows."""
    sources = case.sources
    if isinstance(sources, list):
        sources = [text.encode("utf-8", "surrogatepass") for text in sources]
    asked = case.offered.asked_of(name, tf.constant(sources))
    if name == "decode_step" and "token" not in asked:
        asked["ids"] = tf.constant([[4, 5], [5, 0], [0, 0]], tf.int32)
    return {key: tensor.numpy() for key, tensor in asked.items()}


def expected_of(case, name, inputs):
    """Returns what the functions say to the same, arrays by name."""
    tensors = {key: tf.constant(array) for key, array in inputs.items()}
    found = case.offered.functions[name](tensors)
    return {key: tensor.numpy() for key, tensor in found.items()}
