"""The texts of the guide; `guide` fills them in."""

import string

MAX_BATCH_SIZE = 32  # of a server that batches
BATCHING_PARAMETERS = """\
# For: tensorflow_model_server --enable_batching --batching_parameters_file=...
# Requests that wait together for up to 1 ms are answered together.
# Leave pad_variable_length_inputs off: a server pads an input with a value of
# its own, where padding is 0 here.
max_batch_size { value: 32 }
batch_timeout_micros { value: 1000 }
max_enqueued_batches { value: 256 }
num_batch_threads { value: 4 }
allowed_batch_sizes: 1
allowed_batch_sizes: 2
allowed_batch_sizes: 4
allowed_batch_sizes: 8
allowed_batch_sizes: 16
allowed_batch_sizes: 32
"""

GUIDE = string.Template("""\
# Serving this model

$opening

- Search: `$search`
- Longest target: $max_length tokens. $longest_source
- Weights: $weights.
- Warm-up: $warm_up.
- Written with TensorFlow $tensorflow and Keras $keras.

## Signatures

$batch

$table

$scores
$order
$reading

## Server

With Docker, from this folder:

```sh
docker run --rm -p 127.0.0.1:8500:8500 -p 127.0.0.1:8501:8501 \\
  -v "$$PWD:/models/model/1" -e MODEL_NAME=model tensorflow/serving
```

`127.0.0.1` lets only this machine connect, because TensorFlow Serving asks no
caller for a password. Where other machines are to connect, put a proxy in
front of the server that encrypts (TLS), knows its callers and limits the size
and number of their requests.

With the program itself (the folder below the base path must be a number):

```sh
mkdir -p /tmp/models/model && cp -r "$$PWD" /tmp/models/model/1
tensorflow_model_server --port=8500 --rest_api_port=8501 \\
  --model_name=model --model_base_path=/tmp/models/model
```

The program listens on all network interfaces, so keep its ports behind a
firewall.

Either takes more options at the end of its command. To answer requests that
wait at the same time together:

```sh
--enable_batching=true \\
  --batching_parameters_file=/models/model/1/$batching
```

with the path of that file as the server sees it (`/tmp/models/model/1/...`
for the program above). The server joins only inputs of equal length, so then
send `tokens` and `decode_step` one length.

$compiled

A server that finds `assets.extra/tf_serving_warmup_requests` here answers
those requests before it says that the model is available;
`--enable_model_warmup=false` skips them.

Without a server, in an environment that has TensorFlow:

```sh
saved_model_cli show --dir . --tag_set serve --signature_def serving_default
saved_model_cli run --dir . --tag_set serve --signature_def serving_default \\
  --input_exprs '$cli_inputs'
```

## Limits

$limits

The number of rows in a request has no limit here, and the server takes
requests of up to 2 GiB. With batching, it refuses a request of more rows than
`max_batch_size` in `$batching`.
It has no option for the size of a request: let the proxy in front limit it for
REST and gRPC, as nginx does with `client_max_body_size 1m;`.

Where TensorFlow uses oneDNN (its log says so at the start), it keeps a program
for each number of rows and length that it has met, some thousand at most: the
memory of a server grows with its first requests and then stays. Started with
`TF_ENABLE_ONEDNN_OPTS=0` in its environment, it keeps none and may be slower.

## Client: REST

```sh
$rest
curl http://localhost:8501/v1/models/model            # is it available?
curl http://localhost:8501/v1/models/model/metadata   # what does it take?
```

## Client: gRPC

`pip install tensorflow-serving-api`, then

```python
import grpc
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2
from tensorflow_serving.apis import prediction_service_pb2_grpc

channel = grpc.insecure_channel("localhost:8500")
service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
request = predict_pb2.PredictRequest()
request.model_spec.name = "model"
request.model_spec.signature_name = "serving_default"
$grpc_inputs
answer = service.Predict(request, timeout=10)
print($grpc_answer)
```
$streaming""")

STREAMING = """
## Client: one token at a time

`encode` reads the source once. `decode_step` takes what it returned and the ids
so far, and says what may come next; id 2 is the end. The same in Python
without a server:

```python
import tensorflow as tf

model = tf.saved_model.load(".")
encoded = model.signatures["encode"]($encode_inputs)
ids = tf.zeros([1, 0], tf.int32)
for _ in range($max_length):
    step = model.signatures["decode_step"](**encoded, ids=ids)
    chosen = tf.argmax(step["log_probabilities"], -1, tf.int32)
    ids = tf.concat([ids, chosen[:, None]], axis=1)
$show_step
    if chosen[0] == 2:
        break
```
"""

COMPILED = """\
The signature `compiled` needs XLA, which a server refuses unless it is
started with `--xla_cpu_compilation_enabled=true` (on a GPU
`--xla_gpu_compilation_enabled=true`). The first request of each size, in
powers of two, waits for a compilation. All other signatures run on any
server."""

TEXT_OPENING = """\
Text goes in, text comes out. TensorFlow Serving runs this folder as it is;
neither Keras nor Python is needed."""
ARRAY_OPENING = """\
$inputs in, $outputs out. TensorFlow Serving runs this folder as it is; neither
Keras nor Python is needed."""

TEXT_LENGTH = """\
Longer sources than $max_source_length
  tokens are cut (the end of a sequence counts as one token in both)."""
ARRAY_LENGTH = """\
Longer sources than
  $max_source_length positions are cut."""
FIXED_LENGTH = "Sources are read whole."

TEXT_BATCH = """\
"batch" is the number of texts in a request. All outputs have it as their
first axis."""
ARRAY_BATCH = """\
"batch" is the number of sources in a request. All outputs have it as their
first axis."""

TEXT_READING = """\
`source_tokens` and `target_tokens` name the axes of `alignments` and are empty
where a shorter text is padded.

Any text has an answer. Bytes that are not UTF-8 are read as U+FFFD and
characters the model does not know as unknown. No text of a request changes
the answer to another."""
ARRAY_READING = """\
No source of a request changes the answer to another."""
MASK_READING = """\
Sources of several lengths are padded at the end of their first axis to one
length, and `source_mask` is true where a source is real. """

TEXT_LIMITS = """\
A long text costs no more than one of the greatest length: of a source
$source_bytes bytes are read ($bytes_per_token for each token) and of the
target of `score` $target_bytes. `tokens` reads $max_source_length ids a row,
`decode_step` $max_length ids$positions.
What is beyond is left out without an error, which would fail the requests that
a server has joined with it."""
ARRAY_LIMITS = """\
`decode_step` reads $max_length ids$positions.
What is beyond is left out without an error, which would fail the
requests that a server has joined with it. Apart from that an array is read as
large as it comes."""

TEXT_REST = """\
curl -d '{"inputs": {"text": ["$sample", "$sample"]}}' \\
  http://localhost:8501/v1/models/model:predict
# {"outputs": {"text": ["...", "..."], "score": [-0.1, -0.1]}}

curl -d '{"signature_name": "n_best", "inputs": {"text": ["$sample"]}}' \\
  http://localhost:8501/v1/models/model:predict
"""
ARRAY_REST = """\
python -c '
import json, numpy
print(json.dumps({"inputs": {$json_inputs}}))' > request.json
curl -d @request.json http://localhost:8501/v1/models/model:predict
# {"outputs": {"$outputs": ..., "score": [-0.1]}}
"""

LANGUAGE_STREAMING = """
## Client: one token at a time

`encode` reads the prompt once, and says what may come first. `decode_step`
takes the id that was chosen and, unchanged, what the step before returned, the
keys and values of all positions so far: each step runs over one id alone.
Rows at different steps may be joined. Id 2 is the end. The same in Python
without a server:

```python
import tensorflow as tf

model = tf.saved_model.load(".")
step = model.signatures["encode"]($encode_inputs)
for _ in range($max_length):
    chosen = tf.argmax(step["log_probabilities"], -1, tf.int32)
    state = {n: t for n, t in step.items() if n not in $not_state}
    step = model.signatures["decode_step"](token=chosen, **state)
$show_said
    if chosen[0] == 2:
        break
```
"""

LANGUAGE_LENGTH = """\
Of a longer prompt than
  $max_source_length tokens the last ones are read."""
LANGUAGE_READING = """\
What follows a prompt is answered, and the prompt is not repeated. Padding may
stand before the ids of a prompt or after them; it is not counted, nor is the
beginning (id 1).

No prompt of a request changes the answer to another."""
LANGUAGE_TEXT_READING = """\
What follows a prompt is answered, and the prompt is not repeated.
`target_tokens` are empty where a shorter text is padded.

Any text has an answer. Bytes that are not UTF-8 are read as U+FFFD and
characters the model does not know as unknown. No prompt of a request changes
the answer to another."""
LANGUAGE_LIMITS = """\
Of a prompt the last $max_source_length tokens are read, since what comes last
matters most to what follows, and of a target of `score` the first $max_length.
What is beyond is left out without an error, which would fail the requests that
a server has joined with it."""
LANGUAGE_TEXT_LIMITS = (
    LANGUAGE_LIMITS
    + """
A long text costs no more than one of the greatest length: of a prompt the last
$source_bytes bytes are read ($bytes_per_token for each token) and of the
target of `score` the first $target_bytes."""
)

# By the kind of model; they take the place of what is said of sources.
SEQ2SEQ = {"streaming": STREAMING}
LANGUAGE_MODEL = {
    "streaming": LANGUAGE_STREAMING,
    "longest_source": LANGUAGE_LENGTH,
    "reading": LANGUAGE_READING,
    "limits": LANGUAGE_LIMITS,
}
LANGUAGE_MODEL_OF_TEXT = {
    **LANGUAGE_MODEL,
    "reading": LANGUAGE_TEXT_READING,
    "limits": LANGUAGE_TEXT_LIMITS,
}
