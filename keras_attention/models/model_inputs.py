"""The inputs of a `Seq2Seq` in training: a dict."""

from typing import Any

from keras_attention import validation
from keras_attention.models.source_signature import SourceSignature

NAMES = {"source", "target", "source_mask", "initial_state", "alignment"}


def check_inputs(inputs: Any, signature: SourceSignature) -> None:
    """Raises a ValueError unless the inputs are those of `Seq2Seq.call`."""
    if isinstance(inputs, dict):
        if {"source", "target"} <= set(inputs) <= NAMES:
            rank, axes = 1 + len(signature.shape), "(batch, source_length)"
            if not signature.is_ids:
                axes = f"(batch, *{signature.shape})"
            validation.check_rank("source", inputs["source"], rank, axes)
            target = inputs["target"]
            validation.check_rank("target", target, 2, "(batch, target_length)")
            return
        received = f"a dict with the keys {list(inputs)}"
    elif hasattr(inputs, "shape"):
        received = f"a tensor of shape {validation.shape_of(inputs)}"
    else:
        received = f"a {type(inputs).__name__}"
    raise validation.invalid(
        "inputs",
        "a dict with the keys 'source' and 'target', and if wanted "
        "'source_mask', 'initial_state' and 'alignment'",
        received,
    )
