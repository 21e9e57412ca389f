"""Reads the attention of any layer of a model, without changing its code.

While a `with` block lasts, each attention layer of the model is asked for its
weights too, whoever calls it; its caller gets what it asked for. Nothing is
kept on the layers.
"""

import contextlib
import difflib
import inspect
from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_attention import validation
from keras_attention.layers import AttentionCell
from keras_attention.layers import AttentionMechanism
from keras_attention.models.held_layers import held_layers

ASKED = "return_attention_scores"
# They use the mechanisms inside in ways of their own, not by a call.
ASK_WHAT_THEY_HOLD = (AttentionCell, AttentionMechanism)


def read_attention(
    model: keras.layers.Layer,
    inputs: Any,
    layers: Sequence[str | keras.layers.Layer] | None = None,
) -> dict[str, np.ndarray]:
    """Runs a model once and returns what its attention layers attended to.

    It works for every layer whose call takes `return_attention_scores`, of
    this package or of Keras, wherever it is: in a functional model, in blocks
    and stacks, in encoders and decoders of a `Seq2Seq`.

    Args:
        model: a Keras model, or any layer that holds others.
        inputs: what the model is called with: of a `Seq2Seq` the dict of
            `source` and `target`.
        layers: which layers to read: names as in the result, their ends such
            as "cross_attention", or the layers themselves. Defaults to all
            that hold no other attention layer.

    Returns:
        The weights by name, in the order of the calls: float32 (batch,
        num_heads, target_length, source_length), without `num_heads` of
        single-head layers. A name is the path through the model, such as
        "decoder/block_0/cross_attention"; a second call adds " (2)".

    Raises:
        ValueError: if a layer is not there, is not called, or cannot return
            its weights.

    Example:

    >>> import keras
    >>> import numpy as np
    >>> import keras_attention as ka
    >>> words = keras.Input((None, 4))
    >>> attention = ka.MultiHeadAttention(2, key_dim=3, name="attention")
    >>> model = keras.Model(words, attention(words, words))
    >>> weights = ka.read_attention(model, np.ones((1, 5, 4)))
    >>> {name: w.shape for name, w in weights.items()}
    {'attention': (1, 2, 5, 5)}
    >>> page = ka.plots.view(weights)  # page.save("attention.html")
    """
    if not model.built:
        model(inputs)  # layers may be made in `build`
    with tap_attention(model, layers) as weights:
        model(inputs)
    return weights


@contextlib.contextmanager
def tap_attention(
    model: keras.layers.Layer,
    layers: Sequence[str | keras.layers.Layer] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Collects the attention weights of what is called in a `with` block.

    `read_attention` is this around one call of the model. Calls must be
    eager: `fit`, `predict` and `generate` run traced functions, of which
    nothing can be read.

    Args:
        model: as in `read_attention`.
        layers: as in `read_attention`.

    Yields:
        A dict that is empty, and filled by the calls; see `read_attention`.

    Raises:
        ValueError: as in `read_attention`, at the end of the block.

    Example:

    >>> import numpy as np
    >>> import keras_attention as ka
    >>> layer = ka.AdditiveAttention(3, name="additive")
    >>> with ka.tap_attention(layer) as weights:
    ...     context = layer(np.ones((1, 2, 5)), np.ones((1, 7, 4)))
    >>> weights["additive"].shape
    (1, 2, 7)
    """
    chosen = _chosen(model, layers)
    found, traced = {}, set()
    undo = []
    try:
        for layer, path in chosen:
            undo.append(_tap(layer, path, found, traced))
        yield found
    finally:
        for restore in reversed(undo):
            restore()
    _check_found(chosen, found, traced, layers is not None)


def _paths_of(model):
    """Returns [(layer, its path)] of a model and all that it holds."""
    seen, result = set(), []

    def visit(layer, path):
        if id(layer) in seen:
            return
        seen.add(id(layer))
        result.append((layer, path or layer.name))
        for held in held_layers(layer):
            visit(held, f"{path}/{held.name}" if path else held.name)

    visit(model, "")
    return result


def _can_be_asked(layer):
    if isinstance(layer, AttentionCell):
        return True
    # An `RNNDecoder` may be made without attention.
    if not getattr(layer, "attends", True):
        return False
    return ASKED in inspect.signature(layer.call).parameters


def _chosen(model, layers):
    """Returns the (layer, path) that are to be read."""
    able = [pair for pair in _paths_of(model) if _can_be_asked(pair[0])]
    if not able:
        raise validation.invalid(
            "model",
            f"a model with layers whose call takes `{ASKED}`",
            f"{type(model).__name__} {model.name!r} without any",
            "A model that makes its layers when it is first called must have "
            "been called.",
        )
    if layers is None:
        innermost = _innermost(model, {})
        return [pair for pair in able if id(pair[0]) in innermost]
    if isinstance(layers, (str, keras.layers.Layer)):
        layers = [layers]
    pairs = [pair for layer in layers for pair in _matches(layer, able)]
    return list({id(layer): (layer, path) for layer, path in pairs}.values())


def _innermost(layer, known):
    """Returns the ids of the layers that hold no other attention layer."""
    if id(layer) not in known:
        known[id(layer)] = found = set()
        if not isinstance(layer, ASK_WHAT_THEY_HOLD):
            for held in held_layers(layer):
                found |= _innermost(held, known)
        if not found and _can_be_asked(layer):
            found.add(id(layer))
    return known[id(layer)]


def _matches(wanted, able):
    """Returns the (layer, path) that one entry of `layers` means."""
    if isinstance(wanted, str):
        found = [
            (layer, path)
            for layer, path in able
            if path == wanted or path.endswith(f"/{wanted}")
        ]
    else:
        found = [(layer, path) for layer, path in able if layer is wanted]
    if found:
        return found
    names = [path for _, path in able]
    close = difflib.get_close_matches(str(wanted), names, 3, 0.4) or names
    raise validation.invalid(
        "layers",
        "names of attention layers of the model, such as "
        f"{', '.join(map(repr, close))}",
        repr(wanted),
    )


def _tap(layer, path, found, traced) -> Callable[[], None]:
    """Asks a layer for its weights from now on; returns what ends it."""
    if isinstance(layer, AttentionCell):
        name, asking = "run", _asking_run(layer, path, found, traced)
    else:
        name, asking = "call", _asking_call(layer, path, found, traced)
    # Not `setattr`: Keras and TensorFlow would take note of the function.
    attributes = vars(layer)
    before = attributes.get(name)
    attributes[name] = asking

    def restore():
        if before is None:
            del attributes[name]
        else:
            attributes[name] = before

    return restore


def _asking_call(layer, path, found, traced):
    call = layer.call
    signature = inspect.signature(call)

    def asking(*args, **kwargs):
        given = signature.bind(*args, **kwargs)
        is_asked = given.arguments.get(ASKED, False)
        given.arguments[ASKED] = True
        results = call(*given.args, **given.kwargs)
        output, weights, *others = results
        _keep(found, traced, path, weights)
        if is_asked:
            return results
        return (output, *others) if others else output

    # Keras looks at the signature of what it calls.
    asking.__signature__ = signature
    return asking


def _asking_run(cell, path, found, traced):
    """As `_asking_call`, for a cell: `run` is what all its callers call."""
    run = cell.run

    def asking(*args, return_attention_scores=False, **kwargs):
        kwargs[ASKED] = True
        outputs, weights, state = run(*args, **kwargs)
        several = cell.has_several
        mechanisms = cell.attention if several else [cell.attention]
        for mechanism, its_own in zip(
            mechanisms, weights if several else [weights], strict=True
        ):
            _keep(found, traced, f"{path}/{mechanism.name}", its_own)
        return outputs, weights if return_attention_scores else None, state

    return asking


def _keep(found, traced, path, weights):
    if keras.backend.is_keras_tensor(weights):
        return  # only shapes are asked for
    try:
        weights = keras.ops.convert_to_numpy(weights)
    except Exception:  # each backend has its own, for what has no value yet
        traced.add(path)
        return
    name, number = path, 1
    while name in found:
        number += 1
        name = f"{path} ({number})"
    found[name] = np.asarray(weights, "float32")


def _check_found(chosen, found, traced, is_named):
    if lost := traced - set(found):
        raise ValueError(
            f"The calls must be eager for {', '.join(map(repr, sorted(lost)))}"
            ": nothing can be read of a function that is traced, as in `fit`, "
            "`predict`, `generate` and `keras.layers.TimeDistributed`. Call "
            "the model itself, or leave the layer out of `layers`."
        )
    if not is_named:
        return
    for _, path in chosen:
        if not any(x == path or x.startswith(f"{path}/") for x in found):
            raise validation.invalid(
                "layers", "layers that the model calls", repr(path)
            )
