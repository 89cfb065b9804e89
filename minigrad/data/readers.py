"""Reads texts and their labels from a CSV or JSONL file, and says in which file and line something is amiss."""
import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

TEXT_COLUMNS = ("text", "sentence")
LABEL_COLUMNS = ("label",)

Row = tuple[int, dict[str, Any]]                             # the line it starts on, from 1, and its fields by column name


class Example(NamedTuple):
    """A text and the name of its class, None if that is to be predicted."""
    text: str
    label: str | None


def read_examples(path: str | Path, text_column: str | None = None, label_column: str | None = None,
                  labelled: bool = True) -> list[Example]:
    """The examples of a .csv file (first line: column names) or a .jsonl file (one object per line), in order.

    Without `text_column` the text is in `text` or `sentence`; without `label_column` the label is in `label`.  A label is
    a string or an integer and is read as a string.  With `labelled=False`, as for prediction, labels are not looked for.

    Raises FileNotFoundError for a missing file, IsADirectoryError for a directory and ValueError, naming file and line, for
    anything that cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a directory; expected a .csv or .jsonl file: pass the name of one")
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a .csv or .jsonl file with a text and a label column")
    read_rows = {".csv": csv_rows, ".jsonl": jsonl_rows}.get(path.suffix.lower())
    if read_rows is None:
        raise ValueError(f"{path}: cannot tell the format from the name; end it in .csv or .jsonl")
    examples = []
    for line, row in read_rows(path, decode(path)):
        where = f"{path}:{line}"
        named = f"{path}:1" if read_rows is csv_rows else where                   # the line that names the columns
        text = row[find_column(named, row, "text", text_column, TEXT_COLUMNS)]
        if not isinstance(text, str):
            raise ValueError(f"{where}: the text is {json.dumps(text)}; expected a string")
        label = None
        if labelled:
            label = label_name(where, row[find_column(named, row, "label", label_column, LABEL_COLUMNS)])
        examples.append(Example(check_utf8(where, text), label and check_utf8(where, label)))
    if not examples:
        raise ValueError(f"{path}:1: the file holds no example; expected a text and a label on each line"
                         + (" after the column names" if read_rows is csv_rows else ""))
    return examples


def decode(path: Path) -> str:
    """The file's text; a byte order mark, which spreadsheets write, is dropped."""
    raw = path.read_bytes()
    try:
        return raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        likely = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin1"
        raise ValueError(f"{path}:{line}: not UTF-8: byte 0x{raw[error.start]:02x} at offset {error.start}; if it is {likely}, "
                         f"type: iconv -f {likely} -t utf-8 {path} > {path.stem}-utf8{path.suffix}") from None


def check_utf8(where: str, text: str) -> str:
    """The text; ValueError if it holds half a character, from a JSON escape or an argument in another encoding."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{where}: {text[error.start]!r} at character {error.start + 1} is not UTF-8: "
                         "expected whole characters; correct it") from None
    return text


def csv_rows(path: Path, source: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(source, newline=""), skipinitialspace=True, strict=True)
    columns = None
    line = 1
    try:
        for fields in reader:
            if fields and columns is None:
                columns = fields
            elif fields and len(fields) != len(columns):     # an unquoted comma would otherwise cut a text short in silence
                raise csv.Error(f"expected {len(columns)} fields, as the first line has, got {len(fields)}")
            elif fields:
                yield line, dict(zip(columns, fields))
            line = reader.line_num + 1                       # a quoted field may span lines: a row is named by its first
    except csv.Error as error:
        raise ValueError(f'{path}:{line}: {error}; put a text that holds a comma or a quote in "quotes", '
                         'and double each quote inside it') from None


def jsonl_rows(path: Path, source: str) -> Iterator[Row]:
    for line, record in enumerate(source.split("\n"), 1):    # not splitlines, which also cuts at separators inside strings
        if record.strip():
            try:
                row = json.loads(record)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}:{line}: not JSON: {error.msg} at column {error.colno}; "
                                 'expected one object per line, such as {"text": "...", "label": "..."}') from None
            if not isinstance(row, dict):
                raise ValueError(f"{path}:{line}: expected an object such as {{\"text\": \"...\", \"label\": \"...\"}}, "
                                 f"got {record.strip()[:40]}")
            yield line, row


def find_column(where: str, row: dict[str, Any], what: str, wanted: str | None, usual: Sequence[str]) -> str:
    candidates = (wanted,) if wanted else usual
    for column in candidates:
        if column in row:
            return column
    raise ValueError(f"{where}: no {what} column {' or '.join(map(repr, candidates))}; the columns are "
                     f"{', '.join(map(repr, row)) or 'none'}: name one of them with {what}_column")


def label_name(where: str, label: Any) -> str:
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    if isinstance(label, str) and label.strip():
        return label.strip()
    if label is None or isinstance(label, str):
        raise ValueError(f"{where}: the label is missing; give every text one, or remove the line")
    raise ValueError(f"{where}: the label is {json.dumps(label)}; expected a string or an integer")
