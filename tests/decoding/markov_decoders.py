"""Small decoders that obey the step protocol, and exact search over them.

Each row of `encoded` holds a model of its own: a table of transition logits
(V, V) and one of attention logits (V, S). The logits of the next token are
the last token's row of the table plus the tanh of a fading memory of all
inputs so far, so that a hypothesis whose memory is another's gets wrong
numbers. B is the batch, K the slots, V the vocabulary, S the source length.
"""

import itertools

import keras
import numpy as np
from keras import ops

from keras_attention.decoding import BOS
from keras_attention.decoding import EOS
from keras_attention.decoding import gather_slots

FADING = 0.5


class Memory:
    """What both decoders share: from tokens and memory to logits."""

    def __init__(self, vocabulary=5):
        self.vocabulary = vocabulary

    def outputs(self, tokens, memory, encoded, source_mask):
        table, attention = (
            encoded[:, :, : self.vocabulary],
            encoded[:, :, self.vocabulary :],
        )
        last = ops.one_hot(tokens, self.vocabulary)
        logits = ops.einsum("bkv,bvw->bkw", last, table)
        logits = logits + ops.tanh(ops.einsum("bkv,bwv->bkw", memory, table))
        scores = ops.einsum("bkv,bvs->bks", memory, attention)
        scores = ops.where(source_mask[:, None], scores, -1e9)
        return logits, ops.softmax(scores, axis=-1)


class MovedMemory(Memory):
    """Keeps its memory (B, K, V) by slot, and moves it in `reorder`."""

    def start(self, encoded, source_mask, max_length, beams=1):
        batch = ops.shape(source_mask)[0]
        memory = ops.zeros((batch, beams, self.vocabulary))
        return {"memory": memory, "source": (encoded, source_mask)}

    def step(self, tokens, state, index, ancestors=None):
        memory = FADING * state["memory"]
        memory = memory + ops.one_hot(tokens, self.vocabulary)
        logits, alignment = self.outputs(tokens, memory, *state["source"])
        return logits, {**state, "memory": memory}, alignment

    def reorder(self, state, parents):
        return {**state, "memory": gather_slots(state["memory"], parents)}


class LookedUpMemory(Memory):
    """Keeps the inputs (B, K, T) where they are, and reads by ancestors."""

    def start(self, encoded, source_mask, max_length, beams=1):
        batch = ops.shape(source_mask)[0]
        inputs = ops.zeros((batch, beams, max_length), dtype="int32")
        return {"inputs": inputs, "source": (encoded, source_mask)}

    def step(self, tokens, state, index, ancestors=None):
        positions = ops.arange(state["inputs"].shape[-1], dtype="int32")
        inputs = ops.where(
            positions == index, tokens[..., None], state["inputs"]
        )
        history = ops.take_along_axis(inputs, ancestors, axis=1)  # (B, K, T)
        age = ops.cast(index - positions, "float32")
        weights = ops.where(age >= 0, FADING ** ops.maximum(age, 0.0), 0.0)
        memory = ops.einsum(
            "t,bktv->bkv", weights, ops.one_hot(history, self.vocabulary)
        )
        logits, alignment = self.outputs(tokens, memory, *state["source"])
        return logits, {**state, "inputs": inputs}, alignment

    def reorder(self, state, parents):
        return state


def random_models(batch=3, vocabulary=5, source_length=7, scale=1.5, seed=11):
    """Returns `encoded` and a ragged `source_mask` for a batch of models."""
    generator = np.random.default_rng(seed)
    shape = (batch, vocabulary, vocabulary + source_length)
    encoded = scale * generator.normal(size=shape)
    lengths = generator.integers(2, source_length + 1, size=(batch, 1))
    source_mask = np.arange(source_length) < lengths
    return encoded.astype("float32"), source_mask


def next_step(encoded, source_mask, history):
    """One row in float64: log probabilities (V,) and alignment (S,)."""
    vocabulary = encoded.shape[0]
    table = encoded[:, :vocabulary].astype("float64")
    attention = encoded[:, vocabulary:].astype("float64")
    memory = np.zeros(vocabulary)
    for token in (BOS, *history):
        memory = FADING * memory
        memory[token] += 1
    last = history[-1] if history else BOS
    logits = table[last] + np.tanh(table @ memory)
    scores = np.exp(memory @ attention) * source_mask
    return logits - np.log(np.exp(logits).sum()), scores / scores.sum()


def all_sequences(vocabulary, max_length):
    """Yields every sequence that ends by EOS or is cut at `max_length`."""
    others = [token for token in range(vocabulary) if token != EOS]
    for length in range(max_length):
        for beginning in itertools.product(others, repeat=length):
            yield (*beginning, EOS)
    yield from itertools.product(others, repeat=max_length)


def alignment_of(encoded, source_mask, sequence):
    """Returns the (n, S) alignment of a whole sequence, in float64."""
    return np.array(
        [
            next_step(encoded, source_mask, sequence[:position])[1]
            for position in range(len(sequence))
        ]
    )


def log_probability_of(encoded, source_mask, sequence, rules=()):
    """Returns log P of a whole sequence, in float64.

    Each rule maps (log probabilities (V,), history) to log probabilities.
    """
    total = 0.0
    for position, token in enumerate(sequence):
        history = sequence[:position]
        log_probabilities, _ = next_step(encoded, source_mask, history)
        for rule in rules:
            log_probabilities = rule(log_probabilities.copy(), history)
        total += log_probabilities[token]
    return total


def score_of(encoded, source_mask, sequence, search, rules=()):
    """Returns the score of `Beam`, equation 14 of Wu et al. 2016."""
    total = log_probability_of(encoded, source_mask, sequence, rules)
    score = total / ((5 + len(sequence)) / 6) ** search.length_penalty
    coverage = alignment_of(encoded, source_mask, sequence).sum(axis=0)
    coverage = np.minimum(coverage[source_mask], 1.0)
    return score + search.coverage_penalty * np.log(coverage).sum()


def best_first(sequences, score):
    """Finished sequences by score, then those without EOS by theirs."""
    scored = [(s[-1] != EOS, -score(s), s) for s in sequences]
    return [(s, -negated) for _, negated, s in sorted(scored)]


def hypotheses_of(decoded, row):
    """The sequences and scores of one row, padding cut off."""
    sequences = [
        tuple(map(int, tokens[:length]))
        for tokens, length in zip(
            decoded.tokens[row], decoded.lengths[row], strict=True
        )
    ]
    return sequences, decoded.scores[row]


def run(mode, function, *arrays):
    """Runs `function` eager, traced with dynamic sizes, or compiled."""
    arrays = [ops.convert_to_tensor(array) for array in arrays]
    if mode == "eager":
        outputs = function(*arrays)
    elif keras.backend.backend() == "jax":
        import jax

        outputs = jax.jit(function)(*arrays)
    else:
        import tensorflow as tf

        # Batch and source length are unknown, the vocabulary never is.
        signature = [
            tf.TensorSpec([None, *a.shape[1:-1], None][: a.ndim], a.dtype)
            for a in arrays
        ]
        traced = (
            tf.function(function, input_signature=signature)
            if mode == "graph"
            else tf.function(function, jit_compile=True)
        )
        outputs = traced(*arrays)
    return type(outputs)(*map(ops.convert_to_numpy, outputs))
