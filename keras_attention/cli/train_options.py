"""Options of `train` that are arguments of `build_seq2seq` and `train`.

Each is handed on under its own name where it is given, so the defaults here
are only shown. A test compares them with those of the functions.
"""

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

from keras_attention import choices
from keras_attention.cli.parser import Parser
from keras_attention.cli.values import choice
from keras_attention.cli.values import integer
from keras_attention.cli.values import number

DEFAULT_KIND, DEFAULT_UNIT = "transformer", "characters"
positive = integer(at_least=1)
rate = number(at_least=0, below=1)


@dataclasses.dataclass(frozen=True)
class Option:
    """One option: its name as an argument, its default, what it is for."""

    name: str
    default: Any
    help: str
    read: Callable | None = None  # None for a switch
    metavar: str = "N"

    def add_to(self, parser: Parser, group: Any) -> None:
        """Adds the option to a parser, in a group of its help."""
        settings = {"action": argparse.BooleanOptionalAction}
        if self.read is not None:
            settings = {"type": self.read, "metavar": self.metavar}
        parser.add_option(
            f"--{self.name.replace('_', '-')}",
            default=self.default,
            group=group,
            help=self.help,
            **settings,
        )


def _one_of(name, default, names, text):
    """An option with a choice of names, which its help lists."""
    listed = ", ".join(names)
    return Option(name, default, f"{text}: {listed}", choice(names), "NAME")


MODEL = (
    Option("units", 256, "width; of one direction of an RNN encoder", positive),
    Option("num_layers", 1, "layers of the encoder and the decoder", positive),
    Option(
        "num_decoder_layers", "--num-layers", "layers of the decoder", positive
    ),
    Option("dropout", 0.1, "rate of all dropouts", rate, "RATE"),
    Option(
        "max_length",
        "half as long again as the longest target",
        "longest target to generate, in tokens with the end",
        positive,
    ),
    Option("tie_embeddings", False, "logits reuse the target embeddings"),
    Option(
        "share_embeddings",
        False,
        "one embedding for both sides of a --shared-vocabulary",
    ),
    Option("dtype", "float32", "dtype policy, as mixed_bfloat16", str, "NAME"),
)
RECURRENT = (
    _one_of("cell", "lstm", choices.CELLS, "kind of cell"),
    Option("embedding_dim", "--units", "width of the embeddings", positive),
    Option("bidirectional", True, "the encoder reads both ways"),
    _one_of(
        "attention",
        "additive for bahdanau, general for luong",
        ("additive", *choices.SCORES),
        "score of the attention",
    ),
    Option("input_feeding", True, "luong: cells read the last output"),
)
TRANSFORMER = (
    Option("num_heads", 4, "attention heads; they divide --units", positive),
    Option(
        "feed_forward_units",
        "4 times --units",
        "width inside the feed-forward layers",
        positive,
    ),
    Option(
        "attention_dropout",
        "--dropout",
        "rate of the dropout of attention weights",
        rate,
        "RATE",
    ),
    Option("activation", "relu", "of the feed-forward layers", str, "NAME"),
    Option("normalize_first", True, "normalise before each part, not after"),
    Option(
        "flash_attention",
        "where it pays",
        "self-attention never builds its score matrix",
    ),
    Option(
        "kernel_size", 3, "cnn: positions that a convolution sees", positive
    ),
)
DATA = (
    _one_of(
        "source_unit",
        DEFAULT_UNIT,
        choices.VOCABULARY_UNITS,
        "tokens of sources",
    ),
    _one_of(
        "target_unit",
        DEFAULT_UNIT,
        choices.VOCABULARY_UNITS,
        "tokens of targets",
    ),
    Option(
        "source_vocabulary",
        "made from the pairs",
        "vocabulary in place of --source-unit: one of ours, a SentencePiece "
        ".model, a tokenizer.json",
        str,
        "FILE",
    ),
    Option("target_vocabulary", "made from the pairs", "the same", str, "FILE"),
    Option("shared_vocabulary", False, "one vocabulary, made of both sides"),
    Option(
        "vocabulary_size",
        "8000 pieces, or all",
        "most entries of a vocabulary",
        positive,
    ),
    Option("min_count", 1, "tokens seen fewer times are unknown", positive),
    Option(
        "max_source_length",
        "no limit",
        "leave out pairs with more source tokens",
        positive,
    ),
    Option(
        "max_target_length",
        "no limit",
        "leave out pairs with more target tokens",
        positive,
    ),
)
TRAINING = (
    Option("epochs", 10, "passes over the pairs", positive),
    Option("batch_size", 64, "pairs in a step", positive),
    Option(
        "batch_tokens",
        "as --batch-size says",
        "pairs in a step times their padded length, at most",
        positive,
    ),
    Option(
        "pad_to_multiple_of",
        "no rounding",
        "round padded lengths up; 8 or 64 suits GPUs",
        positive,
    ),
    Option("optimizer", "adam", "of Keras, as adamw", str, "NAME"),
    Option(
        "learning_rate",
        0.001,
        "highest learning rate",
        number(above=0),
        "RATE",
    ),
    Option(
        "warmup_steps",
        "a twentieth of all, at most 4000",
        "steps that the learning rate rises",
        integer(at_least=0),
    ),
    _one_of("decay", "cosine", choices.DECAYS, "how the rate falls"),
    Option(
        "clip_norm",
        1.0,
        "largest norm of all gradients together",
        number(above=0),
        "NORM",
    ),
    Option(
        "label_smoothing", 0.0, "share of smoothing of the loss", rate, "RATE"
    ),
    _one_of(
        "alignment_loss",
        "none",
        choices.ALIGNMENT_LOSSES,
        "what attention learns beside",
    ),
    Option(
        "scheduled_sampling",
        "none",
        "share of tokens of its own that the decoder reads",
        rate,
        "RATE",
    ),
    _one_of(
        "monitor",
        "error_rate",
        choices.MONITORS,
        "what the best epoch is best at",
    ),
    _one_of("bleu_tokenizer", "13a", choices.BLEU_TOKENIZERS, "words of bleu"),
    Option(
        "patience",
        "no limit",
        "epochs without improvement before the end",
        positive,
    ),
    Option(
        "average",
        "none",
        "measure the mean weights of so many last epochs, too",
        positive,
    ),
    _one_of(
        "strategy",
        "one device",
        choices.STRATEGIES,
        "several devices or, by TF_CONFIG, machines",
    ),
    Option("max_minutes", "no limit", "end after this time", number(above=0)),
    Option("checkpoint_every", 1000, "steps between two checkpoints", positive),
    Option(
        "seed",
        0,
        "of weights, dropout and order of the data",
        integer(at_least=0),
    ),
)
GROUPS = {
    "data": DATA,
    "training": TRAINING,
    "model": MODEL,
    "models with recurrent parts": RECURRENT,
    "models with transformer or cnn parts": TRANSFORMER,
}
NAMES = [option.name for group in GROUPS.values() for option in group]
