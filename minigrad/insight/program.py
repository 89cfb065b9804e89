"""Making a program fit to be read: names for variables, one expression where there were five lines, numbers as text."""
from __future__ import annotations

import ast
from collections import defaultdict
from itertools import accumulate
from typing import Any

import numpy as np

WIDE = 100                                      # no longer than this does a line grow
SMALL = 12                                      # arrays of no more entries are written as numbers


def tidy(lines: list[str], names: dict[str, str], shapes: dict[str, tuple], firm: set[str]) -> list[str]:
    """Straight lines of code, with comments, made readable.  What they compute, and in which order it is written, stays.

    Args:
        lines: one assignment, call or comment each.
        names: what variables are to be called.
        shapes: the shapes of variables, for the comments.
        firm: variables that keep their line.  Others are put where they are needed, if that is once, under the same comment.
    """
    code: list[Any] = [line if not line or line.startswith("#") else ast.parse(line).body[0] for line in lines]
    uses: dict[str, list[int]] = defaultdict(list)
    for i, line in enumerate(code):
        for name in _read(line):
            uses[name].append(i)
    bars = list(accumulate((isinstance(line, str) or _writes(line) for line in code), initial=0))      # what nothing may pass
    for i in reversed(range(len(code))):        # what nobody needs
        if (name := _assigned(code[i])) and not uses[name] and name not in firm:
            for other in _read(code[i]):
                uses[other].remove(i)
            code[i] = None
    for i, line in enumerate(code):             # what is needed once, before an array that was there is written into
        name = _assigned(line)
        if not name or name in firm or len(uses[name]) != 1:
            continue
        j = uses[name][0]
        if bars[j] == bars[i] and not _is_target(code[j], name):
            changed = _Replace(name, line.value).visit(ast.parse(ast.unparse(code[j])).body[0])
            if len(ast.unparse(changed)) <= WIDE:
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
    """The variable that a line defines."""
    return line.targets[0].id if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) else None


def _read(line: Any) -> list[str]:
    """The variables that a line uses, once for each time."""
    if not isinstance(line, ast.stmt):
        return []
    own = line.targets[0] if _assigned(line) else None
    return [node.id for node in ast.walk(line) if isinstance(node, ast.Name) and node is not own]


def _writes(line: Any) -> bool:
    """Whether a line writes into an array that was there before."""
    return isinstance(line, ast.stmt) and not _assigned(line)


def _is_target(line: ast.stmt, name: str) -> bool:
    """Whether it is this variable that the line writes into (or the line is a call, which might)."""
    target = line.target if isinstance(line, ast.AugAssign) else line.targets[0] if isinstance(line, ast.Assign) else line
    return not _assigned(line) and name in {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


class _Replace(ast.NodeTransformer):
    """Put an expression in the place of a variable."""
    def __init__(self, name: str, value: ast.expr):
        self.name, self.value = name, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self.value if node.id == self.name else node


def embedded(array: np.ndarray) -> str:
    """An array as an expression, exact to the last bit."""
    if array.size <= SMALL and array.flags.c_contiguous and (entries := _short(array)) is not None:
        return f"np.array({entries}, dtype=np.{array.dtype.name})"
    text = f'np.frombuffer(bytes.fromhex("{np.ascontiguousarray(array).tobytes().hex()}"), "{array.dtype.str}")'
    return _in_order(f"{text}.reshape({array.shape}).copy()", array)


def kept(name: str, array: np.ndarray) -> str:
    """An array as an expression that reads it from the file beside the program."""
    return _in_order(f'data["{name}"]', array)


def _in_order(text: str, array: np.ndarray) -> str:
    """The order in memory is kept too: how a sum is rounded depends on it."""
    return text if array.flags.c_contiguous else f"laid_out({text}, {array.strides})"


def _short(array: np.ndarray) -> list | None:
    """The entries in as few digits as say them exactly; None if that cannot be."""
    if array.dtype.name not in ("float32", "float64", "int64", "int32", "bool") or not np.isfinite(array).all():
        return None
    short = np.array([float(str(v)) for v in array.ravel()]).reshape(array.shape) if array.dtype.kind == "f" else array
    return short.tolist() if short.astype(array.dtype).tobytes() == array.tobytes() else None


def laid_out(values, strides):
    """The same values, this far apart in memory."""
    reach = sum(max(0, n - 1) * abs(step) for n, step in zip(values.shape, strides)) + values.itemsize
    first = sum(max(0, n - 1) * -step for n, step in zip(values.shape, strides) if step < 0)
    array = np.ndarray(values.shape, values.dtype, bytearray(reach), first, strides)
    array[...] = values
    return array
