"""What every test process needs: one backend, quiet logs, seeds, few threads.

Environment variables are set here because keras and tensorflow read them when
they are first imported, and because the processes that tests start inherit
them.
"""

import collections
import functools
import gc
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

if os.environ["KERAS_BACKEND"] == "jax":
    # Some tests spread work over devices; the others see the first.
    import jax

    jax.config.update("jax_num_cpu_devices", 3)

import hypothesis
import pytest
from covering import cover

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


def pytest_addoption(parser):
    parser.addoption(
        "--cover",
        type=int,
        metavar="N",
        help="of a test with many options run only so many cases that every "
        "N of the options meet in each way they can",
    )


@pytest.hookimpl(trylast=True)  # after `-m` has chosen
def pytest_collection_modifyitems(config, items):
    """Leave out what another backend cannot run, and what `--cover` spares."""
    kept = items
    if "soak" not in config.getoption("markexpr"):
        kept = [i for i in kept if not i.get_closest_marker("soak")]
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        kept = [i for i in kept if not i.get_closest_marker("tensorflow_only")]
    if strength := config.getoption("cover"):
        kept = _covering(kept, strength)
    chosen = set(kept)
    if left_out := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def pytest_terminal_summary(terminalreporter):
    """Tell what tests have counted by `record_property`."""
    counts = collections.Counter()
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            counts[name] += value
    for name in sorted(counts):
        terminalreporter.write_line(f"{name}: {counts[name]:,}")


def pytest_collection_finish(session):
    """Spare the garbage collector what stays until the end.

    Keras, TensorFlow and the tests are half a million objects. To look at them
    all each time took a tenth of the gate.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def memory_is_given_back():
    """Let no training in this process keep memory: it would for all tests."""
    if os.environ["KERAS_BACKEND"] != "tensorflow":
        yield
        return
    from keras_attention.training import KeepMemory

    with pytest.MonkeyPatch.context() as patch:
        patch.delattr(KeepMemory, "on_train_batch_begin")
        yield


def pytest_runtest_setup(item):
    """Spare the collector once more where Keras calls it for each layer."""
    if "quantize" in item.name or "int8" in item.name:
        gc.freeze()


def _covering(items, strength):
    """Returns the items, in order, but of each test only a cover."""
    tests = collections.defaultdict(list)
    for item in items:
        tests[item.nodeid.partition("[")[0]].append(item)
    kept = set()
    for cases in tests.values():
        options = [_options_of(case) for case in cases]
        kept |= {cases[position] for position in cover(options, strength)}
    return [item for item in items if item in kept]


def _options_of(item):
    """Returns what tells the value of each option, by the option's names.

    The arguments that one `parametrize` lists together are one option.
    """
    if not hasattr(item, "callspec"):
        return {}
    values = dict(item.callspec.params)
    options = {}
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs["argnames"]
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",")]
        options[tuple(names)] = tuple(id(values.pop(name)) for name in names)
    # What is left are the parameters of fixtures.
    return {**options, **{(name,): id(values[name]) for name in values}}


SEED = 20231


@pytest.fixture(autouse=True)
def fixed_seed(monkeypatch):
    """Start each test from the same seeds of Python, NumPy and the backend."""
    import keras

    with monkeypatch.context() as patch:
        # TensorFlow forgets its kernels when it is given a seed, and each test
        # would make them anew: a third of what a small test takes.
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if _seeds_given_to_tensorflow()[-1:] == [SEED]:
                patch.setattr(tf.random, "set_seed", lambda seed: None)
        keras.utils.set_random_seed(SEED)


@functools.cache
def _seeds_given_to_tensorflow():
    """Returns a list to which each seed is added from now on."""
    import tensorflow as tf

    seeds, set_seed = [], tf.random.set_seed

    def set_and_note(seed):
        seeds.append(seed)
        set_seed(seed)

    tf.random.set_seed = set_and_note
    return seeds
