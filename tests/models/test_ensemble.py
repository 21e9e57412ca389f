"""Ensembles: the mean of probabilities, searched, saved and exported."""

import keras
import numpy as np
import open_doors
import pytest
from small_models import assert_close
from small_models import randomize
from small_models import small_model
from small_models import source_ids
from small_models import target_ids

import keras_attention as ka
from keras_attention.decoding import score_tokens

BEAM = ka.Beam(3, length_penalty=0.0, num_hypotheses=2)


@pytest.fixture(scope="module")
def members():
    kinds = [("rnn", "bahdanau"), ("transformer", "transformer")]
    models = [small_model(*kind, max_length=5) for kind in kinds]
    return [*models, randomize(small_model("cnn", "luong"), seed=13)]


@pytest.fixture(scope="module")
def ensemble(members):
    return ka.build_ensemble(members)


def probabilities(logits):
    odds = np.exp(np.asarray(logits, "float64"))
    return odds / odds.sum(axis=-1, keepdims=True)


def inputs_of(target):
    return {"source": source_ids(), "target": target}


def shifted(tokens):
    return np.pad(tokens, ((0, 0), (1, 0)), constant_values=1)[:, :-1]


def alignment_of(model, target):
    encoded = model.encode(source_ids())
    _, weights = model.decoder(
        target,
        encoded.values,
        encoded_mask=encoded.mask,
        return_attention_scores=True,
    )
    return np.asarray(weights)


def test_teacher_forcing_gives_the_mean_of_probabilities(members, ensemble):
    inputs = inputs_of(target_ids())
    expected = np.mean([probabilities(m(inputs)) for m in members], axis=0)
    real = target_ids() != 0
    found = np.exp(np.asarray(ensemble(inputs)))
    assert_close(found[real], expected[real])
    spread = np.std([probabilities(m(inputs))[real] for m in members], axis=0)
    assert spread.max() > 0.1  # the members disagree


def test_search_scores_by_the_mean_of_probabilities(members, ensemble):
    found = ensemble.generate(source_ids(), BEAM)
    assert found.tokens.shape == (3, 2, 5)
    assert (found.scores[:, 0] >= found.scores[:, 1]).all()
    for rank in range(2):
        tokens = found.tokens[:, rank]
        inputs = inputs_of(shifted(tokens))
        mean = np.mean([probabilities(m(inputs)) for m in members], axis=0)
        assert_close(
            found.scores[:, rank], score_tokens(np.log(mean), tokens), 1e-4
        )
        alignments = [alignment_of(m, shifted(tokens)) for m in members]
        expected = np.mean(alignments, axis=0) * (tokens != 0)[..., None]
        width = found.alignments.shape[2]
        assert_close(found.alignments[:, rank], expected[:, :width])


@pytest.mark.parametrize("search", [ka.Greedy(), ka.Sample(seed=5)])
def test_twins_answer_as_one(search):
    twins = [small_model("rnn", "luong", max_length=4) for _ in range(2)]
    expected = twins[0].generate(source_ids(), search)
    found = ka.build_ensemble(twins).generate(source_ids(), search)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert_close(found.scores, expected.scores)
    assert_close(found.alignments, expected.alignments)


def test_layers_are_those_of_the_members(members, ensemble):
    count = sum(len(model.weights) for model in members)
    assert len(ensemble.weights) == count
    parts = (ensemble.encoder.members, ensemble.decoder.members)
    for model, encoder, decoder in zip(members, *parts, strict=True):
        assert (model.encoder, model.decoder) == (encoder, decoder)


@pytest.mark.tensorflow_only
def test_initial_states_and_masks_of_arrays_reach_their_members():
    options = open_doors.CASES["masked frames"][1]
    models = [open_doors.masked_frame_model() for _ in range(2)]
    for seed, model in enumerate(models):
        randomize(model, seed)
    ensemble = ka.build_ensemble(models)
    assert len(ensemble.encoder_facts.state_widths) == 4
    found = ensemble.generate(**options)
    target = shifted(found.tokens[:, 0])
    inputs = {**options, "target": target}
    mean = np.mean([probabilities(m(inputs)) for m in models], axis=0)
    assert_close(
        found.scores[:, 0], score_tokens(np.log(mean), found.tokens[:, 0]), 1e-4
    )


def test_masks_that_encoders_give_are_kept():
    """Frames that Keras masks: what stands there changes nothing."""
    models = [open_doors.frame_model() for _ in range(2)]
    ensemble = ka.build_ensemble(models)
    assert ensemble.encoder_facts.gives_mask
    frames = open_doors.frames()
    mask = np.asarray(ensemble.encode(frames).mask)
    np.testing.assert_array_equal(mask, open_doors.REAL)


@pytest.mark.tensorflow_only
def test_states_are_those_of_encoders_that_return_some(members):
    twins = [small_model("rnn", "luong", max_length=4) for _ in range(2)]
    ensemble = ka.build_ensemble(twins)
    states = [np.zeros((3, 4), "float32")] * 4
    with pytest.raises(ValueError, match="`initial_state` must be .* 0, 0 of"):
        ensemble.generate(source_ids(), initial_state=states)
    models = [open_doors.masked_frame_model() for _ in range(2)]
    options = open_doors.CASES["masked frames"][1]
    states = [np.zeros((len(options["source"]), 5), "float32")] * 3
    with pytest.raises(ValueError, match="2, 2 of them.*Received: .*3 tensors"):
        ka.build_ensemble(models).generate(**options, initial_state=states)


@pytest.mark.tensorflow_only
@pytest.mark.filterwarnings("ignore:.*destroy the mask information")
def test_frames_that_a_member_reads_are_not_cut():
    """Convolutions of Keras take a mask, lose it, and read what it hides."""
    models = []
    for seed in (1, 2):
        frames = keras.Input((None, 4))
        convolution = keras.layers.Conv1D(6, 3, padding="same")
        model = ka.Seq2Seq(
            keras.Model(frames, convolution(frames)),
            ka.RNNDecoder(13, 6, ka.AdditiveAttention(5)),
            max_length=3,
        )
        models.append(randomize(model, seed))
    ensemble = ka.build_ensemble(models)
    assert not ensemble.encoder_facts.cuts_hidden
    given = {
        "source": np.random.default_rng(3).normal(size=(2, 8, 4)),
        "source_mask": np.arange(8) < np.array([[3], [5]]),
    }
    together = ensemble.generate(**given)
    alone = ensemble.generate(**given, batch_size=1)
    np.testing.assert_array_equal(together.tokens, alone.tokens)
    assert_close(together.scores, alone.scores)


@pytest.mark.tensorflow_only
def test_members_that_share_their_embeddings_still_do_when_loaded(tmp_path):
    letters = ka.Vocabulary.build(["abcdefg"])
    models = [
        ka.build_seq2seq(
            kind,
            letters,
            letters,
            units=12,
            max_length=4,
            share_embeddings=share,
            tie_embeddings=share,
        )
        for kind, share in (("cnn-luong", True), ("cnn-bahdanau", False))
    ]
    for seed, model in enumerate(models):
        randomize(model, seed)
    inputs = {"source": [[4, 5, 2]], "target": [[1, 7, 8]]}
    inputs = {name: np.array(ids) for name, ids in inputs.items()}
    mean = np.mean([probabilities(model(inputs)) for model in models], axis=0)
    ensemble = ka.build_ensemble(models)
    assert_close(probabilities(ensemble(inputs)), mean)
    ensemble.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    assert_close(probabilities(loaded(inputs)), mean)
    sides = loaded.encoder.members, loaded.decoder.members
    for (encoder, decoder), share in zip(
        zip(*sides, strict=True), (True, False), strict=True
    ):
        assert (encoder.embedding is decoder.embedding) == share
    assert len(loaded.weights) == len(ensemble.weights)


@pytest.mark.tensorflow_only
def test_saved_and_loaded_it_answers_alike(members, tmp_path):
    ensemble = ka.build_ensemble(members[::2])
    ensemble.save_folder(tmp_path / "model")
    loaded = ka.load(tmp_path / "model")
    found = loaded.generate(source_ids(), BEAM)
    expected = ensemble.generate(source_ids(), BEAM)
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    assert_close(found.scores, expected.scores)


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
@pytest.mark.parametrize("weights", [None, "int8"])
def test_exported_it_answers_alike(weights, tmp_path):
    from keras_attention import export
    from keras_attention.export.weights import quantized

    models = [
        randomize(small_model("rnn", "luong-unfed", max_length=4), seed)
        for seed in (1, 2)
    ]
    ensemble = ka.build_ensemble(models)
    folder = export.export_saved_model(
        ensemble,
        tmp_path / "served",
        BEAM,
        weights=weights,
        signatures=("n_best",),
    )
    request = {"source": source_ids().tolist()}
    asked = [{"signature": "n_best", "inputs": request}]
    (answer,) = export.ask_in_fresh_process(folder, asked)
    if weights == "int8":
        ensemble = quantized(ensemble)
        # The embeddings that make logits too stay as they are.
        for decoder in ensemble.decoder.members:
            assert decoder.embedding.embeddings.dtype == "float32"
    expected = ensemble.generate(source_ids(), BEAM)
    np.testing.assert_array_equal(answer["ids"], expected.tokens)
    assert_close(answer["score"], expected.scores, 1e-4)


def test_models_that_do_not_fit_are_named(members):
    with pytest.raises(ValueError, match="`models` must be a list of two or"):
        ka.build_ensemble(members[:1])
    with pytest.raises(ValueError, match="`models` must be different models"):
        ka.build_ensemble([*members, members[0]])
    other = ka.Seq2Seq(members[0].encoder, ka.RNNDecoder(17, 5))
    message = r"`models\[1\]` must be a model with the vocabulary_size of the d"
    with pytest.raises(ValueError, match=message):
        ka.build_ensemble([members[0], other])
    with pytest.raises(ValueError, match="with the source_signature of models"):
        ka.build_ensemble([members[0], open_doors.image_model()])


@pytest.mark.tensorflow_only
def test_vocabularies_must_be_the_same():
    texts = ["abcdefg", "gfedcbz"]
    models = []
    for text in texts:
        model = small_model("cnn", "luong")
        source = ka.Vocabulary.build([text])
        model.set_vocabularies(source, None)
        models.append(model)
    with pytest.raises(ValueError, match="with the source_vocabulary of mod"):
        ka.build_ensemble(models)
    models[1].set_vocabularies(models[0].source_vocabulary, None)
    ensemble = ka.build_ensemble(models)
    assert ensemble.source_vocabulary is models[0].source_vocabulary
    assert isinstance(ensemble, keras.Model)


def test_members_that_share_a_layer_are_refused(members):
    encoder = members[0].encoder
    other = ka.Seq2Seq(encoder, small_model("rnn", "bahdanau").decoder)
    with pytest.raises(ValueError, match="`models` must be of variables of"):
        ka.build_ensemble([members[0], other])
