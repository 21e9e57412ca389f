"""A learning rate that falls by the clock."""

import time

import keras
import numpy as np
import pytest

from keras_attention.training import TimedRate

pytestmark = pytest.mark.tensorflow_only


@pytest.mark.parametrize("processor_time", [False, True])
def test_rate_rises_by_steps_and_falls_by_minutes(monkeypatch, processor_time):
    clock = iter(range(0, 1000, 12))  # seconds: five steps a minute
    name = "process_time" if processor_time else "monotonic"
    monkeypatch.setattr(time, name, lambda: next(clock))
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.5), "mse")
    rates = []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda *_, **__: rates.append(
            float(model.optimizer.learning_rate)
        )
    )
    timed = TimedRate(0.8, 2, warmup_steps=4, processor_time=processor_time)
    data = np.ones((3, 2)), np.ones((3, 1))
    model.fit(
        *data, batch_size=1, epochs=100, callbacks=[timed, keep], verbose=0
    )
    # Step 2 begins the clock; at its end, 120 s later, the training ends.
    rising = [0.2, 0.4, 0.6]
    falling = [0.8 * (1 - n / 10) for n in range(2, 10)]
    assert rates == pytest.approx(rising + falling)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peak": 0.0}, "`peak` must be"),
        ({"minutes": -1}, "`minutes` must be"),
        ({"warmup_steps": -1}, "`warmup_steps` must be"),
    ],
)
def test_arguments_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TimedRate(**{"peak": 1.0, "minutes": 1.0, **change})


def test_a_schedule_is_refused_with_a_word_on_what_to_give():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    model.compile(keras.optimizers.SGD(schedule), "mse")
    timed = TimedRate(peak=0.8, minutes=2)
    timed.set_model(model)
    with pytest.raises(ValueError, match=r"SGD with a schedule.*Adam\(0\.8\)"):
        timed.on_train_begin()
