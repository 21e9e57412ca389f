"""What every test process needs: one backend, quiet logs, seeds, few threads.

Environment variables are set here because keras and tensorflow read them when
they are first imported, and because the processes that tests start inherit
them.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")
if "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores. Two threads between operators, not one: a
    # Python function called from a tf.data pipeline may wait for another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "2")

import hypothesis
import pytest

hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    database=None,
    deadline=None,
    max_examples=30,
    suppress_health_check=[
        hypothesis.HealthCheck.too_slow,
        hypothesis.HealthCheck.function_scoped_fixture,
    ],
)
hypothesis.settings.load_profile("repeatable")


def pytest_collection_modifyitems(config, items):
    """Leave `tensorflow_only` tests out where the backend is another one."""
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        return
    left_out = [i for i in items if i.get_closest_marker("tensorflow_only")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(autouse=True)
def fixed_seed():
    """Start each test from the same seeds of Python, NumPy and the backend."""
    import keras

    keras.utils.set_random_seed(20231)
