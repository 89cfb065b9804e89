"""A Tensor is an array and, if its gradient is wanted, the node of the tape that made it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, writes
from .backend import Array, is_half
from .errors import NO_NUMBERS, check_requires_grad
from .execution import recording, set_mode, switch_back, writing
from .tape import FREED, Node, awaited, new_node
from .values import Values, as_array, fitting, size_of

if TYPE_CHECKING:
    from .methods import Methods  # the operators, and what is an op by another name: see methods/
else:
    Methods = object

_new = object.__new__


class Tensor(Values, Methods):
    """An array that can be differentiated.

    Args:
        data: a NumPy or CuPy array (kept, not copied), a Tensor (its array is shared), a number or a nested list.  The
            result of an op is refused while the tape runs, for its gradient would be lost: x.detach() says so.
            Python floats become float32 and Python ints int64; arrays keep their dtype.
        requires_grad: whether `backward` should leave a gradient here; floating dtypes only.
        dtype, device: convert to this dtype ("float32"), move to this device ("cpu" or "cuda").
    """

    __slots__ = ("data", "node", "frozen", "__weakref__")
    __array_priority__ = 1000  # CuPy arrays on the left of an operator hand over to us

    astype: Callable[..., Any]  # an op, as are most methods: see methods/
    frozen: Node | None  # the node of a leaf while it is frozen: its .grad and hooks are kept there

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, device: str | None = None):
        if isinstance(data, Tensor) and type(self) is Tensor:  # (a new Parameter is a leaf, whatever it is made of)
            data._check_copied()
        self.data = as_array(data, dtype, device)
        self.node = self.frozen = None
        if requires_grad is not False:
            self.requires_grad = check_requires_grad(requires_grad)

    shape = property(lambda self: self.data.shape, doc="The sizes of the axes, a tuple.")
    ndim = property(lambda self: self.data.ndim, doc="The number of axes.")
    size = property(lambda self: size_of(self.data), doc="The number of entries; x.size(0) is torch's, of an axis.")
    dtype = property(lambda self: self.data.dtype, doc="The NumPy dtype.")
    device = property(lambda self: backend.of(self.data).name, doc='"cpu" or "cuda".')
    version = property(lambda self: writes.version(self.data), doc="How often its memory was written into.")

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow through this Tensor."""
        return self.node is not None

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        if self.node is not None and self.node.step is not None:
            raise ValueError("requires_grad can be set on a leaf only, not on the result of an op: use .detach() first")
        if on and self.dtype.kind in "iub":
            raise TypeError(
                f"a Tensor of dtype {self.dtype} has no gradient: make it floating, for example .astype('float32')"
            )
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
        """What `backward` left here: d(loss)/d(self), of the same shape; None before, and while the leaf is frozen."""
        return self.node and self.node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if self.node is None:
            if value is not None:
                raise ValueError("this Tensor does not require a gradient: set requires_grad = True first")
            if self.frozen is not None:
                self.frozen.grad = None
        elif value is not None and getattr(value, "shape", None) != self.shape:
            raise ValueError(
                f"the gradient of a Tensor of shape {self.shape} is one of that shape, not "
                f"{getattr(value, 'shape', value)!r}"
            )
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
        """Call `hook(gradient)` in each backward pass, once this Tensor's gradient is complete.

        What it returns, unless None, replaces the gradient.  Returns a function that removes the hook again.
        """
        if self.node is None:
            raise RuntimeError("this Tensor does not require a gradient, so a hook on it would never be called")
        node = self.node
        node.hooks = [*(node.hooks or ()), hook]

        def remove() -> None:
            node.hooks = [other for other in node.hooks or () if other is not hook]

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
        writes.check_own_places(self.data)
        array = fitting("copy_", values, self.data)
        writing(self.data)
        self.data[...] = array
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

    def __reduce__(self) -> tuple:
        """Copies and pickles are leaves with a fresh place on the tape; their gradient is not taken along."""
        if not self.is_leaf:
            raise TypeError("only a leaf can be copied or pickled, not the result of an op: use .detach() first")
        return _rebuilt, (type(self), self.data, self.requires_grad)


def _rebuilt(kind: type, data: Array, requires_grad: bool) -> Tensor:
    tensor = kind(data)
    tensor.requires_grad = requires_grad
    return tensor


def wrap(array: Array, node: Node | None) -> Tensor:
    """A Tensor around what is known to be an array: what ops use, since it checks nothing."""
    tensor = _new(Tensor)
    tensor.data, tensor.node, tensor.frozen = array, node, None
    return tensor


def shaped(x: Any, op: str = "") -> Any:
    """x as something with a shape, which numbers and lists are not: the Tensor or the array that an op makes of it."""
    if isinstance(x, Tensor) or hasattr(x, "shape") and x.dtype.kind not in NO_NUMBERS:
        return x
    try:
        return Tensor(x) if isinstance(x, (bool, int, float)) else as_array(x)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{op}: {error}" if op else str(error)) from None


def shape_of(x: Any, op: str = "") -> tuple:
    """The shape of a Tensor, an array, a number, or nested lists."""
    return x.shape if hasattr(x, "shape") else shaped(x, op).shape


def tensor(data: Any, dtype: Any = None, *, device: str | None = None, requires_grad: bool = False) -> Tensor:
    """A Tensor with its own copy of `data`: torch's spelling of `Tensor(...)`."""
    if isinstance(data, Tensor):
        data._check_copied()
    array = as_array(data, dtype, device)
    return Tensor(array.copy(), requires_grad)


def from_dlpack(other: Any) -> Tensor:
    """A Tensor on the memory of another library's array (torch, CuPy, JAX, …), without a copy."""
    return Tensor(backend.from_dlpack(other))


def grad(
    y: Tensor,
    xs: Tensor | Sequence[Tensor],
    gradient: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
) -> Any:
    """d(y)/d(x) for one x (gives a Tensor) or for each x of a sequence (gives a list); every `.grad` is left alone.

    What y does not depend on has gradient zero.  The other arguments are `Tensor.backward`'s.

    Raises:
        RuntimeError: y, or one of xs, does not require a gradient.
    """
    if isinstance(xs, Tensor):
        return grad(y, [xs], gradient, retain_graph, create_graph)[0]
    if not xs:
        return []
    nodes = []
    for i, x in enumerate(xs):
        if x.node is None:
            raise RuntimeError(f"input {i} of grad does not require a gradient: make it with requires_grad=True")
        nodes.append(x.node)
    found = carry_back(y, gradient, nodes, create_graph, retain_graph)
    return [found[x.node] if x.node in found else Tensor(backend.of(x.data).xp.zeros_like(x.data)) for x in xs]


def carry_back(
    y: Tensor,
    gradient: Any,
    targets: list[Node] | None,
    create_graph: bool,
    retain_graph: bool | None,
    beyond: bool = True,
) -> dict[Node, Tensor]:
    """Carry a gradient from y back along the tape; return it where it was asked for: at `targets`, else at every leaf.

    `beyond` a target there may be another, and the gradient goes on through the first; a checkpoint wants it to stop
    there, where it is not complete yet, so that no hook is called.

    Why the order matters: a node may pass its gradient on only when everything it was used in has reported, or part of
    the gradient is lost.  A node is always made after its parents; so visiting the newest first is such an order, and
    a heap of the nodes reached so far gives it without recursion.

    Unless the backward pass is itself to be differentiated, what flows are bare arrays: the same rules, no recording.
    """
    if y.node is None:
        raise RuntimeError(
            "nothing here requires a gradient: make an input with requires_grad=True, outside mg.no_grad()"
        )
    seed = _seed(y, gradient)
    keep = create_graph if retain_graph is None else retain_graph
    wanted = None if targets is None else set(targets)
    oldest = 1 if wanted is None else max(node.order for node in wanted)  # what is older leads to no target
    pending = (beyond and awaited.get() or Pending)(create_graph, oldest)
    found, on, partial = {}, recording(), wanted if wanted and not beyond else ()
    pending.add(y.node, seed if create_graph else seed.data, False)
    before = set_mode(create_graph if isinstance(on, bool) else on._replace(on=create_graph))
    try:
        while pending.heap:
            node, g = pending.newest()
            g = hooked(node, g) if node.hooks and node not in partial else g
            if node in wanted if wanted is not None else node.step is None:
                found[node] = pending.at_rest(node, g)
            if node.step is not None and node.order < oldest and node not in partial:
                if node.saved is FREED or node.order > writes.newest_write:  # (newer than all writes is unharmed)
                    writes.check_kept(node)
                pending.pull(node, g)
                if not keep:
                    node.saved = FREED
    finally:
        switch_back(before)
    return found


class Pending:
    """The gradients on their way: for each node reached so far, the sum of those that have arrived.

    Who owns a gradient: the first to reach a node may be anybody's, the seed, a hook's, what a user's rule returned, or
    one array for two parents.  It is added to in place, and kept by a leaf, only if it is in `ours`: if it was made
    here, or by a step that says of itself, as `fresh`, that it gives new arrays.
    """

    __slots__ = ("recorded", "oldest", "totals", "ours", "heap")

    def __init__(self, recorded: bool, oldest: int):
        self.recorded, self.oldest = recorded, oldest
        self.totals: dict[Node, Any] = {}
        self.ours: set[Node] = set()
        self.heap: list[tuple[int, Node]] = []

    def newest(self) -> tuple[Node, Any]:
        """The newest of the nodes reached, and its gradient, which is complete."""
        node = heappop(self.heap)[1]
        g = self.totals.pop(node)
        if isinstance(g, np.generic):  # NumPy gives scalars for 0-d arrays, and ops would take one for a number
            g = np.asarray(g)
        if g.dtype is not node.dtype:  # the one place promotion is undone, and a sum in float32 rounded to 16 bits
            g = _cast(g, node.dtype)
        return node, g

    def pull(self, node: Node, g: Any) -> None:
        """Carry the gradient of a node to its parents."""
        step, parents = node.step, node.parents
        if len(parents) == 1 and parents[0] in self.ours and step.add(node.saved, g, self.totals[parents[0]]):
            return  # added in place, which saves an array of the parent's size
        pulled = step.pull(node, node.saved, g, self.recorded)
        if not step.fresh:
            step.check(node, pulled)
        for parent, gx in zip(parents, pulled):
            if gx is not None and parent.order <= self.oldest:
                self.add(parent, gx, step.fresh and gx is not g)

    def add(self, node: Node, g: Any, fresh: bool) -> None:
        """Note what arrives at a node.  `fresh`: it is a new array, or a view of one that may be another's."""
        if g.shape != node.shape:  # the one place broadcasting is undone
            g = sum_to(g, node.shape)
        if node in self.totals:
            return self.add_up(node, g)
        self.totals[node] = g
        heappush(self.heap, (node.order, node))
        if fresh and not self.recorded and getattr(g, "base", g) is None:
            self.ours.add(node)

    def add_up(self, node: Node, g: Any) -> None:
        """Add to the sum of a node: in place where that is ours, which saves an array for each gradient."""
        total, ours = self.totals[node], node in self.ours
        if is_half(node.dtype):  # several gradients of 16 bits are added up in float32
            g = _cast(g, np.float32)
            if is_half(total.dtype):
                total, ours = _cast(total, np.float32), not self.recorded
        if ours:
            total += g
        else:
            total = total + g
        self.totals[node] = total
        if not self.recorded:
            self.ours.add(node)

    def at_rest(self, node: Node, g: Any) -> Tensor:
        """A gradient that is to be kept, as an array of its own: clipping one in place must not change another."""
        mine = node in self.ours and not self.recorded and not node.hooks
        return wrap(g, None) if mine else _own(g, node)


def sum_to(x: Any, shape: tuple[int, ...]) -> Any:
    """Undo broadcasting of an array or a Tensor: add up the axes that were stretched to reach x.shape from `shape`.

    Raises:
        ValueError: `shape` does not broadcast to x.shape.
    """
    lead = len(x.shape) - len(shape)
    if lead < 0 or [n for n, m in zip(shape, x.shape[lead:]) if n not in (1, m)]:
        raise ValueError(f"a gradient of shape {tuple(x.shape)} is not one for an input of shape {tuple(shape)}")
    stretched = tuple(i for i, n in enumerate(shape, lead) if n == 1 and x.shape[i] != 1)
    axes, shape = (*range(lead), *stretched), tuple(shape)
    if isinstance(x, Tensor):
        return x.sum(axes).reshape(shape)
    wide = _cast(x, np.float32) if is_half(x.dtype) else x
    total = backend.of(x).xp.reshape(wide.sum(axes), shape)
    return total if wide is x else _cast(total, x.dtype)


def _cast(x: Any, dtype: Any) -> Any:
    return x.astype(dtype) if isinstance(x, Tensor) else backend.cast(x, dtype)


def hooked(node: Node, g: Any) -> Any:
    """The gradient after the node's hooks have seen it, and perhaps put another in its place.  They may write into it.

    Raises:
        ValueError: a hook returned something else than None or a Tensor of the gradient's shape.
    """
    bare = not isinstance(g, Tensor)
    g = _own(g, node)
    for hook in node.hooks or ():
        changed = hook(g)
        if changed is not None and not (isinstance(changed, Tensor) and changed.shape == node.shape):
            raise ValueError(
                f"a hook must return None or a Tensor of shape {node.shape}, this one returned {changed!r:.80}"
            )
        g = g if changed is None else changed
    return g.data if bare else g


def _own(g: Any, node: Node) -> Tensor:
    """A gradient that is kept has memory of its own: clipping one in place must not change another."""
    array, where = (g.data, g.node) if isinstance(g, Tensor) else (g, None)
    return wrap(backend.of(array).xp.array(array, dtype=node.dtype), where)


def _seed(y: Tensor, gradient: Any) -> Tensor:
    """The gradient a backward pass starts from."""
    if gradient is None:
        if y.data.size != 1:
            raise RuntimeError(
                f"backward from a Tensor of shape {y.shape} needs a gradient of that shape: "
                "reduce it to one number first (.sum(), .mean()), or give backward(gradient)"
            )
        return wrap(backend.known[type(y.data)].xp.ones_like(y.data), None)
    gradient = gradient if isinstance(gradient, Tensor) else Tensor(gradient)
    if gradient.shape != y.shape:
        raise ValueError(f"the gradient has shape {gradient.shape}, but the Tensor it is for has shape {y.shape}")
    return gradient if gradient.dtype == y.dtype else _cast(gradient, y.dtype)
