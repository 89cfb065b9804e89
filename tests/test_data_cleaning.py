"""Text without what models need not see: Unicode's variants, HTML, stop words; and a vocabulary of the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.data import Vocabulary, normalize_unicode, remove_stop_words, stop_words, strip_html


def test_normal_forms():
    assert normalize_unicode("e\u0301 Ａﬁ①") == "é Afi1"
    assert normalize_unicode("e\u0301Ａ", "NFC") == "éＡ" and normalize_unicode("é", "NFD") == "e\u0301"
    assert normalize_unicode("a\x00b\tc\r\nd\x1f") == "ab\tc\r\nd"
    with pytest.raises(ValueError, match="form is 'nfc'; expected one of NFC"):
        normalize_unicode("a", "nfc")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("page", "seen"),
    [
        ("<p>Fish &amp; <b>chips</b>&nbsp;for\n2&lt;3</p>", "Fish & chips for 2<3"),
        ("<h1>A</h1><p>b<br>c</p><ul><li>d<li>e</ul>", "A\nb\nc\nd\ne"),
        (
            "<html><head><title>t</title></head><style>p{}</style>x<script>if (a < b) {}</script>y<!-- z --></html>",
            "xy",
        ),
        ("no tags at all: 1 < 2", "no tags at all: 1 < 2"),
        ("un<b>clo<i>sed", "unclosed"),
        ("&#233;&eacute;", "éé"),
        ("a<![if IE]>b<![endif]>c<![foo>d<![CDATA[x]]>e", "abcde"),
        ("a<![", "a<!["),
        ("", ""),
    ],
)
def test_what_a_reader_sees_of_html(page, seen):
    assert strip_html(page) == seen


MARKUP = ["<", "![", "!", "--", ">", "]", "CDATA[", "a", "/", "&", "#3", ";", "?", '"', "= "]


@given(st.lists(st.sampled_from(MARKUP)).map("".join))
def test_any_text_is_read(text):
    assert isinstance(strip_html(text), str)


def test_stop_words():
    assert {"the", "and", "don't"} <= stop_words("en") and {"的", "我们", "因为"} <= stop_words("zh")
    assert remove_stop_words("The cat sat on a mat".split(), "en") == ["cat", "sat", "mat"]
    assert remove_stop_words(["我们", "喜欢", "的", "猫"], "zh") == ["喜欢", "猫"]
    with pytest.raises(ValueError, match="language is 'de'; expected one of 'en', 'zh'"):
        stop_words("de")


def test_vocabulary():
    words = Vocabulary.build([["b", "a", "b"], ["c", "a", "b"]])
    assert words.all == ["<pad>", "<unk>", "b", "a", "c"] and len(words) == 5 and "a" in words and "z" not in words
    ids = words.ids(["a", "z", "b"])
    assert ids.dtype == np.int64 and ids.tolist() == [3, 1, 2] and words.tokens(ids) == ["a", "<unk>", "b"]
    assert Vocabulary.build([["b", "a", "b"]], max_size=3).all == ["<pad>", "<unk>", "b"]
    assert Vocabulary.build([["b", "a", "b"]], min_frequency=2, special_tokens=()).all == ["b"]
    with pytest.raises(KeyError, match="'z' is not in the vocabulary of 1 tokens"):
        Vocabulary(["a"], unk_token=None).ids(["z"])
    for size in (-1, 1, 2.5):
        with pytest.raises(ValueError, match=f"max_size is {size}; expected None or a whole number of at least 2"):
            Vocabulary.build([["a"]], max_size=size)
    with pytest.raises(ValueError, match="'a' occurs twice"):
        Vocabulary(["a", "<unk>", "a"])
    with pytest.raises(ValueError, match="unk_token is '<unk>', which is not a token"):
        Vocabulary(["a"])


def test_a_text_in_one_piece_is_no_list_of_tokens():
    """Its characters would pass for tokens."""
    words = Vocabulary.build([["a", "b"]])
    for call in (
        lambda: remove_stop_words("the cat", "en"),
        lambda: Vocabulary.build("abc"),
        lambda: Vocabulary.build(["abc"]),
        lambda: words.ids("ab"),
    ):
        with pytest.raises(TypeError, match="a whole text was given, '.*'; expected its tokens"):
            call()


@pytest.mark.parametrize("wrong", [-1, 4, 99])
def test_ids_that_are_no_tokens(wrong):
    words = Vocabulary.build([["a", "b"]])
    assert words.tokens(np.arange(4)) == ["<pad>", "<unk>", "a", "b"]
    with pytest.raises(IndexError, match=f"there is no token {wrong}; expected ids from 0 to 3"):
        words.tokens([0, wrong])
