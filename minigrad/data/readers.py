"""Reads labelled texts from CSV, TSV, JSON and JSONL files; errors name the file and the line."""

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import is_whole
from ..places import warn
from . import json_text

TEXT_COLUMNS = ("text", "sentence")
LABEL_COLUMNS = ("label",)
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}
AN_OBJECT = '{"text": "...", "label": "..."}'

Row = tuple[str, str, dict[str, Any]]  # its position in the file, that of the column names, its fields by column


class Example(NamedTuple):
    """A text and its label, None if that is to be predicted: the name of its class, those of several, or a number."""

    text: str
    label: Any


def read_examples(
    path: str | Path,
    text_column: str | None = None,
    label_column: str | None = None,
    labelled: bool = True,
    labels_as: Callable[[str, Any], Any] | None = None,
) -> list[Example]:
    """The examples of a file, in order.

    A .csv or .tsv file names its columns in the first line.  Fields are separated by commas (tabs in a .tsv); if the
    columns are only found with semicolons, tabs or vertical bars, these are used, with a warning.  A .jsonl file has
    one object per line, a .json file a list of objects, or also one per line.

    Without `text_column` the text is in `text` or `sentence`; without `label_column` the label is in `label`.  A label
    is a string or an integer and is read as a string, by `label_name`; `labels_as` is another function to read it,
    called with its position in the file and its value.  With `labelled=False`, as for prediction, labels are ignored.

    Raises FileNotFoundError for a missing file, IsADirectoryError for a directory and ValueError, naming file and line,
    for anything that cannot be read.
    """
    texts = (text_column,) if text_column else TEXT_COLUMNS
    labels = (label_column,) if label_column else LABEL_COLUMNS
    examples = []
    for where, named, row in read_rows(path, [texts, *([labels] if labelled else [])]):
        text = row[find_column(named, row, "text", texts)]
        if not isinstance(text, str):
            raise ValueError(f"{where}: the text is {shown(json.dumps(text))}; expected a string")
        label = (
            None if not labelled else (labels_as or label_name)(where, row[find_column(named, row, "label", labels)])
        )
        examples.append(Example(check_utf8(where, text), label))
    return examples


def read_rows(path: str | Path, wanted: Sequence[Sequence[str]], what: str = "a text and a label") -> list[Row]:
    """The rows of a .csv, .tsv, .jsonl or .json file: position, position of the column names, and fields by column.

    `wanted` are the columns to find, each under one of several names; the delimiter is the one with which they are.

    Raises FileNotFoundError for a missing file, IsADirectoryError for a directory and ValueError, naming file and line,
    for anything that cannot be read or holds no row.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; expected a .csv or .jsonl file: pass the name of one")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .csv or .jsonl file with {what} column")
    ending = path.suffix.lower()
    if ending in (".csv", ".tsv"):
        rows = csv_rows(path, decode(path), wanted)
    elif ending in (".json", ".jsonl"):
        source = decode(path)
        rows = json_rows(path, source) if ending == ".json" and source.lstrip()[:1] == "[" else jsonl_rows(path, source)
    else:
        raise ValueError(f"{path}: cannot tell the format from the name; end it in .csv, .tsv, .jsonl or .json")
    if not (rows := list(rows)):
        raise ValueError(
            f"{path}:1: the file holds no example; expected {what} on each line"
            + (" after the column names" if ending in (".csv", ".tsv") else "")
        )
    return rows


def read_lines(path: Path) -> list[str]:
    """The lines of a text file that are not empty.  Raises OSError or ValueError if there is none."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; expected a file with a text on each line")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a text on each line")
    texts = [line for line in decode(path).splitlines() if line.strip()]
    if not texts:
        raise ValueError(f"{path} is empty: expected a text on each line")
    return texts


def decode(path: Path) -> str:
    """The file's text; a byte order mark, which spreadsheets write, is dropped."""
    raw = path.read_bytes()
    at = raw.partition(b"\n")[0].find(0)  # UTF-16 without a byte order mark may look like UTF-8 with zero bytes
    if at < 0:
        try:
            return raw.decode("utf-8").removeprefix("\ufeff")
        except UnicodeDecodeError as error:
            at = error.start
    likely = likely_encoding(raw)
    line = raw.count(b"\n", 0, at) + 1
    raise ValueError(
        f"{path}:{line}: not UTF-8: byte 0x{raw[at]:02x} at offset {at}; if it is {likely}, "
        f"type: iconv -f {likely} -t utf-8 {path} > {path.stem}-utf8{path.suffix}"
    )


def likely_encoding(raw: bytes) -> str:
    """The probable encoding of bytes that are not UTF-8, by their byte order mark or their zeros and high bytes."""
    if raw.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "utf-32"
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in raw:
        return "utf-16le" if raw[1::2].count(0) > raw[::2].count(0) else "utf-16be"
    try:
        raw.decode("gb2312")  # in which every byte of a Chinese character is 0x80 or more
        return "gb18030"
    except UnicodeDecodeError:  # 0x80 ... 0x9f are control characters in latin1, and quotes and € in cp1252
        return "cp1252" if any(0x80 <= byte < 0xA0 for byte in raw) else "latin1"


def check_utf8(where: str, text: str) -> str:
    """The text.  Raises ValueError for half a character, from a JSON escape or an argument in another encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where}: {text[error.start]!r} at character {error.start + 1} is not UTF-8: "
            "expected whole characters; correct it"
        ) from None
    return text


def csv_rows(path: Path, source: str, wanted: Sequence[Sequence[str]]) -> list[Row]:
    """The rows below the first line; the `wanted` columns, each under one of several names, determine the delimiter."""
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    limit = csv.field_size_limit(2**31 - 1)  # Python's default limit refuses long texts
    try:
        delimiter = find_delimiter(source, usual, wanted)
        rows = list(delimited(path, source, delimiter))
    finally:
        csv.field_size_limit(limit)
    if delimiter != usual:
        warn(f"{path}: the fields are separated by {DELIMITERS[delimiter]}, not by {DELIMITERS[usual]}")
    return rows


def find_delimiter(source: str, usual: str, wanted: Sequence[Sequence[str]]) -> str:
    """The delimiter with which the first line has the wanted columns, or any columns; among several, the usual one."""

    def columns(delimiter):
        try:
            return next(filter(None, csv_reader(source, delimiter)), [])
        except csv.Error:
            return []

    def fits(delimiter):
        names = [name.strip() for name in columns(delimiter)]
        return sum(any(name in names for name in choices) for choices in wanted), len(names) > 1

    return max((usual, *DELIMITERS), key=fits)  # of equal ones the first


def csv_reader(source: str, delimiter: str) -> Any:
    return csv.reader(io.StringIO(source, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)


def delimited(path: Path, source: str, delimiter: str) -> Iterator[Row]:
    reader, line, named = csv_reader(source, delimiter), 1, ""
    columns: list[str] = []
    try:
        for fields in reader:
            if fields and not columns:
                columns, named = [name.strip() for name in fields], f"{path}:{line}"
                check_names(named, columns, "columns")
            elif fields and len(fields) != len(columns):  # an unquoted comma must not silently truncate a text
                raise csv.Error(f"expected {len(columns)} fields, as the first line has, got {len(fields)}")
            elif fields:
                yield f"{path}:{line}", named, dict(zip(columns, fields))
            line = reader.line_num + 1  # a quoted field may span lines; messages name the first line of a row
    except csv.Error as error:
        one = DELIMITERS[delimiter].removesuffix("s")
        raise ValueError(
            f'{path}:{line}: {error}; put a text that holds a {one} or a quote in "quotes", '
            "and double each quote inside it"
        ) from None


def jsonl_rows(path: Path, source: str) -> Iterator[Row]:
    # splitlines would also split at separators inside strings.
    for line, record in enumerate(source.split("\n"), 1):
        if record.strip():
            where = f"{path}:{line}"
            yield where, where, an_object(where, from_json(where, record, f"one object per line, such as {AN_OBJECT}"))


def json_rows(path: Path, source: str) -> Iterator[Row]:
    for i, row in enumerate(from_json(str(path), source, f"a list of objects such as {AN_OBJECT}"), 1):
        where = f"{path}: object {i}"
        yield where, where, an_object(where, row)


def from_json(where: str, source: str, expected: str) -> Any:
    def once(pairs):
        check_names(where, [name for name, _ in pairs], "entries of an object")
        return dict(pairs)

    try:
        return json_text.from_json(source, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{where}: not JSON: {error.msg} at {at}; expected {expected}") from None
    except ValueError as error:
        raise error if str(error).startswith(where) else ValueError(f"{where}: {error}; expected {expected}") from None


def an_object(where: str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected an object such as {AN_OBJECT}, got {json.dumps(row)[:40]}")
    return row


def shown(text: str) -> str:
    """The first 300 characters of a text from a file, for a message."""
    return text if len(text) <= 300 else f"{text[:300]}…"


def check_names(where: str, names: Sequence[str], what: str) -> None:
    """Raise ValueError if a column name occurs twice; columns without a name, as spreadsheets write, are ignored."""
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise ValueError(
            f"{where}: two {what} are called {shown(repr(twice[0]))}: expected each name once; rename or remove one"
        )


def find_column(where: str, row: dict[str, Any], what: str, choices: Sequence[str]) -> str:
    for column in choices:
        if column in row:
            return column
    raise ValueError(
        f"{where}: no {what} column {' or '.join(map(repr, choices))}; the columns are "
        f"{shown(', '.join(map(repr, row))) or 'none'}: name one of them with {what}_column"
    )


def label_name(where: str, label: Any) -> str:
    if is_whole(label):
        return str(int(label))
    if isinstance(label, str) and label.strip():
        return check_utf8(where, label.strip())
    if label is None or isinstance(label, str):
        raise ValueError(f"{where}: the label is missing; give every text one, or remove the line")
    hint = (
        ": for a regression pass problem_type='regression'"
        if isinstance(label, float)
        else ": for several labels per text pass problem_type='multi_label_classification'"
        if isinstance(label, list)
        else ""
    )
    raise ValueError(
        f"{where}: the label is {shown(str(label) if isinstance(label, float) else json.dumps(label, default=str))}; "
        f"expected a string or an integer{hint}"
    )


def label_names_of(where: str, label: Any, separator: str = ";") -> tuple[str, ...]:
    """Several labels, from a list of strings or integers, or from a text that `separator` divides."""
    if label is None:
        raise ValueError(f"{where}: the labels are missing; give an empty list or text for a text without a label")
    names = [name for name in label.split(separator) if name.strip()] if isinstance(label, str) else label
    if not isinstance(names, (list, tuple)):
        raise ValueError(f"{where}: the labels are {shown(json.dumps(label, default=str))}; expected a list of strings")
    return tuple(dict.fromkeys(label_name(where, name) for name in names))


def label_value(where: str, label: Any) -> float:
    """A finite number, from a number or a text."""
    try:
        if isinstance(label, bool) or not math.isfinite(value := float(label)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        told = shown(json.dumps(label, default=str))
        raise ValueError(f"{where}: the label is {told}; expected a finite number, such as 3.5") from None
    return value
