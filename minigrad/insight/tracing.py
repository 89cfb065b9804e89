"""An array that records every operation on it as a line of NumPy code.

To `backend.of` it is a third array library beside NumPy and CuPy.  Ops, derivative rules and the backward pass run on
it unchanged, and the lines they leave form a program.  It has no fused kernels, so every op runs by its definition.
"""

from __future__ import annotations

import keyword
import operator
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from threading import Lock
from types import ModuleType
from typing import Any, cast

import numpy as np

from .. import backend
from ..backend import Backend
from ..backend.shared import layers as shared_layers

# Names that a program uses itself.
RESERVED = ("np", "math", "data", "erf", "normal_cdf", "loss", "gradients", "name", "g", "laid_out")


class Trace:
    """The lines recorded so far and their constants.  A variable is called v0, v1, … until it gets a name."""

    def __init__(self):
        self.lines: list[str] = []
        self.constants: dict[str, np.ndarray] = {}
        self.names: dict[str, str] = {}
        self.known: dict[int, Traced] = {}  # by the id of its array
        self.firm: set[str] = set()  # variables that are not inlined
        self.numbers = count()

    def comment(self, text: str) -> None:
        """Add a comment, after an empty line."""
        self.lines += ["", f"# {text}"]

    def call_it(self, value: Traced, name: str, again: bool = False) -> str:
        """Name a variable, unless it has a name and not `again`; return its name."""
        if value.id not in self.names or again:
            self.names.pop(value.id, None)
            name = re.sub(r"\W", "_", name.removeprefix("self."))
            name = (
                f"layer_{name}"
                if name[:1].isdigit()
                else f"{name}_"
                if name in RESERVED or keyword.iskeyword(name)
                else name
            )
            taken, unique, i = set(self.names.values()), name, 1
            while unique in taken:
                i += 1
                unique = f"{name}_{i}"
            self.names[value.id] = unique
        return self.names[value.id]

    def constant(self, array: np.ndarray, name: str = "constant") -> Traced:
        """A constant of the program."""
        if id(array) not in self.known:
            new = Traced(self, array)
            self.constants[new.id] = array
            self.call_it(new, name)
        return self.known[id(array)]

    def text(self, value: Any) -> str:
        """The source text of an argument."""
        if isinstance(value, Traced):
            return value.id
        if isinstance(value, np.ndarray):
            return self.constant(value).id
        if isinstance(value, (tuple, list)):
            inside = ", ".join(map(self.text, value))
            return f"[{inside}]" if isinstance(value, list) else f"({inside}{',' * (len(value) == 1)})"
        if isinstance(value, slice):
            return f"slice({self.text(value.start)}, {self.text(value.stop)}, {self.text(value.step)})"
        if isinstance(value, np.generic):
            return f"np.{value.dtype}({self.text(value.item())})"
        if isinstance(value, np.dtype) or isinstance(value, type) and issubclass(value, np.generic):
            return f"np.{np.dtype(value).name}" if np.dtype(value).isbuiltin else repr(np.dtype(value).name)
        if isinstance(value, float) and not np.isfinite(value):
            return {"inf": "np.inf", "-inf": "-np.inf"}.get(str(value), "np.nan")
        if isinstance(value, type) or value is Ellipsis:
            return getattr(value, "__name__", "...")
        return repr(value)

    def call(self, code: str, function: Any, args: tuple, kwargs: dict) -> Any:
        """Compute function(*args, **kwargs), and record it as `code` if it returns an array."""
        result = function(*map(bare, args), **{name: bare(value) for name, value in kwargs.items()})
        for given in (*args, *kwargs.values()):
            if isinstance(given, Traced) and result is given.array:  # no operation, or one in place
                if "out" in kwargs:
                    self.lines.append(code)
                return given
        if result is None:
            self.lines.append(code)
            return None
        if isinstance(result, tuple) and all(isinstance(part, (np.ndarray, np.generic)) for part in result):
            return tuple(self._new(part, f"{code}[{i}]") for i, part in enumerate(result))
        return self._new(result, code) if isinstance(result, (np.ndarray, np.generic)) else result

    def _new(self, result: np.ndarray | np.generic, code: str) -> Traced:
        """The variable for a result, recorded as `code`."""
        if isinstance(result, np.generic):  # ops turn scalars into arrays, too: see primitive.py
            result, code = np.asarray(result), f"np.asarray({code})"
        new = Traced(self, result)
        self.lines.append(f"{new.id} = {code}")
        return new

    def arguments(self, args: tuple, kwargs: dict) -> str:
        """The arguments of a call, as source text."""
        return ", ".join([*map(self.text, args), *(f"{name}={self.text(value)}" for name, value in kwargs.items())])


def bare(value: Any) -> Any:
    """A value with plain arrays in place of traced ones, in tuples and lists as well."""
    if isinstance(value, Traced):
        return value.array
    if type(value) in (tuple, list):
        return type(value)(map(bare, value))
    return value


class Traced:
    """A NumPy array that is a variable of a Trace."""

    __slots__ = ("array", "id", "trace")
    __hash__ = None  # type: ignore[assignment]  # == compares entries, as in NumPy

    def __init__(self, trace: Trace, array: np.ndarray):
        self.trace, self.array = trace, array
        self.id = f"v{next(trace.numbers)}"
        trace.known.setdefault(id(array), self)  # and so the array stays alive, and its id is not reused

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    strides = property(lambda self: self.array.strides)
    flags = property(lambda self: self.array.flags)
    base = property(lambda self: self.array.base)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.array, name)
        if not callable(method):  # a view, such as .T
            return self.trace.call(f"{self.id}.{name}", lambda: method, (), {})
        if name in ("item", "tolist"):
            return method

        def traced(*args: Any, **kwargs: Any) -> Any:
            code = f"{self.id}.{name}({self.trace.arguments(args, kwargs)})"
            return self.trace.call(code, lambda _, *a, **k: method(*a, **k), (self, *args), kwargs)

        return traced

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        name = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
        if isinstance(kwargs.get("out"), tuple) and len(kwargs["out"]) == 1:
            kwargs["out"] = kwargs["out"][0]
        return self.trace.call(f"{name}({self.trace.arguments(args, kwargs)})", getattr(ufunc, method), args, kwargs)

    def __array_function__(self, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        name = f"{function.__module__.replace('numpy', 'np', 1)}.{function.__name__}"
        return self.trace.call(f"{name}({self.trace.arguments(args, kwargs)})", function, args, kwargs)

    def __getitem__(self, index: Any) -> Any:
        return self.trace.call(f"{self.id}[{_index(self.trace, index)}]", lambda a, i: a[i], (self, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        there, given = self.array[bare(index)], bare(value)
        if _same_place(there, given):  # the last part of `x[i] += y`, already recorded
            return
        self.array[bare(index)] = given
        self.trace.lines.append(f"{self.id}[{_index(self.trace, index)}] = {self.trace.text(value)}")

    def __len__(self) -> int:
        return len(self.array)

    def __bool__(self) -> bool:
        return bool(self.array)

    def __int__(self) -> int:
        return int(self.array)

    def __float__(self) -> float:
        return float(self.array)

    def __index__(self) -> int:
        return self.array.__index__()

    def __iter__(self):
        return (self[i] for i in range(len(self)))


def _same_place(a: Any, b: Any) -> bool:
    return all(isinstance(x, np.ndarray) for x in (a, b)) and (a.ctypes.data, a.shape, a.strides) == (
        b.ctypes.data,
        b.shape,
        b.strides,
    )


def _index(trace: Trace, index: Any) -> str:
    if not isinstance(index, tuple):
        return _slice(trace, index)
    return ", ".join(_slice(trace, list(part) if isinstance(part, tuple) else part) for part in index) or "()"


def _slice(trace: Trace, part: Any) -> str:
    if not isinstance(part, slice):
        return trace.text(part)
    start, stop = ("" if edge is None else trace.text(edge) for edge in (part.start, part.stop))
    return f"{start}:{stop}" + ("" if part.step is None else f":{trace.text(part.step)}")


def _operator(name: str, symbol: str) -> None:
    """Define an operator of Traced, with its reflected and its in-place form."""
    compute: Callable[..., Any] = getattr(operator, f"__{name}__")
    write: Callable[..., Any] = getattr(operator, f"__i{name}__", compute)  # comparisons have no in-place form

    def forward(self, other):
        return self.trace.call(f"{self.id} {symbol} ({self.trace.text(other)})", compute, (self, other), {})

    def mirrored(self, other):
        return self.trace.call(f"({self.trace.text(other)}) {symbol} {self.id}", compute, (other, self), {})

    def in_place(self, other):
        write(self.array, bare(other))
        self.trace.lines.append(f"{self.id} {symbol}= {self.trace.text(other)}")
        return self

    for prefix, function in (("", forward), ("r", mirrored), ("i", in_place)):
        setattr(Traced, f"__{prefix}{name}__", function)


def _unary(name: str, symbol: str) -> None:
    compute = getattr(operator, f"__{name}__")
    setattr(Traced, f"__{name}__", lambda self: self.trace.call(f"{symbol}({self.id})", compute, (self,), {}))


for _name, _symbol in {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
    "eq": "==",
    "ne": "!=",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
}.items():
    _operator(_name, _symbol)
for _name, _symbol in {"neg": "-", "invert": "~", "abs": "abs"}.items():
    _unary(_name, _symbol)


class _NumPy:
    """The numpy module, or something in it, with calls that are recorded."""

    def __init__(self, trace: Trace, target: Any = np, path: str = "np"):
        self.trace, self.target, self.path = trace, target, path

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.target, name)
        if isinstance(found, type) or not (callable(found) or isinstance(found, ModuleType)):
            return found  # a dtype or a number
        return _NumPy(self.trace, found, f"{self.path}.{name}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        code = f"{self.path}({self.trace.arguments(args, kwargs)})"
        if self.path == "np.add.reduce":  # written as the method `sum`, which calls it
            x, axis, *_, keepdims = args
            options = ([] if axis is None else [self.trace.text(axis)]) + (["keepdims=True"] if keepdims else [])
            code = f"{x.id}.sum({', '.join(options)})"
        return self.trace.call(code, self.target, args, kwargs)


def _library(trace: Trace) -> Backend:
    """The Backend record of traced arrays."""
    return Backend(
        name=backend.host.name,
        xp=cast(ModuleType, _NumPy(trace)),
        array=Traced,
        to_numpy=bare,
        kernels={},
        erf=lambda x: trace.call(f"erf({x.id})", backend.host.erf, (x,), {}),
        normal_cdf=lambda x: trace.call(f"normal_cdf(np, {x.id})", partial(shared_layers.normal_cdf, np), (x,), {}),
        share=lambda work, pieces: [work(piece) for piece in pieces],
    )


_one_at_a_time = Lock()


@contextmanager
def tracing() -> Iterator[Trace]:
    """An empty Trace that records every operation on traced arrays in the body."""
    with _one_at_a_time:  # np.zeros and the like have no input, and go into the current trace
        trace = Trace()
        backend.register(_library(trace))
        try:
            yield trace
        finally:
            backend.register(_library(Trace()))  # release this one
