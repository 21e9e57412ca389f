"""A language model: a decoder that goes on where a prompt ends."""

from collections.abc import Iterator
from typing import Any

import keras

from keras_attention import validation
from keras_attention.decoding import Greedy
from keras_attention.decoding.search import Search
from keras_attention.models import folders
from keras_attention.models import forking
from keras_attention.models import vocabularies
from keras_attention.models.fitted import FittedModel
from keras_attention.models.forced_decoding import ScoredSequences
from keras_attention.models.forced_decoding import score_texts
from keras_attention.models.generated import GeneratedTexts
from keras_attention.models.generated import GeneratedTokens
from keras_attention.models.parts import check_decoder
from keras_attention.models.prompts import PromptGenerator
from keras_attention.models.source_signature import IDS


@keras.saving.register_keras_serializable(package="keras_attention")
class LanguageModel(FittedModel):
    """Predicts the next token of a sequence; trained by plain `fit`.

    Ids are 0 for padding, 1 for the beginning (BOS), 2 for the end (EOS) and
    3 for unknown tokens. In training the model reads the true sequence,
    shifted (teacher forcing):

        x = [1, 6, 7, 0],  y = [6, 7, 2, 0]

    `generate`, `stream` and the SavedModel read a prompt in one pass, and
    then run the same decoder step by step.

    Args:
        decoder: a Keras layer with `call(target, training=None)` -> logits
            (batch, length, vocabulary_size), `compute_mask`, which marks the
            logits that predict something, and `vocabulary_size`; and to
            generate `start(prompt, prompt_mask, max_length, beams=1) ->
            state`, of prompts padded at the beginning, which may be all
            padding; `step(tokens, state, index, ancestors) -> logits, state,
            None`, where `index` counts from the end of the prompt; and
            `reorder(state, parents) -> state`, as `decoding.decode` says.
            `DecoderOnlyTransformer` is one. `max_positions`, if it has that,
            is how many positions it tells apart, BOS counted.
        max_length: the most tokens that `generate` makes, EOS counted.
        vocabulary: a `text.Vocabulary` or another tokenizer (as `Seq2Seq`
            has them), for strings in and out; optional. To be streamed, what
            it decodes the first ids to must begin what it decodes all to, but
            for a U+FFFD at its end, which is half a character.
        **kwargs: `name`, `dtype`, `trainable` of `keras.Model`.

    Call arguments:
        inputs: integer tensor (batch, length), which begins with BOS.
        training: whether dropout is on.

    Returns:
        Logits (batch, length, vocabulary_size), float32: entry t predicts
        token t + 1.

    Masking:
        The Keras mask of the logits marks where a token follows: where
        `inputs` is neither padding nor EOS. Losses and metrics of Keras leave
        the rest out.

    Raises:
        ValueError: if the decoder lacks something, or the vocabulary is of
            another size.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> model = ka.LanguageModel(
    ...     ka.DecoderOnlyTransformer(11, units=6, num_heads=2)
    ... )
    >>> model(np.array([[1, 5, 4]])).shape
    TensorShape([1, 3, 11])
    >>> prompts = np.array([[5, 4, 7], [6, 0, 0]])
    >>> model.generate(prompts, ka.Beam(3), max_length=7).tokens.shape
    (2, 1, 7)
    >>> ids = list(model.stream([5, 4], max_length=7))  # as they are made
    """

    def __init__(
        self,
        decoder: keras.layers.Layer,
        max_length: int = 128,
        vocabulary: Any = None,
        **kwargs,
    ):
        forking.check_tensorflow()
        super().__init__(**kwargs)
        check_decoder(decoder)
        self.decoder = decoder
        self.max_length = validation.check_positive_integer(
            "max_length", max_length
        )
        self.set_vocabularies(vocabulary)
        self._generator = PromptGenerator(self)
        self.build((None, None))

    def set_vocabularies(self, vocabulary: Any) -> None:
        """Attaches the vocabulary that turns text into ids and back.

        Args:
            vocabulary: a `text.Vocabulary` or another tokenizer of the
                decoder's size, or None for a model of ids.

        Raises:
            ValueError: if the size differs, as with that of another model.
        """
        vocabularies.check("vocabulary", vocabulary, self.decoder)
        self.vocabulary = vocabulary

    def build(self, inputs_shape: tuple) -> None:
        if not self.decoder.built:
            self.decoder(IDS.symbol)
        self.built = True

    def compile(self, *args, **kwargs) -> None:
        super().compile(*args, **kwargs)
        self._generator.functions.clear()

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        forking.check_tensorflow()
        validation.check_rank("inputs", inputs, 2, "(batch, length)")
        return self.decoder(inputs, training=training)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return self.decoder.compute_mask(inputs)

    def generate(
        self,
        prompts: Any,
        search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
        batch_size: int = 64,
        jit_compile: bool = False,
        verbose: str | int = "auto",
        row_seeds: Any = None,
    ) -> GeneratedTokens | GeneratedTexts:
        """Generates what follows each prompt; the prompt is not repeated.

        A prompt is read in one pass, whatever the number of beams or samples.
        A row's result does not depend on the others. Constraints, such as
        `NoRepeatNgram` and `RepetitionPenalty`, see what follows a prompt and
        not the prompt: what it says may be said again.

        Args:
            prompts: a list of strings, or an integer array (batch,
                prompt_length) padded with 0. BOS is put before each, and EOS
                ends a prompt, so that a vocabulary's ids are prompts as they
                come. An empty one begins a sequence.
            search: `Greedy()`, `Sample(...)` or `Beam(...)`; lengths and
                scores are those of what follows.
            max_length: the most tokens that follow, EOS counted. Defaults to
                the model's.
            batch_size: how many prompts run at once.
            jit_compile: whether to compile with XLA. Worth it for many
                batches: lengths are padded to powers of two to keep the
                number of programs small.
            verbose: 1 shows a progress bar, 0 none, "auto" shows one when
                there are many batches.
            row_seeds: for `Sample`, an integer for each prompt that tells its
                random bits from another's. Defaults to its index.

        Returns:
            For strings a `GeneratedTexts` (texts, scores, lengths,
            alignments), for ids a `GeneratedTokens` (tokens, scores, lengths,
            alignments): NumPy arrays whose axis 1 counts the hypotheses, best
            first. `tokens` (batch, n, max_length) holds EOS and is padded
            with 0; `alignments` is empty, (batch, n, length, 0), since there
            is no source.

        Raises:
            ValueError: if strings come without a vocabulary, ids are not of
                the vocabulary, or prompt and `max_length` need more positions
                than the decoder has.
        """
        forking.check_tensorflow()
        return self._generator.generate(
            prompts,
            search,
            max_length,
            batch_size,
            jit_compile,
            verbose,
            row_seeds,
        )

    def stream(
        self,
        prompt: Any,
        search: Search = Greedy(),  # noqa: B008 (frozen)
        max_length: int | None = None,
        jit_compile: bool = False,
        row_seed: int = 0,
    ) -> Iterator[Any]:
        """Yields what follows one prompt, piece by piece, as it is made.

        Args:
            prompt: a string, or the ids of one, (prompt_length,), as in
                `generate`.
            search: `Greedy()`, or `Sample(...)` of one sample. A beam search
                knows its first token only at the end.
            max_length: the most tokens that follow, EOS counted.
            jit_compile: whether to compile the steps with XLA.
            row_seed: for `Sample`, as one of `generate`'s `row_seeds`.

        Returns:
            An iterator over strings, or over ids for ids; together they are
            what `generate` returns. Spaces come with the word that follows
            them, and a character is not cut in two.

        Raises:
            ValueError: if an argument is of another kind; and at the end, if
                the tokenizer changed a text that was yielded.
        """
        forking.check_tensorflow()
        return self._generator.stream(
            prompt, search, max_length, jit_compile, row_seed
        )

    def score(self, texts: Any, batch_size: int = 64) -> ScoredSequences:
        """Returns the log probability of each given text.

        Args:
            texts: a list of strings, or an integer array (batch, length)
                padded with 0 at the end, without BOS. The EOS of a row is
                scored as its other ids are.
            batch_size: how many texts run at once.

        Returns:
            A `ScoredSequences` (log_probabilities, lengths,
            token_log_probabilities) of NumPy arrays. The perplexity of all is
            `exp(-sum(log_probabilities) / sum(lengths))`.

        Raises:
            ValueError: if strings come without a vocabulary, ids are not of
                the vocabulary, or a text needs more positions than the
                decoder has.

        Example:

        >>> import keras_attention as ka
        >>> words = ka.Vocabulary.build(["ab"])
        >>> decoder = ka.DecoderOnlyTransformer(len(words), units=8)
        >>> model = ka.LanguageModel(decoder, vocabulary=words)
        >>> model.score(["ab", ""]).lengths  # the end of each is counted
        array([3, 1], dtype=int32)
        """
        forking.check_tensorflow()
        functions = self._generator.functions
        return score_texts(self, functions, texts, batch_size)

    def save_folder(
        self, folder: Any, card: dict | None = None, overwrite: bool = False
    ) -> None:
        """Saves the model, its vocabulary and its card in one folder.

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
        config = {
            "decoder": keras.saving.serialize_keras_object(self.decoder),
            "max_length": self.max_length,
            **vocabularies.to_config(self),
        }
        return {**super().get_config(), **config}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LanguageModel":
        forking.check_tensorflow()
        decoder = keras.saving.deserialize_keras_object(config["decoder"])
        found = vocabularies.from_config(config)
        return cls(**{**config, **found, "decoder": decoder})

    def __deepcopy__(self, memo):
        return vocabularies.deepcopy_of(self)
