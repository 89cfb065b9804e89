"""What is read from CSV and JSONL files, and what every kind of bad file is told."""
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


def test_labels_are_not_looked_for_when_there_is_one_to_predict(write):
    assert read_examples(write("a.csv", "text\nhello\n"), labelled=False) == [Example("hello", None)]
    assert read_examples(write("b.csv", "text,label\nhello,\n"), labelled=False) == [Example("hello", None)]


BAD = {                                                      # what is amiss: (file, content, what is said)
    "empty csv": ("a.csv", "", "a.csv:1: the file holds no example; expected a text and a label on each line after the column"),
    "empty jsonl": ("a.jsonl", "\n \n", "a.jsonl:1: the file holds no example"),
    "only column names": ("a.csv", "text,label\n", "a.csv:1: the file holds no example"),
    "no text column": ("a.csv", "body,label\na,b\n",
                       "a.csv:1: no text column 'text' or 'sentence'; the columns are 'body', 'label': name one of them with"),
    "semicolons": ("a.csv", "text;label\na;b\n", "a.csv:1: no text column 'text' or 'sentence'; the columns are 'text;label'"),
    "no label column": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b"}', "a.jsonl:2: no label column 'label'; the columns"),
    "latin1": ("a.csv", "text,label\nok,a\ncafé,b\n".encode("latin1"),
               "a.csv:3: not UTF-8: byte 0xe9 at offset 19; if it is latin1, type: iconv -f latin1 -t utf-8 "),
    "utf-16": ("a.jsonl", '{"text": "a", "label": 1}'.encode("utf-16"), "iconv -f utf-16 -t utf-8 "),
    "not json": ("a.jsonl", '{"text": "a", "label": 1}\n{"text": "b", }\n', "a.jsonl:2: not JSON: "),
    "not an object": ("a.jsonl", '["a", 1]\n',
                      'a.jsonl:1: expected an object such as {"text": "...", "label": "..."}, got ["a", 1]'),
    "no label": ("a.csv", 'text,label\n"a\nb",x\nc, \n', "a.csv:4: the label is missing"),
    "null label": ("a.jsonl", '{"text": "a", "label": null}', "a.jsonl:1: the label is missing"),
    "boolean label": ("a.jsonl", '{"text": "a", "label": true}', "a.jsonl:1: the label is true; expected a string or an integer"),
    "text not a string": ("a.jsonl", '{"text": ["a"], "label": 1}', 'a.jsonl:1: the text is ["a"]; expected a string'),
    "unquoted comma": ("a.csv", "text,label\none,x\nwell, yes,x\n", "a.csv:3: expected 2 fields, as the first line has, got 3"),
    "short row": ("a.csv", "text,label\none\n", "a.csv:2: expected 2 fields, as the first line has, got 1"),
    "open quote": ("a.csv", 'text,label\n"one,x\ntwo,y\n', "a.csv:2: unexpected end of data; put a text that holds a comma"),
    "unknown ending": ("a.tsv", "text\tlabel\n", "a.tsv: cannot tell the format from the name; end it in .csv or .jsonl"),
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
