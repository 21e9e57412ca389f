"""Every way a client or a server reaches a SavedModel, short of a server."""

import concurrent.futures
import contextlib
import io
import json
import pathlib
import re
import subprocess
import sys

import grpc
import numpy as np
import pytest
import served_models
import serving_messages
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

from keras_attention import export
from keras_attention.export import warm_up
from keras_attention.export.records import NAMES
from keras_attention.export.records import PORTABLE

TEXTS = served_models.BATCHES[0]


def predict(loaded, request):
    """What a server does with a PredictRequest: a PredictResponse."""
    name = request.model_spec.signature_name or "serving_default"
    inputs = serving_messages.arrays_of(request.inputs)
    outputs = loaded.signatures[name](
        **{n: tf.constant(array) for n, array in inputs.items()}
    )
    arrays = {n: tensor.numpy() for n, tensor in outputs.items()}
    return serving_messages.predict_response(request, arrays)


def predict_request(name, inputs):
    arrays = {key: tensor.numpy() for key, tensor in inputs.items()}
    return serving_messages.predict_request(name, arrays)


def inputs_of_signatures(loaded, texts):
    """Inputs of each signature, made from the same texts, as tensors."""
    text = tf.constant(texts, tf.string)
    ids = np.zeros((len(texts), 13), "int32")
    for row, characters in enumerate(texts):
        ids[row, : len(characters) + 1] = [
            *(ord(c) - ord("a") + 4 for c in characters),
            2,
        ]
    said = np.zeros((len(texts), 3), "int32")
    for row in range(len(texts)):
        said[row, : row % 3] = 5
    inputs = {
        "serving_default": {"text": text},
        "n_best": {"text": text},
        "encode": {"text": text},
        "tokens": {"ids": tf.constant(ids)},
        "score": {"text": text, "target": text},
        "compiled": {"text": text},
    }
    encoded = loaded.signatures["encode"](text=text)
    inputs["decode_step"] = {**encoded, "ids": tf.constant(said)}
    return inputs


# --- messages ----------------------------------------------------------------


def records_of(folder):
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    return [r.numpy() for r in tf.data.TFRecordDataset(str(path))]


def test_warm_up_records_are_requests_that_are_answered(served, loaded):
    records = records_of(served["transformer"]["folder"])
    asked = []
    for record in records:
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        response = predict(loaded, request)
        shapes = [t.tensor_shape for t in response.outputs.values()]
        (batch,) = {shape.dim[0].size for shape in shapes}
        asked.append((request.model_spec.signature_name, batch))
    assert asked == [(n, b) for b in (1, 2, 3) for n in PORTABLE]
    # The last texts are all of them, and nothing else is in a record.
    texts = tf.constant(served_models.WARM_UPS["transformer"].texts)
    expected = prediction_log_pb2.PredictionLog()
    expected.predict_log.request.CopyFrom(
        predict_request("serving_default", {"text": texts})
    )
    expected.predict_log.request.model_spec.ClearField("name")
    last = records[-len(PORTABLE)]
    assert prediction_log_pb2.PredictionLog.FromString(last) == expected


def test_warm_up_asks_the_signatures_that_were_named(served):
    records = records_of(served["bahdanau"]["folder"])
    logs = map(prediction_log_pb2.PredictionLog.FromString, records)
    names = [x.predict_log.request.model_spec.signature_name for x in logs]
    assert names == ["n_best", "compiled"]


def test_no_warm_up_is_written_unless_asked_for(served):
    assert not (served["half"]["folder"] / "assets.extra").exists()


def test_warm_ups_are_no_larger_than_a_server_that_batches_takes():
    texts = [str(number) for number in range(70)]
    batches = [
        [text.decode() for text in batch.numpy()]
        for batch in export.WarmUp(texts).batches()
    ]
    assert list(map(len, batches)) == [1, 2, 4, 8, 16, 32, 32, 6]
    assert [text for batch in batches[5:] for text in batch] == texts
    many = export.WarmUp(["a"] * 32 * 1000)
    names = dict.fromkeys(many.signatures)
    with pytest.raises(ValueError, match="32,000 sources for 6 .* 6,030"):
        warm_up.write(None, many, names, None)


# --- batches -----------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_requests_joined_are_answered_as_requests_apart(loaded, name):
    """What a server does that batches; outputs are split at axis 0."""
    texts = ["a", ""] if name == "compiled" else TEXTS
    inputs = inputs_of_signatures(loaded, texts)[name]
    joined = loaded.signatures[name](**inputs)
    for row in range(len(texts)):
        part = {n: tensor[row : row + 1] for n, tensor in inputs.items()}
        apart = loaded.signatures[name](**part)
        assert set(apart) == set(joined)
        for output, tensor in apart.items():
            # Where a shorter text or target is alone, there is less padding.
            inside = tuple(slice(size) for size in tensor.shape[1:])
            found = joined[output][row : row + 1].numpy()
            inside = (slice(None), *inside)
            if found.dtype == "O":
                assert found[inside].tolist() == tensor.numpy().tolist()
            else:
                np.testing.assert_allclose(found[inside], tensor, atol=1e-5)
            if output != "encoded":  # its padding is hidden by source_mask
                found[inside] = b"" if found.dtype == "O" else 0
                assert not np.any(found), output


@pytest.mark.parametrize("texts", [[], ["", ""]], ids=["no_row", "empty"])
@pytest.mark.parametrize("name", NAMES)
def test_requests_of_nothing_are_answered(loaded, name, texts):
    inputs = inputs_of_signatures(loaded, texts)[name]
    for output, tensor in loaded.signatures[name](**inputs).items():
        assert tensor.shape[0] == len(texts), output
        if tensor.dtype.is_floating:
            assert not np.isnan(tensor).any(), output


# --- the guide ---------------------------------------------------------------


@contextlib.contextmanager
def server_of(loaded):
    """The prediction service of TensorFlow Serving, on a port of its own."""

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            return predict(loaded, request)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        server = grpc.server(pool)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            Service(), server
        )
        port = server.add_insecure_port("localhost:0")
        server.start()
        yield f"localhost:{port}"
        server.stop(None).wait()


def guide_of(record):
    return (record["folder"] / "README.md").read_text(encoding="utf-8")


def printed(code):
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(code, {})
    return re.split("[\r\n]", output.getvalue().strip())


def sample_of(guide):
    return re.search(r"make_tensor_proto\(\[\"(.+?)\"\]\)", guide)[1]


def test_clients_in_the_guide_are_answered(served, loaded, monkeypatch):
    record = served["transformer"]
    guide = guide_of(record)
    remote, local = re.findall("```python\n(.*?)```", guide, re.DOTALL)
    sample = tf.constant([sample_of(guide)])
    with server_of(loaded) as address:
        assert "localhost:8500" in remote
        (answer,) = printed(remote.replace("localhost:8500", address))
    best = loaded.signatures["serving_default"](text=sample)["text"]
    assert answer == best[0].numpy().decode()
    # One token at a time: each line of the client goes on from the one before.
    monkeypatch.chdir(record["folder"])
    lines = printed(local)
    assert all(b.startswith(a) for a, b in zip(lines, lines[1:], strict=False))
    assert lines[-1]


def test_bodies_of_the_rest_client_are_answered(loaded, served):
    guide = guide_of(served["transformer"])
    bodies = [json.loads(b) for b in re.findall(r"curl -d '(.*?)'", guide)]
    assert [b.get("signature_name") for b in bodies] == [None, "n_best"]
    for body in bodies:
        name = body.get("signature_name", "serving_default")
        inputs = {n: tf.constant(v) for n, v in body["inputs"].items()}
        told = loaded.signatures[name](**inputs)
        assert len(told["text"]) == len(body["inputs"]["text"])
        plain = {n: t.numpy().tolist() for n, t in told.items()}
        json.dumps(plain, default=bytes.decode)  # valid UTF-8, or an error


@pytest.mark.exhaustive
def test_saved_model_cli_shows_and_runs_a_signature(served):
    record = served["bahdanau"]
    guide = guide_of(record)
    show, run = re.findall(r"saved_model_cli ((?:.*\\\n)*.*)", guide)
    program = pathlib.Path(sys.executable).with_name("saved_model_cli")

    def output_of(command):
        done = subprocess.run(
            f"{program} {command}",
            shell=True,
            cwd=record["folder"],
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    shown = output_of(show)
    assert re.search(r"inputs\['text'\].*\n\s+dtype: DT_STRING", shown)
    assert re.search(r"outputs\['score'\].*\n\s+dtype: DT_FLOAT", shown)
    sample = sample_of(guide)
    told = output_of(run.replace(f'"{sample}"', json.dumps(TEXTS[0])))
    expected = record["answers"]["serving_default 0"]
    assert f"output key text:\n[b'{expected['text'][0]}']" in told
    (score,) = re.findall(r"output key score:\n\[(.*)\]", told)
    np.testing.assert_allclose(float(score), expected["score"][0], atol=1e-5)
