"""A Tensor is an array and, when somebody wants its gradient, the node of the tape that made it."""
from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from . import backend, tape
from .backend import Array, is_half
from .tape import FREED, Node, new_node, no_grad, recording, writing

_new = object.__new__                           # calling a class costs more than all else that is done here


class _ForNumPy:
    """NumPy asks the class how it is to call ufuncs; CuPy asks the Tensor, and hears that operators are left to us."""
    def __get__(self, tensor: Tensor | None, kind: type) -> Callable | None:
        return ops.numpy_protocol.ufunc if tensor is None else None


def _in_place(method: Callable, symbol: str) -> Callable:
    """The operator `x ⊕= y`.  Where nothing is recorded it writes into the leaf x; else x becomes the name of a new Tensor.

    Raises:
        RuntimeError: a gradient would be lost: x is a leaf that requires one, or a Buffer, and the tape runs; or x is the
            result of an op, and it does not.
        ValueError: the result has another shape than x.
        TypeError: the result is floating and x holds whole numbers.
    """
    def write(self: Tensor, other: Any) -> Tensor:
        on = recording()
        recorded = on and (self.node is not None or isinstance(other, Tensor) and other.node is not None)
        if recorded and not self.is_leaf or recorded and self.node is None and type(self) is Tensor:
            return method(self, other)          # `total += loss`: the sum is on the tape, and nothing is lost
        if not self.is_leaf:
            raise RuntimeError(f"x {symbol}= y inside no_grad would take x, the result of {self.node.step.name}, off the tape: "
                               f"type x = x.detach() {symbol} y, or do it outside no_grad")
        if recorded:
            raise RuntimeError(f"x {symbol}= y would write into a {type(self).__name__} that is a leaf and lose its gradient: "
                               f"do it inside `with mg.no_grad():`, or type x.copy_(values); a new Tensor is x {symbol} y")
        with no_grad():
            values = method(self, other)
        values = as_array(values)
        if values.shape != self.shape:
            raise ValueError(f"x {symbol}= y: the result has shape {values.shape}, but it is to be written into x of shape "
                             f"{self.shape}: type x = x {symbol} y for a new Tensor")
        if backend.is_float(values.dtype) and not backend.is_float(self.dtype):
            raise TypeError(f"x {symbol}= y: the result is {values.dtype}, which x, of {self.dtype}, cannot hold: type "
                            f"x = x {symbol} y for a new Tensor")
        return self.copy_(values)
    return write


def _of_arrays(function: Callable) -> Callable:
    """An operator that Tensors lack, on what they hold."""
    def apply(self: Tensor, other: Any) -> Any:
        if recording() and any(isinstance(x, Tensor) and x.node is not None for x in (self, other)):
            raise TypeError(f"{function.__name__} has no gradient here: type x.detach()")
        return function(self.data, as_array(other) if isinstance(other, (Tensor, list, tuple)) else other)
    return apply


class Tensor:
    """An array that can be differentiated.

    Args:
        data: a NumPy or CuPy array (kept, not copied), a Tensor (its array is shared), a number or a nested list.
            Python floats become float32 and Python ints int64; arrays keep their dtype.
        requires_grad: whether `backward` should leave a gradient here; floating dtypes only.
        dtype, device: convert to this dtype ("float32"), move to this device ("cpu" or "cuda").
    """
    __slots__ = ("data", "node", "frozen", "__weakref__")
    __array_ufunc__ = _ForNumPy()               # NumPy arrays on the left of an operator hand over to us,
    __array_priority__ = 1000                   # and so do CuPy's

    data: Array
    node: Node | None
    frozen: Node | None                         # the node of a leaf while it is frozen: its .grad and hooks are kept there

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None):
        self.data = as_array(data, dtype, device)
        self.node = self.frozen = None
        if requires_grad:
            self.requires_grad = True

    shape = property(lambda self: self.data.shape, doc="The sizes of the axes, a tuple.")
    ndim = property(lambda self: self.data.ndim, doc="The number of axes.")
    size = property(lambda self: self.data.size, doc="The number of entries.")
    dtype = property(lambda self: self.data.dtype, doc="The NumPy dtype.")
    device = property(lambda self: backend.of(self.data).name, doc='"cpu" or "cuda".')
    version = property(lambda self: tape.version(self.data), doc="How often its memory was written into.")

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
        if on and self.node is None:
            node, self.frozen = self.frozen, None
            alike = node is not None and (node.shape, node.dtype) == (self.data.shape, self.data.dtype)
            self.node = node if alike else new_node(self.data.shape, self.data.dtype)
        elif not on and self.node is not None:
            self.node, self.frozen = None, self.node

    @property
    def is_leaf(self) -> bool:
        """Whether this Tensor was made by the user and not by an op on others."""
        return self.node is None or self.node.step is None

    @property
    def grad(self) -> Tensor | None:
        """What `backward` left here: d(loss)/d(self), a Tensor of the same shape; None before, and while the leaf is frozen."""
        return self.node and self.node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self.node is None:
            if value is not None:
                raise ValueError("this Tensor does not require a gradient: set requires_grad = True first")
            if self.frozen is not None:
                self.frozen.grad = None
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
            RuntimeError: nothing here requires a gradient, the graph was freed by an earlier pass, or an array the pass
                needs was written into since the forward pass, by whatever name.
        """
        for leaf, g in carry_back(self, gradient, None, create_graph, retain_graph).items():
            if leaf.grad is None:
                leaf.grad = g
            elif create_graph:
                leaf.grad = leaf.grad + g
            else:
                writing(leaf.grad.data)
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
        values = backend.of(self.data).xp.asarray(values, dtype=self.dtype)
        writing(self.data)
        self.data[...] = values
        return self

    def hold(self, array: Array) -> None:
        """Let this leaf hold another array, on another device or of another dtype; its .grad and hooks stay.

        (Where the shape is another one, they go.)
        """
        self.data, node = array, self.node or self.frozen
        if node is not None and node.shape != array.shape:
            on, self.node, self.frozen = self.requires_grad, None, None
            self.requires_grad = on
        elif node is not None:
            node.dtype = array.dtype
            if node.grad is not None and (node.grad.dtype, node.grad.device) != (array.dtype, self.device):
                node.grad = Tensor(node.grad.detach(), dtype=array.dtype, device=self.device)

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array: on the CPU the array itself, or a copy in order of images that lie otherwise in memory
        (see backend/images.py), for some libraries read that as it comes; a copy from the GPU.
        """
        return backend.of(self.data).to_numpy(self.data)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """np.asarray(x): like `numpy()`, the values without the tape, since they were asked for."""
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_function__(self, function: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        return ops.numpy_protocol.function(function, args, kwargs)

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

    # Operators are sugar: each names the op it means.  (In place: see `_in_place`.)
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
    def __getitem__(self, index: Any) -> Tensor: return ops.pick(self, index)
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
    __iadd__, __isub__, __imul__ = _in_place(__add__, "+"), _in_place(__sub__, "-"), _in_place(__mul__, "*")
    __itruediv__, __ipow__, __imatmul__ = _in_place(__truediv__, "/"), _in_place(__pow__, "**"), _in_place(__matmul__, "@")
    __iand__, __ior__ = _in_place(__and__, "&"), _in_place(__or__, "|")
    __ifloordiv__ = _in_place(_of_arrays(operator.floordiv), "//")
    __imod__ = _in_place(_of_arrays(operator.mod), "%")

    def sum(self, axis=None, keepdims=False, **also) -> Tensor:
        return ops.sum(self, axis, keepdims, **also) if also else ops.sum(self, axis, keepdims)      # the second begins sooner

    def mean(self, axis=None, keepdims=False, **also) -> Tensor: return ops.mean(self, axis, keepdims, **also)
    def max(self, axis=None, keepdims=False, **also) -> Tensor: return ops.max(self, axis, keepdims, **also)
    def min(self, axis=None, keepdims=False, **also) -> Tensor: return ops.min(self, axis, keepdims, **also)
    def var(self, axis=None, **also) -> Tensor: return ops.var(self, axis, **also)
    def argmax(self, axis=None, keepdims=False, **also) -> Tensor: return ops.argmax(self, axis, keepdims, **also)
    def reshape(self, *shape) -> Tensor: return ops.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes) -> Tensor:
        """Two axes change places, as in torch; of more, or of a tuple, all in that order, as in NumPy; of none, all reversed."""
        if len(axes) == 2:
            return ops.swapaxes(self, *axes)
        return ops.transpose(self, axes[0] if len(axes) == 1 else axes or None)

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
    tensor.data, tensor.node, tensor.frozen = array, node, None
    return tensor


def as_array(data: Any, dtype: Any = None, device: str | None = None) -> Array:
    """The bare array of whatever a user may give; Python floats, alone or in lists, become float32."""
    if isinstance(data, Tensor):
        data = data.data
        if dtype is None and device is None:
            return data
    if isinstance(data, (bool, int, float, str, list, tuple)) and not isinstance(data, np.generic):
        try:
            data = np.array(_without_tensors(data) if isinstance(data, (list, tuple)) else data)
        except ValueError as error:
            if "inhomogeneous" not in str(error):
                raise
            raise ValueError(f"a Tensor is made of lists of one length at each depth, but in {data!r:.60} they differ: fill the "
                             "shorter ones up") from None
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


def _without_tensors(items: Any) -> Any:
    """A nested list with arrays in the place of its Tensors, which must not be on the tape, for an array is not."""
    if isinstance(items, (list, tuple)):
        return [_without_tensors(item) for item in items]
    if isinstance(items, Tensor) and items.node is not None and recording():
        raise TypeError("a list of Tensors that require a gradient would lose it when made one array: type mg.stack(xs), or "
                        "mg.concatenate(xs), or give x.detach() for each")
    return as_array(items) if isinstance(items, Tensor) else items


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

    Who owns a gradient: the first to reach a node may be anybody's, the seed, a hook's, what a user's rule returned, or one
    array for two parents.  It is added to in place, and kept by a leaf, only if it is in `ours`: if it was made here, or by
    a step that says of itself that it gives new arrays.
    """
    if y.node is None:
        raise RuntimeError("nothing here requires a gradient: make an input with requires_grad=True, outside mg.no_grad()")
    g = _seed(y, gradient)
    keep = create_graph if retain_graph is None else retain_graph
    wanted = None if targets is None else set(targets)
    oldest = 1 if wanted is None else max(node.order for node in wanted)       # what is older leads to no target
    pending: dict[Node, Any] = {y.node: g if create_graph else g.data}
    ours: set[Node] = set()
    arrived: dict[Node, Tensor] = {}
    heap = [(y.node.order, y.node)]
    before = tape.switch(create_graph)
    try:
        while heap:
            node = heappop(heap)[1]
            g = pending.pop(node)
            if isinstance(g, np.generic):       # NumPy gives scalars for 0-d arrays, and ops would take one for a number
                g = np.asarray(g)
            if g.dtype is not node.dtype:       # the one place promotion is undone, and a sum in float32 rounded to 16 bits
                g = ops.astype(g, node.dtype)
            if node.hooks:
                g = _hooked(node, g)
            step = node.step
            if node in wanted if wanted is not None else step is None:
                arrived[node] = _own(g, node) if create_graph or node.hooks or node not in ours else wrap(g, None)
                if not beyond:
                    continue
            if step is None or node.order >= oldest:
                continue
            if node.saved is FREED or node.order > tape.newest_write:
                check_kept(node)
            parents = node.parents
            if len(parents) == 1 and parents[0] in ours and step.add(node.saved, g, pending[parents[0]]):
                pulled = ()                     # the gradient went to where others of its parent had been added up
            else:
                pulled = step.pull(node, node.saved, g, create_graph)
                if not step.fresh:
                    step.check(node, pulled)
            if not keep:
                node.saved = FREED
            for parent, gx in zip(parents, pulled):
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
                    if step.fresh and gx is not g and not create_graph and getattr(gx, "base", gx) is None:
                        ours.add(parent)
                elif parent in ours:
                    pending[parent] += gx
                else:
                    pending[parent] = pending[parent] + gx
                    if not create_graph:
                        ours.add(parent)
            pulled = gx = None                  # let the arrays go before the next step makes more
    finally:
        tape.switch_back(before)
    return arrived


def check_kept(node: Node) -> None:
    """Refuse to go back through a step whose values are gone or are no longer what they were.

    Raises:
        RuntimeError: a backward pass has freed them, or they were written into.
    """
    if node.saved is FREED:
        raise RuntimeError(f"the graph behind this {node.step.name} was already freed by a backward pass: "
                           "run the forward pass again, or give the first backward retain_graph=True")
    if (array := tape.changed(node)) is not None:
        raise RuntimeError(f"{node.step.name} needs the value of a Tensor of shape {tuple(array.shape)} that was "
                           "written into after the forward pass (by an optimiser step, copy_, or x += y, by whatever name): "
                           "call backward before changing it")


def _hooked(node: Node, g: Any) -> Any:
    """The gradient after the node's hooks have seen it, and perhaps put another in its place.  They may write into it.

    Raises:
        ValueError: a hook returned something else than None or a Tensor of the gradient's shape.
    """
    bare = not isinstance(g, Tensor)
    g = _own(g, node)
    for hook in node.hooks:
        changed = hook(g)
        if changed is not None and not (isinstance(changed, Tensor) and changed.shape == node.shape):
            raise ValueError(f"a hook must return None or a Tensor of shape {node.shape}, this one returned {changed!r:.80}")
        g = g if changed is None else changed
    return g.data if bare else g


def _own(g: Any, node: Node) -> Tensor:
    """A gradient at rest belongs to nobody else: clipping one in place must not change another."""
    array, where = (g.data, g.node) if isinstance(g, Tensor) else (g, None)
    return wrap(backend.of(array).xp.array(array, dtype=node.dtype), where)


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
