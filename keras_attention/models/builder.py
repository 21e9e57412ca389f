"""From hyperparameters to a full model, by flat keywords."""

import dataclasses
from typing import Any

import keras

from keras_attention import validation
from keras_attention.choices import KINDS
from keras_attention.choices import SHORT_NAMES
from keras_attention.layers import AdditiveAttention
from keras_attention.layers import AttentionMechanism
from keras_attention.layers import AttentionOptions
from keras_attention.layers import DotProductAttention
from keras_attention.models.cnn_encoder import CNNEncoder
from keras_attention.models.rnn_decoder import RNNDecoder
from keras_attention.models.rnn_encoder import RNNEncoder
from keras_attention.models.seq2seq import Seq2Seq
from keras_attention.models.transformer_decoder import TransformerDecoder
from keras_attention.models.transformer_encoder import TransformerEncoder

RECURRENT = {"cell", "embedding_dim"}
TRANSFORMER = {"num_heads", "feed_forward_units", "activation"}
TRANSFORMER |= {"normalize_first", "flash_attention"}
TRANSFORMER |= {"position", "attention_options", "attention_dropout"}
ENCODER_OPTIONS = {
    "rnn": RECURRENT | {"bidirectional"},
    "cnn": {"kernel_size"},
    "transformer": TRANSFORMER,
}
# Their masks are where ids are not padding, and nowhere else.
ENCODERS = (CNNEncoder, RNNEncoder, TransformerEncoder)
DECODERS = (RNNDecoder, TransformerDecoder)
DECODER_OPTIONS = {
    "bahdanau": RECURRENT | {"attention"},
    "luong": RECURRENT | {"attention", "input_feeding"},
    "rnn": RECURRENT,
    "transformer": TRANSFORMER,
}


def build_seq2seq(
    kind: str,
    source_vocabulary: Any,
    target_vocabulary: Any,
    *,
    units: int = 256,
    num_layers: int = 1,
    num_decoder_layers: int | None = None,
    dropout: float = 0.1,
    attention_dropout: float | None = None,
    max_length: int = 128,
    tie_embeddings: bool = False,
    share_embeddings: bool = False,
    embedding_dim: int | None = None,
    cell: str | None = None,
    bidirectional: bool | None = None,
    attention: str | AttentionMechanism | None = None,
    input_feeding: bool | None = None,
    kernel_size: int | None = None,
    num_heads: int | None = None,
    feed_forward_units: int | None = None,
    activation: Any = None,
    normalize_first: bool | None = None,
    flash_attention: bool | None = None,
    position: Any = None,
    attention_options: AttentionOptions | None = None,
    seed: int | None = None,
    dtype: Any = None,
) -> Seq2Seq:
    """Builds a sequence-to-sequence model.

    An option that no part of the chosen kind has is an error, so a value
    given is a value used. None leaves an option at the default of its part.
    Kinds are named after the papers of their attention; for the rest of these
    ask by name: `cell="gru"` for Bahdanau et al., `bidirectional=False` for
    Luong et al., `normalize_first=False` and `tie_embeddings=True` for Vaswani
    et al.

    Args:
        kind: "transformer" (Vaswani et al. 2017), "bahdanau" (Bahdanau et al.
            2015), "luong" (Luong et al. 2015), or "ENCODER-DECODER" with an
            encoder of "rnn", "cnn", "transformer" and a decoder of
            "bahdanau", "luong", "rnn" (no attention), "transformer".
        source_vocabulary: a `text.Vocabulary`, or the number of source ids.
        target_vocabulary: a `text.Vocabulary`, or the number of target ids.
        units: width of the model; of one direction in a recurrent encoder.
        num_layers: number of layers of the encoder, and of the decoder.
        num_decoder_layers: number of layers of the decoder, where different.
        dropout: rate of all dropouts.
        attention_dropout: rate of the dropout of attention weights; by
            default `dropout`. With 0.0 training on a GPU can use the fused
            kernel, which drops none (transformer parts).
        max_length: longest target that `generate` makes, EOS counted.
        tie_embeddings: whether the logits reuse the target embeddings.
        share_embeddings: whether encoder and decoder have one table of
            embeddings. Source and target have one vocabulary then, in
            `train` by `shared_vocabulary`.
        embedding_dim: width of the embeddings (recurrent parts).
        cell: "lstm", "gru" or "simple" (recurrent parts).
        bidirectional: whether a recurrent encoder reads both ways.
        attention: "additive", or a score of `DotProductAttention`: "general",
            or, where the encoder is as wide as the decoder (a recurrent one
            with bidirectional=False), "dot", "scaled", "cosine", "distance";
            or a mechanism, such as `LocalAttention(...)`, of which a copy is
            taken. Defaults to "additive" for bahdanau and "general" for luong.
        input_feeding: whether the cells read the last output (luong).
        kernel_size: positions seen by a convolution (cnn).
        num_heads: number of attention heads (transformer parts).
        feed_forward_units: hidden width of feed-forward layers (transformer
            parts).
        activation: activation of feed-forward layers (transformer parts).
        normalize_first: pre-norm or post-norm (transformer parts).
        flash_attention: True keeps self-attention from ever building its
            score matrix, False makes it always do so; by default, and in
            cross-attention, the size decides (transformer parts).
        position: `RotaryEmbedding()`, `LearnedPositionalEncoding(...)` or
            another; by default sinusoids. The decoder gets a copy where the
            encoder has it too (transformer parts).
        attention_options: an `AttentionOptions`: a sliding window, grouped
            heads and more (transformer parts).
        seed: integer seed of the dropouts.
        dtype: dtype or dtype policy of all parts, such as "mixed_bfloat16".

    Returns:
        A `Seq2Seq`, built, not compiled.

    Raises:
        ValueError: if an argument is out of range, or has no use.

    Example:

    >>> import keras_attention as ka
    >>> model = ka.build_seq2seq("rnn-transformer", 11, 13, units=4)
    >>> type(model.encoder).__name__, type(model.decoder).__name__
    ('RNNEncoder', 'TransformerDecoder')
    """
    validation.check_choice("kind", kind, KINDS)
    encoder_kind, decoder_kind = SHORT_NAMES.get(kind, kind).split("-")
    options = {
        "embedding_dim": embedding_dim,
        "cell": cell,
        "bidirectional": bidirectional,
        "attention": attention,
        "input_feeding": input_feeding,
        "kernel_size": kernel_size,
        "num_heads": num_heads,
        "feed_forward_units": feed_forward_units,
        "activation": activation,
        "normalize_first": normalize_first,
        "flash_attention": flash_attention,
        "position": position,
        "attention_options": attention_options,
        "attention_dropout": attention_dropout,
    }
    options = {k: v for k, v in options.items() if v is not None}
    _check_used(kind, options, encoder_kind, decoder_kind)
    options = _with_attention_dropout(options)
    common = {"units": units, "dropout": dropout, "dtype": dtype}
    encoder = _encoder(
        encoder_kind,
        _chosen(options, ENCODER_OPTIONS[encoder_kind]),
        vocabulary_size=_size("source_vocabulary", source_vocabulary),
        num_layers=num_layers,
        seed=seed,
        **common,
    )
    _check_widths(attention, encoder.output_width, units)
    if num_decoder_layers is None:
        num_decoder_layers = num_layers
    if encoder_kind == "transformer":
        options = _with_own_positions(options)
    decoder = _decoder(
        decoder_kind,
        _chosen(options, DECODER_OPTIONS[decoder_kind]),
        vocabulary_size=_size("target_vocabulary", target_vocabulary),
        num_layers=num_decoder_layers,
        tie_embeddings=tie_embeddings,
        seed=None if seed is None else seed + 1,
        **common,
    )
    return Seq2Seq(
        encoder,
        decoder,
        max_length=max_length,
        dtype=dtype,
        share_embeddings=share_embeddings,
        source_vocabulary=_vocabulary(source_vocabulary),
        target_vocabulary=_vocabulary(target_vocabulary),
    )


def hides_padding_alone(model: Seq2Seq) -> bool:
    """Whether the masks of the model are those of parts that are known here.

    A part of the caller's making may hide what it likes.
    """
    is_ours = type(model.encoder) in ENCODERS
    is_ours = is_ours and type(model.decoder) in DECODERS
    return is_ours and all(map(_is_of_package, _mechanisms(model.decoder)))


def _mechanisms(decoder):
    """Returns what attends in the cell of a decoder; `[None]` if nothing."""
    cell = getattr(decoder, "recurrent_cell", None)
    attention = getattr(cell, "attention", None)
    is_several = isinstance(attention, (list, tuple))
    return attention if is_several else [attention]


def _is_of_package(mechanism):
    home, *_ = type(mechanism).__module__.split(".")
    return mechanism is None or home == __name__.split(".")[0]


def _encoder(kind, options, **common):
    classes = {
        "rnn": RNNEncoder,
        "cnn": CNNEncoder,
        "transformer": TransformerEncoder,
    }
    return classes[kind](name="encoder", **options, **common)


def _decoder(kind, options, **common):
    if kind == "transformer":
        return TransformerDecoder(name="decoder", **options, **common)
    if kind != "rnn":
        score = {"bahdanau": "additive"}.get(kind, "general")
        score, dtype = options.get("attention", score), common["dtype"]
        if isinstance(score, AttentionMechanism):
            layer = _copy_of(score)
        elif score == "additive":
            layer = AdditiveAttention(common["units"], dtype=dtype)
        else:
            layer = DotProductAttention(score, dtype=dtype)
        # Luong's query is the state after the step, Bahdanau's before it.
        query_state = {"luong": "current"}.get(kind, "previous")
        options |= {"attention": layer, "query_state": query_state}
    return RNNDecoder(name="decoder", **options, **common)


def _with_own_positions(options):
    """Returns the options with copies of what may hold weights."""
    copies = {
        name: _copy_of(options[name])
        for name in ("position", "attention_options")
        if name in options
    }
    return {**options, **copies}


def _copy_of(described):
    return keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(described)
    )


def _with_attention_dropout(options):
    """Returns the options with that dropout in the `AttentionOptions`."""
    rest = dict(options)
    rate = rest.pop("attention_dropout", None)
    if rate is None:
        return options
    validation.check_rate("attention_dropout", rate)
    joined = rest.get("attention_options") or AttentionOptions()
    if joined.dropout not in (None, rate):
        raise validation.invalid(
            "attention_dropout",
            "given once",
            rate,
            f"attention_options.dropout={joined.dropout!r}.",
        )
    rest["attention_options"] = dataclasses.replace(joined, dropout=rate)
    return rest


def _check_widths(attention, encoder_width, units):
    has_own_widths = (None, "additive", "general")
    if not isinstance(attention, str) or attention in has_own_widths:
        return
    if encoder_width == units:
        return
    raise validation.invalid(
        "attention",
        f"'additive' or 'general' where the encoder's width {encoder_width} "
        f"is not units={units}",
        repr(attention),
        "A recurrent encoder has the width `units` with bidirectional=False.",
    )


def _check_used(kind, options, encoder_kind, decoder_kind):
    used = ENCODER_OPTIONS[encoder_kind] | DECODER_OPTIONS[decoder_kind]
    for name in options:
        if name not in used:
            raise ValueError(
                f"`{name}` must not be set for kind={kind!r}, which has no "
                f"use for it. Received: {name}={options[name]!r}."
            )


def _chosen(options, names):
    return {name: options[name] for name in names if name in options}


def _size(name, vocabulary):
    if validation.is_integer(vocabulary):
        return validation.check_positive_integer(name, vocabulary)
    if not hasattr(vocabulary, "token_strings"):
        raise validation.invalid(
            name, "a text.Vocabulary or the number of ids", repr(vocabulary)
        )
    return len(vocabulary)


def _vocabulary(vocabulary):
    return None if validation.is_integer(vocabulary) else vocabulary
