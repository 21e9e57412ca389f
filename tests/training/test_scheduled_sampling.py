"""Scheduled sampling: which tokens a decoder reads, and that it trains."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_attention as ka
from keras_attention.decoding import Beam
from keras_attention.decoding import Greedy
from keras_attention.decoding import MinLength
from keras_attention.decoding import Sample
from keras_attention.training import InverseSigmoidDecay
from keras_attention.training import MaskedCrossentropy
from keras_attention.training import ScheduledSampling

B, T, S, V = 7, 5, 3, 13


DECODERS = {
    "bahdanau": lambda: ka.RNNDecoder(V, 6, ka.AdditiveAttention(2)),
    "luong": lambda: ka.RNNDecoder(
        V, 6, ka.DotProductAttention("general"), query_state="current"
    ),
    "transformer": lambda: ka.TransformerDecoder(
        V, 6, num_layers=1, num_heads=2
    ),
}


def small_model(kind):
    encoder = keras.layers.Embedding(11, 4, mask_zero=True)
    model = ka.Seq2Seq(encoder, DECODERS[kind]())
    draw = np.random.default_rng(3)
    for weight in model.trainable_variables:
        weight.assign(draw.normal(size=weight.shape))
    return model


SOURCE = np.random.default_rng(1).integers(4, 11, (B, S)).astype("int32")


def targets(seed=2):
    """BOS first, ragged; the second row is padding."""
    target = np.random.default_rng(seed).integers(4, V, (B, T))
    target[:, 0] = 1
    lengths = np.array([5, 0, 3, 4, 5, 1, 5])
    return np.where(np.arange(T) < lengths[:, None], target, 0).astype("int32")


def log_softmax(logits):
    logits = np.asarray(logits, "float64")
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def allowed(logits):
    """Log probabilities with PAD, BOS and EOS ruled out."""
    found = log_softmax(logits)
    found[..., :3] = -np.inf
    return found


KINDS = ["bahdanau", "transformer"]


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_steps_read_what_a_loop_of_teacher_forcing_says(kind):
    """Bengio et al.: each token from a whole pass over what was read."""
    model, target = small_model(kind), targets()
    encoded = model.encode(SOURCE)
    sampling = ScheduledSampling(0.4, Greedy())
    found = np.asarray(sampling(model.decoder, target, encoded, 17))
    replaced = found != target
    assert 3 <= replaced.sum() < (target > 2).sum()
    assert not replaced[:, 0].any() and not replaced[target == 0].any()
    logits = model.decoder(found, encoded.values, encoded_mask=encoded.mask)
    best = allowed(logits).argmax(axis=-1)
    for row, position in zip(*np.nonzero(replaced), strict=True):
        assert found[row, position] == best[row, position - 1]


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_in_parallel_reads_the_argmax_after_true_tokens(kind):
    """Mihaylova & Martins: two passes."""
    model, target = small_model(kind), targets()
    encoded = model.encode(SOURCE)
    sampling = ScheduledSampling(0.4, Greedy(), in_parallel=True)
    found = np.asarray(sampling(model.decoder, target, encoded, 17))
    logits = model.decoder(target, encoded.values, encoded_mask=encoded.mask)
    best = allowed(logits).argmax(axis=-1)
    replaced = found != target
    assert replaced.any()
    for row, position in zip(*np.nonzero(replaced), strict=True):
        assert found[row, position] == best[row, position - 1]


def test_passes_in_parallel_come_to_what_the_steps_read():
    """After n passes over the last result, n drawn tokens are the steps'."""
    model, target = small_model("bahdanau"), targets()
    encoded = model.encode(SOURCE)
    search = Sample(seed=11)
    in_steps = ScheduledSampling(0.1, search)
    parallel = ScheduledSampling(0.1, search, in_parallel=True)
    expected = in_steps(model.decoder, target, encoded, 29)
    once = parallel(model.decoder, target, encoded, 29)
    assert (np.asarray(once) != np.asarray(expected)).any()

    class Reads:
        """The decoder, whatever it is given, over what was found so far."""

        def __init__(self, tokens):
            self.tokens = tokens

        def __call__(self, target, *args, **kwargs):
            return model.decoder(self.tokens, *args, **kwargs)

    found = target
    for _ in range(T):
        found = parallel(Reads(found), target, encoded, 29)
    np.testing.assert_array_equal(found, expected)


def test_shares_and_draws_follow_their_probabilities():
    """One decoder of known odds, many rows; 5 standard deviations."""
    odds = np.array([5, 5, 5, 5, 1.0, 2.0, 1.0])
    shape, share = (2003, 3), 0.7

    def decoder(target, values, **options):
        return ops.zeros((*shape, 7)) + np.log(odds).astype("float32")

    target = np.full(shape, 6, "int32")
    target[:, 0] = 1
    encoded = small_model("luong").encode(SOURCE)
    sampling = ScheduledSampling(share, Sample(), in_parallel=True)
    found = np.asarray(sampling(decoder, target, encoded, 3))
    drawn = found[:, 1:]
    count = drawn.size
    chances = (1 - share) * np.array([0, 0, 0, 5, 1, 2, 1]) / 9
    chances[6] += share
    deviations = np.sqrt(count * chances * (1 - chances))
    numbers = np.bincount(drawn.ravel(), minlength=7)
    assert (abs(numbers - count * chances) <= 5 * deviations).all()
    other = sampling(decoder, target, encoded, 4)
    assert (np.asarray(other) != found).any()
    again = sampling(decoder, target, encoded, 3)
    np.testing.assert_array_equal(again, found)


@pytest.mark.parametrize("share", [0.0, 1.0, lambda step: step * 0.0 + 1.0])
def test_none_or_all_of_the_true_tokens(share):
    model, target = small_model("luong"), targets()
    encoded = model.encode(SOURCE)
    sampling = ScheduledSampling(share, Greedy(), in_parallel=True)
    found = np.asarray(sampling(model.decoder, target, encoded, 5))
    if share == 0.0:
        logits = model.decoder(target, encoded.values)
        best = allowed(logits).argmax(axis=-1)[:, :-1]
        free = target[:, 1:] > 2
        np.testing.assert_array_equal(found[:, 1:][free], best[free])
    else:
        np.testing.assert_array_equal(found, target)


def test_inverse_sigmoid_is_that_of_the_paper():
    steps = np.array([0, 1, 97, 1000, 5000])
    k = 211.0
    expected = [k / (k + np.exp(step / k)) for step in steps]
    decay = InverseSigmoidDecay(k)
    np.testing.assert_allclose(
        [float(decay(step)) for step in steps], expected, rtol=1e-5, atol=1e-9
    )
    assert float(decay(10**9)) == 0.0


# --- in fit ------------------------------------------------------------------


LABELS = np.pad(targets()[:, 1:], ((0, 0), (0, 1)))
INPUTS = {"source": SOURCE, "target": targets()}


@pytest.mark.tensorflow_only
@pytest.mark.parametrize(
    ("kind", "in_parallel", "jit_compile"),
    [
        ("bahdanau", False, True),
        ("luong", False, False),
        *[
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in (
                ("transformer", True, True),
                ("transformer", False, True),
                ("transformer", False, False),
            )
        ],
    ],
)
def test_fit_trains_on_what_was_read(kind, in_parallel, jit_compile):
    import tensorflow as tf

    schedule = keras.optimizers.schedules.PolynomialDecay(1.0, 2, 0.0)
    sampling = ScheduledSampling(schedule, Greedy(), in_parallel)
    model = small_model(kind)
    optimizer = keras.optimizers.SGD(0.0)
    optimizer.build(model.trainable_variables)
    model.compile(
        optimizer,
        MaskedCrossentropy(),
        jit_compile=jit_compile,
        scheduled_sampling=sampling,
    )
    encoded = model.encode(SOURCE)
    expected = []
    for step in range(3):
        read = sampling(model.decoder, targets(), encoded, step)
        logits = model({**INPUTS, "target": read})
        # The mask of the labels, not that of what was read.
        loss = MaskedCrossentropy()(LABELS, np.asarray(logits))
        expected.append(float(loss))
    assert expected[0] != expected[2]
    lengths = tf.TensorSpec((None, None), tf.int32)  # no trace knows them
    if jit_compile:
        lengths = tf.TensorSpec((B, T), tf.int32)
    source = tf.TensorSpec((B, S), tf.int32)
    dataset = tf.data.Dataset.from_generator(
        lambda: [(INPUTS, LABELS)] * 3,
        output_signature=({"source": source, "target": lengths}, lengths),
    )
    history = model.fit(
        dataset, epochs=3, steps_per_epoch=1, verbose=0, shuffle=False
    )
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-4)
    measured = model.evaluate(INPUTS, LABELS, batch_size=B, verbose=0)
    np.testing.assert_allclose(measured, expected[0], rtol=1e-4)


# --- arguments ---------------------------------------------------------------


@pytest.mark.parametrize(
    "sampling",
    [
        ScheduledSampling(0.25, Greedy(), True),
        ScheduledSampling(InverseSigmoidDecay(7), Sample(top_k=3, seed=5)),
    ],
    ids=["greedy", "sample"],
)
def test_config_round_trip(sampling):
    config = keras.saving.serialize_keras_object(sampling)
    again = keras.saving.deserialize_keras_object(config)
    assert again.get_config() == sampling.get_config()
    assert again.search == sampling.search


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.5,), "`teacher_forcing` must be a number in"),
        (("half",), "`teacher_forcing` must be a number in"),
        ((0.5, Beam(3)), r"`search` must be a Greedy\(\) or Sample"),
        ((0.5, Greedy(constraints=[MinLength(2)])), "without constraints"),
        ((0.5, Sample(num_samples=2)), "one of one sample"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScheduledSampling(*arguments)
    with pytest.raises(ValueError, match="`k` must be at least 1"):
        InverseSigmoidDecay(0.5)


def test_jax_is_refused_where_it_is_compiled():
    model = small_model("luong")
    if keras.config.backend() == "tensorflow":
        model.compile(scheduled_sampling=ScheduledSampling(0.5))
        with pytest.raises(
            ValueError, match="`scheduled_sampling` must be a ca"
        ):
            model.compile(scheduled_sampling="linear")
    else:
        with pytest.raises(
            ValueError, match="`scheduled_sampling` must be None"
        ):
            model.compile(scheduled_sampling=ScheduledSampling(0.5))
