"""How ops are called: their signatures, and torch's `dim` and `keepdim` for NumPy's `axis` and `keepdims`."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, update_wrapper, wraps
from types import CodeType
from typing import Any, ParamSpec, Protocol, TypeVar, overload

import numpy as np

from .tensor import Tensor

TORCH_SPELLING = {  # both are taken wherever an op has the option
    "dim": "axis",
    "dims": "axis",
    "dim1": "axis1",
    "dim2": "axis2",
    "start_dim": "start_axis",
    "end_dim": "end_axis",
    "keepdim": "keepdims",
}
OF_FUNCTIONS = ("dims", "axes"), ("size", "shape"), ("steps", "num"), ("fill_value", "value")
F = TypeVar("F", bound=Callable)
P = ParamSpec("P")


class TorchSpelling(Protocol[P]):
    """A function with its own signature, which also takes torch's `dim` and `keepdim`."""

    __name__: str

    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any: ...
    @overload
    def __call__(self, *inputs: Any, dim: Any, keepdim: bool = ..., **options: Any) -> Any: ...
    @overload
    def __call__(self, *inputs: Any, keepdim: bool, **options: Any) -> Any: ...


class OpFunction(TorchSpelling[P], Protocol[P]):
    """What users call: a function with the signature of the op, and as a method with the first input bound."""

    op: Any
    in_symbols: Callable[..., None]

    def __get__(self, instance: Any, owner: type | None = None) -> Callable[..., Any]: ...


class PrimitiveFunction(OpFunction[P], Protocol[P]):
    """... and a place for the derivatives."""

    defvjp: Callable[..., None]


def parameters(function: Callable, example: str) -> tuple[list[str], list[str]]:
    """The names left and right of the slash.

    (`inspect` would tell too, but costs more to import than this package.)
    """
    code = getattr(function, "__code__", None)
    if code is None:
        raise TypeError(f"an op is made of a function written with def, not of {function!r:.80}: def f({example}): ...")
    if not code.co_posonlyargcount or code.co_kwonlyargcount or code.co_flags & 0x0C:  # *args, **kwargs
        raise TypeError(
            f"{function.__name__}: an op's inputs stand left of a slash, its options right of it, none keyword-only, "
            f"no *args: def {function.__name__}({example})"
        )
    names = list(code.co_varnames[: code.co_argcount])
    return names[: code.co_posonlyargcount], names[code.co_posonlyargcount :]


def front_of(op: Any) -> Callable:
    """The function users call, with the op's own signature, so that Python binds the arguments.

    A binding in Python code would take 0.6 µs more; `sum` of four entries takes 3.3.  For `matmul` it is
    `lambda a, b, /: run((a, b,), ())`; for `sum`, whose axis is examined first,
    `lambda x, /, axis=None, keepdims=False, **also: examined((x,), (axis, keepdims,), also)`, or
    `run` where no axis is given.
    """
    also = bool(set(TORCH_SPELLING.values()) & set(op.options))
    names = [*op.inputs, "/", *op.options, *(["**also"] if also else [])]
    inputs, options = ("(" + "".join(f"{name}, " for name in part) + ")" for part in (op.inputs, op.options))
    run = f"run({inputs}, {options})"
    if also:
        plain = "axis is None and not also" if "axis" in op.options else "not also"
        run = f"{run} if {plain} else examined({inputs}, {options}, also)"
    known = {"run": op.run, "examined": partial(examined, op), "__name__": __name__}
    front = eval(_compiled(f"lambda {', '.join(names)}: {run}"), known)
    front.__defaults__ = op.function.__defaults__
    if also:
        front.__defaults__ = tuple(Default(d) if type(d) is int else d for d in front.__defaults__ or ())
    update_wrapper(front, op.function)
    del front.__wrapped__  # or help() would show `xp` among the arguments
    front.op = op
    return front


@cache  # for many ops have the same signature
def _compiled(text: str) -> CodeType:
    return compile(text, "<string>", "eval")


def examined(op: Any, inputs: tuple, options: tuple, also: dict[str, Any]) -> Any:
    """`op.run`, with options by torch's names, and along any axes: one, or several in any sequence.

    As in torch, a single number has one axis.

    Raises:
        TypeError: an option is unknown or given twice, an axis is not a whole number, or keepdims not a boolean.
    """
    named = dict(zip(op.options, translated(op.name, op.options, options, also) if also else options))
    axis = named.get("axis")
    if isinstance(axis, (tuple, list)):
        named["axis"] = axis = tuple(whole(op.name, a) for a in axis)
    elif axis is not None:
        named["axis"] = axis = whole(op.name, axis)
    if (keepdims := named.get("keepdims", False)) is not False:
        if not isinstance(keepdims, (bool, np.bool_)):
            raise TypeError(
                f"{op.name}: keepdims is True or False, not {keepdims!r}: several axes are a tuple, axis=(0, 1)"
            )
        named["keepdims"] = bool(keepdims)
    x, *others = inputs
    x = Tensor(x) if type(x) in (bool, int, float) else x
    if getattr(x, "shape", None) == () and axis not in (None, ()):
        return op.run((x.reshape((1,)), *others), tuple(named.values())).reshape(())
    return op.run(inputs, tuple(named.values()))


def torch_spelling(function: Callable[P, Any]) -> TorchSpelling[P]:
    """Let a function of ops take `dim` and `keepdim` as well, torch's names for NumPy's `axis` and `keepdims`."""
    op, names = function.__name__, function.__code__.co_varnames
    spelling = {theirs: ours for theirs, ours in [*OF_FUNCTIONS, *TORCH_SPELLING.items()] if ours in names}

    @wraps(function)
    def front(*inputs: Any, **options: Any) -> Any:
        for theirs in options and spelling.keys() & options.keys():
            ours, value = spelling[theirs], options.pop(theirs)
            given = inputs[names.index(ours)] if ours in names[: len(inputs)] else options.get(ours)
            # (Methods pass None and False on when nothing was given.)
            if given is not None and given is not False:
                raise given_twice(op, ours, given, theirs, value)
            inputs = tuple(value if names[i] == ours else given for i, given in enumerate(inputs))
            if ours not in names[: len(inputs)]:
                options[ours] = value
        return function(*inputs, **options)

    return front


def whole(op: str, axis: Any) -> int:
    """An axis as a plain int.  Raises TypeError if it is none; True and False are none either."""
    if isinstance(axis, (int, np.integer)) and not isinstance(axis, bool):
        return int(axis)
    both = (
        f": of two Tensors, entry by entry, it is mg.{op}imum"
        if op in ("max", "min") and hasattr(axis, "shape")
        else ""
    )
    raise TypeError(f"{op}: an axis is one whole number, not {axis!r:.60}{both}")


def given_twice(name: str, ours: str, one: Any, theirs: str, two: Any) -> TypeError:
    return TypeError(
        f"{name}() was given {ours}={one!r} and {theirs}={two!r}, two names of one option: give one of them"
    )


class Default(int):
    """The default int of an option that has two names, told apart from any int given, to refuse both at once."""


def translated(op: str, names: list[str], options: tuple, also: dict[str, Any]) -> tuple:
    """The values of an op's options, once those given by torch's names are among them.

    Raises:
        TypeError: an option is unknown, or was given by both names.
    """
    named = dict(zip(names, options, strict=True))
    for theirs, value in also.items():
        ours = TORCH_SPELLING.get(theirs)
        if ours not in named:
            raise TypeError(f"{op}() has no option {theirs!r}; it has {', '.join(named)}")
        if named[ours] is not None and named[ours] is not False and type(named[ours]) is not Default:
            raise given_twice(op, ours, named[ours], theirs, value)
        named[ours] = value
    return tuple(named.values())
