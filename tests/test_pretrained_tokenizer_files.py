"""Tokenizer files that are damaged or make no sense: refused by name, whatever the library does with them."""

import json
import math

import pytest
from tiny_tokenizers import byte_pairs, pieces, word_pieces

from minigrad.pretrained.text.tokenizer import AutoTokenizer

pytest.importorskip("tokenizers")


def refusal(directory, text=None):
    with pytest.raises(ValueError) as caught:
        tokenizer = AutoTokenizer.from_pretrained(directory)
        tokenizer(text)
    told = str(caught.value)
    assert str(directory) in told and "\n" not in told and len(told) < 1000
    return told


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pad_token", 5),
        ("pad_token", []),
        ("pad_token", {"content": 5}),
        ("unk_token", {}),
        ("mask_token", "m" * 5000),
        ("model_max_length", -math.inf),
        ("model_max_length", math.nan),
        ("model_max_length", 0),
        ("model_max_length", "512"),
        ("padding_side", 5),
        ("padding_side", "middle"),
        ("truncation_side", ["left"]),
        ("model_input_names", 5),
        ("model_input_names", ["input_ids", 3]),
        ("do_lower_case", "yes"),
        ("strip_accents", 1),
        ("add_prefix_space", []),
        ("tokenizer_class", 5),
        ("additional_special_tokens", 5),
        ("additional_special_tokens", [5]),
        ("added_tokens_decoder", []),
        ("added_tokens_decoder", {"0": 5}),
        ("added_tokens_decoder", {"x": "a"}),
        ("added_tokens_decoder", {"9" * 20: "a"}),
        ("chat_template", 5),
        ("chat_template", [{"name": "x"}]),
        ("chat_template", {"default": 3}),
    ],
)
def test_settings_of_another_kind_are_refused_by_name(tmp_path, name, value):
    word_pieces(tmp_path, **{name: value})
    told = refusal(tmp_path, "hello")
    assert name in told or name.startswith(("add", "unk")) and "special token" in told


def test_null_settings_are_those_that_are_not_there(tmp_path):
    names = (
        "pad_token",
        "model_max_length",
        "padding_side",
        "truncation_side",
        "model_input_names",
        "do_lower_case",
        "additional_special_tokens",
        "added_tokens_decoder",
        "chat_template",
        "strip_accents",
    )
    word_pieces(tmp_path, **dict.fromkeys(names))
    (tmp_path / "plain").mkdir()
    plain = AutoTokenizer.from_pretrained(word_pieces(tmp_path / "plain"))
    assert (
        AutoTokenizer.from_pretrained(tmp_path)("Hello, world").input_ids.tolist()
        == plain("Hello, world").input_ids.tolist()
    )


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}}, "a"),  # the library panics
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "!"}}, "a"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated", "invert": False}}, "a"),
        (
            {
                "model": {
                    "type": "WordPiece",
                    "unk_token": "[none]",
                    "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100,
                    "vocab": {"a": 0},
                }
            },
            "a b",
        ),
        ({"model": 5}, "a"),
        ({"post_processor": []}, "a"),
        ({"added_tokens": 5}, "a"),
    ],
)
def test_what_the_library_raises_names_the_directory(tmp_path, change, text):
    word_pieces(tmp_path, as_json=True)
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    assert "tokeniz" in refusal(tmp_path, text)


@pytest.mark.parametrize(
    "make",
    [
        word_pieces,
        lambda d: word_pieces(d, as_json=True),
        lambda d: byte_pairs(d, "gpt2"),
        lambda d: byte_pairs(d, "roberta"),
        lambda d: pieces(d, True),
        lambda d: pieces(d, False),
    ],
)
def test_files_cut_short(tmp_path, make):
    make(tmp_path)
    for path in [path for path in tmp_path.iterdir() if path.suffix == ".json"]:
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        assert path.name in refusal(tmp_path, "hello") or path.name == "config.json"
        path.write_bytes(whole)


def test_a_length_in_the_file_that_leaves_no_room_names_the_directory(tmp_path):
    word_pieces(tmp_path, model_max_length=2)
    assert "max_length=2 leaves no room beside 2 special tokens" in refusal(tmp_path, "hello")
