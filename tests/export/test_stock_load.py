"""A stock server under load: right answers, versions swapped, memory flat."""

import contextlib
import re
import threading

import numpy as np
import pytest
import served_models
import stock_client
from stock_client import DEADLINE_EXCEEDED
from stock_client import INVALID_ARGUMENT
from stock_client import NOT_FOUND

import keras_attention as ka
from keras_attention import export

pytestmark = pytest.mark.skipif(
    not stock_client.HAS_COMPILER, reason="needs a C compiler"
)
CLIENTS = 8
LETTERS = "abcdefgh\u00e9\U0001f600 "
# MiB that may be in use after the last requests beyond those after the first.
# Where oneDNN is on it keeps programs for some thousand shapes, and no more.
GROWTH = {"0": 0.5, "1": 200}
# MiB that versions which come and go may leave behind, all together.
LEFT_BEHIND = 8
# What they freed stays resident, for the next version: it grows by so many MiB
# at most once some have come and gone.
RESIDENT_GROWTH = 32
FIRST, SECOND = "bahdanau", "half"


@pytest.fixture
def start(stock_program):
    """Starts a process of its own, whose memory is what the test filled."""
    with contextlib.ExitStack() as ended:

        def started(**environment):
            server = stock_client.StockServer(stock_program, **environment)
            ended.callback(server.close)
            return server

        yield started


def random_texts(count, seed=5):
    """Texts of 0 to 600 characters, most of them short."""
    draw = np.random.default_rng(seed)
    lengths = np.minimum(draw.geometric(0.05, count) - 1, 60)
    lengths[:: max(count // 5, 1)] *= 10
    return [
        "".join(draw.choice(list(LETTERS), length)).encode()
        for length in lengths
    ]


def as_array(texts):
    array = np.empty(len(texts), object)
    array[:] = texts
    return array


def answer_of(server, texts, version=""):
    """What the server says to one request: texts and scores."""
    inputs = {"text": as_array(texts)}
    told = server.ask("serving_default", inputs, version)
    return told["text"].tolist(), told["score"]


def is_same(answer, other):
    return answer[0] == other[0] and np.allclose(
        answer[1], other[1], rtol=0, atol=1e-5
    )


def together(clients):
    """Runs functions in threads; what one of them raises is raised here."""
    raised = []

    def run(client):
        try:
            client()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(c,)) for c in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]


def client_of(server, known, count, seed):
    """Asks so many requests, of which a few are bad or have no time.

    Args:
        server: a `StockServer`.
        known: what it says to each text alone, by text.
        count: how many requests.
        seed: of the choice of texts and kinds of requests.
    """
    draw = np.random.default_rng(seed)

    def run():
        for _ in range(count):
            asked = draw.choice(len(known), draw.integers(1, 17))
            asked = [list(known)[number] for number in asked]
            said, scores = zip(*(known[text] for text in asked), strict=True)
            expected = list(np.ravel(said)), np.ravel(scores)
            inputs, kind = {"text": as_array(asked)}, draw.integers(20)
            if kind == 0:
                code = server.refusal("serving_default", {})
                assert code == INVALID_ARGUMENT
                continue
            timeout = int(kind == 1)  # of 1 ms
            reply = server.send("serving_default", inputs, timeout=timeout)
            reply = reply.result(stock_client.TIMEOUT)
            if timeout and reply.code == DEADLINE_EXCEEDED:
                continue
            assert reply.code == 0, reply.message
            told = reply.outputs
            assert is_same((told["text"].tolist(), told["score"]), expected)

    return run


def settings_of(folder):
    """The arguments of `joining` that the export wrote for a server."""
    text = (folder / "batching_parameters.txt").read_text()
    (most,) = re.findall(r"max_batch_size { value: (\d+)", text)
    (wait,) = re.findall(r"batch_timeout_micros { value: (\d+)", text)
    allowed = re.findall(r"allowed_batch_sizes: (\d+)", text)
    return int(most), int(wait), [int(size) for size in allowed]


@pytest.mark.parametrize(
    ("count", "onednn"),
    [
        (320, "0"),
        pytest.param(10_000, "0", marks=pytest.mark.soak),
        pytest.param(10_000, "1", marks=pytest.mark.soak),
    ],
)
def test_requests_of_every_size_are_answered_and_memory_stays(
    start, served, count, onednn, record_property
):
    server = start(TF_ENABLE_ONEDNN_OPTS=onednn)
    folder = served[FIRST]["folder"]
    server.load("1", folder)
    server.serve("1")
    known = {text: answer_of(server, [text]) for text in random_texts(59)}
    in_use, resident = [], []
    for turn in range(8):  # joined and apart
        most, wait, allowed = settings_of(folder)
        each = count // (8 * CLIENTS)
        seeds = range(turn * CLIENTS, (turn + 1) * CLIENTS)
        with server.joining(most if turn % 2 else 0, wait, allowed):
            together(client_of(server, known, each, seed) for seed in seeds)
        in_use.append(server.in_use())
        resident.append(server.resident())
    record_property("requests under load", each * 8 * CLIENTS)
    if count > 1000:
        for name, found in (("in use", in_use), ("resident", resident)):
            name = f"MiB {name}, oneDNN {onednn}, after"
            record_property(f"{name} a quarter of the load", round(found[1], 1))
            record_property(f"{name} the load", round(found[-1], 1))
    assert in_use[-1] - in_use[1] < GROWTH[onednn]


@pytest.mark.parametrize(
    "swaps",
    [
        pytest.param(2, marks=pytest.mark.exhaustive),
        pytest.param(20, marks=pytest.mark.soak),
    ],
)
def test_versions_are_swapped_while_clients_ask(
    start, served, swaps, record_property
):
    """Each answer is that of one version, and what was unloaded is gone."""
    server = start(TF_ENABLE_ONEDNN_OPTS="0")
    folders = [served[name]["folder"] for name in (FIRST, SECOND)]
    texts = [t.encode() for t in served_models.BATCHES[0]]
    server.load("version 0", folders[0])
    server.serve("version 0")
    # In bfloat16 scores depend on the batch, so it is the same in each request.
    known = [answer_of(server, texts)] * 2
    heard, stop = [], threading.Event()
    in_use, resident = server.in_use(), [server.resident()]

    def client():
        while not stop.is_set():
            answer = answer_of(server, texts)
            assert is_same(answer, known[0]) or is_same(answer, known[1])
            heard.append(is_same(answer, known[0]))

    def swap_all():
        try:
            for swap in range(1, swaps + 1):
                old, new = f"version {swap - 1}", f"version {swap}"
                server.load(new, folders[swap % 2])
                if swap == 1:  # what the second says, before clients hear it
                    known[1] = answer_of(server, texts, new)
                server.serve(new)
                assert is_same(answer_of(server, texts), known[swap % 2])
                server.unload(old)
                code = server.refusal("serving_default", {}, old)
                assert code == NOT_FOUND
                resident.append(server.resident())
        finally:
            stop.set()

    together([client, client, swap_all])
    assert not is_same(*known)
    record_property("versions swapped under load", swaps)
    record_property("requests while versions were swapped", len(heard))
    assert any(heard) and not all(heard)
    left = server.in_use() - in_use
    assert left < LEFT_BEHIND
    if swaps > 2:
        record_property(f"MiB that {swaps} swaps left in use", round(left, 1))
        for when, number in (("before", 0), ("after", -1)):
            record_property(
                f"MiB resident {when} {swaps} swaps", round(resident[number])
            )
        assert resident[-1] - max(resident[: swaps // 2]) < RESIDENT_GROWTH


@pytest.mark.soak
def test_what_a_version_held_comes_back_when_it_is_unloaded(
    start, tmp_path, record_property
):
    words = ka.Vocabulary.build([LETTERS])
    model = ka.build_seq2seq("luong", words, words, units=701, max_length=5)
    folder = export.export_saved_model(
        model, tmp_path / "1", ka.Greedy(), signatures=["serving_default"]
    )
    weights = sum(array.nbytes for array in model.get_weights()) / 2**20
    server = start(TF_ENABLE_ONEDNN_OPTS="0")
    loaded, unloaded = [], []
    for _ in range(11):
        server.load("1", folder)
        answer_of(server, [b"cab"], "1")
        loaded.append((server.in_use(), server.resident()))
        server.unload("1")
        unloaded.append((server.in_use(), server.resident()))
    record_property("MiB of weights loaded and unloaded", round(weights))
    for name, found in (("loaded", loaded), ("unloaded", unloaded)):
        for when, number in (("first", 0), ("last", -1)):
            record_property(
                f"MiB resident, {name} the {when} of 11 times",
                round(found[number][1]),
            )
    for (before, _), (after, _) in zip(loaded, unloaded, strict=True):
        assert before - after > 0.9 * weights
    assert unloaded[-1][0] - unloaded[0][0] < LEFT_BEHIND
