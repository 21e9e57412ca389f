"""SCAN: the grammar, the splits, and a model that learns some of it."""

import pathlib
from collections import Counter

import pytest

from keras_attention.examples import scan

# Lake & Baroni 2018, figure 1 and the rules of its appendix, by hand.
MEANINGS = {
    "jump": "I_JUMP",
    "jump left": "I_TURN_LEFT I_JUMP",
    "turn right": "I_TURN_RIGHT",
    "turn opposite left": "I_TURN_LEFT I_TURN_LEFT",
    "walk opposite right": "I_TURN_RIGHT I_TURN_RIGHT I_WALK",
    "turn around left": "I_TURN_LEFT I_TURN_LEFT I_TURN_LEFT I_TURN_LEFT",
    "jump around right": "I_TURN_RIGHT I_JUMP I_TURN_RIGHT I_JUMP "
    "I_TURN_RIGHT I_JUMP I_TURN_RIGHT I_JUMP",
    "turn left twice": "I_TURN_LEFT I_TURN_LEFT",
    "jump thrice": "I_JUMP I_JUMP I_JUMP",
    "jump thrice and turn left": "I_JUMP I_JUMP I_JUMP I_TURN_LEFT",
    "walk after look": "I_LOOK I_WALK",
    "jump opposite left and walk thrice": "I_TURN_LEFT I_TURN_LEFT I_JUMP "
    "I_WALK I_WALK I_WALK",
    "jump opposite left after walk around left": "I_TURN_LEFT I_WALK "
    "I_TURN_LEFT I_WALK I_TURN_LEFT I_WALK I_TURN_LEFT I_WALK "
    "I_TURN_LEFT I_TURN_LEFT I_JUMP",
}


@pytest.mark.parametrize("command", list(MEANINGS))
def test_interpret_follows_the_paper(command):
    assert scan.interpret(command) == MEANINGS[command]


def test_the_language_is_that_of_the_paper():
    pairs = scan.all_pairs()
    commands = {command for command, _ in pairs}
    assert len(pairs) == len(commands) == 20_910
    assert set(MEANINGS) <= commands
    words = {word for command in commands for word in command.split()}
    actions = [target.split() for _, target in pairs]
    assert len(words) == 13
    assert len({action for target in actions for action in target}) == 6
    assert max(len(command.split()) for command in commands) == 9
    assert max(len(target) for target in actions) == scan.LONGEST
    assert min(len(target) for target in actions) == 1


@pytest.mark.parametrize(
    ("split", "train_size", "test_size"),
    [
        ("simple", 16_728, 4_182),
        ("length", 16_990, 3_920),
        ("addprim_jump", 14_670, 7_706),
        ("turn_left", 21_890, 1_208),
    ],
)
def test_splits_have_the_published_sizes(split, train_size, test_size):
    train, test = scan.split_pairs(split)
    assert (len(train), len(test)) == (train_size, test_size)
    assert not set(train) & set(test)
    assert set(train) | set(test) == set(scan.all_pairs())


def test_length_split_holds_the_long_targets_out():
    train, test = scan.split_pairs("length")
    assert max(len(target.split()) for _, target in train) == 22
    assert min(len(target.split()) for _, target in test) == 24


@pytest.mark.parametrize(
    ("split", "alone"), [("addprim_jump", "jump"), ("turn_left", "turn left")]
)
def test_primitive_splits_show_the_primitive_alone(split, alone):
    train, test = scan.split_pairs(split)
    commands = [command for command, _ in train]
    assert {command for command in commands if alone in command} == {alone}
    assert commands.count(alone) == pytest.approx(len(train) / 10, abs=1)
    assert all(alone in command for command, _ in test)


def test_random_split_follows_its_seed():
    assert scan.split_pairs("simple", 3) == scan.split_pairs("simple", 3)
    assert scan.split_pairs("simple", 3) != scan.split_pairs("simple", 4)


@pytest.mark.exhaustive
@pytest.mark.tensorflow_only
def test_tiny_model_learns_short_commands(tmp_path):
    pairs = [
        (command, target)
        for command, target in scan.all_pairs()
        if len(target.split()) <= 3 and "after" not in command
    ]
    _, rate = scan.train_and_measure(
        pairs,
        pairs,
        tmp_path / "model",
        kind="luong",
        cell="gru",
        units=32,
        epochs=8,
        batch_size=16,
        learning_rate=1e-2,
        dropout=0.0,
        jit_compile=False,
        verbose=0,
        seed=3,
    )
    targets = Counter(target for _, target in pairs)
    by_one_answer = targets.most_common(1)[0][1] / len(pairs)
    assert by_one_answer < 0.05
    assert rate > 0.5


@pytest.mark.tensorflow_only
def test_command_line_prints_a_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        scan,
        "train_and_measure",
        lambda train, test, folder, **options: (options, 0.125),
    )
    arguments = ["--model", "rnn-bahdanau", "rnn-rnn", "--cell", "simple"]
    assert scan.main([*arguments, "--output", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "rnn-bahdanau  12.5%" in printed
    assert "rnn-rnn       12.5%" in printed
    assert "99.8 (LSTM 2x200)" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "gru"], "argument --model: must be one of transformer,"),
        (["--split", "lenght"], "Did you mean length?"),
        (["--dropout", "2"], "must be a number at least 0 and below 1"),
        (["--epoch", "2"], "no option '--epoch'. Did you mean --epochs?"),
    ],
)
def test_command_line_refuses_in_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as caught:
        scan.main(arguments)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("scan: error: ")
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.tensorflow_only
def test_command_line_hands_defaults_and_options_on(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(scan, "run", lambda **options: calls.append(options))
    assert scan.main([]) == 0
    temporary = calls[0].pop("output")
    assert calls.pop() == scan.DEFAULTS
    assert not pathlib.Path(temporary).exists()
    kept = ["--output", str(tmp_path), "--units", "7", "--cell", "gru"]
    assert scan.main(kept) == 0
    given = {"output": str(tmp_path), "units": 7, "cell": "gru"}
    assert calls.pop() == {**scan.DEFAULTS, **given}
