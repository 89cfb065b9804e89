"""Reads texts whose entities are known: CoNLL files, and JSONL files of words with tags or of texts with spans.

Tags are BIO or BIOES: O outside an entity, B- at its first word, I- inside, and with BIOES E- at its last word and S-
for an entity of one word.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from .readers import check_utf8, decode, read_lines, read_rows, shown

CONLL = (".conll", ".conll2003", ".bio", ".bioes", ".iob", ".iob2", ".txt", ".tsv")
WORD_COLUMNS, TAG_COLUMNS = ("words", "tokens"), ("tags", "ner_tags", "labels")
SPAN_COLUMNS = ("entities", "spans")
IDEOGRAPH = r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002ffff]"
# Combining marks, as in Hindi, Arabic and decomposed Latin, and joiners, all of which occur inside words.
MARKS = "".join(chr(i) for i in range(0x300, 0x1E950) if unicodedata.category(chr(i))[0] == "M") + "\u200c\u200d"
# A word of a plain text: an ideograph, a run of other letters and digits, or a single other character, with its marks.
LETTERS = rf"(?:(?!{IDEOGRAPH})[^\W_])"
WORD = re.compile(rf"{LETTERS}+(?:[{MARKS}]+{LETTERS}*)*|(?:{IDEOGRAPH}|[^\w\s]|_)[{MARKS}]*")
EXPECTED = (
    '{"words": ["Ada", "came"], "tags": ["B-PER", "O"]} or '
    '{"text": "Ada came", "entities": [{"start": 0, "end": 3, "label": "PER"}]}'
)


class Sentence(NamedTuple):
    """A text, its words with their tags (None if these are to be predicted), and the position of each word in it."""

    words: list[str]
    tags: list[str] | None
    text: str
    offsets: list[tuple[int, int]]


def read_sentences(path: str | Path, labelled: bool = True, scheme: str = "BIO") -> list[Sentence]:
    """The texts of a file, in order.

    A CoNLL file (one of `CONLL`) has one word per line in the first column and its tag in the last, separated by tabs
    or spaces, and an empty line after each text; -DOCSTART- lines are skipped.  A .jsonl or .json file has objects with
    `words` (or `tokens`) and `tags` (or `ner_tags`), or with a `text` and its `entities` (or `spans`), each with start,
    end (the first character after it) and label; spans are converted to tags of `scheme`, "BIO" or "BIOES".

    With `labelled=False` tags are ignored, and each line of a .txt file is a text.

    Raises OSError for a missing file and ValueError, naming file and line, for anything else: a line without a tag, an
    unknown tag, a number of tags that is not that of the words, or spans that overlap, are empty or exceed the text.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending in (".json", ".jsonl"):
        return [sentence_of(where, row, labelled, scheme) for where, _, row in read_rows(path, [], EXPECTED)]
    if ending not in CONLL and not path.is_dir():
        raise ValueError(
            f"{path}: cannot tell the format from the name; end it in .conll (a word and its tag on a line) or .jsonl"
        )
    if path.is_dir() or not path.is_file():
        kind = IsADirectoryError if path.is_dir() else FileNotFoundError
        fault = "is a directory" if path.is_dir() else "no such file"
        raise kind(f"{path}: {fault}; expected a .conll or .jsonl file of words and their tags")
    if ending == ".txt" and not labelled:
        return [plain_sentence(f"{path}, text {i}", line) for i, line in enumerate(read_lines(path), 1)]
    sentences = list(conll_sentences(path, decode(path), labelled))
    if not sentences:
        raise ValueError(f"{path}:1: the file holds no example; expected a word and its tag on each line")
    return sentences


def conll_sentences(path: Path, source: str, labelled: bool) -> Iterator[Sentence]:
    """The texts of a CoNLL file."""
    words: list[str] = []
    tags: list[str] = []
    columns = None
    for number, line in enumerate([*source.split("\n"), ""], 1):
        where, fields = f"{path}:{number}", line.split("\t") if "\t" in line else line.split()
        fields = [field.strip() for field in fields]
        if not any(fields) or fields[0] == "-DOCSTART-":
            if words:
                yield joined_words(words, tags if labelled else None)
            words, tags = [], []
            continue
        if labelled and len(fields) < 2:
            raise ValueError(
                f"{where}: {shown(repr(line.strip()))} has no tag; expected a word and its tag, such as Ada B-PER"
            )
        columns = columns or len(fields)
        if len(fields) != columns:
            raise ValueError(f"{where}: expected {columns} columns, as the lines before have, got {len(fields)}")
        words.append(checked_word(where, fields[0]))
        tags += [checked_tag(where, fields[-1])] if labelled else []


def sentence_of(where: str, row: dict[str, Any], labelled: bool, scheme: str) -> Sentence:
    """A text from an object of a JSON file."""
    words: Any
    tags: Any
    words, tags, spans = (
        next((row[name] for name in names if name in row), None) for names in (WORD_COLUMNS, TAG_COLUMNS, SPAN_COLUMNS)
    )
    if words is None and isinstance(row.get("text"), str) and (spans is not None or not labelled):
        sentence = plain_sentence(where, row["text"])
        return sentence if not labelled else tagged(where, sentence, spans, scheme)
    if not isinstance(words, list) or labelled and not isinstance(tags, list):
        raise ValueError(f"{where}: {shown(json.dumps(row))} lacks an entry; expected {EXPECTED}")
    if not words:
        raise ValueError(f"{where}: the list of words is empty; expected at least one")
    if labelled and len(words) != len(tags):
        raise ValueError(f"{where}: there are {len(words)} words and {len(tags)} tags; expected a tag for each word")
    words = [checked_word(where, word) for word in words]
    return joined_words(words, [checked_tag(where, tag) for tag in tags] if labelled else None)


def joined_words(words: Sequence[str], tags: Sequence[str] | None = None) -> Sentence:
    """The text of words joined by spaces."""
    offsets, at = [], 0
    for word in words:
        offsets.append((at, at + len(word)))
        at += len(word) + 1
    return Sentence(list(words), None if tags is None else list(tags), " ".join(words), offsets)


def plain_sentence(where: str, text: str, cuts: Sequence[int] = ()) -> Sentence:
    """A text split into words, also at the positions `cuts`.  Raises ValueError if it has no word."""
    found = [match.span() for match in WORD.finditer(check_utf8(where, text))]
    offsets = []
    for start, end in found:
        edges = [start, *sorted(cut for cut in set(cuts) if start < cut < end), end]
        offsets += pairwise(edges)
    if not offsets:
        raise ValueError(f"{where}: the text {shown(repr(text))} has no word; expected at least one")
    return Sentence([text[start:end] for start, end in offsets], None, text, offsets)


def tagged(where: str, sentence: Sentence, spans: Any, scheme: str) -> Sentence:
    """The text with the tags of the words in its spans."""
    text = sentence.text
    entities = sorted(checked_span(where, span, text) for span in as_list(where, spans))
    for (_, end, label), (start, _, other) in pairwise(entities):
        if start < end:
            raise ValueError(
                f"{where}: the entities {label} and {other} overlap at character {start}; expected each character in "
                "at most one entity: remove one of them"
            )
    sentence = plain_sentence(where, text, [edge for start, end, _ in entities for edge in (start, end)])
    tags = ["O"] * len(sentence.words)
    for start, end, label in entities:
        inside = [i for i, (first, last) in enumerate(sentence.offsets) if start <= first and last <= end]
        for place, i in enumerate(inside):
            tags[i] = f"{mark_of(place, len(inside), scheme)}-{label}"
    return sentence._replace(tags=tags)


def mark_of(place: int, length: int, scheme: str) -> str:
    """The mark of the word at a position in an entity of `length` words."""
    if scheme == "BIOES" and place == length - 1:
        return "S" if length == 1 else "E"
    return "B" if place == 0 else "I"


def as_list(where: str, spans: Any) -> list[Any]:
    if not isinstance(spans, list):
        raise ValueError(
            f"{where}: the entities are {shown(json.dumps(spans))}; expected a list, empty if there are none"
        )
    return spans


def checked_span(where: str, span: Any, text: str) -> tuple[int, int, str]:
    """(start, end, label) from an object with these entries, or from a list of the three."""
    given: Any = [span.get(name) for name in ("start", "end", "label")] if isinstance(span, dict) else span
    if not isinstance(given, list) or len(given) != 3:
        raise ValueError(
            f'{where}: the entity is {shown(json.dumps(span))}; expected {{"start": 0, "end": 3, "label": "PER"}}'
        )
    start, end, label = given
    if any(isinstance(at, bool) or not isinstance(at, int) for at in (start, end)):
        raise ValueError(f"{where}: an entity is from {start!r} to {end!r}; expected whole numbers of characters")
    if not 0 <= start < end <= len(text) or not WORD.search(text[start:end]):
        raise ValueError(
            f"{where}: an entity is from {start} to {end} of a text of {len(text)} characters; expected a span that "
            "holds a word, and ends at the first character after it"
        )
    return start, end, checked_tag(where, f"B-{label}" if isinstance(label, str) else label)[2:]


def checked_word(where: str, word: Any) -> str:
    if not isinstance(word, str) or not word.strip():
        raise ValueError(f"{where}: a word is {shown(json.dumps(word))}; expected a text that is not empty")
    return check_utf8(where, word)


def checked_tag(where: str, tag: Any) -> str:
    """The tag.  Raises ValueError if it is neither O nor B-, I-, E- or S- with a type."""
    if isinstance(tag, str) and (tag == "O" or re.fullmatch(r"[BIES]-\S.*", tag)):
        return check_utf8(where, tag)
    named = ": replace numbers by the names of the tags" if isinstance(tag, int) else ""
    raise ValueError(
        f"{where}: the tag is {shown(json.dumps(tag))}; expected O, or B-, I-, E- or S- with the entity's type, such "
        f"as B-PER{named}"
    )
