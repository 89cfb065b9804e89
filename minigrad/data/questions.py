"""Reads questions about texts: SQuAD's JSON, or JSONL with a question, its context and its answers on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .readers import check_utf8, decode, from_json, read_rows, shown

EXPECTED = '{"question": "...", "context": "...", "answers": [{"text": "...", "answer_start": 12}]}'
SQUAD = '{"data": [{"paragraphs": [{"context": "...", "qas": [{"id": "...", "question": "...", "answers": []}]}]}]}'


class Question(NamedTuple):
    """A question, the text that it is about, and its answers: the text of each and the character where it begins.

    `answers` is [] if the context has no answer, and None if they are to be predicted.
    """

    id: str
    question: str
    context: str
    answers: list[tuple[str, int]] | None


def read_questions(path: str | Path, labelled: bool = True) -> list[Question]:
    """The questions of a file, in order.

    A .json file has SQuAD's format, version 1 or 2, or is a list of the objects that a .jsonl file has on its lines:
    question, context and answers, a list of objects with text and answer_start or, as in Hugging Face's datasets, an
    object with lists of both.  With `labelled=False` answers are ignored.

    Raises OSError for a missing file and ValueError, naming the file and the question, for anything else, such as a
    missing entry, or an answer that is not found at its answer_start.
    """
    path = Path(path)
    if path.suffix.lower() not in (".json", ".jsonl") and not path.is_dir():
        raise ValueError(f"{path}: cannot tell the format from the name; expected SQuAD's .json, or .jsonl")
    if path.suffix.lower() == ".json" and path.is_file() and (source := decode(path)).lstrip()[:1] == "{":
        whole = from_json(str(path), source, SQUAD)
        if "data" in whole:
            questions = list(squad_questions(str(path), whole, labelled))
            if not questions:
                raise ValueError(f"{path}:1: the file holds no question; expected {SQUAD}")
            return questions
    return [question_of(where, row, labelled) for where, _, row in read_rows(path, [], EXPECTED)]


def squad_questions(path: str, whole: dict[str, Any], labelled: bool) -> Iterator[Question]:
    """The questions of an object in SQuAD's format."""
    for i, article in enumerate(entries(path, whole, "data"), 1):
        for j, paragraph in enumerate(entries(f"{path}: article {i}", article, "paragraphs"), 1):
            where = f"{path}: article {i}, paragraph {j}"
            for k, question in enumerate(entries(where, paragraph, "qas"), 1):
                if not isinstance(question, dict):
                    raise ValueError(f"{where}, question {k}: expected an object, got {shown(json.dumps(question))}")
                row = {**question, "context": paragraph.get("context")}
                yield question_of(f"{where}, question {k}", row, labelled)


def entries(where: str, holder: Any, name: str) -> list[Any]:
    """The list that an object has under `name`."""
    found = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(found, list):
        raise ValueError(f"{where}: there is no list {name!r}; expected {SQUAD}")
    return found


def question_of(where: str, row: dict[str, Any], labelled: bool) -> Question:
    """The question that an object describes."""
    texts = []
    for name in ("question", "context"):
        if not isinstance(text := row.get(name), str) or not text.strip():
            raise ValueError(f"{where}: the {name} is {shown(json.dumps(text))}; expected a text that is not empty")
        texts.append(check_utf8(where, text))
    question, context = texts
    key = str(row.get("id", where))
    if not labelled:
        return Question(key, question, context, None)
    answers = row.get("answers")
    if isinstance(answers, dict):  # the columns of Hugging Face's datasets
        columns: Any = [answers.get("text"), answers.get("answer_start")]
        if not all(isinstance(column, list) for column in columns) or len(columns[0]) != len(columns[1]):
            raise ValueError(f"{where}: the answers are {shown(json.dumps(answers))}; expected {EXPECTED}")
        answers = [{"text": text, "answer_start": start} for text, start in zip(*columns, strict=True)]
    if not isinstance(impossible := row.get("is_impossible", False), bool):
        raise ValueError(f"{where}: is_impossible is {shown(json.dumps(impossible))}; expected true or false")
    if impossible:
        answers = []
    if not isinstance(answers, list):
        raise ValueError(f"{where}: the answers are {shown(json.dumps(answers))}; expected a list, such as {EXPECTED}")
    if not answers and "is_impossible" not in row and not isinstance(row.get("answers"), (list, dict)):
        raise ValueError(f"{where}: there are no answers; expected {EXPECTED}")
    return Question(key, question, context, [checked_answer(where, answer, context) for answer in answers])


def checked_answer(where: str, answer: Any, context: str) -> tuple[str, int]:
    """(text, first character) of an answer, from an object with text and answer_start."""
    text, start = (answer.get(name) for name in ("text", "answer_start")) if isinstance(answer, dict) else (None, None)
    if not isinstance(text, str) or not text.strip() or isinstance(start, bool) or not isinstance(start, int):
        raise ValueError(
            f'{where}: the answer is {shown(json.dumps(answer))}; expected {{"text": "...", "answer_start": 12}}'
        )
    if context[max(start, 0) : start + len(text)] != text or start < 0:
        at = context.find(text)
        found = f"it is at {at}" if at >= 0 else "the context does not contain it"
        raise ValueError(f"{where}: the answer {shown(repr(text))} is not at character {start}: {found}")
    return text, start
