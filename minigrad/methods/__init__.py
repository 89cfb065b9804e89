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


class Absent(property):
    """An attribute that does not exist, and says what to type instead."""


def _elsewhere(name: str, there: str) -> Absent:

    def refuse(self: Tensor) -> None:
        raise AttributeError(f"Tensor has no attribute {name!r}: type {there}", name=name, obj=self)

    return Absent(refuse, doc=f"Not here: type {there}.")


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
for _name in (*ops.__all__, *ops.LATER, *ops.TORCH_NAMES):
    if _name not in NO_METHODS and not hasattr(Tensor, _name):
        _op = ops.TORCH_NAMES.get(_name, _name)
        setattr(Tensor, _name, _Later(_name, _op) if _op in ops.LATER else getattr(ops, _op))
for _name, _line in (ANYWHERE | METHODS).items():  # (with a __getattr__ it would take longer to find what there is)
    if not hasattr(Tensor, _name):
        setattr(Tensor, _name, _elsewhere(_name, told(_name, _line)))
for _name in ("clamp", "t", *ANYWHERE, *ops.__all__, *ops.LATER, *ops.TORCH_NAMES):
    if _name not in NO_METHODS and not hasattr(Tensor, _name + "_"):
        _line = told(_name, ANYWHERE[_name]) if _name in ANYWHERE else f"x = x.{_name}(…)"
        setattr(Tensor, _name + "_", _elsewhere(_name + "_", _line))
