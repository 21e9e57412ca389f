"""Many clients at the same time: right answers, and memory that stays."""

import json
import subprocess
import sys

import pytest
import served_models

THREADS, SECONDS = 64, 6

# A process of its own, as a server is: no Keras, and a peak of memory that no
# other test has set.
PROGRAM = """
import json, resource, sys, threading, time
sys.modules["keras"] = sys.modules["keras_attention"] = None
import numpy as np
import tensorflow as tf

task = json.load(sys.stdin)
answer = tf.saved_model.load(task["folder"]).signatures["serving_default"]
wrong, counts = [], [0] * task["threads"]

def ask(number, texts, expected):
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    told = answer(text=tf.constant(encoded))
    found = [text.decode() for text in told["text"].numpy()]
    scores = np.allclose(told["score"], expected["score"], atol=1e-5)
    if found != expected["text"] or not scores:
        wrong.append([found, expected])
    counts[number] += 1

def ask_until(number, end):
    cases = task["cases"]
    while True:
        ask(number, *cases[(number + counts[number]) % len(cases)])
        if time.monotonic() >= end:
            break

def ask_at_once(seconds):
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=ask_until, args=(number, end))
        for number in range(task["threads"])
    ]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

before = ask_at_once(task["seconds"] / 2)
after = ask_at_once(task["seconds"])
print(json.dumps({"wrong": wrong, "counts": counts, "grown": after / before}))
"""


@pytest.mark.exhaustive
def test_many_threads_get_their_own_answers_and_memory_stays(served):
    record = served["bahdanau"]
    batches = [*served_models.BATCHES, served_models.HOSTILE]
    cases = [
        [texts, record["answers"][f"serving_default {number}"]]
        for number, texts in enumerate(batches)
    ]
    task = {
        "folder": str(record["folder"]),
        "threads": THREADS,
        "seconds": SECONDS,
        "cases": cases,
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["wrong"] == []
    assert min(told["counts"]) >= 2
    assert told["grown"] < 1.05
