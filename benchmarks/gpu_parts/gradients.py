"""The loss of a model and the gradients of its weights, for TensorFlow.

A whole step cannot be written beforehand: on TensorFlow, optimizers of Keras
write to variables. What an optimizer adds is the same for all models.
"""

import keras
import sequence_models

from keras_attention.functional import declared_batches

POLICY = "mixed_bfloat16"


def model_of(name, sizes, rate):
    """Returns the model of that name, in half precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(POLICY)
    try:
        keras.utils.set_random_seed(0)
        model = sequence_models.MODELS[name](rate, **sizes)
        model(sequence_models.batch_of(sizes)[0])
    finally:
        keras.config.set_dtype_policy(before)
    return model


def variables_of(model):
    """Returns the variables of a model, those that are trained first."""
    return [*model.trainable_variables, *model.non_trainable_variables]


def loss_and_gradients(model):
    """Returns a function of TensorFlow.

    Of source, target and labels (B, T), and the values of `variables_of`; to
    the loss and the gradients of what is trained.
    """
    import tensorflow as tf

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    count = len(model.trainable_variables)

    def run(source, target, labels, *values):
        trained, others = list(values[:count]), list(values[count:])
        inputs = {"source": source, "target": target}
        # As `make_dataset` pads.
        shape = (*source.shape, target.shape[1])
        ready = declared_batches([shape], padding_is_last=True)
        with ready, tf.GradientTape() as tape:
            tape.watch(trained)
            logits, _ = model.stateless_call(
                trained, others, inputs, training=True
            )
            value = loss(labels, logits)
        gradients = tape.gradient(value, trained, unconnected_gradients="zero")
        return [value, *map(tf.convert_to_tensor, gradients)]

    return run
