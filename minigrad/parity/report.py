"""The results of comparisons as a table for the terminal, as JSON, and as a self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path

from . import EQUAL, STAGES, Parity, shown, told
from .families import compare_models

COLUMNS = (
    ("model", 44),
    ("dtype", 7),
    ("modules", 7),
    ("weights", 8),
    ("activations", 11),
    ("loss", 8),
    ("gradients", 9),
    ("steps", 8),
    ("tokens", 6),
)
STYLE = """body { font: 15px/1.5 sans-serif; max-width: 66em; margin: 2em auto; padding: 0 1em }
table { border-collapse: collapse }
td, th { padding: .1em .8em; text-align: right }
td:first-child, th:first-child, td.name { text-align: left }
.equal { color: #17692c }
.differs { color: #b3261e; font-weight: bold }
summary { cursor: pointer }"""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>minigrad parity</title>
<style>{style}</style>
<h1>Parity</h1>
<p>Numbers are units of rounding noise: 1 is the change when each weight of the reference moves by one ulp.
Up to {equal:.0f} units are equal.</p>
<table>
{table}</table>
{sections}</html>
"""


def command(
    model: str | None, entries: Sequence[str], dtype: str | None, json_file: str | None, html_file: str | None
) -> int:
    """Run `minigrad parity`: compare, print and write the results.  Returns 0 if all models are equal, else 1.

    Raises:
        ValueError: an entry is not NAME=VALUE; or as `compare_models` raises it.
        FileNotFoundError: the directory of an output file does not exist.
    """
    size = {}
    for entry in entries:
        name, sign, value = entry.partition("=")
        if not sign:
            raise ValueError(f"--set {entry} has no value: type --set {entry}=64")
        try:
            size[name] = json.loads(value)
        except json.JSONDecodeError:  # a bare word, such as relu
            size[name] = value
    files = {Path(file): write for file, write in ((json_file, to_json), (html_file, to_html)) if file}
    for path in files:
        if not path.parent.is_dir():
            raise FileNotFoundError(f"there is no directory {path.parent} to write {path.name} in: create it first")
    reports: list[Parity] = []
    for report in compare_models(model, size, dtype):
        print(*([] if reports else [header()]), line(cells(report)), sep="\n", flush=True)
        reports.append(report)
    for report in reports:
        if len(reports) == 1 or not report.ok or report.verdict != "equal":
            print(f"\n{report}")
    for path, write in files.items():
        path.write_text(write(reports), encoding="utf-8")
    return int(not all(report.ok for report in reports))


def header() -> str:
    """The first line of the table."""
    return line([name for name, _ in COLUMNS] + ["verdict"])


def line(texts: Sequence[str]) -> str:
    """A line of the table."""
    sized = [text.rjust(width) if i else text.ljust(width) for i, (text, (_, width)) in enumerate(zip(texts, COLUMNS))]
    return "  ".join([*sized, texts[-1]])


def cells(report: Parity) -> list[str]:
    """The cells of a model's line: the largest difference of each stage in units, and the verdict."""
    worst = {stage: report.worst(stage) for stage in STAGES}
    tokens, first = worst.pop("tokens"), report.divergence
    units = ["-" if found is None else shown(found.units) for found in worst.values()]
    return [
        report.title,
        report.dtype,
        str(report.count("activations")),
        *units,
        "-" if tokens is None else "equal" if tokens.equal else "differ",
        "differs in " + first.stage if first else "equal" if report.ok else "nothing compared",
    ]


def to_json(reports: Sequence[Parity]) -> str:
    """All reports, with every row."""
    return json.dumps([report.to_dict() for report in reports], indent=1) + "\n"


def to_html(reports: Sequence[Parity]) -> str:
    """An HTML page: the table, then for each model its verdict and a collapsed list of all comparisons."""
    names = [*(name for name, _ in COLUMNS), "verdict"]
    lines = [html_row("th", [(name, "") for name in names])]
    lines += [
        html_row("td", [*((cell, "") for cell in cells(report)[:-1]), (cells(report)[-1], mark(report.ok))])
        for report in reports
    ]
    return PAGE.format(style=STYLE, equal=EQUAL, table="".join(lines), sections="".join(map(section, reports)))


def section(report: Parity) -> str:
    """The part of the page for one model."""
    lines = [
        html_row("td", [(row.stage, "name"), (row.name, "name"), (shown(row.units), mark(row.equal))])
        for row in report.rows
    ]
    only = "".join(
        f"<li>{escape(told(where))}: {escape(', '.join(names))}</li>" for where, names in report.only.items()
    )
    return (
        f'<h2>{escape(report.title)}, {report.dtype}</h2>\n<p class="{mark(report.ok)}">{escape(report.verdict)}</p>\n'
        f"<ul>{only}</ul>\n<details><summary>{len(report.rows)} comparisons</summary>\n"
        f"<table>\n{''.join(lines)}</table>\n"
        "</details>\n"
    )


def html_row(tag: str, cells: Sequence[tuple[str, str]]) -> str:
    """A table row with cells (text, CSS class)."""
    return "<tr>" + "".join(f'<{tag} class="{kind}">{escape(text)}</{tag}>' for text, kind in cells) + "</tr>\n"


def mark(equal: bool) -> str:
    """The CSS class of a verdict."""
    return "equal" if equal else "differs"
