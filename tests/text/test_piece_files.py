"""Vocabularies of pieces that others wrote: equal, or refused by name."""

import base64
import json
import sys

import piece_lines
import pytest
import sentencepiece
import tokenizers
from sentencepiece import sentencepiece_model_pb2
from tokenizers import models
from tokenizers import pre_tokenizers
from tokenizers import trainers

from keras_attention.text import PieceVocabulary
from keras_attention.text import Vocabulary
from keras_attention.text import read_vocabulary
from keras_attention.text.reading import MARK

pytestmark = pytest.mark.tensorflow_only

LINES = piece_lines.lines_of(251)
TRIED = [*piece_lines.lines_of(101, seed=5), *piece_lines.odd_lines(257)]
UNKNOWN = "<unk>"
MARKING = {
    "type": "Sequence",
    "normalizers": [
        {"type": "Prepend", "prepend": MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": MARK},
    ],
}
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
# Options of the trainer, and whether some pieces cross spaces.
MODELS = {
    "unigram": {"vocab_size": 157},
    "spaces kept": {
        "vocab_size": 157,
        "model_type": "bpe",
        "remove_extra_whitespaces": False,
        "add_dummy_prefix": False,
    },
    "across spaces": {
        "vocab_size": 211,
        "split_by_whitespace": False,
    },
    "normalized": {"vocab_size": 157, "normalization_rule_name": "nmt_nfkc"},
    "bytes": {
        "normalization_rule_name": "nfkc_cf",
        "vocab_size": 359,
        "model_type": "bpe",
        "byte_fallback": True,
        "character_coverage": 0.99,
    },
}
exhaustive = pytest.mark.exhaustive


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("unigram", marks=exhaustive),
        "spaces kept",
        "across spaces",
        "normalized",
        pytest.param("bytes", marks=exhaustive),
    ],
)
def test_sentencepiece_model_cuts_as_the_package_does(name, tmp_path):
    data = piece_lines.model_of(LINES, **MODELS[name])
    (tmp_path / "pieces.model").write_bytes(data)
    vocabulary = read_vocabulary(tmp_path / "pieces.model")
    processor = sentencepiece.SentencePieceProcessor(model_proto=data)
    ids = processor.encode(TRIED)
    names = [[processor.id_to_piece(n) for n in row] for row in ids]
    expected = piece_lines.ids_of_reference(vocabulary, names, UNKNOWN)
    found = vocabulary.encode_ragged(TRIED)
    assert found.to_list() == expected
    decoded = vocabulary.decode(found.to_tensor()).numpy()
    known = [n for n, row in enumerate(expected) if 3 not in row]
    texts = processor.decode(ids)
    assert len(known) > 101
    assert [decoded[n].decode() for n in known] == [texts[n] for n in known]


def test_charsmap_that_is_broken_is_refused():
    whole = base64.b64encode(b"\4\0\0\0\0\4\0\0a\0").decode()
    given = (["▁", "a"], [-1, -2])
    known = PieceVocabulary(*given, charsmap=whole)
    assert known.decode(known.encode(["a"])).numpy() == [b"a"]
    for broken, message in (
        ("?", "`charsmap` is broken"),
        ("", "`charsmap` is broken"),
        ("AAAAAAAA", "it holds no replacements"),
        (7, "`charsmap` must be a str"),
    ):
        with pytest.raises(ValueError, match=message):
            PieceVocabulary(*given, charsmap=broken)


def tokenizer(model, trainer, pre_tokenizer, **options):
    """A tokenizer that has learned from `LINES`, as a dict."""
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = pre_tokenizer
    options = {"vocab_size": 157, "show_progress": False, **options}
    options["special_tokens"] = [UNKNOWN, "<s>"]
    made.train_from_iterator(LINES, trainer(**options))
    return json.loads(made.to_str())


def unigram(pre_tokenizer, **options):
    return tokenizer(
        models.Unigram(),
        trainers.UnigramTrainer,
        pre_tokenizer,
        unk_token=UNKNOWN,
        **options,
    )


def byte_pair(pre_tokenizer, **options):
    model = models.BPE(unk_token=UNKNOWN, **options)
    return tokenizer(model, trainers.BpeTrainer, pre_tokenizer)


def byte_level(**options):
    return tokenizer(
        models.BPE(),
        trainers.BpeTrainer,
        pre_tokenizers.ByteLevel(**options),
        vocab_size=307,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )


def converted():
    """As models of SentencePiece look after their conversion."""
    data = byte_pair(pre_tokenizers.Metaspace(split=False))
    vocabulary = data["model"]["vocab"]
    for number, name in enumerate(BYTES, start=len(vocabulary)):
        vocabulary[name] = number
    data["model"] |= {"byte_fallback": True, "fuse_unk": True}
    return data | {"pre_tokenizer": None, "normalizer": MARKING}


def unigram_with_bytes():
    data = unigram(pre_tokenizers.Metaspace(split=False))
    data["model"]["vocab"] += [[name, -1.0] for name in BYTES]
    data["model"]["byte_fallback"] = True
    return data


TOKENIZERS = {
    "unigram": lambda: unigram(pre_tokenizers.Metaspace()),
    "unigram with bytes": unigram_with_bytes,
    "byte pair": lambda: byte_pair(
        pre_tokenizers.Metaspace(prepend_scheme="never")
    ),
    "fused": lambda: byte_pair(pre_tokenizers.Metaspace(), fuse_unk=True),
    "byte level": lambda: byte_level(add_prefix_space=False),
    "byte level after space": lambda: byte_level(add_prefix_space=True),
    "converted": converted,
}
IN_THE_GATE = ("unigram", "byte level", "converted")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in IN_THE_GATE else exhaustive)
        for name in TOKENIZERS
    ],
)
def test_tokenizer_json_cuts_as_the_package_does(name, tmp_path):
    text = json.dumps(TOKENIZERS[name]())
    (tmp_path / "tokenizer.json").write_text(text)
    vocabulary = read_vocabulary(tmp_path / "tokenizer.json")
    reference = tokenizers.Tokenizer.from_str(text)
    # The package takes these as one token; here they are text.
    tried = [line for line in TRIED if "<0x" not in line]
    found = reference.encode_batch(tried, add_special_tokens=False)
    known = {number: name for name, number in reference.get_vocab().items()}
    names = [[known[n] for n in encoding.ids] for encoding in found]
    expected = piece_lines.ids_of_reference(vocabulary, names, UNKNOWN)
    ids = vocabulary.encode_ragged(tried)
    assert ids.to_list() == expected
    decoded = vocabulary.decode(ids.to_tensor()).numpy()
    read = vocabulary.normalize(tried).numpy()
    is_known = [3 not in row for row in expected]
    assert sum(is_known) > 101
    assert decoded[is_known].tolist() == read[is_known].tolist()


def test_load_of_another_class_names_what_reads_it(tmp_path):
    PieceVocabulary(["▁a", "b"], [-1, -2]).save(tmp_path / "a.json")
    with pytest.raises(ValueError, match="`text.read_vocabulary` reads other"):
        Vocabulary.load(tmp_path / "a.json")


def test_what_is_no_model_is_refused_without_the_package(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    for text in ("<unk>\t0\n", "[1, 2]", ""):
        (tmp_path / "a").write_text(text)
        with pytest.raises(ValueError, match="not a Sentence.* nor JSON: it"):
            read_vocabulary(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"\n\1a")
    with pytest.raises(ImportError, match="pip install sentencepiece"):
        read_vocabulary(tmp_path / "a")


def test_files_of_ours_are_read(tmp_path):
    vocabularies = (
        Vocabulary.build(["ab"]),
        PieceVocabulary(["▁a", "b"], [-1, -2]),
    )
    for vocabulary in vocabularies:
        vocabulary.save(tmp_path / "a.json")
        again = read_vocabulary(tmp_path / "a.json")
        assert type(again) is type(vocabulary)
        assert again.to_dict() == vocabulary.to_dict()


def changed_model(**changes):
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(piece_lines.model_of(LINES, vocab_size=61))
    for place, value in changes.items():
        part, name = place.split("__")
        setattr(getattr(model, part), name, value)
    return model


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trainer_spec__model_type": 3}, "model_type=WORD"),
        (
            {"trainer_spec__treat_whitespace_as_suffix": True},
            "treat_whitespace_as_suffix=True",
        ),
        (
            {"normalizer_spec__escape_whitespaces": False},
            "escape_whitespaces=False",
        ),
    ],
)
def test_sentencepiece_model_refuses_by_name(changes, named, tmp_path):
    path = tmp_path / "a.model"
    path.write_bytes(changed_model(**changes).SerializeToString())
    with pytest.raises(ValueError, match=f"{named}. Supported are unigram"):
        read_vocabulary(path)


def test_sentencepiece_model_refuses_kinds_of_pieces(tmp_path):
    path = tmp_path / "a.model"
    for kind, algorithm, named in (
        (4, 1, "user-defined symbols"),
        (5, 2, "unused pieces of a BPE model"),
    ):
        model = changed_model(trainer_spec__model_type=algorithm)
        model.pieces[-1].type = kind
        path.write_bytes(model.SerializeToString())
        with pytest.raises(ValueError, match=named):
            read_vocabulary(path)


SMALL = {
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "Metaspace", "replacement": MARK},
    "model": {"type": "BPE", "unk_token": UNKNOWN, "merges": [], "vocab": {}},
}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"model": {"type": "WordPiece"}}, "the model 'WordPiece'"),
        ({"normalizer": {"type": "NFKC"}}, "the normalizer 'NFKC'"),
        (
            {"normalizer": {"type": "Sequence", "normalizers": [
                {"type": "Precompiled"}, {"type": "Strip"}]}},
            "the normalizer 'Sequence' of Precompiled, Strip",
        ),
        ({"pre_tokenizer": {"type": "Split"}}, "the pre-tokenizer 'Split'"),
        ({"pre_tokenizer": None}, "no pre-tokenizer"),
        (
            {"added_tokens": [{"content": "<x>", "special": False}]},
            r"added tokens as \['<x>'\]",
        ),
        ({"model": {"dropout": 0.1}}, "dropout=0.1"),
        ({"model": {"ignore_merges": True}}, "ignore_merges=True"),
        ({"model": {"end_of_word_suffix": "@"}}, "end_of_word_suffix='@'"),
        ({"model": {"unk_token": None}}, "without unk_token"),
        (
            {"model": {"type": "Unigram", "vocab": [["a", -1]]}},
            "without unk_id",
        ),
    ],
)  # fmt: skip
def test_tokenizer_json_refuses_by_name(changes, named, tmp_path):
    data = {**SMALL, **changes}
    data["model"] = {**SMALL["model"], **changes.get("model", {})}
    (tmp_path / "tokenizer.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match=f"{named}. Supported are the models"):
        read_vocabulary(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "it is not a SentencePiece model"),
        (b"", "it is not a SentencePiece model"),
        (b"{", "Expecting property name"),
        (b'{"model": {"type": "BPE"}}', "it is not a tokenizer.json"),
        (b'{"unit": "pieces", "version": 1}', "`data` must be a dict with"),
    ],
)
def test_broken_files_are_refused(data, message, tmp_path):
    (tmp_path / "any").write_bytes(data)
    with pytest.raises(ValueError, match=f"does not hold a .*{message}"):
        read_vocabulary(tmp_path / "any")


def test_a_folder_is_refused_with_a_word_on_what_to_give(tmp_path):
    with pytest.raises(ValueError, match=r"`path` must name a file.*a folder"):
        read_vocabulary(tmp_path)


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "vocabulary.json"
    PieceVocabulary(["▁a", "b"], [-1, -2]).save(path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(read_vocabulary(path)) == 6
