"""Makes a traced program readable: names for variables, nested expressions instead of many lines, arrays as text."""

from __future__ import annotations

import ast
from collections import defaultdict
from itertools import accumulate
from typing import Any

import numpy as np

MAX_WIDTH = 100  # characters of a line; expressions are not nested beyond it
MAX_WRITTEN = 12  # entries of an array that is written as a list of numbers


def tidy(lines: list[str], names: dict[str, str], shapes: dict[str, tuple], firm: set[str]) -> list[str]:
    """Make straight-line code readable.  The results and the order of in-place writes stay the same.

    Args:
        lines: one assignment, call or comment each.
        names: new names of variables.
        shapes: shapes of variables, for the comments.
        firm: variables that keep their line.  Any other that is used once, under the same comment, is replaced by its
            expression.
    """
    code: list[Any] = [line if not line or line.startswith("#") else ast.parse(line).body[0] for line in lines]
    uses: dict[str, list[int]] = defaultdict(list)
    for i, line in enumerate(code):
        for name in _read(line):
            uses[name].append(i)
    # Comments and in-place writes are bars: no expression moves past one.
    bars = list(accumulate((isinstance(line, str) or _writes(line) for line in code), initial=0))
    for i in reversed(range(len(code))):  # delete what is never used
        if (name := _assigned(code[i])) and not uses[name] and name not in firm:
            for other in _read(code[i]):
                uses[other].remove(i)
            code[i] = None
    for i, line in enumerate(code):  # inline what is used once, unless an in-place write comes in between
        name = _assigned(line)
        if not name or name in firm or len(uses[name]) != 1:
            continue
        j = uses[name][0]
        if bars[j] == bars[i] and not _is_target(code[j], name):
            changed = _Replace(name, line.value).visit(ast.parse(ast.unparse(code[j])).body[0])
            if len(ast.unparse(changed)) <= MAX_WIDTH:
                code[j], code[i] = changed, None
                for other in _read(line):
                    uses[other][uses[other].index(i)] = j
    return [line if isinstance(line, str) else _written(line, names, shapes) for line in code if line is not None]


def _written(line: ast.stmt, names: dict[str, str], shapes: dict[str, tuple]) -> str:
    name = _assigned(line)
    for node in ast.walk(line):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return ast.unparse(line) + (f"  # {shapes[name]}" if name in names and name in shapes else "")


def _assigned(line: Any) -> str | None:
    """The variable that a line defines; None if it defines none."""
    return line.targets[0].id if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) else None


def _read(line: Any) -> list[str]:
    """The variables that a line uses, as often as it uses them."""
    if not isinstance(line, ast.stmt):
        return []
    own = line.targets[0] if isinstance(line, ast.Assign) and _assigned(line) else None
    return [node.id for node in ast.walk(line) if isinstance(node, ast.Name) and node is not own]


def _writes(line: Any) -> bool:
    """Whether a line writes into an existing array."""
    return isinstance(line, ast.stmt) and not _assigned(line)


def _is_target(line: ast.stmt, name: str) -> bool:
    """Whether the line writes into this variable (a bare call may, so it counts as well)."""
    target = (
        line.target if isinstance(line, ast.AugAssign) else line.targets[0] if isinstance(line, ast.Assign) else line
    )
    return not _assigned(line) and name in {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


class _Replace(ast.NodeTransformer):
    """Replaces a variable by an expression."""

    def __init__(self, name: str, value: ast.expr):
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.value if node.id == self.name else node


def embedded(array: np.ndarray) -> str:
    """An array as an expression, exact to the last bit."""
    if array.size <= MAX_WRITTEN and array.flags.c_contiguous and (entries := _short(array)) is not None:
        return f"np.array({entries}, dtype=np.{array.dtype.name})"
    text = f'np.frombuffer(bytes.fromhex("{np.ascontiguousarray(array).tobytes().hex()}"), "{array.dtype.str}")'
    return _in_order(f"{text}.reshape({array.shape}).copy()", array)


def kept(name: str, array: np.ndarray) -> str:
    """An array as an expression that reads it from the file beside the program."""
    return _in_order(f'data["{name}"]', array)


def _in_order(text: str, array: np.ndarray) -> str:
    """Keep the memory order as well: the rounding of a sum depends on it."""
    return text if array.flags.c_contiguous else f"laid_out({text}, {array.strides})"


def _short(array: np.ndarray) -> list | None:
    """The entries with as few digits as represent them exactly; None if that is impossible."""
    if array.dtype.name not in ("float32", "float64", "int64", "int32", "bool") or not np.isfinite(array).all():
        return None
    short = np.array([float(str(v)) for v in array.ravel()]).reshape(array.shape) if array.dtype.kind == "f" else array
    return short.tolist() if short.astype(array.dtype).tobytes() == array.tobytes() else None


def laid_out(values, strides):
    """A copy of the values with these strides."""
    reach = sum(max(0, n - 1) * abs(step) for n, step in zip(values.shape, strides)) + values.itemsize
    first = sum(max(0, n - 1) * -step for n, step in zip(values.shape, strides) if step < 0)
    array = np.ndarray(values.shape, values.dtype, bytearray(reach), first, strides)
    array[...] = values
    return array
