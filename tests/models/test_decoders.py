"""Decoders: step by step = teacher forcing, on every path and in any mix."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops
from layer_checks import Case
from layer_checks import check_build_from_shapes
from layer_checks import check_config_holds_every_argument
from layer_checks import check_config_round_trip
from layer_checks import check_saved_model
from layer_checks import check_symbolic_output
from layer_checks import mask_of
from small_models import DECODERS
from small_models import ENCODERS
from small_models import TARGET_IDS
from small_models import assert_close
from small_models import randomize
from small_models import run
from small_models import source_ids
from small_models import target_ids
from user_mechanisms import Coverage

from keras_attention import AdditiveAttention
from keras_attention import CoverageAttention
from keras_attention import DotProductAttention
from keras_attention import ForwardAttention
from keras_attention import GaussianMixtureAttention
from keras_attention import LocalAttention
from keras_attention import LocationSensitiveAttention
from keras_attention import MonotonicAttention
from keras_attention import MultiHeadAttention
from keras_attention import RNNDecoder
from keras_attention import SelfAttention
from keras_attention import Seq2Seq
from keras_attention import TransformerDecoder
from keras_attention import load
from keras_attention.decoding import BOS
from keras_attention.decoding import PAD
from keras_attention.decoding import Beam
from keras_attention.decoding import Suppress
from keras_attention.decoding import decode
from keras_attention.decoding import slots
from keras_attention.functional.scan import scan

# JAX compiles each loop anew when it runs eagerly: there, a few of them.
IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
each_decoder = pytest.mark.parametrize(
    "name", DECODERS if IS_TENSORFLOW else ["luong-unfed", "transformer"]
)

ENCODED_WIDTH = 17
SOURCE_MASK = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]]) > 0


def random_encoded(seed=8):
    generator = np.random.default_rng(seed)
    shape = (*SOURCE_MASK.shape, ENCODED_WIDTH)
    return generator.normal(size=shape).astype("float32")


# Mechanisms with a state, and cells that are not ours.
OPEN = {
    "coverage": lambda: RNNDecoder(
        TARGET_IDS,
        5,
        Coverage(),
        cell=keras.layers.StackedRNNCells(
            [keras.layers.LSTMCell(3), keras.layers.GRUCell(7)]
        ),
    ),
    "mocha": lambda: RNNDecoder(
        TARGET_IDS,
        5,
        MonotonicAttention(score=DotProductAttention("general"), chunk_size=3),
        query_state="current",
    ),
    "wide": lambda: RNNDecoder(TARGET_IDS, 5, SelfAttention(19)),
    "cell": lambda: RNNDecoder(TARGET_IDS, 5, cell=keras.layers.GRUCell(5)),
    "location": lambda: RNNDecoder(
        TARGET_IDS,
        5,
        LocationSensitiveAttention(7, 2, 3, cumulative=True),
        cell="gru",
    ),
}
# More of the same.
MORE_OPEN = {
    "coverage-current": lambda: RNNDecoder(
        TARGET_IDS, 5, Coverage(), query_state="current"
    ),
    "mixture": lambda: RNNDecoder(
        TARGET_IDS, 5, GaussianMixtureAttention(7, 3)
    ),
    "local": lambda: RNNDecoder(
        TARGET_IDS,
        5,
        LocalAttention(2, score=DotProductAttention("general")),
        query_state="current",
        input_feeding=False,
    ),
    "forward": lambda: RNNDecoder(
        TARGET_IDS,
        5,
        ForwardAttention(
            score=LocationSensitiveAttention(7, 2, 3), use_transition_agent=True
        ),
        query_state="current",
    ),
    "coverage-of-see": lambda: RNNDecoder(TARGET_IDS, 5, CoverageAttention(7)),
    "local-fed": lambda: RNNDecoder(TARGET_IDS, 5, LocalAttention(2, 7)),
    "local-predictive": lambda: RNNDecoder(
        TARGET_IDS, 5, LocalAttention(2, 7, predictive=True)
    ),
}
ALL = {**DECODERS, **OPEN, **MORE_OPEN}
each_decoder_and_open = pytest.mark.parametrize(
    "name",
    [
        *DECODERS,
        *OPEN,
        *(pytest.param(x, marks=pytest.mark.exhaustive) for x in MORE_OPEN),
    ]
    if IS_TENSORFLOW
    else ["luong-unfed", "coverage"],
)


def built_decoder(name, **options):
    decoder = ALL[name](**options)
    decoder.build((None, None), (None, None, ENCODED_WIDTH))
    return randomize(decoder)


def step_by_step(decoder, target, encoded, source_mask):
    """Feeds a target one token at a time; returns logits and alignments."""

    def advance(state, now):
        tokens, index = now
        logits, state, alignment = decoder.step(tokens[:, None], state, index)
        return state, [logits, alignment]

    length = target_ids().shape[1]
    state = decoder.start(encoded, source_mask, max_length=length, beams=1)
    inputs = (ops.swapaxes(target, 0, 1), ops.arange(length, dtype="int32"))
    shape = (source_mask.shape[0], 1)
    like = [
        keras.KerasTensor((*shape, TARGET_IDS), "float32"),
        keras.KerasTensor((*shape, source_mask.shape[1]), "float32"),
    ]
    _, outputs = scan(advance, state, inputs, like)
    return [ops.swapaxes(x[:, :, 0], 0, 1) for x in outputs]


MODES = ("eager", "graph", "compiled")
# In the eyes of a compiler the mixes differ in a width alone.
FEW = list(
    zip(("bahdanau", "luong-unfed", "transformer"), ENCODERS, strict=False)
)
PAIRED = list(zip(DECODERS, itertools.cycle(ENCODERS), strict=False))
MIXES = [("compiled", *mix) for mix in FEW[::2]]
MIXES += [("compiled", "coverage", "rnn")]
MORE = []
if IS_TENSORFLOW:
    MIXES += [("graph", "luong-unfed", "rnn"), ("graph", "coverage", "rnn")]
    MIXES += [("eager", *mix) for mix in PAIRED]
    MIXES += [("eager", d, "rnn") for d in OPEN]
    MORE = [
        *[("graph", *mix) for mix in FEW],
        *[("compiled", *mix) for mix in [*PAIRED, ("wide", "rnn")]],
        *[("eager", d, e) for d in DECODERS for e in ENCODERS],
        *[(mode, d, "rnn") for mode in MODES for d in MORE_OPEN],
        *[(mode, d, "rnn") for mode in MODES for d in ("location", "local")],
    ]


@pytest.mark.parametrize(
    ("mode", "decoder", "encoder"),
    [
        pytest.param(*mix, id="-".join(mix), marks=marks)
        for mixes, marks in (
            (MIXES, []),
            ([x for x in MORE if x not in MIXES], pytest.mark.exhaustive),
        )
        for mix in mixes
    ],
)
def test_step_by_step_is_teacher_forcing(mode, decoder, encoder):
    encoder = ENCODERS[encoder]()
    decoder = ALL[decoder]()
    source, target = source_ids(), target_ids((4, 4, 4))
    decoder(target, encoder(source))
    randomize(encoder)
    randomize(decoder)

    def both(source, target):
        encoded = encoder(source)
        mask = encoder.compute_mask(source)
        forced = decoder(
            target, encoded, encoded_mask=mask, return_attention_scores=True
        )
        return forced, step_by_step(decoder, target, encoded, mask)

    forced, stepped = run(mode, both, source, target)
    assert forced[0].shape == (3, 4, TARGET_IDS)
    assert forced[1].shape == (3, 4, 5)
    assert np.ptp(forced[0]) > 0.5
    assert_close(stepped[0], forced[0], 2e-5)
    assert_close(stepped[1], forced[1], 2e-5)


@each_decoder
def test_alignments_are_weights_of_the_real_source(name):
    decoder = built_decoder(name)
    _, alignment = decoder(
        target_ids(),
        random_encoded(),
        encoded_mask=SOURCE_MASK,
        return_attention_scores=True,
    )
    alignment = ops.convert_to_numpy(alignment)
    assert alignment.dtype == "float32"
    hidden = np.broadcast_to(~SOURCE_MASK[:, None], alignment.shape)
    assert (alignment[hidden] == 0).all()
    totals = alignment.sum(axis=-1)[target_ids() != 0]
    assert_close(totals, np.full(9, 0 if name == "rnn" else 1), 1e-6)


@each_decoder
def test_padded_source_positions_change_nothing(name):
    """Through every layer of the stack, by a Keras mask that nobody passes."""
    decoder = built_decoder(name)
    encoded, target = random_encoded(), target_ids()
    encoded[~SOURCE_MASK] = 0.0
    masked = keras.layers.Masking()(encoded)
    np.testing.assert_array_equal(mask_of(masked), SOURCE_MASK)
    implicit = decoder(target, masked)
    other = np.where(SOURCE_MASK[..., None], encoded, random_encoded(9))
    explicit = decoder(target, other, encoded_mask=SOURCE_MASK)
    assert_close(implicit, explicit)
    shorter = decoder(target[1:2], encoded[1:2, :3])
    assert_close(shorter, explicit[1:2])


@each_decoder
def test_later_and_padded_targets_change_nothing(name):
    decoder = built_decoder(name)
    encoded = random_encoded()
    short = target_ids((2, 2, 2))
    long = np.pad(short, ((0, 0), (0, 5)))
    changed = np.where(np.arange(7) < 2, long, 5)
    expected = decoder(short, encoded, encoded_mask=SOURCE_MASK)
    for target in (long, changed):
        logits = decoder(target, encoded, encoded_mask=SOURCE_MASK)
        assert_close(logits[:, :2], expected)


def test_mask_of_logits_marks_where_a_token_follows():
    decoder = built_decoder("luong")
    target = np.array([[1, 5, 6, 2], [1, 5, 2, 0], [1, 2, 0, 0]])
    logits = decoder(target, random_encoded(), encoded_mask=SOURCE_MASK)
    expected = [[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(mask_of(logits), expected)


# --- beams -------------------------------------------------------------------

# Which slot each of three beams extends, at each step; one row of a batch.
PARENTS = [
    [[0, 0, 0], [1, 2, 0], [2, 2, 1]],
    [[2, 0, 1], [0, 1, 1], [1, 0, 0]],
    [[1, 1, 2], [2, 0, 2], [0, 0, 0]],
]


@each_decoder
def test_nan_at_padding_of_the_source_reaches_no_logit(name):
    decoder = built_decoder(name)
    results = []
    for garbage in (np.nan, 0.0):
        encoded = random_encoded()
        encoded[~SOURCE_MASK] = garbage
        forced = decoder(target_ids(), encoded, encoded_mask=SOURCE_MASK)
        state = decoder.start(encoded, SOURCE_MASK, max_length=3, beams=2)
        tokens = ops.full((len(encoded), 2), BOS, dtype="int32")
        index = ops.convert_to_tensor(0, "int32")
        logits, _, alignment = decoder.step(tokens, state, index)
        results.append((forced, logits, alignment))
    for found, expected in zip(*results, strict=True):
        np.testing.assert_array_equal(found, expected)
        assert np.isfinite(np.asarray(expected)).all()


@each_decoder_and_open
def test_beams_that_swap_parents_keep_their_own_history(name):
    decoder = built_decoder(name)
    encoded = random_encoded()
    of_beams = {
        "encoded": np.repeat(encoded, 3, axis=0),
        "encoded_mask": np.repeat(SOURCE_MASK, 3, axis=0),
    }
    tokens = target_ids((4,) * 9, length=4).reshape(3, 3, 4)
    # What is not yet written is padding, which no earlier logit sees.
    histories = np.where(np.arange(4) < 1, tokens, PAD)
    state = decoder.start(encoded, SOURCE_MASK, max_length=4, beams=3)
    ancestors = slots.own_slots(3, 3, 4)
    for index in range(4):
        logits, state, alignment = decoder.step(
            ops.convert_to_tensor(histories[:, :, index]),
            state,
            ops.convert_to_tensor(index, "int32"),
            ancestors,
        )
        forced = decoder(
            histories.reshape(9, 4), **of_beams, return_attention_scores=True
        )
        for found, expected in zip((logits, alignment), forced, strict=True):
            expected = np.array(expected)[:, index].reshape(found.shape)
            assert_close(found, expected, 2e-5)
        if index < 3:
            parents = np.array(PARENTS)[:, index]
            state = decoder.reorder(state, ops.convert_to_tensor(parents))
            ancestors = slots.descend(ancestors, parents, index)
            histories = np.take_along_axis(histories, parents[..., None], 1)
            histories[:, :, index + 1] = tokens[:, :, index + 1]


def test_beam_search_is_the_same_with_caches_moved_or_looked_up():
    looked_up = built_decoder("transformer")
    moved = built_decoder("transformer", reorder_cache=True)
    moved.set_weights(looked_up.get_weights())
    search = Beam(width=3, num_hypotheses=3)
    results = [
        decode(decoder, random_encoded(), SOURCE_MASK, search, 5)
        for decoder in (looked_up, moved)
    ]
    tokens = np.array(results[0].tokens)
    assert len({tuple(hypothesis) for hypothesis in tokens[0]}) == 3
    for one, other in zip(*results, strict=True):
        assert_close(one, other)


@each_decoder_and_open
def test_beam_search_scores_are_those_of_teacher_forcing(name):
    decoder = built_decoder(name)
    encoded = random_encoded()
    search = Beam(
        width=3,
        num_hypotheses=2,
        length_penalty=0.0,
        constraints=[Suppress((PAD, BOS))],
    )
    found = decode(decoder, encoded, SOURCE_MASK, search, 4)
    tokens = ops.convert_to_numpy(found.tokens)
    lengths = ops.convert_to_numpy(found.lengths)
    for rank in range(2):
        labels = tokens[:, rank]
        target = np.pad(labels, ((0, 0), (1, 0)), constant_values=1)[:, :-1]
        logits, alignment = decoder(
            target,
            encoded,
            encoded_mask=SOURCE_MASK,
            return_attention_scores=True,
        )
        # What the constraints rule out is taken off, not shared out again.
        gains = np.take_along_axis(
            ops.convert_to_numpy(ops.log_softmax(logits)), labels[..., None], -1
        )[..., 0]
        written = np.arange(4) < lengths[:, rank, None]
        expected = np.where(written, gains, 0).sum(axis=-1)
        assert_close(found.scores[:, rank], expected, 1e-4)
        expected = np.where(written[..., None], alignment, 0)
        assert_close(found.alignments[:, rank], expected, 1e-4)


@each_decoder
def test_the_source_is_kept_once_for_all_beams(name):
    """tfm's beam search projects and keeps it once for each beam."""
    decoder = built_decoder(name)
    encoded = ops.ones((3, 23, ENCODED_WIDTH))
    state = decoder.start(encoded, np.ones((3, 23), bool), 7, beams=19)
    of_rows = [x for x in keras.tree.flatten(state) if 3 in x.shape[:2]]
    assert any(23 in tensor.shape for tensor in of_rows)
    for tensor in of_rows:
        assert (23 in tensor.shape) != (19 in tensor.shape)
    moved = decoder.reorder(state, np.zeros((3, 19), "int32"))
    shared = ("cross_key", "cross_value", "memory", "source_mask")
    for path in shared:
        if path in state:
            assert moved[path] is state[path]


# --- against the papers ------------------------------------------------------


def rows_of(decoder):
    """Weights by path in float64, and the functions of the papers."""
    return {
        weight.path.removeprefix(f"{decoder.name}/").removeprefix(
            "recurrent_cell/"
        ): np.array(weight, "float64")
        for weight in decoder.weights
    }


def softmax(scores):
    odds = np.exp(scores - scores.max())
    return odds / odds.sum()


def tanh_dense(x, weights, name):
    return np.tanh(x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"])


def simple_cell(x, h, weights):
    kernel, recurrent, bias = (
        weights[f"cell_0/{part}"]
        for part in ("kernel", "recurrent_kernel", "bias")
    )
    return np.tanh(x @ kernel + h @ recurrent + bias)


def bahdanau_row(weights, target, encoded):
    """Bahdanau et al. 2015, A.2.2, with a plain cell, one row."""
    query, key, vector = (
        weights[name] for name in weights if name.startswith("attention/")
    )
    h = tanh_dense(np.r_[encoded[0], encoded[-1]], weights, "bridge_0")
    logits, alignments = [], []
    for token in target:
        e = weights["embedding/embeddings"][token]
        a = softmax(np.tanh(h @ query + encoded @ key) @ vector)
        c = a @ encoded
        h = simple_cell(np.r_[e, c], h, weights)
        o = tanh_dense(np.r_[h, c, e], weights, "readout")
        logits.append(o @ weights["logits/kernel"] + weights["logits/bias"])
        alignments.append(a)
    return np.array(logits), np.array(alignments)


def luong_row(weights, target, encoded, input_feeding):
    """Luong et al. 2015, 3.1 and 3.3, general score, plain cell, one row."""
    (general,) = (
        weights[name] for name in weights if name.startswith("attention/")
    )
    h = tanh_dense(np.r_[encoded[0], encoded[-1]], weights, "bridge_0")
    o = np.zeros_like(h)
    logits, alignments = [], []
    for token in target:
        e = weights["embedding/embeddings"][token]
        h = simple_cell(np.r_[e, o] if input_feeding else e, h, weights)
        a = softmax(encoded @ (h @ general))
        o = tanh_dense(np.r_[h, a @ encoded], weights, "readout")
        logits.append(o @ weights["logits/kernel"] + weights["logits/bias"])
        alignments.append(a)
    return np.array(logits), np.array(alignments)


@pytest.mark.parametrize("kind", ["bahdanau", "luong", "luong-unfed"])
def test_rnn_decoder_is_the_papers(kind):
    if kind == "bahdanau":
        options = {"attention": AdditiveAttention(3, name="attention")}
        row_of = bahdanau_row
    else:
        fed = kind == "luong"
        options = {
            "attention": DotProductAttention("general", name="attention"),
            "query_state": "current",
            "input_feeding": fed,
        }

        def row_of(*arrays):
            return luong_row(*arrays, input_feeding=fed)

    decoder = RNNDecoder(13, 5, embedding_dim=2, cell="simple", **options)
    encoded, target = random_encoded(), target_ids((4, 4, 4))
    decoder(target, encoded)
    randomize(decoder)
    logits, alignment = decoder(
        target, encoded, encoded_mask=SOURCE_MASK, return_attention_scores=True
    )
    weights = rows_of(decoder)
    for row, length in enumerate(SOURCE_MASK.sum(axis=1)):
        real = encoded[row, :length].astype("float64")
        expected = row_of(weights, target[row], real)
        assert_close(logits[row], expected[0])
        assert_close(alignment[row, :, :length], expected[1])


def test_tied_logits_use_the_embeddings():
    decoder = built_decoder("luong-unfed")
    outputs = np.random.default_rng(4).normal(size=(2, 5)).astype("float32")
    table = ops.convert_to_numpy(decoder.embedding.embeddings)
    bias = ops.convert_to_numpy(decoder.logit_bias)
    expected = outputs @ table.T + bias
    assert_close(decoder.logits(ops.convert_to_tensor(outputs)), expected)


def test_explicit_first_states_take_the_place_of_the_bridges():
    decoder = built_decoder("bahdanau")
    encoded, target = random_encoded(), target_ids()
    expected = decoder(target, encoded)
    ends = np.concatenate([encoded[:, 0], encoded[:, -1]], axis=-1)
    states = [bridge(ends) for bridge in decoder.bridges]
    assert_close(decoder(target, encoded, initial_state=states), expected)
    other = [np.zeros_like(state) for state in states]
    forced = decoder(target, encoded, initial_state=other)
    assert np.abs(np.array(forced) - np.array(expected)).max() > 1e-2
    state = decoder.start(encoded, None, 4, beams=2, initial_state=other)
    logits, _, _ = decoder.step(target[:, [0, 0]], state, 0)
    assert_close(logits[:, 1], forced[:, 0])
    with pytest.raises(ValueError, match=r"with size in \[5, 5, 5, 5\]"):
        decoder(target, encoded, initial_state=other[:3])


def test_bridges_read_the_first_and_the_last_real_position():
    """Wherever padding is: at the start, inside, or all there is."""
    decoder = built_decoder("bahdanau")
    encoded, target = random_encoded(), target_ids()
    length = encoded.shape[1]
    for first, hole, last in ((2, None, length - 1), (1, 2, 3), (0, 1, 2)):
        mask = np.zeros(encoded.shape[:2], bool)
        mask[:, first : last + 1] = True
        if hole is not None:
            mask[:, hole] = False
        ends = np.concatenate([encoded[:, first], encoded[:, last]], axis=-1)
        states = [bridge(ends) for bridge in decoder.bridges]
        assert_close(
            decoder(target, encoded, encoded_mask=mask),
            decoder(target, encoded, encoded_mask=mask, initial_state=states),
        )
    nothing = np.zeros(encoded.shape[:2], bool)
    states = [bridge(np.zeros_like(ends)) for bridge in decoder.bridges]
    assert_close(
        decoder(target, encoded, encoded_mask=nothing),
        decoder(target, encoded, encoded_mask=nothing, initial_state=states),
    )


def test_without_a_bridge_first_states_must_be_given():
    decoder = RNNDecoder(TARGET_IDS, 5, cell="gru", use_bridge=False)
    encoded, target = random_encoded(), target_ids()
    state = np.full((3, 5), 0.5, "float32")
    assert decoder(target, encoded, initial_state=[state]).shape == (3, 4, 13)
    assert not [w for w in decoder.weights if "bridge" in w.path]
    with pytest.raises(ValueError, match="`initial_state` must be given where"):
        decoder(target, encoded)


def test_dropout_of_the_attention_is_for_training_alone():
    attention = AdditiveAttention(3, dropout=0.5, seed=3)
    for order in ("previous", "current"):
        decoder = RNNDecoder(13, 5, attention, query_state=order)
        call = target_ids(), random_encoded()
        plain = np.array(decoder(*call))
        trained = [np.array(decoder(*call, training=True)) for _ in range(2)]
        np.testing.assert_array_equal(decoder(*call, training=False), plain)
        assert np.abs(trained[0] - plain).max() > 1e-4
        assert np.abs(trained[0] - trained[1]).max() > 1e-4


@pytest.mark.parametrize(
    ("name", "jit_compile"),
    [
        ("coverage", False),
        *(
            pytest.param(*case, marks=pytest.mark.exhaustive)
            for case in [
                ("coverage", True),
                ("location", False),
                ("location", True),
                *((name, True) for name in MORE_OPEN),
            ]
        ),
    ],
)
def test_decoder_with_a_mechanism_trains(name, jit_compile, tmp_path):
    keras.utils.set_random_seed(1)  # some weights learn local-m too slowly
    model = Seq2Seq(ENCODERS["cnn"](), ALL[name](), max_length=6)
    source, target = source_ids((5, 4, 5)), target_ids((4, 4, 4))
    labels = np.roll(target, -1, axis=1)
    model.compile(
        keras.optimizers.Adam(0.05),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=jit_compile,
    )
    data = {"x": {"source": source, "target": target}, "y": labels}
    losses = model.fit(**data, epochs=60, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    if jit_compile:
        model.save_folder(tmp_path / "model")
        loaded = load(tmp_path / "model")
        np.testing.assert_array_equal(
            loaded.generate(source).tokens, model.generate(source).tokens
        )


# --- what every layer owes ---------------------------------------------------

CALL = {
    "target": target_ids(),
    "encoded": random_encoded(),
    "encoded_mask": SOURCE_MASK,
    "return_attention_scores": True,
}
INIT = {
    "rnn": (RNNDecoder, {"units": 5, "cell": "gru"}),
    "transformer": (TransformerDecoder, {"units": 6, "num_heads": 3}),
}


@pytest.mark.parametrize("kind", list(INIT))
def test_decoder_is_a_good_layer(kind, tmp_path):
    layer_class, options = INIT[kind]
    options = {"vocabulary_size": 13, "dropout": 0.1, "seed": 7, **options}
    case = Case(layer_class, options, CALL, [(3, 4, 13), (3, 4, 5)])
    check_config_holds_every_argument(case)
    check_config_round_trip(case)
    check_build_from_shapes(case)
    check_symbolic_output(case)
    check_saved_model(case, tmp_path / "model.keras")


@pytest.mark.parametrize("name", ["bahdanau", "transformer-moved"])
def test_config_survives_with_its_attention(name):
    decoder = DECODERS[name](dropout=0.3, seed=5, dtype="mixed_bfloat16")
    config = decoder.get_config()
    again = type(decoder).from_config(config)
    assert again.get_config() == config
    assert again.dropout == 0.3
    assert again.dtype_policy.name == "mixed_bfloat16"


@each_decoder
def test_logits_and_alignments_are_float32_in_half_precision(name):
    full = built_decoder(name)
    half = built_decoder(name, dtype="mixed_bfloat16")
    half.set_weights(full.get_weights())
    outputs = []
    for decoder in (full, half):
        forced = decoder(
            target_ids(),
            random_encoded(),
            encoded_mask=SOURCE_MASK,
            return_attention_scores=True,
        )
        state = decoder.start(random_encoded(), SOURCE_MASK, 4, beams=1)
        tokens = ops.convert_to_tensor(target_ids()[:, :1])
        logits, _, alignment = decoder.step(tokens, state, 0)
        outputs.append([*forced, logits, alignment])
    for one, other in zip(*outputs, strict=True):
        assert keras.backend.standardize_dtype(other.dtype) == "float32"
        size = np.abs(one).max()
        assert_close(other, one, 0.08 * max(size, 1.0))


@each_decoder
def test_dropout_is_for_training_alone(name):
    plain = built_decoder(name)
    dropping = built_decoder(name, dropout=0.5, seed=3)
    dropping.set_weights(plain.get_weights())
    call = {"encoded": random_encoded(), "encoded_mask": SOURCE_MASK}
    expected = plain(target_ids(), **call)
    assert_close(dropping(target_ids(), training=False, **call), expected)
    first = dropping(target_ids(), training=True, **call)
    assert np.abs(np.array(first) - np.array(expected)).max() > 1e-2
    second = dropping(target_ids(), training=True, **call)
    assert np.abs(np.array(first) - np.array(second)).max() > 1e-2


# --- bad input ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TransformerDecoder(13, units=7, num_heads=3),
            "`num_heads` must be a divisor of units=7. Received: num_heads=3",
        ),
        (lambda: RNNDecoder(0, 5), "`vocabulary_size` must be a positive"),
        (
            lambda: RNNDecoder(13, 5, cell="LSTM"),
            "`cell` must be one of 'lstm'",
        ),
        (
            lambda: RNNDecoder(13, 5, input_feeding=False),
            "`input_feeding` must be True where query_state='previous'",
        ),
        (
            lambda: RNNDecoder(13, 5, embedding_dim=3, tie_embeddings=True),
            "`tie_embeddings` must be False where embedding_dim=3",
        ),
        (
            lambda: RNNDecoder(13, 5, MultiHeadAttention(2, 3)),
            "`attention` must be an AttentionMechanism, such as",
        ),
        (
            lambda: RNNDecoder(13, 5, cell=keras.layers.LSTM(5)),
            "`cell` must be a Keras RNN cell",
        ),
        (
            lambda: RNNDecoder(13, 5, cell=keras.layers.GRUCell(7)),
            "`units` must be 7, the width of the cell's output",
        ),
        (
            lambda: RNNDecoder(
                13, 5, num_layers=2, cell=keras.layers.GRUCell(5)
            ),
            "`num_layers` must be 1 .* Pass keras.layers.StackedRNNCells",
        ),
        (
            lambda: RNNDecoder(13, 5, DotProductAttention("dot"))(
                target_ids(), random_encoded()
            ),
            "width",
        ),
    ],
    ids=[
        "heads",
        "vocabulary",
        "cell",
        "feeding",
        "tied",
        "multi-head",
        "layer",
        "cell-width",
        "layers",
        "widths",
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@each_decoder
@pytest.mark.parametrize(
    ("target_shape", "encoded_shape"), [((3,), (3, 5, 7)), ((3, 4), (3, 5))]
)
def test_wrong_rank_is_refused(name, target_shape, encoded_shape):
    target, encoded = np.ones(target_shape, int), np.ones(encoded_shape)
    with pytest.raises(ValueError, match=r"`target` must have shape \(batch, "):
        DECODERS[name]()(target, encoded)


@pytest.mark.parametrize("name", ["bahdanau", "transformer-moved"])
def test_source_mask_is_checked(name):
    decoder = DECODERS[name]()
    encoded = np.zeros((2, 5, 4), "float32")
    target = np.ones((2, 3), "int32")
    added = np.array([[0.0, 0.0, 0.0, -1e9, -1e9]] * 2)
    with pytest.raises(ValueError, match="`encoded_mask` must hold only bool"):
        decoder(target, encoded, encoded_mask=added)
    with pytest.raises(ValueError, match="`encoded_mask` must hold only bool"):
        decoder.start(encoded, added, max_length=3)
    with pytest.raises(ValueError, match=r"shape \(batch, length\)=\(2, 5\)"):
        decoder(target, encoded, encoded_mask=np.ones((2, 3), "bool"))
