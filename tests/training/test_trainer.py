"""train(): from pairs to a folder, and everything that may go wrong."""

import inspect
import json
import shutil
import types
from dataclasses import FrozenInstanceError
from dataclasses import fields

import keras
import numpy as np
import pytest

import keras_attention as ka
from keras_attention import files
from keras_attention import functional
from keras_attention.models import build_seq2seq
from keras_attention.models import read_card
from keras_attention.training import CoverageLoss
from keras_attention.training import DiagonalAlignmentLoss
from keras_attention.training import GenerationMetrics
from keras_attention.training import GuidedAlignmentLoss
from keras_attention.training import KeepMemory
from keras_attention.training import ScheduledSampling
from keras_attention.training import train
from keras_attention.training.fitting import compile_model
from keras_attention.training.identity import SETTINGS
from keras_attention.training.identity import PairDigest
from keras_attention.training.identity import facts_of
from keras_attention.training.optimizers import make_optimizer
from keras_attention.training.pairs import Pairs
from keras_attention.training.preparation import build_model
from keras_attention.training.preparation import prepare
from keras_attention.training.settings import GIVEN_BY_TRAIN
from keras_attention.training.settings import TrainingSettings
from keras_attention.training.workspace import Workspace

WORDS = [a + b + c for a in "abcd" for b in "abcd" for c in ("", "a", "d")]
PAIRS = [(word, " ".join(word.upper())) for word in WORDS]
SMALL = {
    "kind": "cnn-rnn",
    "cell": "gru",
    "units": 5,
    "dropout": 0.0,
    "target_unit": "symbols",
    "validation_pairs": PAIRS[::7],
    "batch_size": 13,
    "verbose": 0,
}


def test_train_saves_the_best_epoch_with_its_card(tmp_path, capsys):
    seen = []

    class Ruin(keras.callbacks.Callback):
        """Spoils the weights before the third epoch."""

        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                for weight in self.model.trainable_weights:
                    weight.assign(weight * 100.0)

        def on_epoch_end(self, epoch, logs=None):
            weights = [weight.numpy() for weight in self.model.weights]
            seen.append((logs["val_loss"], weights))

    model, card = train(
        PAIRS,
        tmp_path / "model",
        **{**SMALL, "verbose": 2},
        epochs=4,
        monitor="loss",
        patience=1,
        callbacks=[Ruin()],
    )
    assert len(seen) == 3  # the patience ended it early
    losses = [loss for loss, _ in seen]
    assert losses[1] == min(losses) == card["metrics"]["val_loss"]
    assert card["metrics"]["epoch"] == 2
    loaded = ka.load(tmp_path / "model")
    for ours, theirs, best in zip(
        model.weights, loaded.weights, seen[1][1], strict=True
    ):
        np.testing.assert_array_equal(ours.numpy(), best)
        np.testing.assert_array_equal(theirs.numpy(), best)
    assert read_card(tmp_path / "model") == card
    assert card["kind"] == "cnn-rnn"
    assert card["options"] == {"cell": "gru", "units": 5, "dropout": 0.0}
    assert card["data"]["pairs"] == 48 and card["data"]["held_out"] == 7
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    printed = capsys.readouterr().out
    assert "48 to train on, 7 held out, 0 too long" in printed
    assert f"{model.count_params():,} weights" in printed


def test_measured_rates_are_those_of_the_saved_model(tmp_path):
    model, card = train(
        PAIRS, tmp_path / "model", **SMALL, epochs=2, learning_rate=0.03
    )
    again = GenerationMetrics(SMALL["validation_pairs"])
    again.set_model(ka.load(tmp_path / "model"))
    measured = again.measure()
    metrics = card["metrics"]
    assert measured == (metrics["val_exact_match"], metrics["val_error_rate"])


def test_fine_tuning_goes_on_from_the_weights_of_a_folder(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    before, _ = train(PAIRS, first, **SMALL, epochs=1)
    tuned, card = train(
        [("abx", "A B"), ("da", "D A Y")],
        second,
        validation_pairs=PAIRS[:2],
        initial_folder=first,
        epochs=1,
        learning_rate=1e-12,
        verbose=0,
    )
    assert tuned.source_vocabulary.tokens == before.source_vocabulary.tokens
    for ours, theirs in zip(tuned.weights, before.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert card["kind"] == "cnn-rnn" and card["options"]["units"] == 5
    assert card["initial"]["data"]["pairs"] == 48


def prepared(tmp_path, pairs=PAIRS, **arguments):
    arguments = {"target_unit": "symbols", **arguments}
    folder = tmp_path / "model"
    return prepare(TrainingSettings(pairs=pairs, folder=folder, **arguments))


def test_a_share_is_held_out_when_no_validation_is_given(tmp_path):
    pairs = [(word * n, target) for word, target in PAIRS for n in (1, 2, 3)]
    data = prepared(tmp_path, pairs)
    rest, held_out = Pairs(pairs).split(0.05)
    assert list(data.pairs) == list(rest)
    assert list(data.held_out) == list(held_out)
    assert 0 < len(list(held_out)) < 0.2 * len(pairs)


def test_shared_embeddings_have_one_vocabulary_of_both_sides(tmp_path):
    pairs = [("b a", "C C"), ("a", "D"), ("b", "D a")]
    shared = {"source_unit": "symbols", "shared_vocabulary": True}
    data = prepared(tmp_path, pairs, validation_pairs=pairs[:1], **shared)
    assert data.source_vocabulary is data.target_vocabulary
    assert data.source_vocabulary.tokens[4:] == ["a", "C", "D", "b"]
    with pytest.raises(
        ValueError, match="`share_embeddings` must be .*shared_"
    ):
        prepared(tmp_path, pairs, options={"share_embeddings": True})
    with pytest.raises(
        ValueError, match="`shared_vocabulary` must be False un"
    ):
        prepared(tmp_path, pairs, shared_vocabulary=True)


def test_long_pairs_are_left_out_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="32 pairs are longer than max_so"):
        data = prepared(
            tmp_path, validation_pairs=PAIRS[::7], max_source_length=3
        )
    assert len(data.survey.left_out) == 32


@pytest.mark.filterwarnings("ignore:.* pairs are longer than")
def test_what_is_too_long_is_not_measured_either(tmp_path):
    given = [("aaaa", "A"), ("ab", "B"), ("b", "B B B B")]
    limits = {"max_source_length": 4, "max_target_length": 4}
    data = prepared(tmp_path, validation_pairs=given, **limits)
    assert data.held_out_survey.num_pairs == 1
    assert data.measured_pairs() == [("ab", "B")]


def built(tmp_path, pairs=PAIRS, **arguments):
    arguments = {"target_unit": "symbols", **arguments}
    settings = TrainingSettings(
        pairs=pairs, folder=tmp_path / "model", **arguments
    )
    return build_model(settings, prepare(settings))


SHORT = [("abcd", "A B C D")]
FIVE = {
    "units": 4,
    "num_heads": 2,
    "position": ka.LearnedPositionalEncoding(5),
}


@pytest.mark.parametrize(
    ("pairs", "options", "message"),
    [
        ([("ab", "A B")], {"max_length": 6}, "`decoder` .* 6 .*=6"),
        (
            [("abcdef", "A")],
            {},
            "`encoder` .* 7 .*longest source .max_source_l",
        ),
        ([("ab", "A B C D E")], {}, "`decoder` .* 6 positions for the longest"),
    ],
)
def test_positions_are_counted_before_the_first_epoch(
    tmp_path, pairs, options, message
):
    options = {**FIVE, **options}
    for given, held_out in ((pairs, SHORT), (SHORT, pairs)):
        with pytest.raises(ValueError, match=message):
            built(tmp_path, given, validation_pairs=held_out, options=options)


def test_no_more_positions_are_said_than_there_are(tmp_path):
    """1.5 times the longest target would be 8."""
    model = built(tmp_path, SHORT, validation_pairs=SHORT, options=FIVE)
    assert model.max_length == 5


def test_a_model_that_goes_on_says_targets_longer_than_before(tmp_path):
    letters = ka.Vocabulary.build(["abcd"])
    model = build_seq2seq("rnn-rnn", letters, letters, units=3, max_length=4)
    model.save_folder(tmp_path / "first")
    for target, expected in (("abc", 4), ("abcdabcd", 14)):
        tuned = built(
            tmp_path,
            [("a", target)],
            validation_pairs=PAIRS[:1],
            initial_folder=tmp_path / "first",
            target_unit=None,
        )
        assert tuned.max_length == expected


def no_digits():
    """Returns a new function, at another address, at each call."""
    return lambda scores, tokens, index: scores


def test_functions_of_a_search_are_the_same_wherever_they_lie(tmp_path):
    searches = [
        facts(tmp_path, search=ka.Greedy(constraints=[constraint]))["search"]
        for constraint in (no_digits(), no_digits(), lambda *given: given[0])
    ]
    assert searches[0] == searches[1] != searches[2]
    assert "no_digits" in searches[0]


def test_every_option_of_the_model_reaches_it():
    parameters = inspect.signature(build_seq2seq).parameters
    own = inspect.signature(train).parameters
    clashes = set(parameters) & set(own)
    assert clashes == GIVEN_BY_TRAIN


def test_existing_folder_is_refused_before_any_work(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.txt").write_text("precious")
    missing = tmp_path / "missing.tsv"
    with pytest.raises(ValueError, match="a path where nothing is yet"):
        train(missing, tmp_path / "model")
    with pytest.raises(ValueError, match=r"with model\.keras"):
        train(missing, tmp_path / "model", overwrite=True)
    assert [p.name for p in tmp_path.rglob("*")] == ["model", "mine.txt"]


def test_unfinished_training_is_neither_lost_nor_mixed_up(unfinished, tmp_path):
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "model"
    assert not folder.exists()
    with pytest.raises(ValueError, match="unfinished training.*resume=True"):
        train(PAIRS, folder, **SMALL)
    with pytest.raises(ValueError, match="`pairs` must be what it was"):
        train(PAIRS[:-1], folder, **SMALL, resume=True, callbacks=[Crash()])
    again = {**SMALL, "overwrite": True, "max_minutes": 1e-9}
    train(PAIRS[:-1], folder, **again)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    # What is finished is returned as it is.
    finished = train(PAIRS[:-1], folder, **SMALL, resume=True)
    assert finished.card["data"]["pairs"] == len(PAIRS) - 1
    # Not where another one was asked for.
    same = {"pairs": PAIRS[:-1], "folder": folder, **SMALL, "resume": True}
    known = ka.Vocabulary.build(["abcdx"])
    for name, changed in {
        "units": {"units": 7},
        "bidirectional": {"bidirectional": False},
        "epochs": {"epochs": 11},
        "seed": {"seed": 3},
        "kind": {"kind": "cnn-luong"},
        "source_unit": {"source_unit": "symbols"},
        "pairs": {"pairs": PAIRS},
        "validation_pairs": {"validation_pairs": PAIRS[1::7]},
        "warmup_steps": {"warmup_steps": 1},
        "clip_norm": {"clip_norm": None},
        "patience": {"patience": 3},
        "min_count": {"min_count": 2},
        "vocabulary_size": {"vocabulary_size": 101},
        "max_target_length": {"max_target_length": 53},
        "search": {"search": ka.Beam(3)},
        "vocabularies": {"source_vocabulary": known},
    }.items():
        with pytest.raises(ValueError, match=f"`{name}` must be what it was"):
            train(**{**same, **changed})


def test_finished_training_of_an_older_version_has_no_facts_to_compare(
    tmp_path,
):
    folder = tmp_path / "model"
    train(PAIRS, folder, **SMALL, max_minutes=1e-9)
    path = folder / "card.json"
    card = json.loads(path.read_text(encoding="utf-8"))
    assert card.pop("facts")["pairs"].startswith("48 pairs, SHA-256")
    path.write_text(json.dumps(card), encoding="utf-8")
    again = train(PAIRS[:-1], folder, **SMALL, resume=True)
    assert again.card["data"]["pairs"] == len(PAIRS)


def test_a_foreign_folder_beside_is_never_removed(tmp_path):
    beside = tmp_path / "model-training"
    beside.mkdir()
    (beside / "mine.txt").write_text("precious")
    for options in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(ValueError, match="nothing at FOLDER-training"):
            train(PAIRS, tmp_path / "model", **options)
    assert (beside / "mine.txt").exists()


@pytest.mark.parametrize("name", ["best.npz", "history.jsonl"])
def test_leftovers_of_two_crashes_are_nothing_foreign(tmp_path, name):
    # Killed while it wrote the file, and again after `overwrite` had removed
    # the checkpoints.
    beside = tmp_path / "model-training"
    (beside / f".{name}.tmp-abc").mkdir(parents=True)
    (beside / "lock").touch()
    Workspace(tmp_path / "model").check()
    assert [path.name for path in beside.iterdir()] == ["lock"]


def test_columns_of_files_are_chosen(tmp_path):
    path = tmp_path / "pairs.tsv"
    path.write_text("".join(f"{t}\tno\t{s}\n" for s, t in PAIRS))
    held_out = PAIRS[::7]  # a list has two sides, whatever the columns
    data = prepared(tmp_path, path, validation_pairs=held_out, columns=(2, 0))
    assert list(data.pairs) == PAIRS and list(data.held_out) == held_out
    assert set("abcd") == set(data.source_vocabulary.tokens[4:])


class Crash(keras.callbacks.Callback):
    """Ends a training as a crash does, after some steps."""

    def __init__(self, steps=1):
        super().__init__()
        self._left = steps

    def on_train_batch_end(self, batch, logs=None):
        self._left -= 1
        if not self._left:
            raise RuntimeError("crash")


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory):
    """The parent of a training that crashed at its first step."""
    parent = tmp_path_factory.mktemp("unfinished")
    with pytest.raises(RuntimeError, match="crash"):
        train(PAIRS, parent / "model", **SMALL, callbacks=[Crash()])
    return parent


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"pairs": [(s, "A") for s, _ in PAIRS]}, "pairs"),
        ({"pairs": PAIRS[::-1]}, "pairs"),
        ({"validation_pairs": PAIRS[1::7]}, "validation_pairs"),
        ({"learning_rate": 0.1}, "learning_rate"),
        ({"epochs": 9}, "epochs"),
    ],
    ids=["targets", "order", "validation", "learning-rate", "fewer-epochs"],
)
def test_other_data_or_settings_are_no_way_to_go_on(unfinished, changed, name):
    arguments = {"pairs": PAIRS, **SMALL, **changed, "resume": True}
    with pytest.raises(ValueError, match=f"`{name}` must be what it was in"):
        train(folder=unfinished / "model", **arguments)


def test_options_that_are_objects_are_told_by_what_they_hold():
    def told(position):
        options = {
            "position": position,
            "attention_options": ka.layers.AttentionOptions(position=position),
        }
        made = TrainingSettings(pairs=PAIRS, folder="any", options=options)
        return json.dumps(made.options_for_json)

    # Keras names the second one otherwise, which changes nothing.
    assert told(ka.RotaryEmbedding()) == told(ka.RotaryEmbedding())
    assert told(ka.RotaryEmbedding()) != told(ka.RotaryEmbedding(31.0))


def test_every_argument_is_a_setting_or_known_not_to_matter():
    arguments = set(inspect.signature(train).parameters)
    digested = {"pairs", "validation_pairs", "search", "initial_folder"}
    digested |= {"optimizer", "options"}
    digested |= {"alignment_loss", "scheduled_sampling"}
    digested |= {"source_vocabulary", "target_vocabulary", "shared_vocabulary"}
    free = {"folder", "columns", "configuration", "max_minutes", "strategy"}
    free |= {"checkpoint_every", "resume", "overwrite", "callbacks", "verbose"}
    assert arguments == {*SETTINGS} | digested | free


@pytest.mark.exhaustive
def test_train_with_aids_tells_them_on_the_card(tmp_path):
    _, card = train(
        PAIRS,
        tmp_path / "model",
        **{**SMALL, "kind": "luong"},
        epochs=1,
        alignment_loss="diagonal",
        scheduled_sampling=0.25,
    )
    assert card["training"]["alignment_loss"] == "diagonal"
    assert card["training"]["scheduled_sampling"] == 0.25


def test_aids_of_the_training_are_compiled(tmp_path):
    def compiled(decoder=None, **given):
        """What the model is compiled with."""
        settings = TrainingSettings(pairs=PAIRS, folder="any", **given)
        survey = types.SimpleNamespace(
            num_batches=lambda **_: 7, shapes=lambda **_: ((2, 3, 5),)
        )
        data = types.SimpleNamespace(survey=survey)
        found = {}
        model = types.SimpleNamespace(
            decoder=decoder, compile=lambda *_, **options: found.update(options)
        )
        compile_model(settings, data, model)
        return found["alignment_loss"], found["scheduled_sampling"]

    assert compiled() == (None, None)
    assert compiled(scheduled_sampling=0.0) == (None, None)
    loss, _ = compiled(alignment_loss="coverage")
    assert isinstance(loss, CoverageLoss)
    for decoder, in_parallel in (
        (None, False),
        (ka.TransformerDecoder(11, 4, num_heads=2), True),
    ):
        _, sampling = compiled(decoder, scheduled_sampling=0.25, seed=5)
        assert sampling.teacher_forcing == 0.75
        assert sampling.search.seed == 5
        assert sampling.in_parallel == in_parallel
    own = DiagonalAlignmentLoss(0.3), ScheduledSampling(0.5)
    given = dict(
        zip(("alignment_loss", "scheduled_sampling"), own, strict=True)
    )
    assert compiled(**given) == own
    told = facts(tmp_path, **given)
    assert told["alignment_loss"]["config"]["width"] == 0.3
    assert told["scheduled_sampling"]["config"]["teacher_forcing"] == 0.5
    told = facts(tmp_path, alignment_loss="coverage", scheduled_sampling=0.2)
    assert told["alignment_loss"] == "coverage"
    assert told["scheduled_sampling"] == 0.2


def test_settings_are_the_arguments_of_train():
    given = {
        name: parameter.default
        for name, parameter in inspect.signature(train).parameters.items()
    }
    defaults = {f.name: f.default for f in fields(TrainingSettings)}
    assert list(given) == list(defaults)
    del given["pairs"], given["folder"], given["options"]
    assert given == {name: defaults[name] for name in given}


def test_settings_cannot_be_changed(tmp_path):
    settings = TrainingSettings(pairs=PAIRS, folder=tmp_path / "model")
    with pytest.raises(FrozenInstanceError, match="epochs"):
        settings.epochs = 3


def facts(parent, **arguments):
    """The facts of a training of the small vocabularies."""
    settings = TrainingSettings(pairs=PAIRS, folder=parent / "m", **arguments)
    vocabulary = ka.Vocabulary.build(["abc"])
    data = types.SimpleNamespace(
        digest="",
        held_out_digest="",
        source_vocabulary=vocabulary,
        target_vocabulary=vocabulary,
    )
    return facts_of(settings, data)


def test_digest_tells_apart_where_pairs_begin():
    found = set()
    for pair in [("ab", "c"), ("a", "bc"), ("c", "ab")]:
        digest = PairDigest()
        digest.add(pair)
        found.add(str(digest))
    assert len(found) == 3
    assert all(text.startswith("1 pairs, SHA-256 ") for text in found)


def test_another_initial_model_is_another_training(tmp_path):
    found = set()
    for content in (None, b"one", b"another"):
        folder = None if content is None else tmp_path
        (tmp_path / "model.keras").write_bytes(content or b"")
        found.add(facts(tmp_path, initial_folder=folder)["initial_model"])
    assert len(found) == 3


def test_facts_of_an_optimizer_are_those_of_its_config(tmp_path):
    ours = [
        facts(tmp_path, optimizer=optimizer)["optimizer"]
        for optimizer in (
            "adamw",
            keras.optimizers.SGD(0.5, momentum=0.75),
            keras.optimizers.SGD(0.5, momentum=0.25),
        )
    ]
    assert ours[0] == "adamw"
    assert ours[1]["config"]["momentum"] == 0.75
    assert ours[1] != ours[2]
    assert json.loads(json.dumps(ours)) == ours


def test_more_epochs_are_a_way_to_go_on(unfinished, tmp_path):
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    with pytest.warns(UserWarning, match="`epochs` was 10 and is 11 now"):
        with pytest.raises(RuntimeError, match="crash"):
            train(
                PAIRS,
                tmp_path / "model",
                **SMALL,
                epochs=11,
                resume=True,
                callbacks=[Crash()],
            )


def test_folder_in_training_is_locked(unfinished):
    workspace = unfinished / "model-training"
    before = {p: p.read_bytes() for p in workspace.rglob("*.npz")}
    assert before
    with files.Lock(workspace / "lock"):
        for options in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(ValueError, match="no other process is train"):
                train(PAIRS, unfinished / "model", **SMALL, **options)
    assert {p: p.read_bytes() for p in workspace.rglob("*.npz")} == before


def test_folder_that_cannot_be_written_is_found_before_the_work(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="`folder` must be a path that can be"):
        train(tmp_path / "missing.tsv", tmp_path / "file" / "model")


@pytest.fixture(scope="module")
def about_to_be_cleaned(tmp_path_factory):
    """A training killed after its model was saved; all is still there."""
    parent = tmp_path_factory.mktemp("killed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Workspace, "remove", lambda workspace: None)
        train(PAIRS, parent / "model", **SMALL, epochs=3, learning_rate=0.03)
    return parent


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.mark.exhaustive
def test_killed_before_the_clean_up_the_same_model_is_saved(
    about_to_be_cleaned, tmp_path
):
    shutil.copytree(about_to_be_cleaned, tmp_path, dirs_exist_ok=True)
    saved = ka.load(tmp_path / "model")
    card = ka.models.read_card(tmp_path / "model")
    again = {**SMALL, "epochs": 3, "learning_rate": 0.03, "resume": True}
    model, new_card = train(PAIRS, tmp_path / "model", **again)
    assert new_card["metrics"] == card["metrics"]
    for ours, theirs in zip(model.weights, saved.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_killed_during_the_clean_up_the_training_is_finished(
    about_to_be_cleaned, tmp_path, monkeypatch
):
    shutil.copytree(about_to_be_cleaned, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path / "model")
    again = {**SMALL, "epochs": 3, "learning_rate": 0.03, "resume": True}
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        Workspace(tmp_path / "model").remove()
    assert len(list(tmp_path.iterdir())) == 2  # the rest is left behind
    train(PAIRS, tmp_path / "model", **again)
    assert contents(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_last_weights_never_stand_in_for_the_best(
    about_to_be_cleaned, tmp_path
):
    shutil.copytree(about_to_be_cleaned, tmp_path, dirs_exist_ok=True)
    before = contents(tmp_path / "model")
    (tmp_path / "model-training" / "best.npz").unlink()
    again = {**SMALL, "epochs": 3, "learning_rate": 0.03, "resume": True}
    with pytest.raises(ValueError, match="The weights of epoch ., the best"):
        train(PAIRS, tmp_path / "model", **again)
    assert contents(tmp_path / "model") == before


@pytest.mark.exhaustive
def test_killed_while_forgetting_a_training_another_one_begins(
    unfinished, tmp_path, monkeypatch
):
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    workspace = Workspace(tmp_path / "model")
    workspace.best.touch()
    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", lambda *_, **__: None)
        files.remove_folder(workspace.checkpoints)
    assert len(list(workspace.path.iterdir())) == 3
    train(PAIRS, tmp_path / "model", **SMALL, epochs=1, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


class Spoil(keras.callbacks.Callback):
    """Makes a weight NaN after some steps, as too large a step does."""

    def __init__(self, step):
        super().__init__()
        self._step = step

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations) == self._step:
            weight = self.model.decoder.trainable_weights[0]
            weight.assign(weight * float("nan"))


def test_training_that_turns_non_finite_keeps_the_last_good_epoch(tmp_path):
    with pytest.warns(UserWarning, match="ended at step 7, in epoch 2.* NaN"):
        model, card = train(
            PAIRS, tmp_path / "model", **SMALL, epochs=5, callbacks=[Spoil(6)]
        )
    assert card["metrics"]["epoch"] == 1
    assert card["training"]["non_finite_at_step"] == 7
    assert all(np.isfinite(weight.numpy()).all() for weight in model.weights)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_training_that_is_non_finite_at_once_saves_nothing(tmp_path):
    with pytest.raises(ValueError, match="step 3, in epoch 1.*no model is sav"):
        train(
            PAIRS, tmp_path / "model", **SMALL, epochs=5, callbacks=[Spoil(2)]
        )
    assert not (tmp_path / "model").exists()


def test_numbers_of_numpy_are_numbers(tmp_path):
    settings = TrainingSettings(
        pairs=PAIRS,
        folder=tmp_path / "model",
        epochs=np.int32(3),
        learning_rate=np.float32(0.5),
        options={"units": np.int64(5), "dropout": np.float32(0.25)},
    )
    assert type(settings.epochs) is int and settings.epochs == 3
    assert type(settings.learning_rate) is float
    assert json.dumps(settings.options) == '{"units": 5, "dropout": 0.25}'


def test_optimizer_of_the_caller_trains_and_stays_as_it_is(tmp_path):
    sgd = keras.optimizers.SGD(0.25, momentum=0.5)
    rates = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            optimizer = self.model.optimizer
            rates.append((type(optimizer).__name__, optimizer.momentum))

    model, card = train(
        PAIRS,
        tmp_path / "model",
        **{**SMALL, "batch_size": 64},
        epochs=2,
        optimizer=sgd,
        monitor="loss",
        callbacks=[Watch()],
    )
    assert rates == [("SGD", 0.5)] * 2
    assert not sgd.built
    training = card["training"]
    assert training["optimizer"]["config"]["momentum"] == 0.5
    assert "learning_rate" not in training and "decay" not in training
    rows = (tmp_path / "model" / "history.jsonl").read_text().splitlines()
    rows = [json.loads(row) for row in rows]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert [row["learning_rate"] for row in rows] == [0.25, 0.25]
    best = rows[card["metrics"]["epoch"] - 1]
    assert best["val_loss"] == card["metrics"]["val_loss"]


def test_optimizer_by_name_has_the_schedule_and_the_clipping(tmp_path):
    settings = TrainingSettings(
        pairs=PAIRS,
        folder=tmp_path / "model",
        optimizer="adamw",
        learning_rate=0.5,
        warmup_steps=5,
        clip_norm=3.0,
    )
    optimizer = make_optimizer(settings, total_steps=11)
    assert type(optimizer) is keras.optimizers.AdamW
    assert optimizer.global_clipnorm == 3.0
    assert float(optimizer.learning_rate) == pytest.approx(0.1)  # 0.5 / 5


def test_optimizer_that_was_used_is_refused(tmp_path):
    sgd = keras.optimizers.SGD()
    sgd.build([keras.Variable([1.0])])
    with pytest.raises(ValueError, match="one that has trained nothing yet"):
        TrainingSettings(pairs=PAIRS, folder=tmp_path / "m", optimizer=sgd)


def test_training_by_tokens_makes_the_declared_batches(tmp_path):
    small = {k: v for k, v in SMALL.items() if k != "batch_size"}
    model, card = train(
        PAIRS, tmp_path / "model", **small, epochs=1, batch_tokens=53
    )
    data = prepared(tmp_path, validation_pairs=PAIRS[::7])
    # 16 sources of 2 letters, which 53 // 3 = 17 rows hold; 32 of 3.
    assert data.survey.shapes(batch_tokens=53) == ((16, 3, 3), (13, 4, 4))
    assert int(model.optimizer.iterations) == 1 + 3
    assert card["training"]["batch_tokens"] == 53
    assert "batch_size" not in card["training"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a\tb\nc\n", r"line 2: the number of columns is 1"),
        (b"a\tb\nc\t\xff\n", "line 2: byte 3 is not UTF-8"),
        (b"a\tb\n", "enough to hold some out.*Received: 1 pairs"),
    ],
    ids=["empty", "one-column", "encoding", "too-few"],
)
def test_broken_pairs_leave_nothing_behind(tmp_path, content, message):
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        train(path, tmp_path / "model")
    with pytest.raises(ValueError, match=message[:12] if content else "empty"):
        train(path, tmp_path / "model", overwrite=True)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, "`epochs` must be a positive integer"),
        ({"patience": 0}, "`patience` must be a positive integer or None"),
        ({"monitor": "blue"}, "`monitor` must be one of 'exact_match'"),
        ({"jit_compile": "yes"}, "`jit_compile` must be 'auto', True"),
        ({"seed": -1}, "`seed` must be an integer of at least 0"),
        ({"learning_rate": 0}, "`learning_rate` must be a number above 0"),
        ({"max_minutes": -1}, "`max_minutes` must be a number above 0"),
        ({"label_smoothing": 1}, r"`label_smoothing` must be in \[0, 1\)"),
        ({"alignment_loss": "guided"}, "`alignment_loss` must be one of"),
        (
            {"alignment_loss": GuidedAlignmentLoss()},
            "`alignment_loss` must be one that needs no alignments",
        ),
        ({"alignment_loss": 7}, "`alignment_loss` must be a name, a callable"),
        ({"scheduled_sampling": 1.0}, r"`scheduled_sampling` must be in \[0,"),
        (
            {"scheduled_sampling": object()},
            "`scheduled_sampling` must be an object with `get_config`",
        ),
        ({"decay": "root"}, "`decay` must be one of"),
        ({"search": "beam"}, "`search` must be .*'beam'"),
        ({"warmup_steps": -3}, "`warmup_steps` must be an integer of at lea"),
        ({"warmup_steps": "a"}, "`warmup_steps` must be an integer of at lea"),
        (
            {"warmup_steps": 10, "kind": "cnn-rnn", "units": 3},
            "`warmup_steps` must be below 10, the steps.* more `epochs`",
        ),
        ({"callbacks": 7}, "`callbacks` must be objects of .*=7"),
        (
            {"callbacks": [KeepMemory]},
            "`callbacks` must be objects of .*Make an object",
        ),
        ({"source_unit": "letters"}, "`source_unit` must be one of"),
        ({"batch_tokens": 0}, "`batch_tokens` must be a positive integer or"),
        (
            {"batch_tokens": 64, "batch_size": 7},
            "`batch_size` must be left at 64 where `batch_tokens` is given",
        ),
        ({"batch_tokens": 5}, "`batch_tokens` must be at least 6, the length"),
        ({"optimizer": "adamant"}, "`optimizer` must be the name of a Keras"),
        ({"optimizer": 7}, "`optimizer` must be the name of a Keras"),
        (
            {"optimizer": keras.optimizers.SGD(), "clip_norm": 2.0},
            "`clip_norm` must not be given with an `optimizer` of your own",
        ),
        ({"kind": "seq2seq"}, "`kind` must be one of"),
        ({"kind": "luong", "num_heads": 2}, "`num_heads` must not be set"),
        (
            {"initial_folder": "some", "units": 7},
            "`units` must not be given with `initial_folder`",
        ),
        (
            {"initial_folder": "some", "kind": "luong"},
            "`kind` must not be given with `initial_folder`",
        ),
        ({"initial_folder": "some"}, r"`folder` must be a folder that holds"),
    ],
)
def test_train_checks_its_arguments(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        train(
            PAIRS,
            tmp_path / "model",
            **{"validation_pairs": PAIRS[:2], **options},
        )
    assert list(tmp_path.iterdir()) == []


def test_callbacks_are_given_as_to_fit():
    one = Crash()
    for given, kept in [(None, ()), (one, (one,)), ([one], (one,))]:
        made = TrainingSettings(pairs=PAIRS, folder="any", callbacks=given)
        assert made.callbacks == kept


def test_misspelt_option_is_an_error(tmp_path):
    with pytest.raises(TypeError, match=r"unexpected arguments \['unit'\]"):
        train(PAIRS, tmp_path / "model", unit=7)


class Weights(keras.callbacks.Callback):
    """Sets the weights of each epoch to multiples of some noise."""

    def __init__(self, factors):
        super().__init__()
        self.factors = factors

    def on_epoch_begin(self, epoch, logs=None):
        draw = np.random.default_rng(7)
        for weight in self.model.trainable_weights:
            noise = draw.normal(size=weight.shape)
            weight.assign(self.factors[epoch] * noise)


AVERAGED = {
    **SMALL,
    "epochs": 3,
    "learning_rate": 1e-12,
    "monitor": "loss",
    "average": 2,
}


@pytest.mark.parametrize(
    "crash_at",
    [pytest.param(None, marks=pytest.mark.exhaustive), 12],
    ids=["whole", "resumed"],
)
def test_mean_of_the_last_epochs_is_saved_where_it_is_better(
    tmp_path, crash_at, capsys
):
    # Without weights all tokens are equally likely, which beats noise.
    noise = Weights([9.0, 2.0, -2.0])
    folder = tmp_path / "model"
    options = {**AVERAGED, "verbose": 2}
    if crash_at is not None:
        with pytest.raises(RuntimeError, match="crash"):
            train(PAIRS, folder, **options, callbacks=[noise, Crash(crash_at)])
    model, card = train(
        PAIRS, folder, **options, callbacks=[noise], resume=True
    )
    for weights in (model.weights, ka.load(folder).weights):
        for weight in weights:
            np.testing.assert_allclose(weight, 0.0, atol=1e-6)
    tokens = len(model.target_vocabulary)
    found = card["metrics"]["val_loss"]
    assert found == pytest.approx(np.log(tokens), abs=1e-4)
    assert card["metrics"]["epochs"] == [2, 3]
    assert card["training"]["mean"]["is_saved"] is True
    assert card["training"]["average"] == 2
    assert "The mean is saved in" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_mean_of_the_last_epochs_is_left_where_it_is_worse(tmp_path):
    model, card = train(
        PAIRS,
        tmp_path / "model",
        **AVERAGED,
        callbacks=[Weights([9.0, 0.0, 9.0])],
    )
    for weight in model.weights:
        np.testing.assert_allclose(weight, 0.0, atol=1e-6)
    mean = card["training"]["mean"]
    assert mean["epochs"] == [2, 3] and mean["is_saved"] is False
    assert mean["val_loss"] > card["metrics"]["val_loss"]
    assert card["metrics"]["epoch"] == 2


def test_evaluate_after_train_is_for_batches_of_any_shape(
    tmp_path, monkeypatch
):
    model, _ = train(PAIRS, tmp_path / "model", epochs=1, **SMALL)
    test_step, declared = model.test_step, []

    def traced(data):
        declared.append(functional.fused.batches.current_batches().shapes)
        return test_step(data)

    monkeypatch.setattr(model, "test_step", traced)
    ids = np.ones((2, 3), "int32")
    model.evaluate({"source": ids, "target": ids}, ids, verbose=0)
    assert declared == [()]
