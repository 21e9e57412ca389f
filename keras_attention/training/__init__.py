"""Training: pairs of texts in, the best model out, whatever happens between.

Everything is usable by itself with plain `compile` and `fit`; `train` puts it
together. Read `pairs` and `pipeline` for the data, `losses`, `rates`,
`ngram_scores` and `rouge` for what is measured, `checkpoints` for going on
after a crash, then `trainer`.
"""

from keras_attention.training.alignment_images import AlignmentImages
from keras_attention.training.alignment_losses import AlignmentLoss
from keras_attention.training.alignment_losses import CoverageLoss
from keras_attention.training.alignment_losses import DiagonalAlignmentLoss
from keras_attention.training.alignment_losses import GuidedAlignmentLoss
from keras_attention.training.averaging import KeepLast
from keras_attention.training.averaging import average_weights
from keras_attention.training.callbacks import KeepBest
from keras_attention.training.callbacks import StopWhenNonFinite
from keras_attention.training.callbacks import TimeBudget
from keras_attention.training.checkpoints import Checkpoints
from keras_attention.training.checkpoints import Position
from keras_attention.training.generation_metrics import GenerationMetrics
from keras_attention.training.history import HistoryFile
from keras_attention.training.kept_memory import KeepMemory
from keras_attention.training.losses import MaskedCrossentropy
from keras_attention.training.losses import TokenAccuracy
from keras_attention.training.ngram_scores import bleu
from keras_attention.training.ngram_scores import chrf
from keras_attention.training.pairs import Pairs
from keras_attention.training.pairs import read_pairs
from keras_attention.training.pipeline import make_dataset
from keras_attention.training.pipeline import steps_per_epoch
from keras_attention.training.rates import edit_distance
from keras_attention.training.rates import error_rate
from keras_attention.training.rates import exact_match
from keras_attention.training.rouge import rouge_1
from keras_attention.training.rouge import rouge_l
from keras_attention.training.run import Trained
from keras_attention.training.scheduled_sampling import InverseSigmoidDecay
from keras_attention.training.scheduled_sampling import ScheduledSampling
from keras_attention.training.schedules import WarmupSchedule
from keras_attention.training.sequence_loss import SequenceLoss
from keras_attention.training.spans import span_f1
from keras_attention.training.spans import spans_of
from keras_attention.training.survey import Survey
from keras_attention.training.survey import survey_pairs
from keras_attention.training.text_metrics import measure_texts
from keras_attention.training.timed_rate import TimedRate
from keras_attention.training.trainer import train

__all__ = [
    "AlignmentImages",
    "AlignmentLoss",
    "Checkpoints",
    "CoverageLoss",
    "DiagonalAlignmentLoss",
    "GenerationMetrics",
    "GuidedAlignmentLoss",
    "HistoryFile",
    "InverseSigmoidDecay",
    "KeepBest",
    "KeepLast",
    "KeepMemory",
    "MaskedCrossentropy",
    "Pairs",
    "Position",
    "ScheduledSampling",
    "SequenceLoss",
    "StopWhenNonFinite",
    "Survey",
    "TimeBudget",
    "TimedRate",
    "TokenAccuracy",
    "Trained",
    "WarmupSchedule",
    "average_weights",
    "bleu",
    "chrf",
    "edit_distance",
    "error_rate",
    "exact_match",
    "make_dataset",
    "measure_texts",
    "read_pairs",
    "rouge_1",
    "rouge_l",
    "span_f1",
    "spans_of",
    "steps_per_epoch",
    "survey_pairs",
    "train",
]
