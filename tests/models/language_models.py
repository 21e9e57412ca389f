"""Small language models, and what they say by the definition."""

import keras
import numpy as np
from keras import ops
from small_models import randomize

import keras_attention as ka
from keras_attention.decoding import token_log_probabilities
from keras_attention.layers import AttentionOptions

IDS = 13


def _decoder(**options):
    return ka.DecoderOnlyTransformer(
        IDS, units=12, num_heads=2, feed_forward_units=7, **options
    )


DECODERS = {
    "sinusoids": lambda: _decoder(num_layers=1),
    "learned": lambda: _decoder(
        position=ka.LearnedPositionalEncoding(29),
        normalize_first=False,
        tie_embeddings=True,
        num_layers=1,
    ),
    # A ring of 8 positions, the least, which prompt and steps run past.
    "window": lambda: _decoder(
        position=ka.RotaryEmbedding(),
        attention_options=AttentionOptions(
            sliding_window=3, num_key_value_heads=1, use_sink=True
        ),
    ),
}
# Rows of several lengths, padding and BOS anywhere, ids after the end.
PROMPTS = np.array(
    [[5, 4, 7, 9, 6], [0, 0, 0, 0, 0], [1, 8, 0, 0, 0], [4, 0, 8, 2, 5]]
)
READ = [[5, 4, 7, 9, 6], [], [8], [4, 8]]  # what is read of them


def language_model(kind="sinusoids", seed=3, **options):
    return randomize(ka.LanguageModel(DECODERS[kind](), **options), seed)


def said_one_by_one(model, prompt, count):
    """The most probable ids, each by a call on all before; EOS at the end."""
    ids = [1, *prompt]
    for index in range(count):
        logits = ops.convert_to_numpy(model(np.array([ids])))[0, -1]
        forbidden = [0, 1] if index == count - 1 else [0, 1, 2]
        logits[forbidden] = -np.inf
        ids.append(int(logits.argmax()))
    return ids[-count:]


def log_probability(model, prompt, said):
    """Of the ids that follow a prompt, by one call on all of them."""
    ids = np.array([[1, *prompt, *said]])
    logits = ops.convert_to_numpy(model(ids[:, :-1]))
    found = token_log_probabilities(logits, ids[:, 1:])
    return ops.convert_to_numpy(found)[0, len(prompt) :].sum()


@keras.saving.register_keras_serializable(package="tests")
class RecurrentDecoder(keras.layers.Layer):
    """A decoder of somebody else: a GRU, that moves its state in a beam."""

    def __init__(self, vocabulary_size, units, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size, self.units = vocabulary_size, units
        self.embedding = keras.layers.Embedding(vocabulary_size, units)
        self.rnn = keras.layers.GRU(
            units, return_sequences=True, return_state=True, use_cudnn=False
        )
        self.dense = keras.layers.Dense(vocabulary_size)

    def build(self, target_shape):
        self.embedding.build(target_shape)
        self.rnn.build((*target_shape, self.units))
        self.dense.build((None, self.units))
        self.built = True

    def call(self, target, training=None):
        outputs, _ = self.rnn(self.embedding(target), mask=target != 0)
        return self.dense(outputs)

    def compute_output_shape(self, target_shape):
        return (*target_shape, self.vocabulary_size)

    def compute_mask(self, target, previous_mask=None):
        return ops.logical_and(target != 0, target != 2)

    def start(self, prompt, prompt_mask, max_length, beams=1):
        _, state = self.rnn(self.embedding(prompt), mask=prompt_mask)
        return ops.repeat(state[:, None], beams, axis=1)  # (B, K, U)

    def step(self, tokens, state, index, ancestors=None):
        shape = ops.shape(state)
        x = ops.reshape(self.embedding(tokens), (-1, self.units))
        new = self.rnn.cell(x, [ops.reshape(state, (-1, self.units))])[0]
        new = ops.reshape(new, shape)
        return self.dense(new), new, None

    def reorder(self, state, parents):
        return ka.decoding.gather_slots(state, parents)

    def get_config(self):
        sizes = {"vocabulary_size": self.vocabulary_size, "units": self.units}
        return {**super().get_config(), **sizes}


DECODERS["recurrent"] = lambda: RecurrentDecoder(IDS, 7)
