"""Tokenizers learnt from the standard library's prose: they read it and write it back."""

from pydoc_data.topics import topics

import numpy as np
import pytest

from minigrad.data import read_pieces
from minigrad.pretrained import AutoTokenizer, train_tokenizer

pytest.importorskip("tokenizers")
TEXTS = [text for _, text in sorted(topics.items())][:30]
SENTENCE = "An assignment statement evaluates the expression list."


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "word", "char"])
def test_a_tokenizer_of_each_kind(tmp_path, kind):
    tokenizer = train_tokenizer(TEXTS, tmp_path, kind, 600, special_tokens=["<extra_id_0>"])
    assert len(tokenizer) <= 600 and tokenizer.pad_token_id is not None
    ids = tokenizer(SENTENCE)["input_ids"][0]
    written = tokenizer.decode(ids, skip_special_tokens=True)
    assert written == SENTENCE if kind in ("bpe", "unigram", "char") else written.replace(" .", ".") == SENTENCE
    lengths = {"char": len(SENTENCE), "word": 8}
    assert len(ids) == lengths.get(kind, len(ids)) and 7 < len(ids) <= len(SENTENCE)
    around = {"wordpiece": ("[CLS]", "[SEP]"), "unigram": (None, "</s>")}.get(kind, (None, None))
    tokens = tokenizer.convert_ids_to_tokens(ids)
    for token, place in zip(around, (0, -1)):
        assert token is None or tokens[place] == token
    assert (
        tokenizer("x <extra_id_0>")["input_ids"][0].tolist().count(tokenizer.convert_tokens_to_ids("<extra_id_0>")) == 1
    )
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again(SENTENCE)["input_ids"].tolist() == [ids.tolist()]


def test_small_letters_and_a_file(tmp_path):
    (tmp_path / "prose.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    tokenizer = train_tokenizer(read_pieces(tmp_path / "prose.txt"), tmp_path / "t", "wordpiece", 400, lowercase=True)
    np.testing.assert_array_equal(tokenizer("THE List")["input_ids"], tokenizer("the list")["input_ids"])
    assert tokenizer("a", "b")["token_type_ids"].tolist() == [[0, 0, 0, 1, 1]]


def test_what_cannot_be_learnt_is_refused(tmp_path):
    with pytest.raises(ValueError, match="kind is 'sentencepiece'; expected one of 'bpe'"):
        train_tokenizer(TEXTS, tmp_path / "t", "sentencepiece")
    with pytest.raises(ValueError, match="there is no text"):
        train_tokenizer([], tmp_path / "t")
    with pytest.raises(TypeError, match="texts is one str"):
        train_tokenizer(SENTENCE, tmp_path / "t")
    assert not (tmp_path / "t").exists()
