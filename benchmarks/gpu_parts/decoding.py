"""A greedy search as one function of tensors, on any backend of Keras."""

import keras
import sequence_models
from keras import ops

from keras_attention.decoding import Greedy
from keras_attention.decoding import Suppress
from keras_attention.models import generate_tokens

BOS, EOS = 1, 2
SPECIAL = 3  # ids below it are not said, so that everybody makes every step


def model_of(name, sizes):
    """Returns the model of that name, without dropout, in float32."""
    keras.utils.set_random_seed(0)
    model = sequence_models.MODELS[name](0.0, **sizes)
    model(sequence_models.batch_of(sizes)[0])
    return model


def with_cache(model, steps):
    """Returns a function of source (B, S) and weights: tokens (B, steps)."""
    search = Greedy(constraints=[Suppress((EOS,))])

    def decode(source, *weights):
        mapping = list(zip(model.variables, weights, strict=True))
        with keras.StatelessScope(state_mapping=mapping):
            found = generate_tokens(model, source, search, steps)
        return [found.tokens[:, 0]]

    return decode


def without_cache(model, steps):
    """The same with layers of Keras alone: the whole target at each step."""

    def decode(source, *weights):
        batch = source.shape[0]
        target = ops.full((batch, 1), BOS, dtype="int32")
        rest = ops.zeros((batch, steps), "int32")
        target = ops.concatenate([target, rest], axis=1)  # (B, steps + 1)
        mapping = list(zip(model.variables, weights, strict=True))

        def step(position, target):
            inputs = {"source": source, "target": target[:, :-1]}
            with keras.StatelessScope(state_mapping=mapping):
                logits = model(inputs, training=False)
            logits = ops.take(logits, position, axis=1)  # (B, vocabulary)
            token = ops.argmax(logits[:, SPECIAL:], axis=-1) + SPECIAL
            is_here = ops.arange(steps + 1) == position + 1
            token = ops.cast(token, "int32")[:, None]
            return ops.where(is_here, token, target)

        return [ops.fori_loop(0, steps, step, target)[:, 1:]]

    return decode
