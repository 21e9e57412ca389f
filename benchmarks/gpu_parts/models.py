"""Training and a greedy search, of our model and of layers of Keras.

The Transformer of `sequence_models`, on JAX, and what TensorFlow compiled of
it. Each class is one group of programs.
"""

import dataclasses
import functools

import jax
import keras
import numpy as np
import sequence_models
from jax import numpy as jnp

from gpu_parts import decoding
from gpu_parts import gradients
from gpu_parts.clock import Program
from gpu_parts.jax_programs import numpy_results
from gpu_parts.jax_programs import planned_bytes

RATE = 0.1  # of dropout, in the training step
LEARNING_RATE = 0.1
# How far below the largest logit one that was chosen may be, in products
# of TF32.
TOLERANCE = 2e-2


class Training:
    """Steps of Adam on one batch, the state kept on the device."""

    tensors = ()

    def __init__(self, sizes, written):
        self.sizes = sizes  # a whole step is not among what was written
        self.batch = sequence_models.batch_of(sizes)
        self.tokens = sizes["batch"] * sizes["length"]

    def compiled(self, name, key):
        """Returns the `Program` of that name: one step; its loss."""
        model = gradients.model_of(name, self.sizes, RATE)
        step, state = training_step(model)
        batch = jax.device_put(self.batch)
        step = jax.jit(step, donate_argnums=0).lower(state, batch).compile()

        def call():
            nonlocal state
            state, loss = step(state, batch)
            return [loss]

        memory = planned_bytes(step.memory_analysis())
        return Program(call, jax.block_until_ready, numpy_results, memory)

    def check(self, name, program):
        """Returns the last loss over the first: the step is to learn."""
        (first,) = program.results(program.call())
        for _ in range(10):
            (last,) = program.results(program.call())
        return improvement(first, last)


def improvement(first, last):
    """Returns the last loss over the first; a ValueError if it is no less."""
    if not last < first:
        raise ValueError(f"the loss goes from {first:.3f} to {last:.3f}")
    return float(last / first)


def training_step(model):
    """Returns a function of state and batch, and the first state.

    It returns the next state and the loss.
    """
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(state, batch):
        trainable, others, of_optimizer = state
        inputs, labels = batch

        def of_weights(trainable):
            logits, after = model.stateless_call(
                trainable, others, inputs, training=True
            )
            return loss(labels, logits), after

        (value, after), slopes = jax.value_and_grad(of_weights, has_aux=True)(
            trainable
        )
        trainable, of_optimizer = optimizer.stateless_apply(
            of_optimizer, slopes, trainable
        )
        return (trainable, after, of_optimizer), value

    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        optimizer.variables,
    )
    # Copies: what is given to a step is gone, and variables stay.
    state = tuple([jnp.array(v.value) for v in part] for part in variables)
    return step, state


class Gradients:
    """Loss and gradients as TensorFlow compiled them, without dropout."""

    tensors = ()

    def __init__(self, sizes, written):
        self.sizes, self.written = sizes, written
        inputs, labels = sequence_models.batch_of(sizes)
        batch = (inputs["source"], inputs["target"], labels)
        self.batch = [jnp.asarray(ids) for ids in batch]
        self.tokens = labels.size
        self.values = {}  # of the weights, by the name of the program

    def compiled(self, name, key):
        """Returns the `Program` of that name: the loss, and gradients."""
        model = gradients.model_of(name.split()[-1], self.sizes, 0.0)
        values = [jnp.array(v.value) for v in gradients.variables_of(model)]
        self.values[name] = values
        program = self.written.compiled(name, key, [*self.batch, *values])

        def call():
            return program.call(*self.batch, *self.values[name])

        return dataclasses.replace(program, call=call)

    def check(self, name, program):
        """Returns the last loss over the first of a few steps downhill."""
        losses, start = [], self.values[name]
        for _ in range(5):
            loss, *slopes = program.call()
            losses.append(np.asarray(loss))
            values = list(self.values[name])
            for place, slope in enumerate(slopes):
                values[place] = values[place] - LEARNING_RATE * slope
            self.values[name] = values
        self.values[name] = start
        return improvement(losses[0], losses[-1])


class Decoding:
    """A greedy search that makes `length` tokens for each row."""

    def __init__(self, sizes, written):
        self.sizes, self.written = sizes, written
        self.source = jnp.asarray(sequence_models.batch_of(sizes)[1])
        self.tensors = (self.source,)
        self.tokens = self.source.size
        self.models = {}

    def compiled(self, name, key):
        """Returns the `Program` of that name: source -> tokens."""
        is_keras = name == "Keras"
        model = self._model("Keras" if is_keras else "ours")
        weights = [jnp.array(v.value) for v in model.variables]
        if name.startswith("TensorFlow"):
            program = self.written.compiled(name, key, [self.source, *weights])
            call, memory = program.call, program.memory
        else:
            make = decoding.without_cache if is_keras else decoding.with_cache
            function = jax.jit(make(model, self.sizes["length"]))
            call = function.lower(self.source, *weights).compile()
            memory = planned_bytes(call.memory_analysis())
        return Program(
            lambda source: call(source, *weights),
            jax.block_until_ready,
            numpy_results,
            memory,
        )

    def check(self, name, program):
        """Returns by how much a token chosen falls short of the best."""
        model = self._model("Keras" if name == "Keras" else "ours")
        (tokens,) = program.results(program.call(self.source))
        target = np.pad(tokens, ((0, 0), (1, 0)), constant_values=decoding.BOS)
        inputs = {"source": self.source, "target": jnp.asarray(target[:, :-1])}
        states = model.trainable_variables, model.non_trainable_variables
        logits, _ = jax.jit(
            functools.partial(model.stateless_call, training=False)
        )(*([v.value for v in part] for part in states), inputs)
        logits = np.asarray(logits, "float64")[..., decoding.SPECIAL :]
        chosen = tokens[..., None] - decoding.SPECIAL
        chosen = np.take_along_axis(logits, chosen, axis=-1)[..., 0]
        error = np.max(logits.max(axis=-1) - chosen) / np.std(logits)
        if not error <= TOLERANCE:
            raise ValueError(f"a token falls short by {error:.1e} deviations")
        return float(error)

    def _model(self, name):
        if name not in self.models:
            self.models[name] = decoding.model_of(name, self.sizes)
        return self.models[name]
