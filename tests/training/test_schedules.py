"""Learning rates against their formulas."""

import math

import keras
import numpy as np
import pytest

from keras_attention.training import WarmupSchedule

STEPS = [1, 2, 6, 7, 8, 19, 52, 53, 54, 997]


def rates(schedule):
    return [float(schedule(number - 1)) for number in STEPS]


def test_vaswani_is_equation_3():
    units, warmup = 13, 7
    wanted = [units**-0.5 * min(n**-0.5, n * warmup**-1.5) for n in STEPS]
    schedule = WarmupSchedule.vaswani(units, warmup)
    np.testing.assert_allclose(rates(schedule), wanted, rtol=1e-6)


def expected(decay, number, peak=0.3, warmup=7, total=53, end=0.1):
    if number < warmup:
        return peak * number / warmup
    x = min((number - warmup) / (total - warmup), 1.0)
    return {
        "constant": peak,
        "inverse_sqrt": peak * math.sqrt(warmup / number),
        "linear": end + (peak - end) * (1 - x),
        "cosine": end + (peak - end) * (1 + math.cos(math.pi * x)) / 2,
    }[decay]


@pytest.mark.parametrize(
    "decay", ["constant", "inverse_sqrt", "linear", "cosine"]
)
def test_schedule_follows_its_formula(decay):
    schedule = WarmupSchedule(0.3, 7, decay, total_steps=53, end=0.1)
    wanted = [expected(decay, number) for number in STEPS]
    np.testing.assert_allclose(rates(schedule), wanted, rtol=1e-6)


@pytest.mark.parametrize("decay", ["constant", "cosine", "linear"])
def test_without_warmup_the_first_rate_is_near_the_peak(decay):
    schedule = WarmupSchedule(0.3, 0, decay, total_steps=1000)
    np.testing.assert_allclose(float(schedule(0)), 0.3, rtol=2e-3)


def test_optimizer_uses_and_keeps_the_schedule():
    schedule = WarmupSchedule(0.5, 5, "linear", total_steps=11)
    optimizer = keras.optimizers.SGD(schedule)
    variable = keras.Variable(0.0)
    for number in (1, 2, 3):
        before = float(variable)
        optimizer.apply([np.float32(1.0)], [variable])
        step = before - float(variable)
        np.testing.assert_allclose(step, 0.1 * number, rtol=1e-5)
    config = keras.saving.serialize_keras_object(optimizer)
    again = keras.saving.deserialize_keras_object(config)
    rate = again.get_config()["learning_rate"]["config"]
    assert rate == schedule.get_config()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"peak": 0}, "`peak` must be a number above 0"),
        ({"warmup_steps": -1}, "`warmup_steps` must be an integer of at"),
        ({"decay": "root"}, "`decay` must be one of 'constant'"),
        ({"decay": "cosine"}, "`total_steps` must be an integer above"),
        (
            {"decay": "linear", "warmup_steps": 7, "total_steps": 7},
            "`total_steps` must be an integer above warmup_steps=7",
        ),
        ({"end": 2.0}, r"`end` must be a number in \[0, peak=1.0\]"),
        ({"end": None}, r"`end` must be a number in \[0, peak=1.0\]"),
    ],
    ids=["peak", "warmup", "decay", "no-total", "total", "end", "no-end"],
)
def test_schedule_checks_its_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        WarmupSchedule(**{"peak": 1.0, **options})
