"""A sequence-to-sequence model: any encoder, any decoder."""

import keras

from keras_attention import plots
from keras_attention import validation
from keras_attention.decoding import Greedy
from keras_attention.models import folders
from keras_attention.models import forking
from keras_attention.models import vocabularies
from keras_attention.models.decoder import Decoder
from keras_attention.models.encoder import Encoder
from keras_attention.models.generation import Generator


@keras.saving.register_keras_serializable(package="keras_attention")
class Seq2Seq(keras.Model):
    """Maps a source sequence to a target sequence; trained by plain `fit`.

    Ids are 0 for padding, 1 for the beginning (BOS), 2 for the end (EOS) and
    3 for unknown tokens. In training the decoder reads the true target,
    shifted (teacher forcing):

        x = {"source": [5, 4, 2], "target": [1, 6, 7]},  y = [6, 7, 2]

    The same decoder runs step by step in `generate` and in the SavedModel.

    Args:
        encoder: an encoder of `keras_attention`.
        decoder: a decoder of `keras_attention`.
        max_length: longest target that `generate` makes, EOS counted.
        source_vocabulary: a `text.Vocabulary`, for strings in; optional.
        target_vocabulary: a `text.Vocabulary`, for strings out; optional.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        inputs: dict with integer tensors `source` (batch, source_length) and
            `target` (batch, target_length), which begins with BOS.
        training: whether dropout is on.

    Returns:
        Logits (batch, target_length, target vocabulary), float32: entry t
        predicts token t + 1 of the target.

    Masking:
        Id 0 is padding on both sides. The Keras mask of the logits marks
        where a token follows, that is, where target is neither padding nor
        EOS, so that Keras losses and metrics leave padding out.

    Raises:
        ValueError: if a part is of the wrong kind, or if the size of a
            vocabulary differs from that of its part.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> model = ka.Seq2Seq(
    ...     ka.RNNEncoder(vocabulary_size=11, units=5),
    ...     ka.TransformerDecoder(vocabulary_size=13, units=6, num_heads=2),
    ... )
    >>> source, target = np.array([[5, 4, 2]]), np.array([[1, 6, 7, 4]])
    >>> model({"source": source, "target": target}).shape
    TensorShape([1, 4, 13])
    >>> model.generate(source, max_length=7).tokens.shape
    (1, 1, 7)
    """

    def __init__(
        self,
        encoder,
        decoder,
        max_length=128,
        source_vocabulary=None,
        target_vocabulary=None,
        **kwargs,
    ):
        forking.check_tensorflow()
        super().__init__(**kwargs)
        for name, part, kind in (
            ("encoder", encoder, Encoder),
            ("decoder", decoder, Decoder),
        ):
            if not isinstance(part, kind):
                raise validation.invalid(
                    name, f"a keras_attention {name}", repr(part)
                )
        self.encoder = encoder
        self.decoder = decoder
        self.max_length = validation.check_positive_integer(
            "max_length", max_length
        )
        self.set_vocabularies(source_vocabulary, target_vocabulary)
        self._generator = Generator(self)
        self.build({"source": (None, None), "target": (None, None)})

    def set_vocabularies(self, source_vocabulary, target_vocabulary):
        """Attaches the vocabularies that turn text into ids and back.

        Args:
            source_vocabulary: a `text.Vocabulary` of the encoder's size, or
                None for a model of ids alone.
            target_vocabulary: the same for the decoder.

        Raises:
            ValueError: if a size differs, as with the vocabulary of another
                model.
        """
        given = (source_vocabulary, self.encoder)
        vocabularies.check("source_vocabulary", *given)
        given = (target_vocabulary, self.decoder)
        vocabularies.check("target_vocabulary", *given)
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary

    def build(self, inputs_shape):
        source, target = inputs_shape["source"], inputs_shape["target"]
        if not self.encoder.built:
            self.encoder.build(source)
        if not self.decoder.built:
            encoded = self.encoder.compute_output_shape(source)
            self.decoder.build(target, encoded)
        self.built = True

    def compile(self, *args, **kwargs):
        super().compile(*args, **kwargs)
        self._generator.functions.clear()

    def call(self, inputs, training=None):
        forking.check_tensorflow()
        _check_inputs(inputs)
        source, target = inputs["source"], inputs["target"]
        encoded = self.encoder(source, training=training)
        return self.decoder(
            target,
            encoded,
            encoded_mask=self.encoder.compute_mask(source),
            training=training,
        )

    def compute_mask(self, inputs, previous_mask=None):
        return self.decoder.compute_mask(inputs["target"])

    def generate(
        self,
        source,
        search=Greedy(),  # noqa: B008 (frozen)
        max_length=None,
        batch_size=64,
        jit_compile=False,
        verbose="auto",
        row_seeds=None,
    ):
        """Generates the target of each source.

        Sources of like length are run together; the results come back in the
        order given. A row's result does not depend on the others.

        Args:
            source: a list of strings, or an integer array (batch,
                source_length) padded with 0 at the end.
            search: `Greedy()`, `Sample(...)` or `Beam(...)`.
            max_length: longest target, EOS counted. Defaults to the model's.
            batch_size: how many sources run at once.
            jit_compile: whether to compile the decode with XLA. Worth it for
                many batches: lengths are padded to powers of two to keep the
                number of programs small.
            verbose: 1 shows a progress bar, 0 none, "auto" shows one when
                there are many batches.
            row_seeds: for `Sample`, an integer for each source that tells its
                random bits from another's. Defaults to its index.

        Returns:
            For strings a `GeneratedTexts` (texts, scores, lengths,
            alignments), for ids a `GeneratedTokens` (tokens, scores, lengths,
            alignments): NumPy arrays whose axis 1 counts the hypotheses, best
            first. `tokens` (batch, n, max_length) holds EOS and is padded
            with 0; `alignments` is (batch, n, target_length, source_length).

        Raises:
            ValueError: if strings come without vocabularies, or the ids are
                not a matrix.
        """
        forking.check_tensorflow()
        return self._generator.generate(
            source,
            search,
            max_length,
            batch_size,
            jit_compile,
            verbose,
            row_seeds,
        )

    def plot_alignment(self, text, search=Greedy(), max_length=None):  # noqa: B008
        """Draws which source tokens each token of the best target looked at.

        Args:
            text: one source string.
            search: `Greedy()`, `Sample(...)` or `Beam(...)`.
            max_length: longest target, EOS counted.

        Returns:
            A Matplotlib `Figure`; `plots.save_figure` writes it.

        Raises:
            ValueError: if the model has no vocabularies.
        """
        self._generator.check_vocabularies()
        ids = self.source_vocabulary.encode([text]).numpy()
        result = self.generate(ids, search, max_length)
        # A target that was cut at `max_length` has no EOS.
        best = result.tokens[0, 0, : result.lengths[0, 0]]
        said = self.target_vocabulary.decode(best).numpy().decode("utf-8")
        return plots.plot_alignment(
            result.alignments[0, 0],
            source_tokens=_names(self.source_vocabulary, ids[0]),
            target_tokens=_names(self.target_vocabulary, best),
            title=f"{text} \N{RIGHTWARDS ARROW} {said}",
        )

    def save_folder(self, folder, card=None, overwrite=False):
        """Saves the model, its vocabularies and its card in one folder.

        Args:
            folder: path of the folder; it appears when it is whole.
            card: dict of facts about the model, kept in `card.json`; its keys
                "sha256" and "format" are reserved.
            overwrite: whether to replace an earlier model at this path.

        Raises:
            ValueError: if the folder exists and may not be replaced, if a
                weight is NaN or infinite, or a number in the card is.
        """
        folders.save_folder(self, folder, card or {}, overwrite)

    def get_config(self):
        serialize = keras.saving.serialize_keras_object
        config = {
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "max_length": self.max_length,
            **vocabularies.to_config(self),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config):
        forking.check_tensorflow()
        config = {**config, **vocabularies.from_config(config)}
        for name in ("encoder", "decoder"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)

    def __deepcopy__(self, memo):
        # Keras copies a model through its config. A tokenizer need not have
        # one, and nothing changes it, so copies share it.
        with vocabularies.left_out_of_configs():
            make, arguments = self.__reduce__()
        copy = make(*arguments)
        copy.set_vocabularies(self.source_vocabulary, self.target_vocabulary)
        return copy


def _check_inputs(inputs):
    if isinstance(inputs, dict):
        if set(inputs) == {"source", "target"}:
            for name, ids in inputs.items():
                validation.check_rank(name, ids, 2, f"(batch, {name}_length)")
            return
        received = f"a dict with the keys {list(inputs)}"
    elif hasattr(inputs, "shape"):
        received = f"a tensor of shape {validation.shape_of(inputs)}"
    else:
        received = f"a {type(inputs).__name__}"
    raise validation.invalid(
        "inputs", "a dict with the keys 'source' and 'target'", received
    )


def _names(vocabulary, ids):
    tokens = vocabulary.token_strings(ids).numpy()
    return [token.decode("utf-8") for token in tokens]
