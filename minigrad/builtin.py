"""The facts about an op of this package, stated once, where the op is defined.

@builtin(in_float32="halves and integers", autocast="float32")      how it treats dtypes
@primitive
def exp(xp, x, /):                                                  what it computes
    return xp.exp(x)

exp.defvjp(x=lambda g, y: g * y)                                    its derivative, as code
exp.in_symbols(x="g · y")                                           and as `explain` writes it

A user's op has only the decorator `primitive` or `definition`, and is named after its function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeVar

from .precision import computed_in_float32
from .primitive import OPS

F = TypeVar("F", bound=Callable)
FUNCTIONS: dict[str, Callable] = {}  # by name: the functions that are made of ops and have facts of their own


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
        name: of the op, where its function bears another, such as `_linear` behind `linear`.
        in_float32: what is computed in float32, and rounded to its dtype once: floats of 16 bits, whole numbers too
            (of which NumPy would compute exp of 8 bits in 16 and of 64 bits in 64), or floats of 16 bits only beside a
            Python float, which NumPy would round first.
        in_int64: whether whole numbers and booleans alone are computed in int64, as in a sum: in its own dtype a
            product of two matrices of int8 would wrap around at 128.
        autocast: what autocast casts Tensors of 16 and 32 bits to: to 16 bits in products, where nearly all the time
            goes; to float32 where sums would lose digits and powers would leave the range; to the dtype of the first
            input.  By default they stay, and the op computes in the wider dtype, if there are two.
        leading: of a function, how many arguments `in_float32="halves and integers"` is about: the first ones, which
            also decide on the dtype of the result.
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
