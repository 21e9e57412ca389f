"""A SavedModel that reads and writes pieces, without their packages."""

import json
import subprocess
import sys

import pytest
import served_models
from answers_without_keras import TEXTS
from answers_without_keras import check_answers_without_keras

import keras_attention as ka
from keras_attention import export
from keras_attention.export import loader
from keras_attention.text import PieceVocabulary

pytestmark = pytest.mark.tensorflow_only

LETTERS = "abcdefgh"
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
WITHOUT = """
import sys
for name in ("sentencepiece", "tokenizers"):
    sys.modules[name] = None
"""


def unigram():
    pieces = ["▁", "ca", "▁ca", "hg", *LETTERS]
    scores = [-1.0 - number / 7 for number in range(len(pieces))]
    return PieceVocabulary(pieces, scores)


def byte_pair():
    pieces = ["▁", "ca", "fe", *LETTERS, *BYTES]
    scores = [-1.0 - number for number in range(len(pieces))]
    return PieceVocabulary(pieces, scores, "byte_pair", unknown="bytes")


def model_of(source, target):
    return ka.build_seq2seq(
        "bahdanau", source, target, units=5, seed=3, max_length=7
    )


def test_saved_model_answers_in_pieces(tmp_path):
    model = model_of(unigram(), byte_pair())
    told = check_answers_without_keras(model, ka.Greedy(), tmp_path)
    ids = model.source_vocabulary.encode(TEXTS)
    names = model.source_vocabulary.token_strings(ids).numpy()
    shown = [
        [name if number else "" for name, number in zip(row, of, strict=True)]
        for row, of in zip(
            [[name.decode() for name in row] for row in names.tolist()],
            ids.numpy().tolist(),
            strict=True,
        )
    ]
    assert told["source_tokens"] == shown
    known = {*model.target_vocabulary.tokens, ""}
    assert {t for row in told["target_tokens"] for t in row[0]} <= known


@pytest.mark.exhaustive
def test_saved_model_answers_where_xla_is_disabled(tmp_path):
    model = model_of(byte_pair(), unigram())
    folder = export.export_saved_model(
        model, tmp_path / "1", ka.Beam(2), signatures=["serving_default"]
    )
    texts = [*TEXTS, "xü中", "", "cafe" * 101]
    asked = {
        str(folder): [
            {"signature": "serving_default", "inputs": {"text": texts}}
        ]
    }
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            WITHOUT + served_models.PROGRAM,
            loader.__file__,
        ],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout.splitlines()[-1])
    assert told["hidden"]
    (answers,) = told["answers"][str(folder)]
    expected = model.generate(texts, ka.Beam(2)).texts[:, 0].tolist()
    assert answers["text"] == expected
