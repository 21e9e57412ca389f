"""Several models that answer as one: the mean of their probabilities.

An ensemble is a `Seq2Seq` whose encoder puts the encoded sources of its
members side by side, and whose decoder asks each member's decoder with its
own part. So it is searched, saved and exported like any other.
"""

from collections.abc import Sequence

from keras_attention import validation
from keras_attention.models.ensemble_layers import EnsembleDecoder
from keras_attention.models.ensemble_layers import EnsembleEncoder
from keras_attention.models.parts import check_apart
from keras_attention.models.seq2seq import Seq2Seq


def build_ensemble(models: Sequence[Seq2Seq]) -> Seq2Seq:
    """Makes one model of several, which share their vocabularies.

    At each step the next token has the mean of the probabilities that the
    members give it, and the alignment is the mean of theirs. The members may
    be of any kinds, as long as they read the same sources. They are not
    copied: the ensemble has their layers. `generate`, `save_folder`,
    `export_saved_model` and the rest work as for a single model; a step costs
    the sum of theirs.

    Args:
        models: list of at least two `Seq2Seq`, not repeated. Their encoders
            return as many positions for the same source, and tell padding in
            the same way. The ensemble has the `max_length` of the first.

    Returns:
        A `Seq2Seq`. Where encoders of members return states, `initial_state`
        of the ensemble is one list of those, member after member.

    Raises:
        ValueError: if there are fewer than two models, or they differ in
            their vocabularies or in the sources that they read.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> models = [
    ...     ka.build_seq2seq(kind, 11, 13, units=6, num_heads=2)
    ...     for kind in ("rnn-transformer", "transformer")
    ... ]
    >>> ensemble = ka.build_ensemble(models)
    >>> ensemble.generate(np.array([[5, 4, 2]]), max_length=7).tokens.shape
    (1, 1, 7)
    """
    _check_models(models)
    first = models[0]
    counts = [len(model.encoder_facts.state_widths) for model in models]
    shares = [model.share_embeddings for model in models]
    return Seq2Seq(
        EnsembleEncoder([model.encoder for model in models], counts),
        EnsembleDecoder(
            [model.decoder for model in models],
            [model.encoder_facts.width for model in models],
            counts,
            shares,
        ),
        max_length=first.max_length,
        source_vocabulary=first.source_vocabulary,
        target_vocabulary=first.target_vocabulary,
        source_signature=(
            first.source_signature.shape,
            first.source_signature.dtype,
        ),
        share_embeddings=any(shares),
    )


def _check_models(models):
    are_models = isinstance(models, (list, tuple)) and all(
        isinstance(model, Seq2Seq) for model in models
    )
    if not are_models or len({id(model) for model in models}) < 2:
        raise validation.invalid(
            "models", "a list of two or more Seq2Seq models", repr(models)
        )
    if len({id(model) for model in models}) < len(models):
        raise validation.invalid(
            "models", "different models", "one of them twice"
        )
    for number, model in enumerate(models[1:], start=1):
        for what, of in COMPARED.items():
            ours, theirs = of(models[0]), of(model)
            if ours != theirs:
                raise validation.invalid(
                    f"models[{number}]",
                    f"a model with {what} of models[0], {_short(ours)}",
                    _short(theirs),
                )
    check_apart("models", models)


def _short(value):
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _vocabulary(name):
    def of(model):
        vocabulary = getattr(model, name)
        if hasattr(vocabulary, "to_dict"):
            return vocabulary.to_dict()
        if hasattr(vocabulary, "get_config"):
            return vocabulary.get_config()
        return vocabulary

    return of


# What the members must have in common.
COMPARED = {
    "the source_signature": lambda model: (
        tuple(model.source_signature.shape),
        model.source_signature.dtype,
    ),
    "the vocabulary_size of the encoder": lambda model: getattr(
        model.encoder, "vocabulary_size", None
    ),
    "the vocabulary_size of the decoder": lambda model: (
        model.decoder.vocabulary_size
    ),
    "the source_vocabulary": _vocabulary("source_vocabulary"),
    "the target_vocabulary": _vocabulary("target_vocabulary"),
    "the padding": lambda model: (
        f"keeps_length={model.encoder_facts.keeps_length}, "
        f"gives_mask={model.encoder_facts.gives_mask}"
    ),
}
