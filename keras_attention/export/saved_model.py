"""Writes a model as one SavedModel: text in, text out, without Python."""

import pathlib
from collections.abc import Collection
from collections.abc import Sequence

import tensorflow as tf

from keras_attention import files
from keras_attention import validation
from keras_attention.decoding import Beam
from keras_attention.decoding.search import Search
from keras_attention.export import guide
from keras_attention.export import language_signatures as language
from keras_attention.export import warm_up as warming
from keras_attention.export import weights as formats
from keras_attention.export.arguments import checked_max_length
from keras_attention.export.check import SAVED_MODEL
from keras_attention.export.portability import check_portable
from keras_attention.export.records import COMPILED
from keras_attention.export.records import NAMES
from keras_attention.export.signatures import Signatures
from keras_attention.functional.compiling import forward_only
from keras_attention.models import LanguageModel
from keras_attention.models import Seq2Seq
from keras_attention.models import vocabularies

# Only a folder that holds it is ever replaced,
MARKER_FILES = (SAVED_MODEL,)
# and nothing else but these, the last three of other writers.
OTHER_NAMES = (
    "variables",
    "assets",
    "fingerprint.pb",
    warming.FOLDER,
    guide.README,
    guide.BATCHING,
    "saved_model.pbtxt",
    "keras_metadata.pb",
    "debug",
)


def export_saved_model(
    model: Seq2Seq | LanguageModel,
    folder: str | pathlib.Path,
    search: Search = Beam(4),  # noqa: B008 (frozen)
    max_length: int | None = None,
    max_source_length: int = 512,
    overwrite: bool = False,
    weights: str | None = None,
    warm_up: warming.WarmUp | None = None,
    signatures: Sequence[str] = NAMES,
) -> pathlib.Path:
    """Exports a model for TensorFlow Serving.

    The SavedModel answers strings with strings. It holds the weights once and
    needs neither Keras nor this package. A model without a source vocabulary
    takes `source` in place of `text`: ids or arrays (batch, ...), as its
    `source_signature` says, and for arrays of many lengths `source_mask`
    (batch, source_length), unless its encoder masks them. One without a
    target vocabulary says `ids`, padded with 0, in place of `text`, and
    `score` takes such a `target`. Signatures, each with named inputs and
    outputs whose leading axis is the batch:

    - `serving_default`: `text` (batch,) -> `text` (batch,), `score` (batch,),
      of the best target, or of the first that a `Sample` draws.
    - `n_best`: `text` -> `text` and `score` (batch, n), `alignments` (batch,
      n, target_length, source_length), `source_tokens` (batch,
      source_length), `target_tokens` (batch, n, target_length). n is the
      `num_hypotheses` of a beam, or its width if that is 1, and they come
      best first; of a `Sample` it is `num_samples`, in the order drawn.
    - `tokens`: `ids` (batch, source_length) int32, padded with 0, or arrays
      `source` -> `ids` (batch, n, max_length), `scores` and `lengths`
      (batch, n).
    - `score`: `text`, `target` (batch,) -> `score` and `log_probability`
      (batch,) that the model gives this target. The length penalty of the
      search counts, its coverage penalty and its constraints do not.
    - `encode` and `decode_step`: for clients that show each token at once;
      the `README.md` beside the SavedModel has an example.
    - `compiled`: as `serving_default`, the search compiled by XLA: faster
      after the first requests, on servers started with XLA. Batch and length
      are padded to powers of two, which bounds the number of programs; the
      length of arrays only where they come with a `source_mask`. Where a
      GPU compiles it, attention of half precision is fused.

    Of a `LanguageModel` the sources are prompts and the targets what follows
    them; `ids` take the place of `source`, and there are no alignments. Its
    `encode` reads a prompt and says what may come first; `decode_step` takes
    the id chosen, the position of each row and the keys and values of all
    before, and returns them with one more, so that a client that shows each
    token at once waits for one position alone. A prompt longer than
    `max_source_length` loses its beginning, text or ids: what comes last
    matters most to what follows. Padding, BOS and EOS are not counted.

    All but `compiled` run on any server. Any text has an answer: what is
    longer than `max_source_length` is cut, broken UTF-8 reads as U+FFFD, what
    the vocabulary lacks as unknown; no row changes another's answer. Only a
    request whose inputs differ in their number of rows is an error. With
    `Sample` the random bits of a row depend on its text and the seed alone.
    So that no request fills the memory, only the first 4 bytes for each of
    the `max_source_length` characters, 64 bytes for each word or symbol, are
    read at all; the same holds for `target` and `max_length`.

    Args:
        model: a `Seq2Seq` or a `LanguageModel`.
        folder: path of the new SavedModel, replaced in one atomic step. A
            `README.md` in it says how to serve and call it.
        search: `Greedy()`, `Sample(...)` or `Beam(...)`.
        max_length: longest target, EOS counted. Defaults to the model's.
        max_source_length: longest source in tokens, EOS counted, or in
            positions of an array, if it has any length and the encoder keeps
            it. Of a `LanguageModel` the most tokens of a prompt, of which the
            last are read.
        overwrite: whether to replace an earlier SavedModel at this path. One
            that holds anything else is kept, with an error.
        weights: how the weights are stored. None: as they are. "float16" or
            "bfloat16": half the size, cast up to float32 when the model is
            loaded, so that answers differ by the rounding alone and take as
            long as before. "int8": the dense projections and embeddings in a
            quarter of the size, by Keras's `quantize` on a copy of the model;
            a CPU may be slower with it.
        warm_up: a `WarmUp`, the texts that a server answers while it loads
            the model; None for none.
        signatures: names of those to trace, of which each takes seconds.

    Returns:
        The folder, a `pathlib.Path`.

    Raises:
        ValueError: if an argument is out of range, or lengths are beyond the
            positions of encoder or decoder; if the folder may not be written;
            if a weight is NaN, infinite or beyond the range of float16; or if
            the model holds an operation that a server without XLA, GPU or
            Python cannot run.

    Example:

    >>> import tempfile
    >>> import keras_attention as ka
    >>> from keras_attention.export import export_saved_model
    >>> words = ka.Vocabulary.build(["abc"])
    >>> model = ka.build_seq2seq("luong", words, words, units=3)
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     folder = export_saved_model(model, f"{parent}/1", ka.Greedy())
    ...     sorted(path.name for path in folder.iterdir())[0]
    'README.md'
    """
    max_length = checked_max_length(
        model, search, max_length, max_source_length
    )
    _check_names(signatures)
    signatures = _offered_by(model, signatures)
    _check_warm_up(vocabularies.of(model), warm_up)
    folder = pathlib.Path(folder)
    files.check_free(folder, overwrite, MARKER_FILES, OTHER_NAMES)
    model, held, scope = formats.stored(model, weights)
    is_language_model = isinstance(model, LanguageModel)
    kind = language.LanguageSignatures if is_language_model else Signatures
    offered = kind(model, search, max_length, max_source_length, scope)
    with forward_only():
        traced = offered.trace(signatures)
    for name in traced:
        if name != COMPILED:
            check_portable(name, traced[name])
    with files.replace_folder(
        folder, MARKER_FILES, overwrite, OTHER_NAMES
    ) as new:
        served = _served(model, held)
        tf.saved_model.save(served, str(new), signatures=traced)
        if warm_up is not None:
            warming.write(new, warm_up, traced, offered)
        guide.write(new, guide.Facts(offered, tuple(traced), weights, warm_up))
    return folder


def _served(model, held):
    """Returns what the SavedModel holds besides graphs, each thing once."""
    served = tf.Module()
    served.weights = held
    for name, vocabulary in vocabularies.of(model).items():
        setattr(served, name, vocabulary)
    return served


def _check_names(signatures):
    is_listed = isinstance(signatures, Collection)
    if not is_listed or isinstance(signatures, str) or not signatures:
        raise validation.invalid(
            "signatures", "a list of names", repr(signatures)
        )
    for name in signatures:
        validation.check_choice("signatures", name, NAMES)


def _offered_by(model, signatures):
    """Returns the signatures that a model can answer, of those asked for."""
    if not isinstance(model, LanguageModel) or language.has_rows(model.decoder):
        return signatures
    if set(signatures) == set(NAMES):
        return [n for n in NAMES if n not in language.ROW_SIGNATURES]
    for name in language.ROW_SIGNATURES:
        if name in signatures:
            raise validation.invalid(
                "signatures",
                f"without {name!r} where the decoder has no `start_rows` and "
                "`step_rows`",
                repr(signatures),
            )
    return signatures


def _check_warm_up(found, warm_up):
    if warm_up is None:
        return
    if not isinstance(warm_up, warming.WarmUp):
        raise validation.invalid("warm_up", "a WarmUp or None", repr(warm_up))
    reads_text = next(iter(found.values())) is not None
    if warm_up.is_text != reads_text:
        raise validation.invalid(
            "warm_up",
            "a WarmUp of strings" if reads_text else "a WarmUp of an array",
            repr(warm_up)[:80],
        )
