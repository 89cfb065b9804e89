"""Every kind of tokenizer against transformers' on the same directory: ids, masks, decoded text, special tokens."""

import json

import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

import tiny_tokenizers  # noqa: E402

from minigrad.pretrained import AutoTokenizer  # noqa: E402

TEXTS = [
    "hello world",
    " hello  hello",
    "",
    "hello world. naïve é",
    "world<mask>hello</s>",
    "HELLO\nwörld 🤗",
    "hello " * 30,
]
PAIRS = ["world", "", "hello", "é hello", "x", "hello world", "world " * 30]
KINDS = {
    "roberta": lambda d: tiny_tokenizers.byte_pairs(d, "roberta"),
    "gpt2": lambda d: tiny_tokenizers.byte_pairs(d, "gpt2"),
    "gpt2 with a space before": lambda d: tiny_tokenizers.byte_pairs(d, "gpt2", add_prefix_space=True),
    "t5": lambda d: tiny_tokenizers.pieces(d, byte_fallback=False),
    "llama": lambda d: tiny_tokenizers.pieces(d, byte_fallback=True),
}


@pytest.fixture(params=KINDS)
def both(request, tmp_path):
    directory = KINDS[request.param](tmp_path)
    return AutoTokenizer.from_pretrained(directory), transformers.AutoTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("options", [{"truncation": False}, {"truncation": True, "max_length": 7}])
def test_ids_and_text(both, options):
    ours, theirs = both
    for texts in ((TEXTS,), (TEXTS, PAIRS)):
        found, expected = (tokenizer(*texts, padding=False, **options) for tokenizer in both)
        assert found["input_ids"] == expected["input_ids"] and found["attention_mask"] == expected["attention_mask"]
        for skip in (False, True):
            texts = [theirs.decode(ids, skip_special_tokens=skip) for ids in expected["input_ids"]]
            assert ours.decode(found["input_ids"][0], skip_special_tokens=skip) == texts[0]
            assert [ours.decode(ids, skip_special_tokens=skip) for ids in found["input_ids"]] == texts
    assert found.keys() == expected.keys()
    assert ours.convert_ids_to_tokens(found["input_ids"][0]) == theirs.convert_ids_to_tokens(expected["input_ids"][0])


def test_special_tokens(both):
    ours, theirs = both
    for name in ("pad_token", "eos_token", "mask_token"):
        assert getattr(ours, name) == getattr(theirs, name) and getattr(ours, f"{name}_id") == getattr(
            theirs, f"{name}_id"
        )


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side(tmp_path, side):
    tiny_tokenizers.byte_pairs(tmp_path, "gpt2")
    tokenizers = [
        kind.from_pretrained(tmp_path, padding_side=side, pad_token="<|endoftext|>")
        for kind in (AutoTokenizer, transformers.AutoTokenizer)
    ]
    ours, theirs = (tokenizer(["hello world", "x", "hello hello x"], padding=True) for tokenizer in tokenizers)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


MIXED = ["Hello world", "héllo CAFÉ, it's", "汉字 a", "unb [MASK] <ent> hello<new> wides", "", "[unused1] [NEW] hello"]


def alike(directory, texts=MIXED, ours=None, theirs=None, **options):
    """Both tokenizers of a directory, held to give the same ids and texts."""
    one, two = (
        AutoTokenizer.from_pretrained(directory, **(ours or {})),
        transformers.AutoTokenizer.from_pretrained(directory, **(ours if theirs is None else theirs) or {}),
    )
    found, expected = one(texts, padding=False, truncation=False, **options), two(texts, **options)
    assert found["input_ids"] == expected["input_ids"], [one.convert_ids_to_tokens(row) for row in found["input_ids"]]
    for skip in (False, True):
        assert one.batch_decode(found["input_ids"], skip) == two.batch_decode(
            expected["input_ids"], skip_special_tokens=skip
        )
    assert len(one) == len(two)
    return one, two


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"do_lower_case": False},
        {"do_lower_case": True, "strip_accents": False},
        {"do_lower_case": False, "strip_accents": True},
        {"tokenize_chinese_chars": False},
        {"clean_up_tokenization_spaces": True},
    ],
    ids=str,
)
def test_settings_of_word_pieces(tmp_path, settings, as_json):
    where = "beside", "as arguments"
    for place in where:
        directory = tmp_path / place
        directory.mkdir()
        tiny_tokenizers.word_pieces(directory, as_json=as_json, **(settings if place == "beside" else {}))
        alike(directory, ours=settings if place == "as arguments" else None)


@pytest.mark.parametrize("kind", ["gpt2", "roberta"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_space_before_the_first_word(tmp_path, kind, as_json):
    tiny_tokenizers.byte_pairs(tmp_path, kind)
    if as_json:
        AutoTokenizer.from_pretrained(tmp_path).rules.save(str(tmp_path / "tokenizer.json"))
    texts = ["hello world", " hello", "world<mask>", ""]
    _, plain = alike(tmp_path, texts)
    ours, _ = alike(tmp_path, texts, ours={"add_prefix_space": True})
    assert ours(["world"], padding=False)["input_ids"] != plain(["world"])["input_ids"]
    words = [["hello", "world"], ["world"]]
    found = ours(words, is_split_into_words=True, padding=False)
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path, add_prefix_space=True)(
        words, is_split_into_words=True
    )
    assert found["input_ids"] == theirs["input_ids"] and found.word_ids(0) == theirs.word_ids(0)
    with pytest.raises(ValueError, match="add_prefix_space=True"):
        AutoTokenizer.from_pretrained(tmp_path)(words, is_split_into_words=True)


TOKEN = {"lstrip": False, "rstrip": False, "single_word": False, "normalized": False}


@pytest.mark.parametrize(
    "files",
    [
        {"added_tokens.json": {"<ent>": 30, "<new>": 31}},
        {"added_tokens.json": {"<ent>": 30}, "special_tokens_map.json": {"extra_special_tokens": ["<ent>", "<new>"]}},
        {"special_tokens_map.json": {"additional_special_tokens": ["<ent>", "<new>"]}},
        {
            "special_tokens_map.json": {
                "extra_special_tokens": [TOKEN | {"content": "<new>", "lstrip": True}],
                "mask_token": "[MASK]",
            }
        },
        {"tokenizer_config.json": {"additional_special_tokens": ["<new>", "<ent>"]}},
        {"tokenizer_config.json": {"extra_special_tokens": ["<new>"]}},
        {
            "tokenizer_config.json": {
                "added_tokens_decoder": {
                    "0": TOKEN | {"content": "[PAD]", "special": True},
                    "30": TOKEN | {"content": "<ent>", "special": False, "rstrip": True},
                    "31": TOKEN | {"content": "<new>", "special": True, "lstrip": True},
                }
            }
        },
        {
            "tokenizer_config.json": {
                "added_tokens_decoder": {"30": TOKEN | {"content": "[NEW]", "special": False, "normalized": True}}
            }
        },
        {
            "tokenizer_config.json": {
                "eos_token": "<ent>",
                "bos_token": {"content": "<new>", "lstrip": True, "__type": "AddedToken"},
            }
        },
    ],
    ids=str,
)
@pytest.mark.parametrize("as_json", [False, True])
def test_tokens_beside_the_vocabulary(tmp_path, files, as_json):
    named = files.get("tokenizer_config.json", {})
    tiny_tokenizers.word_pieces(tmp_path, as_json=as_json, **named)
    for name, content in files.items():
        if name != "tokenizer_config.json":
            (tmp_path / name).write_text(json.dumps(content))
    ours, theirs = alike(tmp_path)
    assert "<ent>" in ours.get_vocab() or "<new>" in ours.get_vocab() or "[NEW]" in ours.get_vocab()
    assert ours.get_vocab() == theirs.get_vocab()
    ours.save_pretrained(tmp_path / "saved")
    alike(tmp_path / "saved")


@pytest.fixture
def bert(tmp_path):
    tiny_tokenizers.word_pieces(tmp_path, model_max_length=12)
    return AutoTokenizer.from_pretrained(tmp_path), transformers.AutoTokenizer.from_pretrained(tmp_path)


LONG, OTHER = ["hello world a b a b a b a b", "a b"], ["world wide b a", "hello hello hello hello hello hello hello"]
WITH = {"return_token_type_ids": True, "return_attention_mask": True}


@pytest.mark.parametrize(
    "options",
    [
        {"max_length": 9, "truncation": "longest_first"},
        {"max_length": 8, "truncation": "only_second"},
        {"max_length": 9, "truncation": "only_first"},
        {"truncation": "do_not_truncate"},
        {"max_length": 4, "truncation": True},
        {"padding": "longest", "truncation": True},
        {"padding": "max_length", "truncation": True},
        {"padding": True, "pad_to_multiple_of": 5, "truncation": False},
        {"add_special_tokens": False, "truncation": False},
        {"padding": True, "padding_side": "left", "truncation": False},
        {
            "return_offsets_mapping": True,
            "return_special_tokens_mask": True,
            "return_length": True,
            "truncation": False,
        },
        {"max_length": 8, "truncation": "only_second", "stride": 2, "return_overflowing_tokens": True},
        {
            "max_length": 6,
            "truncation": "only_first",
            "stride": 1,
            "return_overflowing_tokens": True,
            "padding": True,
            "return_offsets_mapping": True,
        },
        {"max_length": 7, "truncation": True, "return_overflowing_tokens": True},
        {"return_tensors": "np", "padding": True, "truncation": True, "max_length": 7},
    ],
    ids=str,
)
@pytest.mark.parametrize("pairs", [False, True])
def test_options_of_a_call(bert, options, pairs):
    ours, theirs = bert
    second = options.get("truncation") == "only_second"
    texts = (
        (LONG[1:] * 2, OTHER)
        if second
        else (LONG, OTHER)
        if pairs and options["truncation"] != "only_first"
        else (LONG,)
    )
    if pairs and options["truncation"] == "only_first":
        texts = (LONG[:1], ["a"])
    options = {"padding": False} | options | WITH
    found, expected = ours(*texts, **options), theirs(*texts, **options)
    assert found.keys() == expected.keys()
    for name in expected:
        assert np.array_equal(np.asarray(found[name], object), np.asarray(expected[name], object)), name
    for row in range(len(found["input_ids"])):
        assert found.word_ids(row) == expected.word_ids(row) and found.sequence_ids(row) == expected.sequence_ids(row)
        assert found.tokens(row) == expected.tokens(row)
        assert found.char_to_token(row, 6) == expected.char_to_token(row, 6)


def test_methods(bert):
    ours, theirs = bert
    for text in ("Hello wides, b", "", LONG[0] * 3):
        assert ours.encode(text) == theirs.encode(text) and ours.tokenize(text) == theirs.tokenize(text)
        assert ours.encode(text, max_length=5, truncation=True) == theirs.encode(text, max_length=5, truncation=True)
        assert ours.encode(text, "a", add_special_tokens=False) == theirs.encode(text, "a", add_special_tokens=False)
    for tokens in ("hello", "nothing", ["hello", "##s", "nothing"]):
        assert ours.convert_tokens_to_ids(tokens) == theirs.convert_tokens_to_ids(tokens)
    for ids in (6, [2, 5, 3, 0]):
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids) and ours.decode(
            ids
        ) == theirs.decode(ids)
    assert ours.convert_ids_to_tokens([2, 5, 3], skip_special_tokens=True) == ["hello"]
    assert set(ours.all_special_tokens) == set(theirs.all_special_tokens) and len(ours) == len(theirs)


def test_added_tokens(bert, tmp_path):
    ours, theirs = bert
    calls = [
        lambda t: t.add_tokens(["<new>", "hello", "naïve"]),
        lambda t: t.add_tokens("<new>"),
        lambda t: t.add_tokens(["<s1>"], special_tokens=True),
        lambda t: t.add_special_tokens({"additional_special_tokens": ["<s2>"], "eos_token": "<end>"}),
    ]
    text = ["hello<new>world <s1> NAÏVE <s2> <end>"]
    for call in calls:
        assert call(ours) == call(theirs) and len(ours) == len(theirs)
        assert ours(text, truncation=False)["input_ids"].tolist() == theirs(text)["input_ids"]
        ids = ours(text, truncation=False)["input_ids"][0]
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)
    assert ours.eos_token_id == theirs.eos_token_id
    ours.save_pretrained(tmp_path / "saved")
    for again in (AutoTokenizer, transformers.AutoTokenizer):
        again = again.from_pretrained(tmp_path / "saved")
        assert list(again(text, truncation=False)["input_ids"][0]) == ids.tolist()
        assert len(again) == len(ours) and again.eos_token == "<end>"


@pytest.mark.parametrize(
    "ends", [{"add_bos_token": False}, {"add_eos_token": True, "add_bos_token": True}, {}], ids=str
)
def test_first_and_last_tokens(tmp_path, ends):
    tiny_tokenizers.pieces(tmp_path, byte_fallback=True)
    ours, theirs = (kind.from_pretrained(tmp_path, **ends) for kind in (AutoTokenizer, transformers.AutoTokenizer))
    for pair in (None, ["hello"]):
        assert ours(["hello hello"], pair, padding=False)["input_ids"] == theirs(["hello hello"], pair)["input_ids"]


CHAT = [
    {"role": "system", "content": "a"},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "world "},
]
TEMPLATE = """{{ bos_token }}{% for m in messages %}
    {%- if m.role == 'system' and loop.index0 %}{{ raise_exception('system comes first') }}{% endif %}
[{{ m['role'] }}] {{ m.content | trim }}{% if tools %} {{ tools | tojson }}{% endif %}
{% generation %}!{% endgeneration %}
{% if loop.index0 > 5 %}{% break %}{% endif %}
{% endfor %}
{% if add_generation_prompt %}[assistant]{% endif %}"""


def test_chats(tmp_path):
    pytest.importorskip("jinja2")
    tiny_tokenizers.byte_pairs(
        tmp_path, "gpt2", chat_template=TEMPLATE, bos_token="<|endoftext|>", eos_token="<|endoftext|>"
    )
    ours, theirs = (kind.from_pretrained(tmp_path) for kind in (AutoTokenizer, transformers.AutoTokenizer))
    for options in (
        {},
        {"add_generation_prompt": True},
        {"tools": [{"name": "é<"}]},
        {"continue_final_message": True},
        {"bos_token": "x"},
        {"chat_template": "{{ messages[0].content }}{{ more }}", "more": 3},
    ):
        for chat in (CHAT, [CHAT, CHAT[1:]]):
            one, two = (t.apply_chat_template(chat, tokenize=False, **options) for t in (ours, theirs))
            assert one == two
            one, two = (t.apply_chat_template(chat, **options) for t in (ours, theirs))
            one, two = (rows["input_ids"] for rows in (one, two))
            assert one == (two if chat is not CHAT else [two])
    with pytest.raises(ValueError, match="cannot write this chat: system comes first"):
        ours.apply_chat_template(CHAT[::-1])
    (tmp_path / "chat_template.jinja").write_text("{{ messages | length }}")
    assert AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(CHAT, tokenize=False) == "3"
