"""A verbaliser's words are single tokens where the mask is; what is no such word is refused, with what to type."""

import pytest
import tiny_tokenizers
from tiny_prompts import VERBALIZER, bert, gpt2

from minigrad.finetune import Template, Verbalizer
from minigrad.pretrained import AutoTokenizer

pytest.importorskip("tokenizers")


def test_words_and_classes():
    assert VERBALIZER.classes == ["cooking", "music", "sailing"]
    assert Verbalizer({"a": "one", "b": ["two", "three"]}).words == {"a": ("one",), "b": ("two", "three")}


@pytest.mark.parametrize(
    "words, told",
    [
        ({}, "the verbalizer has 0 classes; expected two or more.*type Verbalizer"),
        ({"a": "one"}, "the verbalizer has 1 classes"),
        ({"a": "one", "Bee": []}, r"the class 'Bee' has the words \[\]; expected one word or more, as in Verbalizer"),
        ({"a": "one", "b": [" "]}, "the class 'b' has the words"),
        ({"a": "one", "b": [3]}, "the class 'b' has the words"),
        ({"a": "one", "b": 3}, "the class 'b' has the words"),
        ({"a": "one", "b": ["one"]}, "the word 'one' stands for 'a' and for 'b'; expected each word once"),
        ({"a": ["one", "one"], "b": "two"}, "the word 'one' stands for 'a' twice"),
    ],
)
def test_what_is_no_verbaliser_is_refused(words, told):
    with pytest.raises(ValueError, match=told) as caught:
        Verbalizer(words)
    assert "\n" not in str(caught.value)


def test_a_list_is_no_verbaliser():
    with pytest.raises(TypeError, match="words is a list; expected a dict, such as"):
        Verbalizer(["a", "b"])


def test_ids_of_words(tmp_path):
    _, tokenizer = bert(tmp_path)
    ids = VERBALIZER.token_ids(tokenizer, Template("{text} is of {mask}."))
    assert tokenizer.convert_ids_to_tokens(ids[1]) == ["chord", "drum"] and list(map(len, ids)) == [1, 2, 1]


def test_a_word_s_token_depends_on_the_space_before_it(tmp_path):
    _, tokenizer = gpt2(tmp_path)
    words = Verbalizer({"a": "world", "b": "hello"})
    for template, tokens in (("{text} {mask}", ["Ġworld", "Ġhello"]), ("{text} is {mask}", ["Ġworld", "Ġhello"])):
        ids = words.token_ids(tokenizer, Template(template))
        assert [tokenizer.convert_ids_to_tokens(one)[0] for one in ids] == tokens
    with pytest.raises(ValueError, match="the word 'world' of the class 'a' is 3 tokens"):
        words.token_ids(tokenizer, Template("{text}({mask})"))  # without a space 'world' is w, or, ld


def test_a_word_after_a_metaspace(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizers.pieces(tmp_path, byte_fallback=True))
    ids = Verbalizer({"a": "hello", "b": "h"})
    with pytest.raises(ValueError, match="of the class 'b' is 2 tokens"):
        ids.token_ids(tokenizer, Template("{text} {mask}"))
    with pytest.raises(ValueError) as caught:
        Verbalizer({"a": "hello", "b": "hell"}).token_ids(tokenizer, Template("{text} {mask}"))
    assert "type 'hello', for example" in str(caught.value)


def test_a_word_of_several_tokens_and_an_unknown_one(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizers.word_pieces(tmp_path))
    with pytest.raises(ValueError) as caught:
        Verbalizer({"one": "worlds", "two": "hello"}).token_ids(tokenizer, Template("{text} {mask}"))
    assert str(caught.value) == (
        "the word 'worlds' of the class 'one' is 2 tokens ('world', '##s'); expected a word that is one token of this "
        "tokenizer: type 'world', for example"
    )
    with pytest.raises(ValueError, match="the word 'zzz' of the class 'one' is not in the vocabulary; expected a word"):
        Verbalizer({"one": "zzz", "two": "hello"}).token_ids(tokenizer, Template("{text} {mask}"))


def test_two_words_that_are_one_token(tmp_path):
    _, tokenizer = bert(tmp_path)  # which lower-cases
    with pytest.raises(
        ValueError, match="the words 'drum' and 'Drum' are one token of this tokenizer, 'drum'; expected"
    ):
        Verbalizer({"one": "drum", "two": "Drum"}).token_ids(tokenizer, Template("{text} {mask}"))
