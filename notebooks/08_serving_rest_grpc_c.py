# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Serving: REST, gRPC, C
#
# A trained model becomes a folder that answers text with text: TensorFlow
# Serving loads it as it is, and so does any program that has the TensorFlow
# library. Here three clients ask the model in `saved_models/en_zh` to say *I am
# a dog.* in Chinese: over REST, over gRPC, and from C, where there is neither
# Python nor a server. The clients are those that one writes for a real server;
# only the server here is a small one, so that the notebook needs nothing else.
# (`pip install tensorflow-serving-api` has the messages of gRPC.)

# %%
# %matplotlib inline
import concurrent.futures
import http.server
import json
import logging
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import grpc
import matplotlib.figure
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

import keras_attention as ka

logging.getLogger("tensorflow").setLevel(logging.ERROR)
CHECKOUT = Path(ka.__file__).parents[1]  # which has the trained model
SENTENCE = "I am a dog."

# %% [markdown]
# ## The folder
#
# The export writes vocabularies, the beam search and the weights into one
# SavedModel, and checks on the way that a stock server can run every operation
# in it. From here on there is no Keras and nothing of this package.

# %%
model = ka.load(CHECKOUT / "saved_models" / "en_zh" / "model")
expected = model.generate([SENTENCE], search=ka.Beam(5), verbose=0)
expected = str(expected.texts[0, 0])
print(SENTENCE, "->", expected)

workspace = tempfile.TemporaryDirectory()
folder = ka.export.export_saved_model(
    model,
    Path(workspace.name) / "translator" / "1",
    search=ka.Beam(5),
    weights="float16",
)
for path in sorted(folder.rglob("*")):
    if path.is_file():
        print(f"{path.stat().st_size:>9,} bytes  {path.relative_to(folder)}")

# %%
loaded = tf.saved_model.load(str(folder))
for name, signature in sorted(loaded.signatures.items()):
    inputs = signature.structured_input_signature[1]
    outputs = signature.structured_outputs
    print(
        f"{name}: {', '.join(sorted(inputs))} -> {', '.join(sorted(outputs))}"
    )

# %% [markdown]
# ## The server
#
# A real one is one command, which the `README.md` in the folder has ready:
#
# ```sh
# docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \
#   -v "$PWD:/models/model/1" -e MODEL_NAME=model tensorflow/serving
# ```
#
# The stand-in below answers the same requests on ports of its own: JSON by
# REST at `/v1/models/model:predict`, and `PredictRequest` by gRPC. Both call a
# signature of the SavedModel, which is what the server does as well.


# %%
def predict(signature, inputs):
    """Returns the outputs of a signature as NumPy arrays."""
    answer = loaded.signatures[signature or "serving_default"](
        **{name: tf.constant(value) for name, value in inputs.items()}
    )
    return {name: tensor.numpy() for name, tensor in answer.items()}


class Rest(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body)
        outputs = predict(asked.get("signature_name"), asked["inputs"])
        lists = {name: array.tolist() for name, array in outputs.items()}
        answer = json.dumps({"outputs": lists}, default=bytes.decode).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        """Says nothing of each request."""


class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def Predict(self, request, context):
        inputs = {n: tf.make_ndarray(t) for n, t in request.inputs.items()}
        outputs = predict(request.model_spec.signature_name, inputs)
        response = predict_pb2.PredictResponse()
        for name, array in outputs.items():
            response.outputs[name].CopyFrom(tf.make_tensor_proto(array))
        return response


rest_server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Rest)
threading.Thread(target=rest_server.serve_forever, daemon=True).start()
rest_address = f"127.0.0.1:{rest_server.server_port}"

grpc_server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
    Service(), grpc_server
)
grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_address = f"127.0.0.1:{grpc_port}"
grpc_server.start()

# %% [markdown]
# ## REST
#
# Text in JSON, text in JSON. On a command line it is
#
# ```sh
# curl -d '{"inputs": {"text": ["I am a dog."]}}' \
#   http://localhost:8501/v1/models/model:predict
# ```


# %%
def ask_rest(texts, signature="serving_default"):
    body = {"signature_name": signature, "inputs": {"text": texts}}
    request = urllib.request.Request(
        f"http://{rest_address}/v1/models/model:predict",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["outputs"]


answer = ask_rest([SENTENCE, "Where is the station?"])
print(json.dumps(answer, ensure_ascii=False, indent=1))
assert answer["text"][0] == expected

# %% [markdown]
# The signature `n_best` has all hypotheses of the beam, their scores, and what
# each character was read from:

# %%
best = ask_rest([SENTENCE], "n_best")
for text, score in zip(best["text"][0], best["score"][0], strict=True):
    print(f"{score:7.2f}  {text}")

# %%
weights = np.array(best["alignments"])[0, 0]
read, written = best["source_tokens"][0], best["target_tokens"][0][0]
# Shorter hypotheses are padded by empty tokens.
written = [token for token in written if token]
figure = ka.plots.plot_alignment(
    weights[: len(written)],
    read,
    written,
    title=f"{SENTENCE} \N{RIGHTWARDS ARROW} {best['text'][0][0]}",
)
figure

# %% [markdown]
# ## gRPC
#
# The same with tensors in place of JSON. Numbers arrive in full precision, and
# arrays of them quicker.


# %%
channel = grpc.insecure_channel(grpc_address)
service = prediction_service_pb2_grpc.PredictionServiceStub(channel)


def ask_grpc(texts, signature="serving_default"):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "model"
    request.model_spec.signature_name = signature
    request.inputs["text"].CopyFrom(tf.make_tensor_proto(texts))
    answer = service.Predict(request, timeout=60)
    return {name: tf.make_ndarray(t) for name, t in answer.outputs.items()}


answer = ask_grpc([SENTENCE])
print(answer["text"][0].decode(), answer["score"])
assert answer["text"][0].decode() == expected

best_by_grpc = ask_grpc([SENTENCE], "n_best")
np.testing.assert_allclose(best_by_grpc["score"], best["score"], rtol=1e-5)

# %% [markdown]
# The search can also be the client's own. `encode` reads the source once;
# `decode_step` tells the log probability of every next token. Always taking the
# best one is greedy search, and this is all of it:

# %%
encoded = loaded.signatures["encode"](text=tf.constant([SENTENCE]))
ids, said = tf.zeros([1, 0], tf.int32), []
for _ in range(20):
    step = loaded.signatures["decode_step"](**encoded, ids=ids)
    said.append(step["log_probabilities"].numpy().max())
    chosen = tf.argmax(step["log_probabilities"], -1, tf.int32)
    if chosen[0] == 2:  # the end
        break
    ids = tf.concat([ids, chosen[:, None]], axis=1)
step = loaded.signatures["decode_step"](**encoded, ids=ids)
print(step["text"].numpy()[0].decode(), np.exp(said).round(2))

# %% [markdown]
# ## C
#
# The library that Python uses has a C interface. This program loads the folder
# and asks it one sentence; it knows no Python. The names of the tensors are in
# the signature.

# %%
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tstring.h"

static TF_Status* status;

static void check(void) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s\n", TF_Message(status));
    exit(1);
  }
}

/* "name:1" is the second output of the operation "name". */
static TF_Output tensor(TF_Graph* graph, char* name) {
  char* colon = strrchr(name, ':');
  *colon = '\0';
  TF_Output found = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  return found;
}

/* translate FOLDER INPUT OUTPUT SENTENCE */
int main(int count, char** arguments) {
  if (count != 5) return 2;
  status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  const char* tag = "serve";
  TF_Session* session = TF_LoadSessionFromSavedModel(
      TF_NewSessionOptions(), NULL, arguments[1], &tag, 1, graph, NULL, status);
  check();

  TF_Output input = tensor(graph, arguments[2]);
  TF_Output output = tensor(graph, arguments[3]);
  TF_TString text;
  TF_StringInit(&text);
  TF_StringCopy(&text, arguments[4], strlen(arguments[4]));
  int64_t rows = 1;
  TF_Tensor* asked = TF_AllocateTensor(TF_STRING, &rows, 1, sizeof text);
  memcpy(TF_TensorData(asked), &text, sizeof text);
  TF_Tensor* told = NULL;
  TF_SessionRun(session, NULL, &input, &asked, 1, &output, &told, 1, NULL, 0,
                NULL, status);
  check();
  const TF_TString* answer = TF_TensorData(told);
  printf("%.*s\n", (int)TF_StringGetSize(answer),
         TF_StringGetDataPointer(answer));
  return 0;
}
"""

library = Path(tf.__file__).parent
source = Path(workspace.name) / "translate.c"
source.write_text(PROGRAM)
program = source.with_suffix("")
compiler = shutil.which("cc") or shutil.which("gcc")
shared = library / "libtensorflow_cc.so.2"
if compiler and shared.exists():
    subprocess.run(
        [
            *[compiler, "-Wall", source, "-o", program],
            *[f"-I{library / 'include'}", f"-L{library}"],
            *["-l:libtensorflow_cc.so.2", "-l:libtensorflow_framework.so.2"],
            f"-Wl,-rpath,{library}",
        ],
        check=True,
    )
    print("compiled:", program.stat().st_size, "bytes")
else:
    print("There is no C compiler here, or TensorFlow has no library for it.")

# %%
saved = saved_model_pb2.SavedModel.FromString(
    (folder / "saved_model.pb").read_bytes()
)
definition = saved.meta_graphs[0].signature_def["serving_default"]
names = definition.inputs["text"].name, definition.outputs["text"].name
print(*names)
if program.exists():
    told = subprocess.run(
        [program, folder, *names, SENTENCE],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # what TensorFlow says of the machine
        text=True,
        encoding="utf-8",
    ).stdout.strip()
    print(SENTENCE, "->", told)
    assert told == expected

# %% [markdown]
# ## What does a request cost?
#
# One sentence, by beam search, from the call to the answer. Most of it is the
# model; the rest is what REST and gRPC add to it here, where the client and the
# server share a machine and a Python.

# %%
ways = {
    "in the same process": lambda: predict(None, {"text": [SENTENCE]}),
    "gRPC": lambda: ask_grpc([SENTENCE]),
    "REST": lambda: ask_rest([SENTENCE]),
}
milliseconds = {name: [] for name in ways}
for _ in range(20):  # in turns, so that what else runs falls on all alike
    for name, ask in ways.items():
        start = time.perf_counter()
        ask()
        milliseconds[name].append(1e3 * (time.perf_counter() - start))

medians = {name: np.median(times) for name, times in milliseconds.items()}
figure = matplotlib.figure.Figure(figsize=(7, 1.8), layout="constrained")
axes = figure.subplots()
axes.barh(list(medians), list(medians.values()))
axes.invert_yaxis()
axes.set(xlabel="milliseconds for a request, median of 20")
figure

# %%
channel.close()
grpc_server.stop(None).wait()
rest_server.shutdown()
rest_server.server_close()
workspace.cleanup()

# %% [markdown]
# ## Further
#
# The `README.md` in an exported folder has all commands, of server and clients,
# and its limits. `weights="float16"`, above, stores half the bytes;
# `warm_up=ka.export.WarmUp(texts)` lets a server answer some texts before it
# says that it is ready. For phones and for onnxruntime:
# `docs/onnx_and_litert.md`.
