"""A Tensor is an array and, when somebody wants its gradient, the node of the tape that made it.

The tape is made of Nodes that point only at the Nodes they came from, never at Tensors.  So there are no reference
cycles, and a graph is freed the moment its last Tensor is dropped.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import heappop, heappush
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from . import backend
from .backend import Array, is_half

_recording: ContextVar[bool | Mode] = ContextVar("recording", default=True)
recording = _recording.get                      # is the tape running?  The only ambient state in the package: True, False, a Mode


class Mode(NamedTuple):
    """How ops run where somebody wants to cast what they are given (amp.py), or to look on (insight/recording.py)."""
    on: bool = True                             # is the tape running?
    given: Callable[[Any, tuple], tuple] = lambda op, inputs: inputs           # what an op is to compute with instead
    note: Callable[..., None] = lambda node, op, inputs, options, y: None      # called once a step is on the tape
    kernels: bool = True                        # may ops use fused kernels?

    def __bool__(self) -> bool:
        return self.on


def mode() -> Mode:
    """How ops run here: `record(mode()._replace(...))` changes one thing about it, and leaves what others asked for."""
    here = recording()
    return here if isinstance(here, Mode) else Mode(here)


@contextmanager
def record(how: bool | Mode) -> Iterator[None]:
    """Run the body with the tape switched on or off, or in another mode; also a decorator."""
    here = recording()
    if here is not True and here is not False and isinstance(how, bool):
        how = here._replace(on=how)
    token = _recording.set(how)
    try:
        yield
    finally:
        _recording.reset(token)


def no_grad():
    """Compute without recording: `with mg.no_grad(): ...`, or `@mg.no_grad()` above a function."""
    return record(False)


def enable_grad():
    """Record again inside a `no_grad` block."""
    return record(True)


_newest_first = count(0, -1)                    # order numbers count down, so that the smallest is the newest
_FREED = object()                               # what a node holds once a backward pass has let go of what it kept


class Node:
    """One step of the tape: where a value came from, and what is needed to carry its gradient back.

    `step.pull(node, saved, g, again)` gives one gradient (or None) per parent; a leaf has no step, and keeps its gradient.
    """
    __slots__ = ("order", "parents", "shape", "dtype", "step", "saved", "guards", "grad", "hooks", "__weakref__")


_new = object.__new__                           # to call a class costs more than all else that is done here


def new_node(shape, dtype, parents=(), step=None, saved=(), guards=()) -> Node:
    """A node, newer than all others."""
    node = _new(Node)
    node.order = next(_newest_first)
    node.shape, node.dtype, node.parents, node.step, node.saved, node.guards = shape, dtype, parents, step, saved, guards
    node.grad = node.hooks = None
    return node


class Tensor:
    """An array that can be differentiated.

    Args:
        data: a NumPy or CuPy array (kept, not copied), a Tensor (its array is shared), a number or a nested list.
            Python floats become float32 and Python ints int64; arrays keep their dtype.
        requires_grad: whether `backward` should leave a gradient here; floating dtypes only.
        dtype, device: convert to this dtype ("float32"), move to this device ("cpu" or "cuda").
    """
    __slots__ = ("data", "node", "version", "__weakref__")
    __array_ufunc__ = None                      # NumPy arrays on the left of an operator hand over to us,
    __array_priority__ = 1000                   # and so do CuPy's

    data: Array
    node: Node | None
    version: int                                # how often `data` was written into: see `copy_`

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None):
        self.data = as_array(data, dtype, device)
        self.node = None
        self.version = 0
        if requires_grad:
            self.requires_grad = True

    shape = property(lambda self: self.data.shape, doc="The sizes of the axes, a tuple.")
    ndim = property(lambda self: self.data.ndim, doc="The number of axes.")
    size = property(lambda self: self.data.size, doc="The number of entries.")
    dtype = property(lambda self: self.data.dtype, doc="The NumPy dtype.")
    device = property(lambda self: backend.of(self.data).name, doc='"cpu" or "cuda".')

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through this Tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        if self.node is not None and self.node.step is not None:
            raise ValueError("requires_grad can be set on a leaf only, not on the result of an op: use .detach() first")
        if on and self.dtype.kind in "iub":
            raise TypeError(f"a Tensor of dtype {self.dtype} has no gradient: make it floating, for example .astype('float32')")
        if on != self.requires_grad:
            self.node = new_node(self.data.shape, self.data.dtype) if on else None

    @property
    def is_leaf(self) -> bool:
        """Whether this Tensor was made by the user and not by an op on others."""
        return self.node is None or self.node.step is None

    @property
    def grad(self) -> Tensor | None:
        """What `backward` left here: d(loss)/d(self), a Tensor of the same shape; None before."""
        return self.node and self.node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self.node is None:
            if value is not None:
                raise ValueError("this Tensor does not require a gradient: set requires_grad = True first")
        elif value is not None and getattr(value, "shape", None) != self.shape:
            raise ValueError(f"the gradient of a Tensor of shape {self.shape} is one of that shape, not "
                             f"{getattr(value, 'shape', value)!r}")
        else:
            self.node.grad = value if value is None or isinstance(value, Tensor) else Tensor(value)

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf that requires one and that this Tensor was made from.

        Args:
            gradient: what to multiply from the left, of this Tensor's shape; may be left out for a single number.
            retain_graph: keep what the backward pass needs, so that it can be run again (default: `create_graph`).
            create_graph: record the backward pass itself, so that the gradients can be differentiated.

        Raises:
            RuntimeError: nothing here requires a gradient, the graph was freed by an earlier pass, or a Tensor the pass
                needs was written into since the forward pass.
        """
        for leaf, g in carry_back(self, gradient, None, create_graph, retain_graph).items():
            if leaf.grad is None:
                leaf.grad = g
            elif create_graph:
                leaf.grad = leaf.grad + g
            else:
                leaf.grad.data += g.data

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call `hook(gradient)` in each backward pass, once this Tensor's gradient is complete; what it returns, unless None,
        takes the gradient's place.  Returns a function that removes the hook again."""
        if self.node is None:
            raise RuntimeError("this Tensor does not require a gradient, so a hook on it would never be called")
        node = self.node
        node.hooks = [*(node.hooks or ()), hook]

        def remove() -> None:
            node.hooks = [other for other in node.hooks if other is not hook]
        return remove

    def detach(self) -> Tensor:
        """The same values, cut off from the tape."""
        return wrap(self.data, None)

    def copy_(self, values: Any) -> Tensor:
        """Write `values` (broadcast to this shape) into this leaf, in place, without recording.

        A backward pass through ops that had used the old values is refused from here on, instead of going wrong.
        """
        if not self.is_leaf:
            raise ValueError("only a leaf can be written into, not the result of an op: use .detach() first")
        check_own_places(self.data)
        values = values.data if isinstance(values, Tensor) else values
        self.data[...] = backend.of(self.data).xp.asarray(values, dtype=self.dtype)
        self.version += 1
        return self

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: on the CPU the array itself, or a copy in order of images that lie otherwise in memory
        (see backend/images.py), for some libraries read that as it comes; a copy from the GPU.
        """
        return backend.of(self.data).to_numpy(self.data)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        """The values for another library, `torch.from_dlpack(x)` say, without a copy (and without the tape)."""
        return self.data.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.data.__dlpack_device__()

    def item(self) -> Any:
        """The only entry, as a Python number."""
        if self.size != 1:
            raise ValueError(f"item() needs a Tensor with one entry, this one has shape {self.shape}")
        return self.numpy().item()

    def tolist(self) -> Any:
        """Nested Python lists of numbers."""
        return self.numpy().tolist()

    def to(self, target: Any) -> Tensor:
        """On another device ("cpu", "cuda"), or in another dtype ("float64"); differentiable."""
        if target in ("cpu", "cuda"):
            return self if target == self.device else ops.to_device(self, target)
        try:
            return ops.astype(self, backend.dtype_named(target if target is not None else "nothing"))
        except TypeError:
            raise ValueError(f'{target!r} is neither a device, "cpu" or "cuda", nor a dtype such as "float32"') from None

    def __reduce__(self) -> tuple:
        """Copies and pickles are leaves with a fresh place on the tape; their gradient is not taken along."""
        if not self.is_leaf:
            raise TypeError("only a leaf can be copied or pickled, not the result of an op: use .detach() first")
        return _rebuilt, (type(self), self.data, self.requires_grad)

    def __repr__(self) -> str:
        more = "" if self.node is None else ", requires_grad=True" if self.is_leaf else f", made by {self.node.step.name}"
        body = np.array2string(self.numpy(), separator=", ", prefix="Tensor(", threshold=200)
        return f"Tensor({body}, dtype={self.dtype}{more})"

    def _repr_html_(self) -> str | None:
        """What a notebook shows: the values, and a picture of the tape that made them; just the repr, if there is no tape."""
        if self.is_leaf:
            return None
        from . import insight
        return insight.picture(self)

    def __len__(self) -> int: return len(self.data)
    def __bool__(self) -> bool: return bool(self.numpy())
    def __float__(self) -> float: return float(self.numpy())
    def __int__(self) -> int: return int(self.numpy())
    def __iter__(self) -> Iterator[Tensor]: return (self[i] for i in range(len(self)))

    def __setitem__(self, index, value):
        raise TypeError("a Tensor is not assigned into, for its gradient would be lost: build a new one with "
                        "mg.where(mask, value, x), or write a whole leaf with x.copy_(values)")

    # Operators are sugar: each names the op it means.
    def __add__(self, other: Any) -> Tensor: return ops.add(self, other)
    def __radd__(self, other: Any) -> Tensor: return ops.add(other, self)
    def __sub__(self, other: Any) -> Tensor: return ops.subtract(self, other)
    def __rsub__(self, other: Any) -> Tensor: return ops.subtract(other, self)
    def __mul__(self, other: Any) -> Tensor: return ops.multiply(self, other)
    def __rmul__(self, other: Any) -> Tensor: return ops.multiply(other, self)
    def __truediv__(self, other: Any) -> Tensor: return ops.divide(self, other)
    def __rtruediv__(self, other: Any) -> Tensor: return ops.divide(other, self)
    def __pow__(self, other: Any) -> Tensor: return ops.power(self, other)
    def __rpow__(self, other: Any) -> Tensor: return ops.power(other, self)
    def __matmul__(self, other: Any) -> Tensor: return ops.matmul(self, other)
    def __rmatmul__(self, other: Any) -> Tensor: return ops.matmul(other, self)
    def __neg__(self) -> Tensor: return ops.negative(self)
    def __abs__(self) -> Tensor: return ops.abs(self)
    def __getitem__(self, index: Any) -> Tensor: return ops.take(self, index)
    def __eq__(self, other: Any) -> Tensor: return ops.equal(self, other)
    def __ne__(self, other: Any) -> Tensor: return ops.not_equal(self, other)
    def __lt__(self, other: Any) -> Tensor: return ops.less(self, other)
    def __le__(self, other: Any) -> Tensor: return ops.less_equal(self, other)
    def __gt__(self, other: Any) -> Tensor: return ops.greater(self, other)
    def __ge__(self, other: Any) -> Tensor: return ops.greater_equal(self, other)
    def __invert__(self) -> Tensor: return ops.equal(_mask("~", self), False)
    def __and__(self, other: Any) -> Tensor: return ops.multiply(_mask("&", self), _mask("&", other))
    def __or__(self, other: Any) -> Tensor: return ops.maximum(_mask("|", self), _mask("|", other))
    __rand__, __ror__ = __and__, __or__
    __hash__ = object.__hash__

    def sum(self, axis=None, keepdims=False, **also) -> Tensor:
        return ops.sum(self, axis, keepdims, **also) if also else ops.sum(self, axis, keepdims)      # the second begins sooner

    def mean(self, axis=None, keepdims=False, **also) -> Tensor: return ops.mean(self, axis, keepdims, **also)
    def max(self, axis=None, keepdims=False, **also) -> Tensor: return ops.max(self, axis, keepdims, **also)
    def min(self, axis=None, keepdims=False, **also) -> Tensor: return ops.min(self, axis, keepdims, **also)
    def var(self, axis=None, **also) -> Tensor: return ops.var(self, axis, **also)
    def argmax(self, axis=None, keepdims=False, **also) -> Tensor: return ops.argmax(self, axis, keepdims, **also)
    def reshape(self, *shape) -> Tensor: return ops.reshape(self, shape[0] if isinstance(shape[0], (tuple, list)) else shape)
    def transpose(self, *axes) -> Tensor: return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)
    def swapaxes(self, a: int, b: int) -> Tensor: return ops.swapaxes(self, a, b)
    def squeeze(self, axis: int | None = None) -> Tensor: return ops.squeeze(self, axis)
    def flatten(self, start_axis: int = 0) -> Tensor: return ops.flatten(self, start_axis)
    def astype(self, dtype: Any) -> Tensor: return ops.astype(self, dtype)
    def exp(self) -> Tensor: return ops.exp(self)
    def log(self) -> Tensor: return ops.log(self)
    def sqrt(self) -> Tensor: return ops.sqrt(self)
    def abs(self) -> Tensor: return ops.abs(self)
    def tanh(self) -> Tensor: return ops.tanh(self)
    def sigmoid(self) -> Tensor: return ops.sigmoid(self)
    def relu(self) -> Tensor: return ops.relu(self)
    def clip(self, low: float | None, high: float | None) -> Tensor: return ops.clip(self, low, high)
    def softmax(self, axis: int = -1, **also) -> Tensor: return ops.softmax(self, axis, **also)
    def log_softmax(self, axis: int = -1, **also) -> Tensor: return ops.log_softmax(self, axis, **also)
    T = property(lambda self: ops.transpose(self), doc="All axes in reverse order.")
    mT = property(lambda self: ops.swapaxes(self, -1, -2), doc="The last two axes swapped.")


ELSEWHERE = {                                   # what torch's users look for on a Tensor, and where it is
    "view": "x.reshape(…)", "permute": "x.transpose(…)", "unsqueeze": "mg.expand_dims(x, axis)", "numel": "x.size",
    "expand": "mg.broadcast_to(x, shape)", "cuda": 'x.to("cuda")', "cpu": 'x.to("cpu")', "float": 'x.to("float32")',
    "double": 'x.to("float64")', "half": 'x.to("float16")', "long": 'x.to("int64")', "clamp": "x.clip(low, high)",
    "masked_fill": "mg.where(mask, value, x)", "requires_grad_": "x.requires_grad = True", "t": "x.T"}


def _elsewhere(name: str, there: str) -> property:
    """An attribute that is not there, and says where to find what it is called elsewhere."""
    def tell(self: Tensor) -> None:
        raise AttributeError(f"Tensor has no attribute {name!r}: type {there}", name=name, obj=self)
    return property(tell)


for _name, _there in ELSEWHERE.items():         # (a class with __getattr__ would take longer to find the attributes it has)
    setattr(Tensor, _name, _elsewhere(_name, _there))


def _mask(operator: str, x: Any) -> Any:
    """x, known to hold booleans."""
    kind = getattr(x, "dtype", np.dtype(type(x)))
    if kind.kind != "b":
        raise TypeError(f"{operator} is for booleans, such as x > 0, not for {kind}")
    return x


def check_own_places(array: Array) -> None:
    """Refuse to write into an array that was broadcast: NumPy would refuse too, but CuPy writes into all that share a place.

    Raises:
        ValueError: several entries lie in one place.
    """
    if array.size and 0 in array.strides and any(n > 1 and not stride for n, stride in zip(array.shape, array.strides)):
        raise ValueError(f"an array of shape {tuple(array.shape)} that was broadcast cannot be written into, since entries share "
                         "their places: copy it first, mg.tensor(x)")


def _rebuilt(kind: type, data: Array, requires_grad: bool) -> Tensor:
    tensor = kind(data)
    tensor.requires_grad = requires_grad
    return tensor


def wrap(array: Array, node: Node | None) -> Tensor:
    """A Tensor around what is known to be an array: what ops use, since it checks nothing."""
    tensor = _new(Tensor)
    tensor.data, tensor.node, tensor.version = array, node, 0
    return tensor


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Array:
    """The bare array of whatever a user may give; Python floats, alone or in lists, become float32."""
    if isinstance(data, Tensor):
        data = data.data
        if dtype is None and device is None:
            return data
    if isinstance(data, (bool, int, float, str, list, tuple)) and not isinstance(data, np.generic):
        data = np.array([as_array(item) if isinstance(item, Tensor) else item for item in data]
                        if isinstance(data, (list, tuple)) else data)
        if data.dtype == np.float64 and dtype is None:
            dtype = np.float32
    here = backend.of(data)
    there = here if device is None else backend.get(device)
    if there is not here:
        data = there.xp.asarray(here.to_numpy(data))
    array = there.xp.asarray(data, dtype=dtype)
    if array.dtype.kind in "OUSMmc":
        raise TypeError(f"a Tensor holds numbers, not {array.dtype}: turn text into ids first, and complex numbers into pairs")
    return array


def tensor(data: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with its own copy of `data`: torch's spelling of `Tensor(...)`."""
    array = as_array(data, dtype, device)
    return Tensor(array.copy(), requires_grad)


def from_dlpack(other: Any) -> Tensor:
    """A Tensor on the memory of another library's array (torch, CuPy, JAX, …), without a copy."""
    on_cpu = other.__dlpack_device__()[0] == 1                                 # kDLCPU
    return Tensor(backend.get("cpu" if on_cpu else "cuda").xp.from_dlpack(other))


def grad(y: Tensor, xs: Tensor | Sequence[Tensor], gradient: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False) -> Any:
    """d(y)/d(x) for one x (gives a Tensor) or for each x of a sequence (gives a list); every `.grad` is left alone.

    What y does not depend on has gradient zero.  The other arguments are `Tensor.backward`'s.

    Raises:
        RuntimeError: y, or one of xs, does not require a gradient.
    """
    if isinstance(xs, Tensor):
        return grad(y, [xs], gradient, retain_graph, create_graph)[0]
    if not xs:
        return []
    for i, x in enumerate(xs):
        if x.node is None:
            raise RuntimeError(f"input {i} of grad does not require a gradient: make it with requires_grad=True")
    found = carry_back(y, gradient, [x.node for x in xs], create_graph, retain_graph)
    return [found[x.node] if x.node in found else Tensor(backend.of(x.data).xp.zeros_like(x.data)) for x in xs]


def carry_back(y: Tensor, gradient: Any, targets: list[Node] | None, create_graph: bool, retain_graph: bool | None,
               beyond: bool = True) -> dict[Node, Tensor]:
    """Carry a gradient from y back along the tape; return it where it was asked for: at `targets`, else at every leaf.

    `beyond` a target there may be another, and the gradient goes on through the first; a checkpoint wants it to stop there.

    Why the order matters: a node may pass its gradient on only when everything it was used in has reported, or part of
    the gradient is lost.  A node is always made after its parents; so visiting the newest first is such an order, and
    a heap of the nodes reached so far gives it without recursion.

    Unless the backward pass is itself to be differentiated, what flows are bare arrays: the same rules, no recording.
    """
    if y.node is None:
        raise RuntimeError("nothing here requires a gradient: make an input with requires_grad=True, outside mg.no_grad()")
    g = _seed(y, gradient)
    keep = create_graph if retain_graph is None else retain_graph
    wanted = None if targets is None else set(targets)
    oldest = 1 if wanted is None else max(node.order for node in wanted)       # what is older leads to no target
    pending: dict[Node, Any] = {y.node: g if create_graph else g.data}
    ours: set[Node] = set()                     # nodes whose pending array was made here, and so may be added to in place
    arrived: dict[Node, Tensor] = {}
    heap = [(y.node.order, y.node)]
    with record(create_graph):
        while heap:
            node = heappop(heap)[1]
            g = pending.pop(node)
            if isinstance(g, np.generic):       # NumPy gives scalars for 0-d arrays, and ops would take one for a number
                g = np.asarray(g)
            if g.dtype is not node.dtype:       # the one place promotion is undone, and a sum in float32 rounded to 16 bits
                g = ops.astype(g, node.dtype)
            if node.hooks:
                g = _hooked(node, g)
            if node in wanted if wanted is not None else node.step is None:
                arrived[node] = g if create_graph else wrap(g if node in ours and not node.hooks else _own(g, node), None)
                if not beyond:
                    continue
            if node.step is None or node.order >= oldest:
                continue
            if node.saved is _FREED:
                raise RuntimeError(f"the graph behind this {node.step.name} was already freed by a backward pass: "
                                   "run the forward pass again, or give the first backward retain_graph=True")
            for x, version in node.guards:
                if x.version != version:
                    raise RuntimeError(f"{node.step.name} needs the value of a Tensor of shape {x.shape} "
                                       "that was written into after the forward pass (by an optimiser step, or copy_): "
                                       "call backward before changing it")
            add = getattr(node.step, "add", None) if node.parents[0] in ours and len(node.parents) == 1 else None
            if add is not None and add(node.saved, g, pending[node.parents[0]]):
                pulled = ()                     # the gradient went to where others of its parent had been added up
            else:
                pulled = node.step.pull(node, node.saved, g, create_graph)
            if not keep:
                node.saved, node.guards = _FREED, ()
            for parent, gx in zip(node.parents, pulled):
                if gx is None or parent.order > oldest:
                    continue
                if gx.shape != parent.shape:    # the one place broadcasting is undone
                    gx = ops.sum_to(gx, parent.shape)
                if parent in pending and is_half(parent.dtype):
                    gx = ops.astype(gx, np.float32)          # several gradients of 16 bits are added up in float32
                    if is_half(pending[parent].dtype):
                        pending[parent] = ops.astype(pending[parent], np.float32)
                        if not create_graph:
                            ours.add(parent)
                if parent not in pending:
                    pending[parent] = gx
                    heappush(heap, (parent.order, parent))
                    if gx is not g and not create_graph and getattr(gx, "base", gx) is None:
                        ours.add(parent)
                elif parent in ours:
                    pending[parent] += gx
                else:
                    pending[parent] = pending[parent] + gx
                    if not create_graph:
                        ours.add(parent)
            pulled = gx = None                  # let the arrays go before the next step makes more
    return arrived


def _hooked(node: Node, g: Any) -> Any:
    """The gradient after the node's hooks have seen it, and perhaps put another in its place."""
    bare = not isinstance(g, Tensor)
    g = wrap(g, None) if bare else g
    for hook in node.hooks:
        changed = hook(g)
        if changed is not None and not (isinstance(changed, Tensor) and changed.shape == node.shape):
            raise ValueError(f"a hook must return None or a Tensor of shape {node.shape}, this one returned {changed!r:.80}")
        g = g if changed is None else changed
    return g.data if bare else g


def _own(g: Array, node: Node) -> Array:
    """A gradient at rest belongs to nobody else: clipping one in place must not change another."""
    return backend.of(g).xp.array(g, dtype=node.dtype)


def _seed(y: Tensor, gradient: Any) -> Tensor:
    """The gradient a backward pass starts from."""
    xp = backend.of(y.data).xp
    if gradient is None:
        if y.size != 1:
            raise RuntimeError(f"backward from a Tensor of shape {y.shape} needs a gradient of that shape: "
                               "reduce it to one number first (.sum(), .mean()), or give backward(gradient)")
        return wrap(xp.ones_like(y.data), None)
    gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if gradient.shape != y.shape:
        raise ValueError(f"the gradient has shape {gradient.shape}, but the Tensor it is for has shape {y.shape}")
    return gradient if gradient.dtype == y.dtype else ops.astype(gradient, y.dtype)


from . import ops  # noqa: E402  ops make Tensors and Tensors speak in ops: the one knot, tied here.
