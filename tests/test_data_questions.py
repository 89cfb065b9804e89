"""SQuAD's JSON and JSONL of the same; what is damaged is named by file and question."""

import json

import pytest

from minigrad.data.questions import Question, read_questions

CONTEXT = "Ada Lovelace wrote the first program in 1843."
ROW = {"id": "7", "question": "Who?", "context": CONTEXT, "answers": [{"text": "Ada Lovelace", "answer_start": 0}]}
WHOLE = Question("7", "Who?", CONTEXT, [("Ada Lovelace", 0)])


def squad(*questions):
    return {"version": "1.1", "data": [{"title": "T", "paragraphs": [{"context": CONTEXT, "qas": list(questions)}]}]}


def write(path, value):
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_squad(tmp_path):
    asked = {name: value for name, value in ROW.items() if name != "context"}
    none = {"id": "8", "question": "Why?", "answers": [], "is_impossible": True, "plausible_answers": []}
    path = write(tmp_path / "a.json", squad(asked, none))
    assert read_questions(path) == [WHOLE, Question("8", "Why?", CONTEXT, [])]
    assert [question.answers for question in read_questions(path, labelled=False)] == [None, None]


def test_lines_and_lists(tmp_path):
    columns = ROW | {"answers": {"text": ["Ada Lovelace", "Ada"], "answer_start": [0, 0]}}
    assert read_questions(write(tmp_path / "a.jsonl", ROW)) == [WHOLE]
    assert read_questions(write(tmp_path / "a.json", [ROW, columns])) == [
        WHOLE,
        WHOLE._replace(answers=[("Ada Lovelace", 0), ("Ada", 0)]),
    ]


DAMAGED = [
    ({"data": 3}, "there is no list 'data'; expected {.data."),
    ({"data": [{"title": "T"}]}, "article 1: there is no list 'paragraphs'"),
    ({"data": [{"paragraphs": [{"context": "a"}]}]}, "article 1, paragraph 1: there is no list 'qas'"),
    ({"data": [{"paragraphs": [{"qas": [{"question": "Who?", "answers": []}]}]}]}, "question 1: the context is null"),
    ({"data": []}, "a.json:1: the file holds no question"),
    (squad("Who?"), 'article 1, paragraph 1, question 1: expected an object, got "Who\\?"'),
    (squad({"question": "", "answers": []}), 'question 1: the question is ""; expected a text that is not empty'),
    (squad({"question": "Who?"}), "question 1: the answers are null; expected a list"),
    (squad({"question": "Who?", "answers": ["Ada"]}), 'question 1: the answer is "Ada"; expected {"text"'),
    (squad({"question": "Who?", "answers": [{"text": "Ada"}]}), 'the answer is {"text": "Ada"}; expected'),
    (
        squad({"question": "When?", "answers": [{"text": "1843", "answer_start": 39}]}),
        "question 1: the answer '1843' is not at character 39: it is at 40",
    ),
    (
        squad({"question": "When?", "answers": [{"text": "1844", "answer_start": 40}]}),
        "the answer '1844' is not at character 40: the context does not contain it",
    ),
    (squad({"question": "Who?", "answers": [{"text": "Ada", "answer_start": -45}]}), "is not at character -45"),
    ([ROW | {"answers": {"text": ["Ada"], "answer_start": []}}], "object 1: the answers are .*; expected"),
    ([{"context": "a", "answers": []}], "object 1: the question is null"),
]


@pytest.mark.parametrize("value, told", DAMAGED, ids=[told[:40] for _, told in DAMAGED])
def test_damaged_files_are_refused_in_one_line(tmp_path, value, told):
    with pytest.raises(ValueError, match=told) as caught:
        read_questions(write(tmp_path / "a.json", value))
    assert "a.json" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.json: no such file"):
        read_questions(tmp_path / "none.json")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        read_questions(tmp_path)
    with pytest.raises(ValueError, match="a.csv: cannot tell the format from the name; expected SQuAD's .json"):
        read_questions(tmp_path / "a.csv")
    (tmp_path / "half.json").write_text('{"data": [')
    with pytest.raises(ValueError, match="half.json: not JSON: .* expected"):
        read_questions(tmp_path / "half.json")
    (tmp_path / "line.jsonl").write_text(json.dumps(ROW) + '\n{"question": 3}\n')
    with pytest.raises(ValueError, match="line.jsonl:2: the question is 3"):
        read_questions(tmp_path / "line.jsonl")
