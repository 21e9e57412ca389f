"""A stock server under load: right answers, versions swapped, memory flat."""

import re
import threading

import numpy as np
import pytest
import served_models
import stock_client
from stock_client import DEADLINE_EXCEEDED
from stock_client import INVALID_ARGUMENT
from stock_client import NOT_FOUND

pytestmark = pytest.mark.skipif(
    not stock_client.HAS_COMPILER, reason="needs a C compiler"
)
CLIENTS = 8
LETTERS = "abcdefgh\u00e9\U0001f600 "
# MiB that a server may grow by, once it has answered a part of the requests.
GROWTH = 32
# Of a version that was unloaded, MiB that may stay behind; it took a hundred.
LEFT_BEHIND = 48
FIRST, SECOND = "bahdanau", "half"


@pytest.fixture
def server(stock_program):
    """A process of its own, whose memory is what the test filled."""
    server = stock_client.StockServer(stock_program)
    yield server
    server.close()


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


def answers_of(server, texts, version=""):
    """What the server says to each text alone: {text: (text, score)}."""
    found = {}
    for text in texts:
        told = server.ask(
            "serving_default", {"text": as_array([text])}, version
        )
        found[text] = told["text"][0], told["score"][0]
    return found


def is_answer(outputs, texts, known):
    """Whether all of an answer is what is known of these texts."""
    said = [known[text][0] for text in texts]
    scores = [known[text][1] for text in texts]
    return outputs["text"].tolist() == said and np.allclose(
        outputs["score"], scores, atol=1e-5
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
    """Asks so many requests, of which a few are bad or have no time."""
    draw = np.random.default_rng(seed)
    texts = list(known)

    def run():
        for _ in range(count):
            asked = draw.choice(len(texts), draw.integers(1, 17))
            asked = [texts[number] for number in asked]
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
            assert is_answer(reply.outputs, asked, known)

    return run


def settings_of(folder):
    """The arguments of `batch` that the export wrote for a server."""
    text = (folder / "batching_parameters.txt").read_text()
    (most,) = re.findall(r"max_batch_size { value: (\d+)", text)
    (wait,) = re.findall(r"batch_timeout_micros { value: (\d+)", text)
    allowed = re.findall(r"allowed_batch_sizes: (\d+)", text)
    return int(most), int(wait), [int(size) for size in allowed]


@pytest.mark.parametrize(
    "count", [320, pytest.param(10_000, marks=pytest.mark.soak)]
)
def test_requests_of_every_size_are_answered_and_memory_stays(
    server, served, count, record_property
):
    folder = served[FIRST]["folder"]
    server.load("1", folder)
    server.serve("1")
    known = answers_of(server, random_texts(59))
    memory = []
    # Joined and apart, in turns; the first turns are for the memory to fill.
    for turn in range(8):
        most, wait, allowed = settings_of(folder)
        server.batch(most if turn % 2 else 0, wait, allowed)
        each = count // (8 * CLIENTS)
        seeds = range(turn * CLIENTS, (turn + 1) * CLIENTS)
        together(client_of(server, known, each, seed) for seed in seeds)
        memory.append(server.resident())
    record_property("requests under load", each * 8 * CLIENTS)
    print(f"MiB after each eighth: {[round(m) for m in memory]}")
    assert memory[-1] - max(memory[:2]) < GROWTH


@pytest.mark.parametrize("swaps", [2, pytest.param(40, marks=pytest.mark.soak)])
def test_versions_are_swapped_while_clients_ask(
    server, served, swaps, record_property
):
    """Each answer is that of one version, and what was unloaded is gone."""
    folders = [served[name]["folder"] for name in (FIRST, SECOND)]
    texts = [t.encode() for t in served_models.BATCHES[0]]
    server.load("version 0", folders[0])
    server.serve("version 0")
    known = [answers_of(server, texts)] * 2
    counts, stop, memory = [0, 0], threading.Event(), [server.resident()]

    def client():
        while not stop.is_set():
            outputs = ask(server, texts)
            is_first, is_second = (
                is_answer(outputs, texts, answers) for answers in known
            )
            assert is_first or is_second
            counts[0] += is_first
            counts[1] += is_second and not is_first

    def swap_all():
        try:
            for swap in range(1, swaps + 1):
                old, new = f"version {swap - 1}", f"version {swap}"
                server.load(new, folders[swap % 2])
                if swap == 1:  # what the second says, before others hear it
                    known[1] = answers_of(server, texts, new)
                server.serve(new)
                assert is_answer(ask(server, texts), texts, known[swap % 2])
                server.unload(old)
                code = server.refusal("serving_default", {}, old)
                assert code == NOT_FOUND
                memory.append(server.resident())
        finally:
            stop.set()

    together([client, client, swap_all])
    assert all(known[0][text] != known[1][text] for text in texts)
    record_property("versions swapped under load", swaps)
    record_property("requests while versions were swapped", sum(counts))
    print(f"MiB after each swap: {[round(m) for m in memory]}")
    assert min(counts) > 0
    assert memory[-1] - memory[0] < LEFT_BEHIND


def ask(server, texts):
    return server.ask("serving_default", {"text": as_array(texts)})
