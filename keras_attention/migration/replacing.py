"""`replace_attention`: our layers in a model that exists."""

from collections.abc import Callable
from typing import Any

import keras

from keras_attention import validation
from keras_attention.migration import holders
from keras_attention.migration.replacement import Replacement
from keras_attention.migration.survey import Survey
from keras_attention.migration.survey import is_graph
from keras_attention.migration.survey import nodes_of
from keras_attention.migration.unprojected import UnprojectedAttention
from keras_attention.models.held_layers import held_layers

EMPTY_ROWS = (
    "A query with nothing to attend to, such as padding, now gets zero "
    "weights, and a zero output before the output projection; Keras averages "
    "values there."
)
MASKS = (
    "A Keras mask stays on its tensor; Keras's MultiHeadAttention takes it off "
    "its inputs, so that a later layer may have attended to padding."
)
KEY_MASKS = (
    "The Keras mask of a key counts; Keras's Attention and AdditiveAttention "
    "ignore it."
)
DROPOUT = (
    "Dropout draws other bits than before, and the weights that are returned "
    "are those before it."
)
SAVING = (
    "A layer that has attention inside is made anew, with Keras's, when a "
    "saved model is loaded. Save its weights, and load them into a model whose "
    "attention was replaced. A whole `.keras` file loads where all of them are "
    "MultiHeadAttention and attributes: replace after it."
)
OUTPUTS = (
    "`layer.output` of a layer that was not replaced is its output in the "
    "model that was given. Make a model that ends in the middle, such as "
    "`keras.Model(model.inputs, model.get_layer(name).output)`, first, and "
    "replace the attention of that."
)
COMPILE = (
    "The model is no longer compiled: call `compile`. The optimizer begins "
    "anew."
)


def replace_attention(model: keras.layers.Layer) -> Replacement:
    """Puts our layers in place of Keras's, so that long inputs fit in memory.

    Every `keras.layers.MultiHeadAttention`, `GroupQueryAttention`,
    `Attention` and `AdditiveAttention` becomes the layer that
    `migration.from_keras` makes of it, with a copy of its weights. So do
    KerasHub's `CachedMultiHeadAttention` and `CachedGemmaAttention`. The
    numbers stay the same, and no (query_length, key_length) matrix is built.

    It finds layers that are nodes of functional and Sequential models, nested
    ones too, and those that a layer or a subclassed model keeps as attributes,
    or in lists, tuples and dicts that are attributes. A layer that is used in
    several places is replaced by one.

    The model that is given is used up: its layers go on in the new one. A
    functional or Sequential model with attention among its nodes is rebuilt,
    with the same layers but for these, and the new model is in the result;
    any other model, or layer with attention inside, is changed in place, and
    the result holds the same object. On an error nothing has changed. The
    result is not compiled, and a rebuilt model has no attributes that were
    set from outside. Load weights that were saved before, and build layers
    that make their attention in `build`, first.

    Args:
        model: a Keras model or layer, built or not.

    Returns:
        A `migration.Replacement`: the `model`; what was `changed`; which
        attention layers were `kept` and why: subclasses of Keras's, layers
        that no attribute leads to, those in a functional model whose class
        cannot be rebuilt, and classes whose name says Attention and that are
        unknown; and `notes` on what differs. Print it to read it.

    Raises:
        ValueError: if `model` is not a layer or model of Keras.

    Example:

    >>> import keras
    >>> import keras_attention as ka
    >>> x = keras.Input((None, 6))
    >>> y = keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    >>> replacement = ka.replace_attention(keras.Model(x, y, name="mine"))
    >>> print(replacement)
    1 replaced:
      mine/attention: keras.MultiHeadAttention ->
        keras_attention.MultiHeadAttention
    0 kept
    3 notes:
    ...
    >>> type(replacement.model.layers[-1]) is ka.MultiHeadAttention
    True
    """
    if not isinstance(model, keras.layers.Layer):
        raise validation.invalid("model", "a Keras model or layer", repr(model))
    survey = Survey()
    survey.visit(model, model.name)
    survey.leave_unreachable()
    surgery = _Surgery({key: x.new for key, x in survey.found.items()})
    new = surgery.operate(model) if survey.found else model
    changed = tuple(survey.found.values())
    notes = _notes(changed, surgery)
    if changed and getattr(model, "compiled", False):
        notes.append(COMPILE)
    surgery.forget_compiled()
    return Replacement(new, changed, tuple(survey.kept), tuple(notes))


class _Surgery:
    """Exchanges layers.

    Attributes:
        in_place: whether any was exchanged in a holder that stays.
        rebuilt: whether any graph was made anew.
    """

    def __init__(self, replacements: dict[int, keras.layers.Layer]):
        self.in_place = self.rebuilt = False
        self._done = dict(replacements)
        self._touched: dict[int, keras.layers.Layer] = {}
        self._undo: list[Callable[[], None]] = []

    def operate(self, model: Any) -> Any:
        """Returns the model with the replacements; all of them or none."""
        try:
            return self._replaced(model)
        except Exception:
            for undo in reversed(self._undo):
                undo()
            raise

    def _replaced(self, layer):
        if id(layer) in self._done:
            return self._done[id(layer)]
        self._done[id(layer)] = layer  # also for what it holds in a circle
        nodes = nodes_of(layer) if is_graph(layer) else []
        rebuild = False
        for held in held_layers(layer):
            new = self._replaced(held)
            if new is not held or id(held) in self._touched:
                self._touched[id(layer)] = layer
            if new is held:
                continue
            if any(held is node for node in nodes):
                rebuild = True
            else:
                self._undo.append(holders.exchange(layer, held, new))
                self.in_place = True
        if rebuild:
            self._done[id(layer)] = self._rebuilt(layer)
            self.rebuilt = True
        return self._done[id(layer)]

    def forget_compiled(self) -> None:
        """Lets models that changed go of what was traced and compiled."""
        for key, model in self._touched.items():
            if (
                not isinstance(model, keras.Model)
                or self._done[key] is not model
            ):
                continue
            model.train_function = None
            model.test_function = None
            model.predict_function = None
            if hasattr(model, "generate_function"):  # KerasHub's
                model.generate_function = None
            if model.compiled:
                model.optimizer, model.compiled = None, False

    def _rebuilt(self, graph):
        """Returns the graph once more, with what replaces its nodes."""
        compiled, graph.compiled = graph.compiled, False
        try:
            return keras.models.clone_model(
                graph, clone_function=lambda x: self._done.get(id(x), x)
            )
        finally:
            graph.compiled = compiled


def _notes(changed, surgery):
    if not changed:
        return []
    new = [x.new for x in changed]
    unprojected = [isinstance(x, UnprojectedAttention) for x in new]
    notes = {
        EMPTY_ROWS: True,
        MASKS: not all(unprojected),
        KEY_MASKS: any(unprojected),
        DROPOUT: any(x.dropout for x in new),
        SAVING: surgery.in_place,
        OUTPUTS: surgery.rebuilt,
    }
    return [note for note, holds in notes.items() if holds]
