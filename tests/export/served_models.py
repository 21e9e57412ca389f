"""Tiny models of each kind, exported, moved, and asked in another process."""

import fcntl
import json
import os
import pickle
import subprocess
import sys

import keras
import numpy as np

import keras_attention as ka
from keras_attention import export
from keras_attention.export import loader

MAX_LENGTH, MAX_SOURCE_LENGTH = 7, 23

# Name: (kind, unit of the target, search, the same search in `generate`).
# A search for one hypothesis gives n-best lists as long as the beam is wide.
KINDS = {
    "transformer": ("transformer", "symbols", ka.Beam(3), ka.Beam(3, 1, 0, 3)),
    "bahdanau": ("bahdanau", "characters", ka.Greedy(), ka.Greedy()),
    "half": ("cnn-luong", "words", ka.Beam(5, 1, 0, 2), ka.Beam(5, 1, 0, 2)),
}
DTYPES = {"half": "mixed_bfloat16"}
# Of weights whose answers differ from source to source, and say something.
SEEDS = {"bahdanau": 20238}
WEIGHTS = {"transformer": None, "bahdanau": "float16", "half": "int8"}
WARM_UPS = {
    "transformer": export.WarmUp(["cab", "a", "feedbad"]),
    "bahdanau": export.WarmUp(["h"], signatures=["n_best", "compiled"]),
}

QUANTIZED = (
    keras.layers.Dense,
    keras.layers.EinsumDense,
    keras.layers.Embedding,
)

# Exported over an older one, which another program wrote.
REPLACED, OLD_FILE = "half", "keras_metadata.pb"

BATCHES = [["cab", "a", "hgfe", "", "feedbad"], ["abcdefghabc", "hh"]]
# In this order: plain, too long, control characters, broken UTF-8 (which lone
# surrogates become), unknown, special tokens, beyond 16 bits, spaces.
HOSTILE = [
    "cab",
    "ab" * 5000,
    "\x00a\n\t\x1b[31mb\x7f",
    "\udcff\udcfea\udcc3",
    "xyz",
    "<eos><pad>",
    "\U0001f600a\u0301",
    "   ",
]

PROGRAM = """
import ctypes, json, pathlib, runpy, sys
sys.modules["keras"] = sys.modules["keras_attention"] = None
import tensorflow as tf
library = pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2"
ctypes.CDLL(str(library))._ZN10tensorflow21DisableXlaCompilationEv()
ask = runpy.run_path(sys.argv[1])["ask"]
answers = {}
for folder, requests in json.load(sys.stdin).items():
    loaded = tf.saved_model.load(folder)
    answers[folder] = []
    for request in requests:
        try:
            answers[folder].append(ask(tf, loaded, **request))
        except tf.errors.OpError as error:
            answers[folder].append(f"{type(error).__name__}: {error}")
hidden = not any(name.startswith("keras.") for name in sys.modules)
print(json.dumps({"answers": answers, "hidden": hidden}))
"""


def build(name):
    """A model with random weights, large enough to tell its inputs apart."""
    kind, unit, *_ = KINDS[name]
    source = ka.Vocabulary.build(["abcdefgh"])
    target = ka.Vocabulary.build(["a b c", "d e f g"], unit=unit)
    options = {"num_heads": 2} if kind == "transformer" else {}
    model = ka.build_seq2seq(
        kind,
        source,
        target,
        units=6,
        max_length=MAX_LENGTH,
        dtype=DTYPES.get(name),
        **options,
    )
    random = np.random.default_rng(SEEDS.get(name, 20231))
    model.set_weights([random.normal(0, 0.7, w.shape) for w in model.weights])
    return model


def reference(name):
    """A model that computes with weights as the SavedModel stores them."""
    model = build(name)
    if WEIGHTS[name] == "float16":
        rounded = [w.astype("float16") for w in model.get_weights()]
        model.set_weights(rounded)
    if WEIGHTS[name] == "int8":
        model.quantize("int8", filters=lambda layer: type(layer) in QUANTIZED)
    return model


def requests_of(model):
    """What the exported model is asked; the order is that of `answered`."""

    def ask(signature, **inputs):
        return {"signature": signature, "inputs": inputs}

    asked = {"compiled": ask("compiled", text=BATCHES[0])}
    for number, texts in enumerate([*BATCHES, HOSTILE, []]):
        for signature in ("serving_default", "n_best"):
            asked[f"{signature} {number}"] = ask(signature, text=texts)
    for number, texts in enumerate(BATCHES):
        ids = model.source_vocabulary.encode(texts).numpy().tolist()
        asked[f"tokens {number}"] = ask("tokens", ids=ids)
    for number, texts in enumerate([BATCHES[0], HOSTILE, []]):
        wanted = ["a b", *HOSTILE][: len(texts)]
        asked[f"score {number}"] = ask("score", text=texts, target=wanted)
    asked["encode hostile"] = ask("encode", text=HOSTILE)
    asked["encode none"] = ask("encode", text=[])
    asked["tokens none"] = ask("tokens", ids=[])
    asked["tokens of no length"] = ask("tokens", ids=[[], []])
    wild = [[-1, 99, 2, 0], [0, 0, 0, 0]]
    asked["tokens wild"] = ask("tokens", ids=wild)
    asked["tokens tame"] = ask("tokens", ids=[[3, 3, 2, 0], [0, 0, 0, 0]])
    ids = {"no length": [[5], [4]], "no rows": []}
    for name, rows in ids.items():
        no_source = [[] for _ in rows]
        asked[f"decode_step of {name}"] = ask(
            "decode_step", encoded=no_source, source_mask=no_source, ids=rows
        )
    return asked


def expected_of(model, search):
    """What `generate` says to the same."""
    cut = [t[: MAX_SOURCE_LENGTH - 1] for t in HOSTILE]
    found = {
        f"n_best {n}": model.generate(texts, search)._asdict()
        for n, texts in enumerate([*BATCHES, cut])
    }
    for number, texts in enumerate(BATCHES):
        ids = model.source_vocabulary.encode(texts).numpy()
        found[f"tokens {number}"] = model.generate(ids, search)._asdict()
    return found


def bytes_of(model, weights):
    arrays = model.get_weights()
    if weights == "float16":
        return sum(2 * array.size for array in arrays)
    return sum(array.nbytes for array in arrays)


def served(base):
    """Exports, moves and asks all models, once for all test processes.

    Returns:
        Dict of {name: {"folder", "answers", "expected"}}, and under "hidden"
        whether no part of keras was loaded by what answered.
    """
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the folder that all workers share
    record = base / "served.pickle"
    with open(base / "served.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            record.write_bytes(pickle.dumps(_serve(base)))
    return pickle.loads(record.read_bytes())


def _serve(base):
    keras.utils.set_random_seed(20231)
    found, asked = {}, {}
    old = base / "written" / REPLACED
    old.mkdir(parents=True)
    for file in ("saved_model.pb", OLD_FILE):
        (old / file).write_text("old")
    for name, (_, _, search, in_generate) in KINDS.items():
        model = build(name)
        before = model.get_weights()
        written = export.export_saved_model(
            model,
            base / "written" / name,
            search,
            max_source_length=MAX_SOURCE_LENGTH,
            overwrite=name == REPLACED,
            weights=WEIGHTS[name],
            warm_up=WARM_UPS.get(name),
        )
        folder = base / "moved" / name / "1"
        folder.parent.mkdir(parents=True)
        written.rename(folder)
        asked[str(folder)] = requests_of(model)
        computes_alike = reference(name)
        expected = expected_of(computes_alike, in_generate)
        expected["bytes"] = bytes_of(computes_alike, WEIGHTS[name])
        expected["caller's model"] = before, model.get_weights()
        found[name] = {"folder": folder, "expected": expected}
    told = _ask({f: list(r.values()) for f, r in asked.items()})
    for record in found.values():
        folder = str(record["folder"])
        keys = asked[folder]
        answers = told["answers"][folder]
        record["answers"] = dict(zip(keys, answers, strict=True))
    return {**found, "hidden": told["hidden"]}


def _ask(requests):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, loader.__file__],
        input=json.dumps(requests),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
