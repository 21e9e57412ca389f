"""A SavedModel answers what `generate` answers, without keras and XLA."""

import pathlib
import re
import sys

import numpy as np
import pytest
import served_models
import tensorflow as tf
from memory import peak_growth

import keras_attention as ka
from keras_attention import export
from keras_attention.export import loader

SIGNATURES = {
    "serving_default",
    "n_best",
    "tokens",
    "score",
    "encode",
    "decode_step",
    "compiled",
}
HOSTILE = served_models.HOSTILE


def test_nothing_of_keras_is_loaded_by_what_answers(served):
    assert served["hidden"]


@pytest.mark.parametrize("batch", [0, 1], ids=["five_short", "two_long"])
def test_n_best_answers_as_generate(model, batch):
    told, expected = (
        model[key][f"n_best {batch}"] for key in ("answers", "expected")
    )
    assert told["text"] == expected["texts"].tolist()
    np.testing.assert_allclose(told["score"], expected["scores"], atol=1e-5)
    np.testing.assert_allclose(
        told["alignments"], expected["alignments"], atol=1e-5
    )
    assert len({text for row in told["text"] for text in row}) > 1


def test_serving_default_gives_the_best_of_n_best(model):
    for batch in range(4):
        best = model["answers"][f"serving_default {batch}"]
        several = model["answers"][f"n_best {batch}"]
        assert best["text"] == [texts[0] for texts in several["text"]]
        np.testing.assert_allclose(
            best["score"], [s[0] for s in several["score"]], atol=1e-5
        )


@pytest.mark.parametrize("batch", [0, 1], ids=["five_short", "two_long"])
def test_tokens_answers_as_generate(model, batch):
    told, expected = (
        model[key][f"tokens {batch}"] for key in ("answers", "expected")
    )
    assert told["ids"] == expected["tokens"].tolist()
    assert told["lengths"] == expected["lengths"].tolist()
    np.testing.assert_allclose(told["scores"], expected["scores"], atol=1e-5)


def test_tokens_reads_ids_of_no_vocabulary_as_unknown(model):
    answers = model["answers"]
    assert answers["tokens wild"] == answers["tokens tame"]


def test_token_names_are_the_axes_of_the_alignments(model):
    told = model["answers"]["n_best 0"]
    assert told["source_tokens"][:2] == [
        ["c", "a", "b", "<eos>", "", "", "", ""],
        ["a", "<eos>", "", "", "", "", "", ""],
    ]
    rows, n, length = np.shape(told["target_tokens"])
    assert np.shape(told["alignments"]) == (rows, n, length, 8)
    mass = np.sum(told["alignments"], axis=-1)
    np.testing.assert_allclose(
        mass, np.not_equal(told["target_tokens"], ""), atol=0.02
    )


def test_hostile_texts_have_the_answers_of_generate(model):
    told, expected = (model[key]["n_best 2"] for key in ("answers", "expected"))
    assert told["text"] == expected["texts"].tolist()
    np.testing.assert_allclose(told["score"], expected["scores"], atol=1e-5)
    # Unknown characters and the names of special tokens are just unknown.
    assert told["source_tokens"][4][:4] == ["<unk>"] * 3 + ["<eos>"]
    assert told["source_tokens"][5][:11] == [
        *["<unk>", "e", "<unk>", "<unk>", "<unk>"],
        *["<unk>", "<unk>", "a", "d", "<unk>"],
        "<eos>",
    ]


def test_hostile_texts_leave_the_other_rows_alone(model):
    answers = model["answers"]
    atol = 0.05 if model["name"] == "half" else 1e-5
    alone, beside = answers["n_best 0"], answers["n_best 2"]
    assert beside["text"][0] == alone["text"][0]
    np.testing.assert_allclose(beside["score"][0], alone["score"][0], atol=atol)
    alone, beside = answers["score 0"], answers["score 1"]
    assert set(alone) == {"score", "log_probability"}
    for name, scores in beside.items():
        np.testing.assert_allclose(scores[0], alone[name][0], atol=atol)
        assert np.isfinite(scores).all()
    encoded = answers["encode hostile"]
    lengths = np.sum(encoded["source_mask"], axis=1)
    assert lengths.tolist() == [4, 23, 12, 11, 4, 11, 4, 4]
    assert np.isfinite(encoded["encoded"]).all()


def test_an_empty_batch_has_an_empty_answer(model):
    answers = model["answers"]
    assert answers["serving_default 3"] == {"text": [], "score": []}
    assert answers["encode none"] == {"encoded": [], "source_mask": []}
    assert answers["score 2"] == {"score": [], "log_probability": []}
    for name in ("n_best 3", "tokens none"):
        assert set(map(len, answers[name].values())) == {0}


def test_rows_without_a_token_have_an_answer(model):
    told = model["answers"]["tokens of no length"]
    assert told["ids"][0] == told["ids"][1]
    assert np.isfinite(told["scores"]).all()


def test_decode_step_answers_a_source_of_no_length(model):
    told = model["answers"]["decode_step of no length"]
    assert np.isfinite(told["log_probabilities"]).all()
    assert np.shape(told["log_probabilities"])[0] == 2
    assert told["alignment"] == [[], []]
    none = model["answers"]["decode_step of no rows"]
    assert none == {"log_probabilities": [], "alignment": [], "text": []}


def test_compiled_is_refused_where_xla_is_disabled(model):
    assert re.search("XLA|Xla", model["answers"]["compiled"])


def test_compiled_answers_as_serving_default(served, loaded):
    answers = served["transformer"]["answers"]
    for number, texts in ((0, served_models.BATCHES[0]), (2, HOSTILE)):
        texts = [t.encode("utf-8", "surrogatepass") for t in texts]
        told = loaded.signatures["compiled"](text=tf.constant(texts))
        expected = answers[f"serving_default {number}"]
        assert [t.decode() for t in told["text"].numpy()] == expected["text"]
        np.testing.assert_allclose(told["score"], expected["score"], atol=1e-5)
    empty = loaded.signatures["compiled"](text=tf.zeros([0], tf.string))
    assert empty["text"].shape == (0,)


def test_weights_are_stored_once(model):
    """Every byte: those of float16 are half, those of int8 a quarter."""
    path = str(model["folder"] / "variables" / "variables")
    checkpoint = tf.train.load_checkpoint(path)
    dtypes = checkpoint.get_variable_to_dtype_map()
    stored, others = 0, []
    for name, shape in checkpoint.get_variable_to_shape_map().items():
        if name.startswith("weights/"):
            stored += int(np.prod(shape)) * dtypes[name].size
        elif not name.startswith("_CHECK"):
            others.append(name)
    assert stored == model["expected"]["bytes"]
    assert others == []


def test_every_input_and_output_has_the_batch_as_its_first_axis(loaded):
    assert set(loaded.signatures) == SIGNATURES
    for function in loaded.signatures.values():
        _, inputs = function.structured_input_signature
        tensors = [*inputs.values(), *function.structured_outputs.values()]
        assert {tensor.shape[0] for tensor in tensors} == {None}


def test_decode_step_and_score_give_what_the_search_found(served, loaded):
    answers = served["transformer"]["answers"]
    texts = served_models.BATCHES[0]
    ids = np.array(answers["tokens 0"]["ids"])[:, 0]
    encoded = loaded.signatures["encode"](text=tf.constant(texts))
    step = loaded.signatures["decode_step"]
    total = np.zeros(len(texts))
    for t in range(ids.shape[1]):
        told = step(**encoded, ids=tf.constant(ids[:, :t], tf.int32))
        found = told["log_probabilities"].numpy()[range(len(texts)), ids[:, t]]
        total += np.where(ids[:, t] == 0, 0, found)
    lengths = np.array(answers["tokens 0"]["lengths"])[:, 0]
    scores = np.array(answers["n_best 0"]["score"])[:, 0]
    np.testing.assert_allclose(total / ((5 + lengths) / 6), scores, atol=1e-5)
    best = answers["serving_default 0"]["text"]
    assert [t.decode() for t in told["text"].numpy()] == best
    # A target cut off before its end has another text than its ids.
    ended = (ids == 2).any(axis=1)
    assert ended.any()
    given = loaded.signatures["score"](
        text=tf.constant(texts), target=tf.constant(best)
    )
    for found, expected in (("score", scores), ("log_probability", total)):
        np.testing.assert_allclose(
            given[found].numpy()[ended], expected[ended], atol=1e-5
        )


@pytest.mark.parametrize(("sources", "targets"), [(3, 1), (1, 3), (2, 0)])
def test_score_refuses_targets_that_are_not_as_many(loaded, sources, targets):
    text, target = tf.constant(["cab"] * sources), tf.fill([targets], "a b")
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows"):
        loaded.signatures["score"](text=text, target=target)


def test_decode_step_refuses_ids_of_other_rows(loaded):
    encoded = loaded.signatures["encode"](text=tf.constant(["cab", "h"]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many rows"):
        loaded.signatures["decode_step"](
            **encoded, ids=tf.zeros([1, 0], "int32")
        )


def test_decode_step_answers_an_empty_batch(loaded):
    encoded = loaded.signatures["encode"](text=tf.zeros([0], tf.string))
    told = loaded.signatures["decode_step"](
        **encoded, ids=tf.zeros([0, 3], tf.int32)
    )
    assert told["log_probabilities"].shape[0] == 0


def test_decode_step_answers_ids_of_no_vocabulary_and_leaves_others(loaded):
    """Ids too large, negative, special, with a gap, more than are ever said."""
    hostile = [
        [10**9, -7, 2**31 - 1, -(2**31)],
        [1, 2, 2, 1],
        [0, 0, 5, 0],
        [0, 0, 0, 0],
    ]
    ids = np.array([[4, 5, 0, 0], *hostile], "int32")
    texts = ["abad", *HOSTILE[: len(hostile)]]
    texts = [t.encode("utf-8", "surrogatepass") for t in texts]
    encoded = loaded.signatures["encode"](text=tf.constant(texts))
    step = loaded.signatures["decode_step"]
    told = step(**encoded, ids=tf.constant(ids))
    assert np.isfinite(told["log_probabilities"]).all()
    np.testing.assert_allclose(told["alignment"].numpy().sum(axis=1), 1, 1e-5)
    unknown = np.where((ids < 0) | (ids > 1000), 3, ids)
    as_unknown = step(**encoded, ids=tf.constant(unknown))
    alone = loaded.signatures["encode"](text=tf.constant(texts[:1]))
    alone = step(**alone, ids=tf.constant(ids[:1, :2]))
    for name in ("log_probabilities", "text"):
        assert (told[name] == as_unknown[name]).numpy().all()
    np.testing.assert_allclose(
        told["log_probabilities"][0], alone["log_probabilities"][0], atol=1e-5
    )
    assert told["text"][0] == alone["text"][0]


def test_decode_step_reads_no_more_than_the_model_says_and_hears(loaded):
    texts = tf.constant(["abad", "h"])
    encoded = loaded.signatures["encode"](text=texts)
    random = np.random.default_rng(5)
    wide = {
        "encoded": np.pad(encoded["encoded"], [(0, 0), (0, 53), (0, 0)]),
        "source_mask": np.pad(
            encoded["source_mask"], [(0, 0), (0, 53)], constant_values=True
        ),
        "ids": random.integers(4, 9, (2, 59), "int32"),
    }
    lengths = dict.fromkeys(wide, served_models.MAX_SOURCE_LENGTH)
    lengths["ids"] = served_models.MAX_LENGTH
    told, expected = (
        loaded.signatures["decode_step"](
            **{n: tf.constant(array) for n, array in inputs.items()}
        )
        for inputs in (
            wide,
            {n: array[:, : lengths[n]] for n, array in wide.items()},
        )
    )
    for name, tensor in expected.items():
        np.testing.assert_array_equal(told[name], tensor)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", ["text", "target"])
def test_a_long_text_costs_no_memory(loaded, name):
    """Split as a whole, these 4 MB would take 150 MiB."""
    texts = {"text": tf.constant(["ab"]), "target": tf.constant(["a b"])}
    texts[name] = tf.constant([b"a b " * 10**6])
    grown = peak_growth(lambda: loaded.signatures["score"](**texts))
    assert grown < 30


def test_the_guide_names_every_signature_and_the_search(model):
    text = (model["folder"] / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in SIGNATURES)
    assert repr(served_models.KINDS[model["name"]][2]) in text
    assert "$" not in text.replace("$PWD", "")
    assert "A score is the sum of the log probabilities of the tokens" in text
    batching = (model["folder"] / "batching_parameters.txt").read_text()
    sizes = re.findall(r"allowed_batch_sizes: (\d+)", batching)
    assert f"max_batch_size {{ value: {sizes[-1]} }}" in batching


def test_the_guide_says_how_much_of_a_text_is_read(served):
    guide = (served["half"]["folder"] / "README.md").read_text(encoding="utf-8")
    guide = " ".join(guide.split())
    # 23 characters of the source, 7 words of the target.
    assert "a source 92 bytes are read (4 for each token) and" in guide
    assert "the target of `score` 448." in guide


def test_the_guide_opens_ports_for_this_machine_alone(model):
    guide = (model["folder"] / "README.md").read_text(encoding="utf-8")
    ports = re.findall(r"-p (\S+:\d+)", guide)
    assert ports == ["127.0.0.1:8500:8500", "127.0.0.1:8501:8501"]


def test_check_saved_model_answers(served):
    record = served["bahdanau"]
    told = export.check_saved_model(record["folder"], served_models.BATCHES[0])
    assert told["text"] == record["answers"]["serving_default 0"]["text"]


def test_check_saved_model_refuses_what_is_none(tmp_path):
    with pytest.raises(ValueError, match="`folder` must be a folder that hol"):
        export.check_saved_model(tmp_path)
    with pytest.raises(ValueError, match="`texts` must be a list of strings"):
        export.check_saved_model(tmp_path, "abc")


def test_check_saved_model_says_why_it_does_not_answer(tmp_path, monkeypatch):
    (tmp_path / "saved_model.pb").write_bytes(b"")
    monkeypatch.setattr(loader, "__file__", str(tmp_path / "no_loader.py"))
    with pytest.raises(RuntimeError, match="does not answer(.|\n)*no_loader"):
        export.check_saved_model(tmp_path)


def small_model(**options):
    vocabulary = ka.Vocabulary.build(["ab"])
    return ka.build_seq2seq("luong", vocabulary, vocabulary, units=2, **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"search": "greedy"}, r"`search` must be a Greedy\(\), Sample\(\)"),
        ({"max_length": 0}, "`max_length` must be a positive integer"),
        ({"max_source_length": -3}, "`max_source_length` must be a positive"),
        (
            {"weights": "float64"},
            "`weights` must be one of None, 'float16',",
        ),
        ({"warm_up": ["a"]}, "`warm_up` must be a WarmUp or None"),
        (
            {"warm_up": export.WarmUp(np.ones((2, 3)))},
            "`warm_up` must be a WarmUp of strings",
        ),
        ({"signatures": "score"}, "`signatures` must be a list of names"),
        ({"signatures": 5}, "`signatures` must be a list of names"),
        ({"signatures": ["scores"]}, "`signatures` must be one of 'serving_d"),
    ],
    ids=[
        *("search", "max_length", "max_source_length", "weights", "warm_up"),
        *("warm_up of an array", "signatures", "number", "signature"),
    ],
)
def test_export_refuses_arguments(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        export.export_saved_model(small_model(), tmp_path / "1", **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [np.nan, -np.inf], ids=str)
@pytest.mark.parametrize("weights", [None, "float16", "int8"], ids=str)
def test_export_refuses_weights_that_are_not_finite(tmp_path, weights, value):
    model = small_model()
    kernel = model.decoder.logit_dense.kernel
    kernel.assign(np.full(kernel.shape, value))
    message = (
        "finite weights to be exported.*'.*logits/kernel' holds NaN or inf"
    )
    with pytest.raises(ValueError, match=message):
        export.export_saved_model(model, tmp_path / "1", weights=weights)
    assert list(tmp_path.iterdir()) == []


def test_export_refuses_another_model(tmp_path):
    with pytest.raises(ValueError, match="`model` must be a Seq2Seq"):
        export.export_saved_model("model", tmp_path / "1")


def test_export_keeps_what_is_there(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    for overwrite, message in (
        (False, "`folder` must be a path where nothing is yet"),
        (True, "`folder` must be a folder with saved_model.pb"),
    ):
        with pytest.raises(ValueError, match=message):
            export.export_saved_model(
                small_model(), tmp_path, overwrite=overwrite
            )
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_export_replaces_a_saved_model_where_allowed(served):
    """`served_models` exported over an old one, and moved what came."""
    folder = served[served_models.REPLACED]["folder"]
    names = {path.name for path in folder.iterdir()}
    assert {"saved_model.pb", "README.md"} <= names
    assert served_models.OLD_FILE not in names
    # Nothing is left where it was written, beside it neither.
    assert list((folder.parents[2] / "written").iterdir()) == []


@pytest.mark.parametrize("name", ["transformer", "bahdanau"])
def test_loading_warns_of_no_gradient(served, name):
    # TensorFlow does for each gradient written by hand; Keras has one in each
    # layer of int8.
    folder = pathlib.Path(served[name]["folder"])
    graphs = (folder / "saved_model.pb").read_bytes()
    assert b"_gradient_op_type" not in graphs
