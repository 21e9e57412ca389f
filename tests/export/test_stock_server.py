"""What a stock server is asked beside good requests, one at a time.

Joined requests, requests that take too long and requests that fit nothing:
each has its answer or an error, and the next one is answered as ever.
"""

import numpy as np
import pytest
import served_models
import stock_client
from stock_client import DEADLINE_EXCEEDED
from stock_client import FAILED_PRECONDITION
from stock_client import INVALID_ARGUMENT
from stock_client import NOT_FOUND

from keras_attention.export.records import PORTABLE

pytestmark = pytest.mark.skipif(
    not stock_client.HAS_COMPILER, reason="needs a C compiler"
)
VERSION = "bahdanau"
FOR_EVER = 60_000_000  # a batch waits until it is full


def as_bytes(texts):
    array = np.empty(len(texts), object)
    array[:] = [t.encode("utf-8", "surrogatepass") for t in texts]
    return array


@pytest.fixture(scope="module")
def server(stock_server, served):
    stock_server.load_once(VERSION, served[VERSION]["folder"])
    return stock_server


def ask(server, texts, **options):
    return server.ask(
        "serving_default", {"text": as_bytes(texts)}, VERSION, **options
    )


def send(server, texts, **options):
    return server.send(
        "serving_default", {"text": as_bytes(texts)}, VERSION, **options
    )


def assert_same(found, expected):
    assert found["text"].tolist() == expected["text"].tolist()
    np.testing.assert_allclose(found["score"], expected["score"], atol=1e-5)


# --- good requests -----------------------------------------------------------


def test_strings_turn_into_strings_without_python_and_xla(model, stock_server):
    stock_server.load_once(model["name"], model["folder"])
    batches = [*served_models.BATCHES, served_models.HOSTILE, []]
    for number, texts in enumerate(batches):
        told = stock_server.ask(
            "serving_default", {"text": as_bytes(texts)}, model["name"]
        )
        expected = model["answers"][f"serving_default {number}"]
        assert [text.decode() for text in told["text"]] == expected["text"]
        np.testing.assert_allclose(told["score"], expected["score"], atol=1e-5)


def test_compiled_is_refused_and_the_rest_goes_on(server):
    texts = {"text": as_bytes(["cab"])}
    before = ask(server, ["cab"])
    reply = server.send("compiled", texts, VERSION).result()
    assert reply.code and "XLA" in reply.message
    assert_same(ask(server, ["cab"]), before)


def test_score_of_targets_that_are_not_as_many_is_refused(server):
    texts = {"text": as_bytes(["cab", "h"]), "target": as_bytes(["a"])}
    reply = server.send("score", texts, VERSION).result()
    assert reply.code == INVALID_ARGUMENT and "as many rows" in reply.message


# --- batches -----------------------------------------------------------------


def test_clients_that_are_joined_get_what_each_gets_alone(server):
    clients = [["cab"], ["a", "hgfe"], [""], ["feedbad" * 3, "\udcff"], ["h"]]
    alone = [ask(server, texts) for texts in clients]
    with server.joining(7, FOR_EVER, allowed=[1, 2, 4, 8]):
        sent = [send(server, texts) for texts in clients]
        replies = [reply.result(stock_client.TIMEOUT) for reply in sent]
    assert [reply.rows for reply in replies] == [8] * len(clients)
    for reply, expected in zip(replies, alone, strict=True):
        assert reply.code == 0, reply.message
        assert_same(reply.outputs, expected)


def test_ids_of_two_lengths_are_not_joined(server):
    """As the guide says of `tokens`; each alone is answered."""
    rows = [np.array([[4, 5, 2]], "int32"), np.array([[4, 5, 6, 2]], "int32")]
    with server.joining(2, FOR_EVER):
        sent = [server.send("tokens", {"ids": ids}, VERSION) for ids in rows]
        codes = [reply.result(stock_client.TIMEOUT).code for reply in sent]
    assert codes == [FAILED_PRECONDITION] * 2
    for ids in rows:
        assert len(server.ask("tokens", {"ids": ids}, VERSION)["ids"]) == 1


def test_a_batch_of_one_wrong_request_is_refused_and_the_next_is_not(server):
    before = ask(server, ["cab", "h"])
    numbers = {"text": np.ones(1, "float32")}
    with server.joining(2, FOR_EVER):
        sent = [
            send(server, ["cab"]),
            server.send("serving_default", numbers, VERSION),
        ]
        assert all(reply.result(stock_client.TIMEOUT).code for reply in sent)
        assert_same(ask(server, ["cab", "h"]), before)


def test_more_rows_than_a_batch_has_are_refused(server):
    with server.joining(2, FOR_EVER):
        reply = send(server, ["h"] * 3).result(stock_client.TIMEOUT)
        assert reply.code == INVALID_ARGUMENT
        assert ask(server, [])["text"].shape == (0,)


# --- time-outs ---------------------------------------------------------------


def test_a_session_that_runs_out_of_time_answers_the_next_request(server):
    before = ask(server, ["cab"])
    long = ["abcdefgh" * 3] * 20_000
    reply = send(server, long, timeout=50).result(stock_client.TIMEOUT)
    assert reply.code == DEADLINE_EXCEEDED
    assert "Timed out" in reply.message  # by the session, not in the queue
    assert_same(ask(server, ["cab"]), before)


# --- bad requests ------------------------------------------------------------


def inputs_of(server, name):
    """Good inputs of a signature of three rows, arrays by name."""
    text = as_bytes(served_models.BATCHES[0][:3])
    ids = np.array([[6, 4, 5, 2], [4, 2, 0, 0], [11, 10, 2, 0]], "int32")
    inputs = {"text": text}
    if name == "tokens":
        inputs = {"ids": ids}
    elif name == "score":
        inputs["target"] = as_bytes(["abc", "", "d"])
    elif name == "decode_step":
        encoded = server.ask("encode", inputs, VERSION)
        inputs = {**encoded, "ids": ids[:, :2]}
    return inputs


def misshapen(array):
    """The same of another rank, and with another size of each axis."""
    yield array[0]
    yield array[..., None]
    yield array[None]
    yield array[:0]
    yield array[1:]
    yield np.concatenate([array, array])
    if array.ndim > 1:
        yield array[..., :0]
        yield array[..., 1:]
        yield np.concatenate([array, array], axis=-1)
    if array.ndim > 2:
        yield array[:, :0]
        yield array[:, 1:]


def extreme(array):
    """Values that a client should not send."""
    values = {
        "f": [np.nan, np.inf, -np.inf, 3e38, 1e-45],
        "i": [-1, -(2**31), 2**31 - 1],
        "b": [False, True],
        "O": [b"", b"\0", b"\xff\xfe\x80", bytes(range(256)), b"a" * 10**6],
    }
    for value in values[array.dtype.kind]:
        found = array.copy()
        found.fill(value)
        yield found


def of_another_type(array):
    for dtype in ("float32", "float64", "int32", "int64", "bool", "object"):
        if array.dtype != dtype:
            other = np.zeros(array.shape, dtype)
            if dtype == "object":
                other.fill(b"1")
            yield other


def check_is_utf_8(array):
    """As strings must be that go out by REST."""
    if array.dtype == object:
        for text in array.flat:
            text.decode()


@pytest.mark.parametrize("name", PORTABLE)
def test_no_request_ends_the_server_or_changes_the_next_answer(server, name):
    good = inputs_of(server, name)
    before = server.ask(name, good, VERSION)
    tried = 0
    for key, array in good.items():
        others = {n: a for n, a in good.items() if n != key}
        missing, misnamed = others, {**others, "no such": array}
        untyped = ({**others, key: a} for a in of_another_type(array))
        for wrong in (missing, misnamed, {**good, "more": array}, *untyped):
            code = server.refusal(name, wrong, VERSION)
            assert code == INVALID_ARGUMENT, (key, wrong)
        for odd in (*misshapen(array), *extreme(array)):
            reply = server.send(name, {**others, key: odd}, VERSION)
            reply = reply.result(stock_client.TIMEOUT)  # whichever it is
            for output in reply.outputs.values():
                check_is_utf_8(output)
            tried += 1
    assert tried >= 10
    for output, array in server.ask(name, good, VERSION).items():
        np.testing.assert_array_equal(array, before[output])


def test_what_there_is_not_is_not_found(server):
    texts = {"text": as_bytes(["h"])}
    assert server.refusal("no such", texts, VERSION) == NOT_FOUND
    assert server.refusal("n_best", texts, "no such") == NOT_FOUND
    with pytest.raises(AssertionError, match="No such version"):
        server.unload("no such")


def test_bytes_by_chance_are_answered_in_utf_8(server):
    draw = np.random.default_rng(7)
    texts = np.empty(97, object)
    texts[:] = [draw.bytes(size) for size in draw.integers(0, 31, len(texts))]
    told = server.ask("n_best", {"text": texts}, VERSION)
    assert np.isfinite(told["score"]).all()
    for output in told.values():
        check_is_utf_8(output)
