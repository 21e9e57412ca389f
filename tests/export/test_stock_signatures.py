"""Every signature of every kind of model, as a stock server answers it.

The server has no Python and no XLA; what it is asked and what it answers went
through the messages of gRPC and of REST.
"""

import numpy as np
import pytest
import served_kinds
import served_models
import serving_messages
import stock_client
from tensorflow_serving.apis import predict_pb2

from keras_attention.export.records import PORTABLE

pytestmark = pytest.mark.skipif(
    not stock_client.HAS_COMPILER, reason="needs a C compiler"
)
IN_THE_GATE = "bahdanau"
KINDS = [
    pytest.param(
        name, marks=[] if name == IN_THE_GATE else pytest.mark.exhaustive
    )
    for name in served_kinds.KINDS
]


@pytest.fixture(scope="module", params=KINDS)
def case(request, stock_server, tmp_path_factory):
    """A SavedModel, which the server has loaded under the name of its kind."""
    folder = tmp_path_factory.mktemp("kind") / "1"
    case = served_kinds.exported(
        request.param, lambda: request.getfixturevalue("served"), folder
    )
    if request.param in served_models.KINDS:  # other tests ask it too
        stock_server.load_once(case.version, case.folder)
        yield case
    else:
        stock_server.load(case.version, case.folder)
        yield case
        stock_server.unload(case.version)


def assert_same(found, expected, tolerance=1e-5):
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        if array.dtype == object:
            assert found[name].tolist() == array.tolist(), name
        else:
            assert found[name].dtype == array.dtype, name
            np.testing.assert_allclose(
                found[name], array, atol=tolerance, err_msg=name
            )


@pytest.mark.parametrize("name", PORTABLE)
def test_signature_answers_without_xla_through_every_message(
    case, name, stock_server
):
    if name not in case.signatures:
        assert name not in stock_client.signatures_of(case.folder)
        return
    inputs = served_kinds.inputs_of(case, name)
    expected = served_kinds.expected_of(case, name, inputs)
    request = serving_messages.predict_request(name, inputs)
    received = predict_pb2.PredictRequest.FromString(
        request.SerializeToString()
    )
    given = serving_messages.arrays_of(received.inputs)
    outputs = stock_server.ask(name, given, case.version)
    response = predict_pb2.PredictResponse.FromString(
        serving_messages.predict_response(received, outputs).SerializeToString()
    )
    told = serving_messages.arrays_of(response.outputs)
    assert_same(told, expected, case.tolerance)
    check_rest(case, name, inputs, outputs)
    check_joined(stock_server, case, name, inputs, outputs)


def check_rest(case, name, inputs, outputs):
    signatures = stock_client.signatures_of(case.folder)
    types = {n: array.dtype for n, array in outputs.items()}
    for form in serving_messages.FORMS:
        body = serving_messages.rest_body(name, inputs, form)
        asked, given = serving_messages.inputs_of_body(body, signatures)
        assert asked == name
        for key, array in inputs.items():
            np.testing.assert_array_equal(given[key], array)
            assert given[key].dtype == array.dtype
        answer = serving_messages.rest_answer(outputs, form)
        told = serving_messages.outputs_of_answer(answer, types)
        assert_same(told, outputs)


def check_joined(server, case, name, inputs, outputs):
    """A client of one row and one of two, filled up to four rows."""
    parts = (slice(0, 1), slice(1, 3))
    with server.joining(3, 60_000_000, allowed=[1, 2, 4]):
        sent = [
            server.send(
                name, {n: a[part] for n, a in inputs.items()}, case.version
            )
            for part in parts
        ]
        replies = [reply.result(stock_client.TIMEOUT) for reply in sent]
    for part, reply in zip(parts, replies, strict=True):
        assert (reply.code, reply.rows) == (0, 4), reply.message
        expected = {n: array[part] for n, array in outputs.items()}
        assert_same(reply.outputs, expected, case.tolerance)
