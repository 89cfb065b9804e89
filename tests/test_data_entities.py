"""CoNLL files and spans become words with tags; what is damaged is named by file and line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.data.entities import WORD, joined_words, plain_sentence, read_sentences, tagged
from minigrad.metrics import entities_of


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_conll(tmp_path):
    text = "-DOCSTART- -X- O O\n\nAda NNP B-NP B-PER\nLovelace NNP I-NP I-PER\n"
    text += "came VBD O O\n\n\nto TO O O\nParis NNP O B-LOC"
    for name, source in (("a.conll", text), ("a.txt", text + "\n\n"), ("a.tsv", text.replace(" ", "\t"))):
        one, two = read_sentences(write(tmp_path / name, source))
        assert one.words == ["Ada", "Lovelace", "came"] and one.tags == ["B-PER", "I-PER", "O"]
        assert two.words == ["to", "Paris"] and two.tags == ["O", "B-LOC"] and two.text == "to Paris"
    assert [s.tags for s in read_sentences(tmp_path / "a.conll", labelled=False)] == [None, None]
    assert read_sentences(write(tmp_path / "b.txt", "Ada came.\n"), labelled=False)[0].words == ["Ada", "came", "."]
    (crlf,) = read_sentences(write(tmp_path / "c.conll", "Ada B-PER\r\ncame O\r\n"))
    assert crlf.words == ["Ada", "came"]


def test_words_with_tags_and_texts_with_spans(tmp_path):
    rows = [
        {"tokens": ["Ada", "came"], "ner_tags": ["S-PER", "O"]},
        {"text": "Mr. Smith-Jones saw 東京 .", "entities": [{"start": 4, "end": 9, "label": "PER"}, [20, 22, "LOC"]]},
        {"text": "nobody", "spans": []},
    ]
    path = write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, rows)))
    first, second, third = read_sentences(path)
    assert first.tags == ["S-PER", "O"] and third.tags == ["O"]
    assert second.words == ["Mr", ".", "Smith", "-", "Jones", "saw", "東", "京", "."]
    assert second.tags == ["O", "O", "B-PER", "O", "O", "O", "B-LOC", "I-LOC", "O"]
    assert read_sentences(path, scheme="BIOES")[1].tags[2:] == ["S-PER", "O", "O", "O", "B-LOC", "E-LOC", "O"]
    assert [second.text[a:b] for a, b in second.offsets] == second.words


def test_a_span_may_end_within_a_word():
    sentence = tagged("here", plain_sentence("here", "unhappy"), [[0, 2, "NEG"]], "BIO")
    assert sentence.words == ["un", "happy"] and sentence.tags == ["B-NEG", "O"]


@given(st.text(st.sampled_from("ab. _é東\u00a0\n9"), min_size=1, max_size=30), st.data())
def test_spans_come_back_from_their_tags(text, data):
    words = [match.span() for match in WORD.finditer(text)]
    assert "".join(text[a:b] for a, b in words) == "".join(text.split())
    if not words:
        return
    cuts = sorted(data.draw(st.sets(st.integers(0, len(words)), min_size=2, max_size=6)) if len(words) > 1 else {0, 1})
    spans = [[words[a][0], words[b - 1][1], "XY"[a % 2]] for a, b in zip(cuts, cuts[1:])][::2]
    for scheme in ("BIO", "BIOES"):
        found = tagged("here", plain_sentence("here", text), spans, scheme)
        entities = entities_of(found.tags)
        assert [[found.offsets[a][0], found.offsets[b][1], kind] for kind, a, b in entities] == spans


def test_words_are_joined_by_spaces():
    assert joined_words(["a", "bc"]).offsets == [(0, 1), (2, 4)]


DAMAGED = {
    "a.conll": [
        ("Ada B-PER\ncame\n", "a.conll:2: 'came' has no tag; expected a word and its tag, such as Ada B-PER"),
        ("Ada B-PER\ncame x O\n", "a.conll:2: expected 2 columns, as the lines before have, got 3"),
        ("Ada PER\n", 'a.conll:1: the tag is "PER"; expected O, or B-, I-, E- or S- with the entity'),
        ("Ada L-PER\n", 'a.conll:1: the tag is "L-PER"; expected O'),
        ("Ada B-\n", 'a.conll:1: the tag is "B-"; expected O'),
        ("Ada\tB-PER\n\tO\n", 'a.conll:2: a word is ""; expected a text that is not empty'),
        ("", "a.conll:1: the file holds no example; expected a word and its tag on each line"),
        ("-DOCSTART- O\n\n", "a.conll:1: the file holds no example"),
    ],
    "a.jsonl": [
        ('{"words": ["a"], "tags": ["O", "O"]}', "a.jsonl:1: there are 1 words and 2 tags; expected a tag for each"),
        ('{"words": ["a"], "tags": [3]}', "a.jsonl:1: the tag is 3; .*: replace numbers by the names of the tags"),
        ('{"words": [], "tags": []}', "a.jsonl:1: the list of words is empty; expected at least one"),
        ('{"words": ["a"]}', r'a.jsonl:1: \{"words": \["a"\]\} lacks an entry; expected \{"words"'),
        ('{"words": [1], "tags": ["O"]}', "a.jsonl:1: a word is 1; expected a text that is not empty"),
        ('{"text": "Ada"}', 'a.jsonl:1: {"text": "Ada"} lacks an entry'),
        ('{"text": " ", "entities": []}', "a.jsonl:1: the text ' ' has no word; expected at least one"),
        ('{"text": "Ada", "entities": {"start": 0}}', 'a.jsonl:1: the entities are {"start": 0}; expected a list'),
        ('{"text": "Ada", "entities": [[0, 4, "PER"]]}', "a.jsonl:1: an entity is from 0 to 4 of a text of 3 charac"),
        ('{"text": "Ada", "entities": [[2, 1, "PER"]]}', "a.jsonl:1: an entity is from 2 to 1 of a text"),
        ('{"text": "Ada  x", "entities": [[3, 5, "PER"]]}', "expected a span that holds a word"),
        (
            '{"text": "Ada", "entities": [["0", 1, "PER"]]}',
            "a.jsonl:1: an entity is from '0' to 1; expected whole numb",
        ),
        ('{"text": "Ada", "entities": [[0, 3]]}', r"a.jsonl:1: the entity is \[0, 3\]; expected"),
        ('{"text": "Ada", "entities": [[0, 3, ""]]}', 'a.jsonl:1: the tag is "B-"; expected O'),
        (
            '{"text": "Ada Byron", "entities": [[0, 9, "PER"], [4, 9, "LOC"]]}',
            "a.jsonl:1: the entities PER and LOC overlap at character 4; expected each character in at most one entity",
        ),
        ('{"text": "a", "entities": []}\n{"text": "a"', "a.jsonl:2: not JSON"),
        ('["a"]', "a.jsonl:1: expected an object"),
        ('{"words": ["a\\ud800"], "tags": ["O"]}', "a.jsonl:1: .*is not UTF-8"),
    ],
}
CASES = [(name, source, told) for name, cases in DAMAGED.items() for source, told in cases]


@pytest.mark.parametrize("name, source, told", CASES, ids=[told[:40] for _, _, told in CASES])
def test_damaged_files_are_refused_in_one_line(tmp_path, name, source, told):
    with pytest.raises(ValueError, match=told) as caught:
        read_sentences(write(tmp_path / name, source))
    assert "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.conll: no such file; expected a .conll or .jsonl file of words"):
        read_sentences(tmp_path / "none.conll")
    with pytest.raises(IsADirectoryError, match="is a directory; expected a .conll"):
        read_sentences(tmp_path)
    with pytest.raises(ValueError, match=r"a.csv: cannot tell the format from the name; end it in .conll"):
        read_sentences(write(tmp_path / "a.csv", "a,b"))
    (tmp_path / "latin.conll").write_bytes("Müller B-PER\n".encode("latin1"))
    with pytest.raises(ValueError, match="latin.conll:1: not UTF-8: byte 0xfc .* if it is latin1, type: iconv"):
        read_sentences(tmp_path / "latin.conll")


@pytest.mark.parametrize(
    "text", ["हिन्दी में लिखा", "cafe\u0301 Mu\u0308ller", "مُحَمَّد كَتَبَ", "שָׁלוֹם רב", "นี่ คือ", "می\u200cخواهم رفت", "naïve 2nd"]
)
def test_accents_and_vowel_signs_stand_inside_words(text):
    assert [match.group() for match in WORD.finditer(text)] == text.split()
    assert plain_sentence("here", text).words == text.split()


def test_signs_are_words_of_their_own():
    assert [match.group() for match in WORD.finditer("a_b (c), 東京e\u0301-x!")] == [*"a_b(c),東京", "e\u0301", *"-x!"]
