"""Every kind of tokenizer against transformers' on the same directory: ids, masks, decoded text, special tokens."""
import numpy as np
import pytest

transformers = pytest.importorskip("transformers")

import tiny_tokenizers  # noqa: E402

from minigrad.pretrained import AutoTokenizer  # noqa: E402

TEXTS = ["hello world", " hello  hello", "", "hello world. naïve é", "world<mask>hello</s>", "HELLO\nwörld 🤗", "hello " * 30]
PAIRS = ["world", "", "hello", "é hello", "x", "hello world", "world " * 30]
KINDS = {"roberta": lambda d: tiny_tokenizers.byte_pairs(d, "roberta"), "gpt2": lambda d: tiny_tokenizers.byte_pairs(d, "gpt2"),
         "gpt2 with a space before": lambda d: tiny_tokenizers.byte_pairs(d, "gpt2", add_prefix_space=True),
         "t5": lambda d: tiny_tokenizers.pieces(d, byte_fallback=False),
         "llama": lambda d: tiny_tokenizers.pieces(d, byte_fallback=True)}


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
        assert getattr(ours, name) == getattr(theirs, name) and getattr(ours, f"{name}_id") == getattr(theirs, f"{name}_id")


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side(tmp_path, side):
    tiny_tokenizers.byte_pairs(tmp_path, "gpt2")
    tokenizers = [kind.from_pretrained(tmp_path, padding_side=side, pad_token="<|endoftext|>")
                  for kind in (AutoTokenizer, transformers.AutoTokenizer)]
    ours, theirs = (tokenizer(["hello world", "x", "hello hello x"], padding=True) for tokenizer in tokenizers)
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])
