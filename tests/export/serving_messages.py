"""What clients send a server and what it sends back, over gRPC and REST.

The messages of gRPC are those of tensorflow-serving-api. JSON is read and
written by the rules of TensorFlow Serving: `instances` has an item a row,
`inputs` an array an input; a string may come as {"b64": ...}; a string goes
out as it is, and must be UTF-8, unless the name of its output ends in `_bytes`.
"""

import base64
import json
import math

import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2

FORMS = ("instances", "inputs")
ANSWERS = {"instances": "predictions", "inputs": "outputs"}


def predict_request(signature, inputs):
    """Returns a PredictRequest that holds arrays by name."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = signature
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return request


def predict_response(request, outputs):
    """Returns the PredictResponse of a request."""
    response = predict_pb2.PredictResponse()
    response.model_spec.CopyFrom(request.model_spec)
    for name, array in outputs.items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
    return response


def arrays_of(tensors):
    """Returns what a map of a request or a response holds, as arrays."""
    return {name: tf.make_ndarray(proto) for name, proto in tensors.items()}


def rest_body(signature, inputs, form):
    """Returns the JSON that a client sends."""
    plain = {name: _to_json(array) for name, array in inputs.items()}
    rows = len(next(iter(inputs.values())))
    body = plain if form == "inputs" else _by_row(plain, rows)
    return json.dumps({"signature_name": signature, form: body})


def inputs_of_body(body, signatures):
    """Returns what a server makes of JSON: a signature's name, and arrays.

    Args:
        body: str.
        signatures: dict of `SignatureDef` by name.
    """
    read = json.loads(body)
    name = read.get("signature_name", "serving_default")
    types = {
        key: tf.as_dtype(info.dtype)
        for key, info in signatures[name].inputs.items()
    }
    if "inputs" in read:
        columns = read["inputs"]
        if not isinstance(columns, dict):
            (only,) = types
            columns = {only: columns}
    else:
        columns = _by_name(read["instances"], types)
    assert set(columns) == set(types)
    return name, {n: _from_json(columns[n], types[n]) for n in types}


def rest_answer(outputs, form):
    """Returns the JSON that a server sends."""
    plain = {
        name: _to_json(array, name.endswith("_bytes"), strict=True)
        for name, array in outputs.items()
    }
    if form == "instances":
        (rows,) = {len(array) for array in outputs.values()}
        found = _by_row(plain, rows)
    else:
        found = plain
    if len(plain) == 1:  # one output goes without its name
        (found,) = plain.values()
    return json.dumps({ANSWERS[form]: found})


def outputs_of_answer(answer, types):
    """Returns what a client makes of JSON, arrays by name.

    Args:
        answer: str.
        types: dict of dtypes of NumPy by name of the output.
    """
    ((form, found),) = json.loads(answer).items()
    if len(types) == 1:
        found = {name: found for name in types}
    elif form == "predictions":
        found = _by_name(found, types)
    return {
        name: _from_json(found[name], tf.as_dtype(dtype))
        for name, dtype in types.items()
    }


def _by_row(plain, rows):
    return [
        {n: value[row] for n, value in plain.items()} for row in range(rows)
    ]


def _by_name(rows, names):
    """Columns of a list of objects, or of values where there is one name."""
    if isinstance(rows[0], dict) and set(rows[0]) != {"b64"}:
        assert all(set(row) == set(names) for row in rows)
        return {name: [row[name] for row in rows] for name in names}
    (name,) = names
    return {name: rows}


def _to_json(array, as_base64=False, strict=False):
    """Nested lists. What is not UTF-8 is base64, if that is allowed."""

    def plain(value):
        if isinstance(value, list):
            return [plain(item) for item in value]
        if not isinstance(value, bytes):
            return value
        if not as_base64:
            try:
                return value.decode()
            except UnicodeDecodeError:
                assert not strict, value
        return {"b64": base64.b64encode(value).decode()}

    return plain(np.asarray(array).tolist())


def _from_json(value, dtype):
    """An array, whose sizes are those of the first items."""
    sizes, first = [], value
    while isinstance(first, list):
        sizes.append(len(first))
        first = first[0] if first else None
    items = [value]
    for size in sizes:
        assert all(len(item) == size for item in items)
        items = [part for item in items for part in item]
    assert len(items) == math.prod(sizes)
    if dtype != tf.string:
        return np.array(items, dtype.as_numpy_dtype).reshape(sizes)
    array = np.empty(len(items), object)
    array[:] = [
        base64.b64decode(item["b64"])
        if isinstance(item, dict)
        else item.encode()
        for item in items
    ]
    return array.reshape(sizes)
