"""One table of embeddings for encoder and decoder.

Vaswani et al. 2017, 3.4: where source and target are cut into the same pieces,
one matrix serves as the embeddings of both and, with `tie_embeddings`, as what
makes the logits.
"""

from typing import Any

import keras

from keras_attention import validation
from keras_attention.models.decoder import Decoder


def share_embedding(encoder: keras.layers.Layer, decoder: Any) -> list:
    """Gives a decoder that was not built yet the embedding of a built encoder.

    Returns:
        A list of the embedding, or of those of the members of an ensemble.

    Raises:
        ValueError: if one of them has no embedding to share, or they are not
            of one size.
    """
    if hasattr(decoder, "shares_embeddings"):  # an ensemble
        sides = encoder.members, decoder.members, decoder.shares_embeddings
        return [
            embedding
            for *pair, shares in zip(*sides, strict=True)
            for embedding in (share_embedding(*pair) if shares else ())
        ]
    embedding = getattr(encoder, "embedding", None)
    if not isinstance(embedding, keras.layers.Embedding):
        raise _refusal("an encoder with an embedding", repr(encoder))
    if not isinstance(decoder, Decoder):
        raise _refusal("a decoder of this package", repr(decoder))
    if decoder.embedding not in (None, embedding):
        raise _refusal("a decoder that was not built yet", repr(decoder))
    sizes = embedding.input_dim, embedding.output_dim
    wanted = decoder.vocabulary_size, decoder.embedding_dim
    if sizes != wanted:
        raise _refusal(
            "as many source ids as target ids, and embeddings of one width",
            f"{sizes[0]} ids of width {sizes[1]}, {wanted[0]} of {wanted[1]}",
        )
    decoder.embedding = embedding
    return [embedding]


def unbuilt(config: dict[str, Any]) -> dict[str, Any]:
    """Returns the config of a decoder, which Keras then does not build.

    It would make an embedding of its own.
    """
    return {name: v for name, v in config.items() if name != "build_config"}


def check_one_vocabulary(source: Any, target: Any) -> None:
    """Checks that ids of shared embeddings mean the same on both sides.

    Raises:
        ValueError: if both vocabularies list their tokens, and these differ.
    """
    tokens = [getattr(side, "tokens", None) for side in (source, target)]
    if None not in tokens and tokens[0] != tokens[1]:
        raise _refusal(
            "one vocabulary for both sides", f"{source!r} and {target!r}"
        )


def _refusal(expected, received):
    return validation.invalid(
        "share_embeddings", f"False without {expected}", f"True with {received}"
    )
