"""Explains errors of ops: adds the op, the shapes of its inputs, and a hint to the message."""

from __future__ import annotations

import linecache
import math
import re
from itertools import combinations
from numbers import Integral, Real
from typing import Any, TypeGuard

import numpy as np

from . import places

NO_NUMBERS = {
    "O": "objects",
    "U": "text",
    "S": "bytes",
    "M": "dates",
    "m": "times",
    "c": "complex numbers",
}  # by the dtype's kind
FAILURES = (ValueError, TypeError, IndexError, OverflowError, AttributeError)  # the errors of bad input


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value is a real number of Python or NumPy, and not a boolean."""
    return isinstance(value, Real) and not isinstance(value, (bool, np.bool_))


def is_whole(value: Any, least: float = -math.inf) -> TypeGuard[int]:
    """Whether a value is a whole number of at least `least`, and not a boolean."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def explained(error: Exception, op: Any, inputs: tuple, arrays: list, options: tuple) -> Exception:
    """The same kind of error, with the op, the shapes of its inputs, and a hint in its message."""
    if hasattr(error, "op"):  # explained already, for an inner op
        return error
    named = dict(zip(op.options, options, strict=True))
    known = [a for a in arrays if hasattr(a, "shape")]
    ours, foreign = (str(error), "") if _raised(error) else ("", str(error))
    unfit = _unfit(op.inputs, arrays, foreign) or foreign and _unfit_option(op, named, foreign)
    if isinstance(error, AttributeError) and not unfit:  # a slip in the op's own code
        return error
    hint = None if "is not an array" in ours else _hint(op.name, [tuple(a.shape) for a in known])
    text = unfit or hint or ours or in_our_words(foreign, op, known, named)
    given = [str(tuple(a.shape)) if hasattr(a, "shape") else repr(a) for a in arrays]
    given += [
        f"{name}={value!r}" for name, value in named.items() if isinstance(value, (int, float, str, tuple, type(None)))
    ]
    kind = next((kind for kind in (IndexError, ValueError, TypeError) if isinstance(error, kind)), TypeError)
    kind = ValueError if isinstance(error, OverflowError) else kind  # of a number that the dtype does not hold
    told: Any = kind(f"{op.name}({', '.join(given)}): {text}")
    told.op = op.name
    places.told(told, op.inputs, inputs)
    return told


def _raised(error: Exception) -> bool:
    """Whether an error comes from a `raise` in the code of an op, and not from Python or an array library."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_globals.get("__name__", "").startswith(("numpy", "cupy")):
        return False
    return linecache.getline(trace.tb_frame.f_code.co_filename, trace.tb_lineno).strip().startswith("raise")


def _unfit(names: list[str], given: list, text: str) -> str | None:
    """The hint about an input that is not an array of numbers, if the error with this text is about that."""
    for name, x in zip(names, given):
        if (kind := getattr(getattr(x, "dtype", None), "kind", "f")) in NO_NUMBERS:
            return f"{name} holds {NO_NUMBERS[kind]}: give numbers, whole, floating, or True and False"
        if x is None and re.search("None|enough dimensions|object has no attribute", text):
            return f"{name} is None: give a Tensor, an array or a number (a function without `return` gives None)"
        if isinstance(x, (str, list, tuple, dict, set)) and re.search(NO_ARRAY, text):
            return f"{name} is a {type(x).__name__}: give a Tensor, or an array of numbers"
    return None


def _unfit_option(op: Any, options: dict[str, Any], text: str) -> str | None:
    """Which option is no number, or neither True nor False, though its default is."""
    defaults = op.function.__defaults__ or ()
    for name, default in zip(op.options[len(op.options) - len(defaults) :], defaults):
        value = options[name]
        if isinstance(default, bool) and not isinstance(value, (bool, np.bool_)):
            return f"{name} is True or False, not {value!r}"
        if isinstance(default, (int, float)) and (isinstance(value, str) or value is None and "None" in text):
            return f"{name} is a number, {default} by default, not {value!r}"
    return None


def in_our_words(text: str, op: Any, arrays: list, options: dict[str, Any]) -> Any:
    """What an array library says about the inputs of an op, said for the user of the op; other texts as they are."""
    for pattern, words in FOREIGN.items():
        if found := re.search(pattern, text):
            return words(found, op, arrays, options) if callable(words) else found.expand(words)
    if re.search(MISFITS, text):
        if op.name == "broadcast_to":
            return f"from the right, each size of {tuple(arrays[0].shape)} is to be 1 or that of {options['shape']}"
        meaning = (op.function.__doc__ or "").partition("\n\n")[0]
        listed = ", ".join(str(tuple(a.shape)) for a in arrays)
        computes = f", which computes {' '.join(meaning.split())}" if meaning else ""
        return f"these shapes, {listed}, do not fit {op.name}{computes}"
    return text


def _no_axis(found: re.Match, op: Any, arrays: list, options: dict) -> str:
    many = int(found[2])
    reach = f"give {-many} to {many - 1}" if many else "it is one number, and x.reshape(1) has an axis"
    return f"axis {found[1]} is out of bounds for {many} axes: {reach}"


def _no_entry(found: re.Match, op: Any, arrays: list, options: dict) -> str:
    of = "entries" if options.get("axis") is None else f"entries along axis {options['axis']}"
    return f"zero-size input: of no {of} none is the {'smallest' if 'min' in op.name else 'largest'}"


def _no_place(found: re.Match, op: Any, arrays: list, options: dict) -> str:
    size = int(found[1])
    return f"{found[0]}: give {-size} to {size - 1}" if size else f"{found[0]}, which has no entries"


def _out_of_bounds(found: re.Match, op: Any, arrays: list, options: dict) -> str:
    limits = np.iinfo(found[2])
    held = f"which holds {limits.min} to {limits.max}"
    return f'{found[1]} is out of bounds for {found[2]}, {held}: type x.astype("int64") first'


def _not_of_dtype(found: re.Match, op: Any, arrays: list, options: dict) -> str:
    kinds = " and ".join(dict.fromkeys(str(a.dtype) for a in arrays))
    return f'{op.name} is not defined for {kinds}: type x.astype("float32") first'


def _not_reshaped(found: re.Match, op: Any, arrays: list, options: dict) -> str:
    size = math.prod(arrays[0].shape)
    wanted = options.get("shape", found[1])
    wanted = tuple(wanted) if isinstance(wanted, (tuple, list)) else (wanted,)
    if not all(isinstance(n, int) for n in wanted):
        return f"these shapes, {', '.join(str(tuple(a.shape)) for a in arrays)}, do not fit {op.name}"
    if -1 in wanted:
        return f"cannot reshape {size} entries into {wanted}, whatever the -1 is"
    return (
        f"cannot reshape {size} entries into {wanted}, which has {math.prod(wanted)}; one size may be -1, for the rest"
    )


FOREIGN: dict[str, Any] = {  # NumPy's texts, and what is said instead: a text with groups, or a function
    r"axis (-?\d+) is out of bounds for array of dimension (\d+)": _no_axis,
    r"duplicate value in|repeated axis": "an axis is named twice",
    r"axes don't match array": "give each axis of the array once, in their new order",
    r"zero-size array to reduction|attempt to get arg\w+ of an empty sequence": _no_entry,
    r"Python integer (-?\d+) out of bounds for (\w+)": _out_of_bounds,
    r"Integers to negative integer powers": 'whole numbers have no negative powers: type x.astype("float32") first',
    r"boolean negative": 'booleans have no negative: type ~x for their opposite, or x.astype("float32") first',
    r"boolean subtract": 'booleans have no difference: type a != b, or a.astype("int64") - b',
    r"did not contain a loop|not supported for the input types|Cannot cast ufunc": _not_of_dtype,
    r"cannot reshape array of size \d+ into shape (.*)": _not_reshaped,
    r"can only specify one unknown dimension": "one size may be -1, for as many as are left, but not several",
    r"only integers, slices": "an index is a whole number, a slice, None, ..., or an array of whole numbers or masks",
    r"arrays used as indices must be": 'an array of indices holds whole numbers or booleans: type ids.astype("int64")',
    r"index -?\d+ is out of bounds for axis \d+ with size (\d+)": _no_place,
    r"too many indices for array: array is (\d+)-dimensional, but (\d+)": r"too many indices, \2 for \1 axes",
    r"boolean index did not match .*axis (\d+); size of axis is (\d+) but .* is (\d+)": (
        r"boolean index did not match: along axis \1 the mask is \3 long, and what it picks from \2"
    ),
    r"shape mismatch: indexing arrays": "the arrays of indices do not broadcast to one shape",
    r"'(\w+)' object cannot be interpreted as an integer": r"a size, an axis or a count is a whole number, not a \1",
    r"expected a sequence of integers or a single integer, got '?(.*?)'?$": r"a shape is whole numbers, not \1",
    r"can't contain negative values": "widths are whole numbers of at least 0; to cut off entries, index",
    r"'[<>]=?' not supported between instances of '(\w+)' and '(\w+)'": r"\1 and \2 are not compared: give numbers",
    r"'(\w+)' object is not (subscriptable|iterable|callable)": r"a \1 was given where an array is needed",
    r"unsupported operand type.s. for (\S+): '(\w+)' and '(\w+)'": (
        r"\1 of a \2 and a \3 is not defined: give Tensors, arrays or numbers"
    ),
    r"inhomogeneous": "a list is made an array only if at each depth all lists in it are of one length",
}
NO_ARRAY = "'(str|list|tuple|dict|set)' object|(string|list|tuple) indices|unhashable"  # Python's texts about these
MISFITS = (  # NumPy's and Python's texts about inputs that have not the shapes the op takes
    "broadcast|tuple index out of range|len.. of unsized|values to unpack|zip.. argument|index out of range|"
    "negative dimensions|must match exactly|core dimension|more dimensions than|out of bounds|non-empty take"
)


def _broadcast(a: tuple, b: tuple) -> bool:
    return all(m == n or 1 in (m, n) for m, n in zip(reversed(a), reversed(b)))


def _hint(name: str, shapes: list[Any]) -> str | None:
    """What is wrong with these shapes and what to type, where that can be told."""
    if name == "matmul" and (len(shapes) < 2 or () in shapes):
        return "each operand needs an axis at least; with a single number multiply by *"
    if len(shapes) < 2:
        return None
    a, b = shapes[:2]
    if name == "where":  # the two of the three that do not fit
        a, b = next((pair for pair in combinations(shapes, 2) if not _broadcast(*pair)), (a, b))
    if name in ("matmul", "linear") and a and b:
        if name == "linear" and a[-1] != b[-1]:
            return f"the last axis of x is {a[-1]} long, but the weight (out, in) takes {b[-1]} features"
        if name == "matmul" and a[-1] != b[-2 if len(b) > 1 else 0]:
            if len(b) == 1:
                fix = "; did you mean a.mT @ b?" if len(a) > 1 and a[-2] == b[0] else ""
                return f"the last axis of a ({a[-1]}) must be as long as b ({b[0]}){fix}"
            fix = "; did you mean a @ b.mT?" if a[-1] == b[-1] else ""
            return f"the last axis of a ({a[-1]}) must equal the last but one of b ({b[-2]}){fix}"
        if any(m != n and 1 not in (m, n) for m, n in zip(a[-3::-1], b[-3::-1])):
            stacks = f"the stacks' axes {a[:-2]} and {b[:-2]} do not broadcast"
            return f"{stacks}: from the right, each two must be equal, or one be 1"
    if name in ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"):
        for back, (m, n) in enumerate(zip(reversed(a), reversed(b)), 1):
            if m != n and 1 not in (m, n):
                insert = next(
                    (
                        f"; to line up the first axes write {long}{short}[..., None]"
                        for long, short, s, t in (("a with ", "b", a, b), ("b with ", "a", b, a))
                        if len(t) < len(s) and t == s[: len(t)]
                    ),
                    "",
                )
                return f"axis -{back} is {m} in one and {n} in the other; shapes are aligned from the right{insert}"
    return None


def check_requires_grad(given: Any) -> bool:
    """What Tensor was given for requires_grad, as a bool.  Raises TypeError if it is neither True nor False."""
    if not isinstance(given, (bool, np.bool_)):
        raise TypeError(
            f"Tensor: requires_grad is True or False, not {given!r:.40}: numbers are one list, Tensor([2, 3]), and "
            "sizes are given as mg.zeros((2, 3))"
        )
    return bool(given)
