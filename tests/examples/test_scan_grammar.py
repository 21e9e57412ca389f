"""The language of SCAN: its grammar and its splits."""

import pytest

from keras_attention.examples import scan_grammar as scan

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
