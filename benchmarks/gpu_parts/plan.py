"""What is run, in order of importance, and what it is to reach."""

import dataclasses
from typing import Any

from gpu_parts.cases import additive_case
from gpu_parts.cases import attention_case


@dataclasses.dataclass(frozen=True)
class Group:
    """Programs that answer one question, timed in turns.

    Args:
        key: the name of the case or of the model.
        names: of the programs.
        case: the `Case`, or None for a model.
        sizes: of the model, a dict, or None for attention.
    """

    key: str
    names: tuple[str, ...]
    case: Any = None
    sizes: dict | None = None


FUSED, BLOCKWISE, AUTO = "ours, fused", "ours, blockwise", "ours, auto"
DENSE, XLA, CUDNN = "dense XLA", "JAX, xla", "JAX, cudnn"
FLASH, TORCH_CUDNN = "PyTorch, flash", "PyTorch, cudnn"
FLEX = "PyTorch, FlexAttention"
TF_AUTO, TF_FUSED = "TensorFlow, ours auto", "TensorFlow, ours fused"
TF_BLOCKWISE, TF_KERAS = "TensorFlow, ours blockwise", "TensorFlow, Keras"
OURS, KERAS, TF_OURS = "ours", "Keras", "TensorFlow, ours"

TRAINING = {
    "batch": 16,
    "length": 1024,
    "width": 512,
    "hidden": 2048,
    "heads": 8,
    "layers": 3,
    "vocabulary": 8000,
}
DECODING = {
    "batch": 32,
    "length": 64,
    "width": 256,
    "hidden": 1024,
    "heads": 4,
    "layers": 3,
    "vocabulary": 8000,
}
TINY = {
    "batch": 2,
    "length": 8,
    "width": 16,
    "hidden": 24,
    "heads": 2,
    "layers": 1,
    "vocabulary": 50,
}
TRAINING_KEY = "training step, dropout 0.1"
GRADIENTS_KEY = "loss and gradients, no dropout"
DECODING_KEY = "decode, greedy"


def plan(tiny=False):
    """Returns the groups, the most important first."""
    # What is more of the same is no part of the tiny run.
    return [group for group, in_tiny in _groups(tiny) if in_tiny or not tiny]


def _groups(tiny):
    def attention(names, length, *where, in_tiny=False, **changes):
        case = attention_case(length, *where, tiny=tiny, **changes)
        return Group(case.key, names, case), in_tiny

    def additive(names, length, *, backward, in_tiny=False):
        case = additive_case(length, tiny, backward)
        return Group(case.key, names, case), in_tiny

    def model(key, names, sizes):
        sizes = {k: TINY[k] for k in sizes} if tiny else sizes
        return Group(key, names, sizes=sizes), True

    both = {"backward": True}
    single = {"dtype": "float32"}
    ours = (FUSED, BLOCKWISE)
    return [
        attention(
            (FUSED, DENSE, CUDNN, BLOCKWISE, TF_FUSED, FLASH),
            *(4, "causal"),
            in_tiny=True,
            **both,
        ),
        attention(
            (FUSED, AUTO, DENSE, CUDNN, BLOCKWISE, TF_FUSED, TF_KERAS)
            + (FLASH, TORCH_CUDNN),
            *(4, "causal"),
            in_tiny=True,
        ),
        model(TRAINING_KEY, (OURS, KERAS), TRAINING),
        model(GRADIENTS_KEY, (TF_OURS, TF_KERAS), TRAINING),
        attention((AUTO, BLOCKWISE, DENSE, FLEX), 32, "window", in_tiny=True),
        additive((AUTO, FUSED, DENSE), 2, backward=True, in_tiny=True),
        attention((BLOCKWISE, DENSE), 1, "causal"),
        attention((*ours, DENSE), 16, "causal", **both),
        additive((AUTO, FUSED, DENSE), 2, backward=False),
        attention((*ours, DENSE), 64, "causal"),
        attention((BLOCKWISE, DENSE), 1, "causal", **both),
        model(DECODING_KEY, (OURS, KERAS), DECODING),
        attention((FUSED,), 4, "causal", 64),
        attention((BLOCKWISE,), 4, "causal", **single, precision="float32"),
        attention(
            (BLOCKWISE,), 4, "causal", **single, precision="tensorfloat32"
        ),
        attention((FUSED,), 4, "full"),
        # No target asks for these: the limit leaves them out where all peers
        # of those above are there.
        attention((TF_AUTO,), 32, "window", in_tiny=True),
        additive((TF_AUTO, TF_FUSED), 2, backward=True, in_tiny=True),
        attention((TF_BLOCKWISE, XLA), 4, "causal", in_tiny=True),
        model(DECODING_KEY, (TF_OURS,), DECODING),
        attention((FUSED, CUDNN), 4, "causal", 64, **both),
        additive((AUTO, DENSE), 4, backward=False),
        attention((FUSED, BLOCKWISE), 16, "full"),
    ]
