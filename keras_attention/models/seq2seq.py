"""A sequence-to-sequence model: any encoder, any decoder."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_attention import validation
from keras_attention.decoding import Greedy
from keras_attention.decoding.search import Search
from keras_attention.functional.replicas import num_replicas
from keras_attention.models import alignment_plot
from keras_attention.models import attention_view
from keras_attention.models import encoding
from keras_attention.models import folders
from keras_attention.models import forking
from keras_attention.models import vocabularies
from keras_attention.models.fitted import FittedModel
from keras_attention.models.forced_decoding import ScoredSequences
from keras_attention.models.forced_decoding import score_targets
from keras_attention.models.generated import GeneratedTexts
from keras_attention.models.generated import GeneratedTokens
from keras_attention.models.generation import BatchGenerator
from keras_attention.models.model_inputs import check_inputs
from keras_attention.models.parts import check_apart
from keras_attention.models.parts import check_decoder
from keras_attention.models.parts import check_encoder
from keras_attention.models.shared_embedding import check_one_vocabulary
from keras_attention.models.shared_embedding import share_embedding
from keras_attention.models.shared_embedding import unbuilt
from keras_attention.models.source_signature import IDS
from keras_attention.models.source_signature import signature_of
from keras_attention.models.training_aids import Attended
from keras_attention.models.training_aids import TrainingAids
from keras_attention.models.training_aids import logits_of


@keras.saving.register_keras_serializable(package="keras_attention")
class Seq2Seq(FittedModel):
    """Maps a source to a target sequence; trained by plain `fit`.

    A source is a sequence of ids, or an array: an image, frames of sound. Ids
    are 0 for padding, 1 for the beginning (BOS), 2 for the end (EOS) and 3
    for unknown tokens. In training the decoder reads the true target, shifted
    (teacher forcing):

        x = {"source": [5, 4, 2], "target": [1, 6, 7]},  y = [6, 7, 2]

    The same decoder runs step by step in `generate` and in the SavedModel.

    Args:
        encoder: a Keras layer or model, from sources to (batch,
            source_length, width). Its Keras mask, if it has one, says which
            positions are real. One that returns more, as `keras.layers.LSTM`
            with `return_state`, gives the decoder its initial state.
        decoder: a Keras layer with
            `start(encoded, source_mask, max_length, beams=1) -> state`,
            `step(tokens, state, index, ancestors=None) -> logits, state,
            alignment` and `reorder(state, parents) -> state` (`decoding.decode`
            says what they do); and to be trained
            `call(target, encoded, encoded_mask=None, training=None)` ->
            logits (batch, target_length, vocabulary_size), `compute_mask`,
            which marks the logits that predict something, and
            `vocabulary_size`. If `call` and `start` take `initial_state`, a
            list of (batch, units), they get the encoder's states. Of encoder
            and decoder `max_positions`, if one has that, is how many positions
            it tells apart.
        max_length: longest target that `generate` makes, EOS counted.
        source_vocabulary: a `text.Vocabulary`, for strings in; optional. Or
            another tokenizer: `encode(texts)` gives int32 ids (batch, length),
            each row ended by EOS and padded with 0, `decode(ids)` strings,
            `token_strings(ids)` a name for each id, `len` their number; all
            in plain TensorFlow operations. One that holds tables is a
            `tf.Module`. With `get_config`, it is saved with the model.
        target_vocabulary: the same, for strings out; optional.
        source_signature: shape of one source without the batch, and dtype,
            such as `((None, 80), "float32")`, or a `keras.Input`. Defaults to
            the attribute `source_signature` of the encoder, the `keras.Input`
            of an encoder that is a model, or else ids.
        share_embeddings: whether the decoder, not built yet, gets the
            embedding of the encoder; one vocabulary serves both then.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        inputs: dict with the sources `source`, ids (batch, source_length) or
            arrays, and integer ids `target` (batch, target_length), which
            begin with BOS. Optional are `source_mask`, boolean (batch,
            source_length), True = a real position of the encoded source,
            `initial_state`, a list of tensors (batch, units), in place of
            those the encoder gives, and `alignment` (batch, target_length,
            source_length), read by an alignment loss alone.
        training: whether dropout is on.

    Returns:
        Logits (batch, target_length, target vocabulary), float32: entry t
        predicts token t + 1 of the target. In training, a model that was
        compiled with an alignment loss returns a named tuple `logits`,
        `weights` (batch, target_length, source_length) and `source_mask`.

    Masking:
        Padding of the source is told by, in this order: `source_mask`; the
        Keras mask of the encoder's output; ids 0, if the encoder returns as
        many positions as it reads; else all positions are real. An encoder
        that keeps the length and whose `call` takes `mask` gets `source_mask`
        too. The Keras mask of the logits marks where a token follows, that
        is, where target is neither padding nor EOS, so that Keras losses and
        metrics leave padding out.

    Raises:
        ValueError: if a part lacks something, if the encoder returns another
            shape, if the size of a vocabulary differs from that of its part,
            or if embeddings cannot be shared.

    Example:

    >>> import keras
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

    Images in:

    >>> image_encoder = keras.Sequential([
    ...     keras.Input((6, 8, 3)),
    ...     keras.layers.Conv2D(5, kernel_size=3, strides=2, padding="same"),
    ...     keras.layers.Reshape((-1, 5)),  # 3 x 4 positions
    ... ])
    >>> model = ka.Seq2Seq(image_encoder, ka.RNNDecoder(13, units=7))
    >>> model.generate(np.ones((2, 6, 8, 3)), max_length=9).tokens.shape
    (2, 1, 9)
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        max_length: int = 128,
        source_vocabulary: Any = None,
        target_vocabulary: Any = None,
        source_signature: Any = None,
        share_embeddings: bool = False,
        **kwargs,
    ):
        forking.check_tensorflow()
        super().__init__(**kwargs)
        check_encoder(encoder)
        check_decoder(decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.max_length = validation.check_positive_integer(
            "max_length", max_length
        )
        self.share_embeddings = share_embeddings
        self.source_signature = signature_of(encoder, source_signature)
        self.set_vocabularies(source_vocabulary, target_vocabulary)
        self._generator = BatchGenerator(self)
        self._aids = TrainingAids(self)
        shape = (None, *self.source_signature.shape)
        self.build({"source": shape, "target": (None, None)})

    def set_vocabularies(
        self, source_vocabulary: Any, target_vocabulary: Any
    ) -> None:
        """Attaches the vocabularies that turn text into ids and back.

        Args:
            source_vocabulary: a `text.Vocabulary` or another tokenizer of the
                encoder's size, or None for a model of ids or arrays.
            target_vocabulary: the same for the decoder.

        Raises:
            ValueError: if a size differs, as with the vocabulary of another
                model, or if the sources are not ids.
        """
        if source_vocabulary is not None and not self.source_signature.is_ids:
            raise validation.invalid(
                "source_vocabulary",
                "None where sources are arrays, here of "
                f"{self.source_signature.shape} {self.source_signature.dtype}",
                repr(source_vocabulary),
                "An encoder of ids that is a model has an input of integers: "
                "keras.Input((None,), dtype='int32').",
            )
        given = (source_vocabulary, self.encoder)
        vocabularies.check("source_vocabulary", *given)
        given = (target_vocabulary, self.decoder)
        vocabularies.check("target_vocabulary", *given)
        if self.share_embeddings:
            check_one_vocabulary(source_vocabulary, target_vocabulary)
        self.source_vocabulary = source_vocabulary
        self.target_vocabulary = target_vocabulary

    def build(self, inputs_shape: dict) -> None:
        self.encoder_facts = encoding.facts_of(
            self.encoder, self.decoder, self.source_signature
        )
        shared = []
        if self.share_embeddings:
            shared = share_embedding(self.encoder, self.decoder)
        if not self.decoder.built:
            width = self.encoder_facts.width
            encoded = keras.KerasTensor((None, None, width))
            self.decoder(IDS.symbol, encoded)
        check_apart("decoder", (self.encoder, self.decoder), shared)
        self.built = True

    def compile(
        self,
        *args,
        alignment_loss: Any = None,
        scheduled_sampling: Any = None,
        **kwargs,
    ) -> None:
        """Configures `fit`; see `keras.Model.compile`.

        Args:
            *args: as in Keras, such as the optimizer and the loss.
            alignment_loss: added to the loss in training, but not in
                `evaluate`: `training.GuidedAlignmentLoss`,
                `DiagonalAlignmentLoss`, `AlignmentLoss` of any function, or
                any callable of `weights`, `target_mask`, `source_mask` and,
                if it has that argument, the input `alignment`, that returns
                a scalar. The weights are those that the decoder returns
                beside its logits, of several heads their mean.
            scheduled_sampling: a `training.ScheduledSampling`, or any
                callable of the decoder, the target, what `encode` returned
                and the step of the optimizer, that returns the target to
                read in training. TensorFlow only.
            **kwargs: as in Keras.

        Raises:
            ValueError: if the decoder or the backend cannot do that.
        """
        super().compile(*args, **kwargs)
        self._aids = TrainingAids(self, alignment_loss, scheduled_sampling)
        self._generator.functions.clear()

    def get_compile_config(self) -> dict[str, Any]:
        return {**super().get_compile_config(), **self._aids.get_config()}

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        loss = super().compute_loss(
            x, y, logits_of(y_pred), sample_weight, training
        )
        if isinstance(y_pred, Attended):
            # Keras has divided its own, too: the replicas are added up.
            loss = loss + self._aids.loss_of(x, y_pred) / num_replicas()
        return loss

    def compute_metrics(
        self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        return super().compute_metrics(x, y, logits_of(y_pred), sample_weight)

    def encode(
        self,
        source: Any,
        source_mask: Any = None,
        initial_state: Any = None,
        training: bool | None = None,
    ) -> encoding.Encoded:
        """Returns what the decoder attends to, and the state it begins with.

        Args:
            source: as in `call`.
            source_mask: as in `call`.
            initial_state: as in `call`.
            training: whether dropout is on.

        Returns:
            A named tuple: `values` (batch, source_length, width); `mask`,
            boolean (batch, source_length), or None where all positions are
            real; `initial_state`, a list, or None where there is none or the
            decoder takes none.

        Raises:
            ValueError: if `source_mask` has another shape, or the decoder
                takes no `initial_state`.
        """
        return encoding.encode(
            self, source, source_mask, initial_state, training
        )

    def call(self, inputs: dict, training: bool | None = None) -> Any:
        forking.check_tensorflow()
        check_inputs(inputs, self.source_signature)
        encoded = self.encode(
            inputs["source"],
            inputs.get("source_mask"),
            inputs.get("initial_state"),
            training,
        )
        aids = self._aids if training else TrainingAids(self)
        return aids.decode(inputs["target"], encoded, training)

    def compute_mask(self, inputs: dict, previous_mask: Any = None) -> Any:
        return self.decoder.compute_mask(inputs["target"])

    def generate(
        self,
        source: Any,
        search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
        batch_size: int = 64,
        jit_compile: bool = False,
        verbose: str | int = "auto",
        row_seeds: Any = None,
        source_mask: Any = None,
        initial_state: Any = None,
    ) -> GeneratedTokens | GeneratedTexts:
        """Generates the target of each source.

        Sources of like length are run together, where padding is told by ids
        or `source_mask`; the results come back in the order given. A row's
        result does not depend on the others. (But for an encoder without a
        Keras mask, such as plain convolutions: it reads the padding that
        makes a text as long as the others.)

        Args:
            source: a list of strings; or an integer array (batch,
                source_length) padded with 0 at the end; or, as the model's
                `source_signature` says, an array (batch, ...).
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
            source_mask: boolean array (batch, source_length), as in `call`.
            initial_state: list of arrays (batch, units), as in `call`.

        Returns:
            For strings, and for arrays where the model has a target
            vocabulary, a `GeneratedTexts` (texts, scores, lengths,
            alignments), else a `GeneratedTokens` (tokens, scores, lengths,
            alignments): NumPy arrays whose axis 1 counts the hypotheses, best
            first. `tokens` (batch, n, max_length) holds EOS and is padded
            with 0; `alignments` is (batch, n, target_length, source_length).

        Raises:
            ValueError: if strings come without vocabularies, the sources are
                not of the model's shape, or sources or `max_length` need more
                positions than encoder or decoder have.
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
            source_mask,
            initial_state,
        )

    def score(
        self,
        source: Any,
        target: Any,
        batch_size: int = 64,
        source_mask: Any = None,
        initial_state: Any = None,
    ) -> ScoredSequences:
        """Returns the log probability of given targets (forced decoding).

        It is the score that a search without length penalty gives them.

        Args:
            source: as in `generate`.
            target: a target for each source: a list of strings, or an integer
                array (batch, target_length) padded with 0 at the end, without
                BOS. The EOS of a row is scored as its other ids are.
            batch_size: how many pairs run at once.
            source_mask: as in `call`.
            initial_state: as in `call`.

        Returns:
            A `ScoredSequences` (log_probabilities, lengths,
            token_log_probabilities) of NumPy arrays. The perplexity of all is
            `exp(-sum(log_probabilities) / sum(lengths))`.

        Raises:
            ValueError: if there are not as many targets as sources, strings
                come without vocabularies, or sources or targets need more
                positions than encoder or decoder have.

        Example:

        >>> import keras_attention as ka
        >>> words = ka.Vocabulary.build(["ab"])
        >>> model = ka.build_seq2seq("luong", words, words, units=4)
        >>> found = model.score(["ab", "b"], ["ba", ""])
        >>> found.lengths  # the end of each is counted
        array([3, 1], dtype=int32)
        """
        forking.check_tensorflow()
        rows, _ = self._generator.rows_of(source, source_mask, initial_state)
        functions = self._generator.functions
        return score_targets(self, functions, rows, target, batch_size)

    def plot_alignment(
        self,
        text: str,
        search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
    ) -> Any:
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
        return alignment_plot.plot_alignment(self, text, search, max_length)

    def view_attention(
        self,
        texts: str | Sequence[str],
        search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
    ) -> Any:
        """Makes an interactive page of all that the best targets attended to.

        Its layers are the alignment of the search, and every attention layer
        of the model as it reads a text and its target. For one text and a
        `Beam` it has the steps of the search, too.

        Args:
            texts: a source string, or a list of them.
            search: `Greedy()`, `Sample(...)` or `Beam(...)`.
            max_length: longest target, EOS counted.

        Returns:
            A `plots.AttentionView`, which a notebook shows; its `save` writes
            the file.

        Raises:
            ValueError: if the model has no vocabularies or no attention, or
                an argument is out of range.

        Example:

        >>> import keras_attention as ka
        >>> words = ka.Vocabulary.build(["ab"])
        >>> model = ka.build_seq2seq("luong", words, words, units=4)
        >>> model.view_attention("ab", max_length=2)
        AttentionView('ab → ...')
        """
        forking.check_tensorflow()
        self._generator.check_vocabularies()
        return attention_view.view_attention(self, texts, search, max_length)

    def save_folder(
        self, folder: Any, card: dict | None = None, overwrite: bool = False
    ) -> None:
        """Saves the model, its vocabularies and its card in one folder.

        Args:
            folder: path of the folder; it appears when it is whole.
            card: dict of facts about the model, kept in `card.json`; its keys
                "sha256" and "format" are reserved.
            overwrite: whether to replace an earlier model at this path. A
                folder that holds anything else is kept, with an error.

        Raises:
            ValueError: if the folder exists and may not be replaced, if a
                weight is NaN or infinite, or a number in the card is.
        """
        folders.save_folder(self, folder, card or {}, overwrite)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        config = {
            "encoder": serialize(self.encoder),
            "decoder": serialize(self.decoder),
            "max_length": self.max_length,
            "source_signature": self.source_signature.get_config(),
            "share_embeddings": self.share_embeddings,
            **vocabularies.to_config(self),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Seq2Seq":
        forking.check_tensorflow()
        config = {**config, **vocabularies.from_config(config)}
        if config.get("share_embeddings"):
            config["decoder"] = unbuilt(config["decoder"])
        for name in ("encoder", "decoder"):
            config[name] = keras.saving.deserialize_keras_object(config[name])
        return cls(**config)

    def __deepcopy__(self, memo):
        return vocabularies.deepcopy_of(self)
