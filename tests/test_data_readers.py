"""What is read from CSV and JSONL files, and what every kind of bad file is told."""

import csv
import re

import pytest

from minigrad.data.readers import Example, read_examples


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_csv(write):
    path = write("a.csv", 'id,text,label\r\n1,plain, spam \r\n\r\n2,"a, ""b""\nc",ham\r\n3, é☃,7\r\n')
    assert read_examples(path) == [Example("plain", "spam"), Example('a, "b"\nc', "ham"), Example("é☃", "7")]


def test_jsonl(write):
    path = write("a.jsonl", '{"sentence": "one", "label": "spam"}\n\n{"label": 7, "sentence": "t\u2028wo", "id": 3}\n')
    assert read_examples(str(path)) == [Example("one", "spam"), Example("t\u2028wo", "7")]


def test_a_byte_order_mark_is_no_part_of_the_first_column(write):
    assert read_examples(write("a.csv", b"\xef\xbb\xbftext,label\na,b\n")) == [Example("a", "b")]


def test_columns_by_name(write):
    path = write("a.csv", "text,body,label,topic\nno,yes,no,yes\n")
    assert read_examples(path, text_column="body", label_column="topic") == [Example("yes", "yes")]


def test_tabs(write):
    assert read_examples(write("a.tsv", 'label\ttext\nx\tone, two; "three"\n')) == [Example('one, two; "three"', "x")]


@pytest.mark.parametrize(
    "name, delimiter, told",
    [
        ("a.csv", ";", "semicolons, not by commas"),
        ("a.csv", "\t", "tabs, not by commas"),
        ("a.csv", "|", "vertical bars, not by commas"),
        ("a.tsv", ",", "commas, not by tabs"),
    ],
)
def test_other_delimiters_are_found_and_said(write, name, delimiter, told):
    """By the columns that are asked for, whatever else the texts and the other names hold."""
    rows = [["a, name", "body", "topic"], ["1", "x; y, \t| z", "spam"], ["2", "plain", "ham"]]
    path = write(name, "".join(delimiter.join(f'"{field}"' for field in row) + "\n" for row in rows))
    with pytest.warns(UserWarning, match=f"{name}: the fields are separated by {told}"):
        found = read_examples(path, text_column="body", label_column="topic")
    assert found == [Example("x; y, \t| z", "spam"), Example("plain", "ham")]
    with pytest.warns(UserWarning, match=told):
        assert [e.text for e in read_examples(path, text_column="body", labelled=False)] == ["x; y, \t| z", "plain"]


@pytest.mark.filterwarnings("error")
def test_the_usual_delimiter_is_no_news(write):
    assert read_examples(write("a.csv", "text,label\na; b,x\n")) == [Example("a; b", "x")]
    assert read_examples(write("b.csv", "text\none; two\n"), labelled=False) == [Example("one; two", None)]


def test_a_list_of_objects(write):
    path = write("a.json", '\ufeff[\n {"text": "one", "label": "spam"},\n {"label": 7, "text": "two"}\n]\n')
    assert read_examples(path) == [Example("one", "spam"), Example("two", "7")]
    assert read_examples(write("b.json", '{"text": "one", "label": 1}\n{"text": "two", "label": 2}')) == [
        Example("one", "1"),
        Example("two", "2"),
    ]


def test_a_text_may_be_long_and_the_limit_of_others_stays_as_it_was(write):
    limit, long = csv.field_size_limit(), "word " * 60_000
    assert read_examples(write("a.csv", f"text,label\n{long},x\n")) == [Example(long, "x")]
    with pytest.raises(ValueError):
        read_examples(write("b.csv", f"text,label\n{long},x,y\n"))
    assert csv.field_size_limit() == limit


def test_columns_without_a_name_may_be_several(write):
    assert read_examples(write("a.csv", "text,label,,\na,b,,\n")) == [Example("a", "b")]


def test_labels_are_not_looked_for_when_there_is_one_to_predict(write):
    assert read_examples(write("a.csv", "text\nhello\n"), labelled=False) == [Example("hello", None)]
    assert read_examples(write("b.csv", "text,label\nhello,\n"), labelled=False) == [Example("hello", None)]


BAD = {  # what is amiss: (file, content, what is said)
    "empty csv": (
        "a.csv",
        "",
        "a.csv:1: the file holds no example; expected a text and a label on each line after the column",
    ),
    "empty jsonl": ("a.jsonl", "\n \n", "a.jsonl:1: the file holds no example"),
    "only column names": ("a.csv", "text,label\n", "a.csv:1: the file holds no example"),
    "no text column": (
        "a.csv",
        "body,label\na,b\n",
        "a.csv:1: no text column 'text' or 'sentence'; the columns are 'body', 'label': name one of them with",
    ),
    "no text column, semicolons": (
        "a.csv",
        "body;label\na;b\n",
        "a.csv:1: no text column 'text' or 'sentence'; the columns are 'body', 'label': name one of them",
    ),
    "a name twice": (
        "a.csv",
        "text,label,text\na,b,c\n",
        "a.csv:1: two columns are called 'text': expected each name once",
    ),
    "a name twice but for white space": (
        "a.tsv",
        "text\tlabel\tlabel \na\tb\tc\n",
        "a.tsv:1: two columns are called 'label'",
    ),
    "an entry twice": (
        "a.jsonl",
        '{"text": "a", "label": 1}\n{"text": "b", "label": 1, "label": 2}\n',
        "a.jsonl:2: two entries of an object are called 'label': expected each name once",
    ),
    "an entry twice in a list": (
        "a.json",
        '[{"text": "a", "text": "b", "label": 1}]',
        "two entries of an object are called 'text'",
    ),
    "no text column, semicolons in a name": ("a.csv", '"a; b; c",label\nx,y\n', "the columns are 'a; b; c', 'label'"),
    "no label column": (
        "a.jsonl",
        '{"text": "a", "label": 1}\n{"text": "b"}',
        "a.jsonl:2: no label column 'label'; the columns",
    ),
    "latin1": (
        "a.csv",
        "text,label\nok,a\ncafé,b\n".encode("latin1"),
        "a.csv:3: not UTF-8: byte 0xe9 at offset 19; if it is latin1, type: iconv -f latin1 -t utf-8 ",
    ),
    "cp1252": ("a.csv", "text,label\n“ok”,a\n".encode("cp1252"), "if it is cp1252, type: iconv -f cp1252 -t utf-8 "),
    "Chinese": (
        "a.csv",
        "text,label\n今天天气很好,a\n".encode("gb18030"),
        "a.csv:2: not UTF-8: byte 0xbd at offset 11; if it is gb18030",
    ),
    "utf-16 without a mark": (
        "a.csv",
        "text,label\na,b\n".encode("utf-16le"),
        "a.csv:1: not UTF-8: byte 0x00 at offset 1; if it is utf-16le",
    ),
    "utf-16be without a mark": (
        "a.csv",
        "text,label\na,b\n".encode("utf-16be"),
        "byte 0x00 at offset 0; if it is utf-16be",
    ),
    "utf-32": ("a.csv", "text,label\na,b\n".encode("utf-32"), "if it is utf-32, type: iconv -f utf-32 -t utf-8 "),
    "utf-16": ("a.jsonl", '{"text": "a", "label": 1}'.encode("utf-16"), "iconv -f utf-16 -t utf-8 "),
    "not json": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", }\n', "a.jsonl:2: not JSON: "),
    "not an object": (
        "a.jsonl",
        '["a", 1]\n',
        'a.jsonl:1: expected an object such as {"text": "...", "label": "..."}, got ["a", 1]',
    ),
    "no label": ("a.csv", 'text,label\n"a\nb",x\nc, \n', "a.csv:4: the label is missing"),
    "null label": ("a.jsonl", '{"text": "a", "label": null}', "a.jsonl:1: the label is missing"),
    "boolean label": (
        "a.jsonl",
        '{"text": "a", "label": true}',
        "a.jsonl:1: the label is true; expected a string or an integer",
    ),
    "a value as label": (
        "a.jsonl",
        '{"text": "a", "label": 0.5}',
        "a.jsonl:1: the label is 0.5; expected a string or an integer: for a regression pass",
    ),
    "text not a string": ("a.jsonl", '{"text": ["a"], "label": 1}', 'a.jsonl:1: the text is ["a"]; expected a string'),
    "unquoted comma": (
        "a.csv",
        "text,label\none,x\nwell, yes,x\n",
        "a.csv:3: expected 2 fields, as the first line has, got 3",
    ),
    "short row": ("a.csv", "text,label\none\n", "a.csv:2: expected 2 fields, as the first line has, got 1"),
    "open quote": (
        "a.csv",
        'text,label\n"one,x\ntwo,y\n',
        "a.csv:2: unexpected end of data; put a text that holds a comma",
    ),
    "unquoted tab": (
        "a.tsv",
        "text\tlabel\none\ttwo\tx\n",
        'a.tsv:2: expected 2 fields, as the first line has, got 3; put a text that holds a tab or a quote in "quotes"',
    ),
    "not a list": ("a.json", '{"text": "a",\n "label": 1}', "a.json:1: not JSON: "),
    "not a list of objects": (
        "a.json",
        '[{"text": "a", "label": 1}, 7]',
        "a.json: object 2: expected an object such as",
    ),
    "a list not ended": (
        "a.json",
        '[{"text": "a", "label": 1},\n',
        "a.json: not JSON: Expecting value at line 2, column 1; expected a list",
    ),
    "brackets in brackets": (
        "a.json",
        "[" * 100_000,
        "a.json: it is nested more than 100 deep; expected a list of objects",
    ),
    "990 brackets": (
        "a.jsonl",
        '{"text": "a", "label": ' + "[" * 990 + "]" * 990 + "}",
        "a.jsonl:1: it is nested more than 100 deep; expected one object per line",
    ),
    "5,000 digits": (
        "a.jsonl",
        '{"text": "a", "label": 1}\n{"text": "a", "label": ' + "9" * 5000 + "}",
        "a.jsonl:2: it has a whole number of thousands of digits; expected one object per line",
    ),
    "columns of a megabyte": ("a.csv", "x" * 10**6 + "\n1", "xxx…: name one of them with text_column"),
    "unknown ending": (
        "a.xlsx",
        "",
        "a.xlsx: cannot tell the format from the name; end it in .csv, .tsv, .jsonl or .json",
    ),
}


@pytest.mark.parametrize("name, content, message", BAD.values(), ids=BAD)
def test_bad_files_are_refused_in_one_line(write, name, content, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        read_examples(write(name, content))
    assert "\n" not in str(caught.value)


def test_a_column_asked_for_by_name_has_no_stand_in(write):
    with pytest.raises(ValueError, match="no text column 'body'; the columns are 'text', 'label'"):
        read_examples(write("a.csv", "text,label\na,b\n"), text_column="body")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file; expected a .csv or .jsonl file"):
        read_examples(tmp_path / "none.csv")
    with pytest.raises(IsADirectoryError, match="is a directory; expected a .csv or .jsonl file"):
        read_examples(tmp_path)
