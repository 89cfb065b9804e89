"""The methods of a Tensor, put into the class when the ops exist, since ops make Tensors.

Every op is a method, `x.exp()` is `mg.exp(x)`, but for those in NO_METHODS.  Each is the op itself, not a function that
calls it, which saves a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .. import ops
from ..elsewhere import ANYWHERE, METHODS, told
from ..tensor import Tensor
from .conversions import Conversions
from .operators import Operators


class _Later:
    """A method that is an op whose file is imported when the op is first used."""

    def __init__(self, name: str, op: str):
        self.name, self.op = name, op

    def __get__(self, x: Any, kind: Any = None) -> Any:
        op = getattr(ops, self.op)
        setattr(Tensor, self.name, op)
        return op if x is None else op.__get__(x, kind)


class Absent:
    """An attribute that does not exist, and says what to type instead."""

    def __init__(self, name: str, there: str):
        self.name, self.there = name, there

    def __get__(self, x: Any, kind: Any = None) -> Any:
        if x is None:
            return self
        raise AttributeError(f"Tensor has no attribute {self.name!r}: type {self.there}", name=self.name, obj=x)


class Methods(Operators, Conversions):
    """What Tensors have besides the methods in tensor.py."""

    if TYPE_CHECKING:  # the ops
        astype: Any  # which precision.py takes from the class

        def __getattr__(self, name: str) -> Any: ...


NO_METHODS = frozenset(  # ops that create a Tensor, take several, or mean something else as torch's methods
    """
    arange array_equal atleast_1d atleast_2d atleast_3d block_diag broadcast_arrays broadcast_shapes broadcast_tensors
    bucketize cartesian_prod cat combinations column_stack concat concatenate cumulative_trapezoid dstack einsum equal
    eye full full_like hstack isin linspace logspace meshgrid ones ones_like pad rand rand_like randint randn randn_like
    randperm repeat stack tensordot trapezoid trapz tril_indices triu_indices vecdot vstack zeros zeros_like
    """.split()
)
for _kind in (Conversions, Operators):
    for _name, _method in vars(_kind).items():
        if _name not in ("__module__", "__doc__", "__dict__", "__weakref__"):
            setattr(Tensor, _name, _method)
_ops = (*ops.__all__, *ops.LATER, *ops.TORCH_NAMES)
_known = {*dir(Tensor), *NO_METHODS}
for _name in _ops:
    if _name not in _known:
        _op = ops.TORCH_NAMES.get(_name, _name)
        setattr(Tensor, _name, _Later(_name, _op) if _op in ops.LATER else getattr(ops, _op))
_known = set(dir(Tensor))
_absent = {f"{_name}_": f"x = x.{_name}(…)" for _name in ("clamp", "t", *_ops) if _name not in NO_METHODS}
_absent |= {f"{_name}_": told(_name, _line) for _name, _line in ANYWHERE.items() if _name not in NO_METHODS}
_absent |= {_name: told(_name, _line) for _name, _line in (ANYWHERE | METHODS).items()}
for _name, _there in _absent.items():  # (with a __getattr__ it would take longer to find what there is)
    if _name not in _known:
        setattr(Tensor, _name, Absent(_name, _there))
