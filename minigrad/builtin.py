"""The properties of an op of this package, stated once, where the op is defined.

@builtin(in_float32="halves and integers", autocast="float32")      its treatment of dtypes
@primitive
def exp(xp, x, /):                                                  its value
    return xp.exp(x)

exp.defvjp(x=lambda g, y: g * y)                                    its derivative, as code
exp.in_symbols(x="g · y")                                           and in symbols, for `explain`

A user's op has only the decorator `primitive` or `definition`, and is named after its function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from .precision import computed_in_float32
from .primitive import OPS

F = TypeVar("F", bound=Callable)
FUNCTIONS: dict[str, Callable] = {}  # the functions made of ops that are declared with @builtin, by name


def builtin(
    *,
    name: str | None = None,
    in_float32: Literal["halves", "halves and integers", "halves beside numbers"] | None = None,
    in_int64: bool = False,
    autocast: Literal["half", "float32", "first input"] | None = None,
    leading: int = 1,
) -> Callable[[F], F]:
    """Declare an op, or a function made of ops, to be one of the package.

    An op is then listed in OPS, uses the kernels of its name, and its rules are trusted to return new arrays, `g`, or
    views of `g`.

    Args:
        name: the name of the op, if its function has another, such as `_linear` behind `linear`.
        in_float32: the inputs that are computed in float32, with the result rounded to their dtype once: "halves" are
            16-bit floats; "halves and integers" also integers (for which NumPy would choose a dtype by their size);
            "halves beside numbers" 16-bit floats only beside a Python float, which NumPy would round first.
        in_int64: whether integers and booleans without floats are computed in int64, as in a sum; in its own dtype a
            product of two int8 matrices would wrap around at 128.
        autocast: the dtype to which autocast casts 16- and 32-bit Tensors: 16 bits in products, which take nearly all
            the time; float32 where sums would lose digits and powers would overflow; or the dtype of the first input.
            By default they are not cast, and the op computes in the wider dtype.
        leading: for a function, the number of first arguments to which `in_float32="halves and integers"` applies,
            which also determine the dtype of the result.
    """

    def declare(front: F) -> F:
        op = getattr(front, "op", None)
        if op is None:
            front = computed_in_float32(front, leading if in_float32 == "halves and integers" else 0, in_int64)
            FUNCTIONS[front.__name__] = op = front
        else:
            op.builtin, op.name = True, name or op.name
            op.in_float32, op.is_floating = in_float32 is not None, in_float32 == "halves and integers"
            op.only_numbers, op.in_int64 = in_float32 == "halves beside numbers", in_int64
            OPS[op.name] = op
        op.autocast = autocast
        return front

    return declare
