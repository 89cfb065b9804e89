"""Functions made of functions: those of derivatives.py, and checkpoint, which saves memory by computing twice."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import ref

import numpy as np

from . import backend, ops
from .backend import is_half
from .derivatives import hessian, jacobian, jvp, value_and_grad, vjp, vmap  # noqa: F401
from .execution import Mode, mode, record, recording
from .nn.module import Module
from .ops.random import global_generators
from .pytree import flatten
from .tape import Node, Step, new_node
from .tensor import Tensor, carry_back, wrap
from .writes import kept_arrays, written_since


def checkpoint(f: Callable[..., Any], *inputs: Any, **options: Any) -> Any:
    """f(*inputs, **options), keeping none of what lies between: the way back computes it again (Chen et al. 2016).

    `f` may be a Module, or any function of Tensors; weights it closes over get their gradients all the same.  What it
    returns is a Tensor, or a tree of Tensors, a tuple or a dict say.  The second time dropout, and all else that draws
    from a generator f can reach, draws the same numbers, and what f writes into, running statistics say, is what it was
    the first time, and afterwards what it is now: it changes once.

    Raises:
        TypeError: f returns no Tensor.
        RuntimeError: in the backward pass, if an array that f read was written into or replaced since, or if f gives
            another result the second time, since a loop variable, an entry of a dict, or train() and eval() changed.
    """
    outer, draws, begin, names = mode(), Draws(f, inputs), new_node((), None).order, _read_by_name(f)
    seen, looking = _looking_on(outer)
    written: dict[int, tuple] = {}  # what f writes into, and what was there before

    def writes(array: Any) -> None:
        written.setdefault(id(array), (array, array.copy()))
        outer.writes(array)

    with record(outer._replace(draws=draws.noted, writes=writes, **looking)):
        outputs = f(*inputs, **options)
    y, apart, coarsest = _as_one(outputs)
    kind = type(outputs).__name__
    del outputs
    outside = _entrances(y, begin)  # every node made since `begin` is the segment's own
    if not outside:
        return apart(y)
    y = wrap(y.data, None)  # lets go of what lies between: the arrays still there are from outside
    first, order = y.data, new_node((), None).order  # (the next op nearly always keeps this array too)
    read = [None if id(array()) in written else array() for array in seen]

    def rerun() -> Tensor:
        held = [(array, array.copy()) for array, _ in written.values()]  # to be put back afterwards
        for array, before in written.values():
            array[...] = before
        (seen, looking), begin = _looking_on(outer), new_node((), None).order
        with (
            draws.repeated() as repeat,
            record(
                mode()._replace(
                    on=True, draws=repeat, writes=lambda array: held.append((array, array.copy())), **looking
                )
            ),
        ):
            try:
                outputs = f(*inputs, **options)
                again, _, _ = _as_one(outputs)
            finally:
                for array, values in reversed(held):
                    array[...] = values
        used = None if written_since(first, order) else first  # (a user may write into it, and then it tells nothing)
        found = _replaced(read, seen) or _difference(used, again, coarsest)
        if (now := type(outputs).__name__) != kind:
            found = f"returned a {now} instead of a {kind}"
        if not found and set(_entrances(again, begin)) != set(outside):
            found = "used other Tensors that require a gradient"
        if found:
            now = _read_by_name(f)
            changed = " and ".join(name for name in names if now.get(name) != names[name])
            raise RuntimeError(
                f"checkpoint: run again for the backward pass, f {found}: {changed or 'something that it reads'} "
                "changed in between. Give f such things where it is made, lambda x, layer=layer: layer(x) or "
                "functools.partial(f, layer=layer), and call backward before train(), eval(), .to(), freezing, or a "
                "change of an attribute or a dict"
            )
        return again

    y.node = new_node(y.shape, y.dtype, outside, _Recompute(rerun), [array for array in read if array is not None])
    outer.note(y.node, y.node.step, inputs, (), y.data)
    return apart(y)


def _as_one(outputs: Any) -> tuple[Tensor, Callable[[Tensor], Any], np.dtype]:
    """What f returned as one Tensor, the function that takes it apart, and the dtype of the coarsest roundings in it.

    A Tensor is one; of a tree a vector is made with the entries of all that have a gradient.
    """
    if isinstance(outputs, Tensor):
        return outputs, lambda y: y, outputs.dtype
    leaves, rebuild = flatten(outputs)
    if not any(isinstance(leaf, Tensor) for leaf in leaves):
        raise TypeError(f"checkpoint: f must return a Tensor, or a tree of Tensors, this one returned {outputs!r:.60}")
    moving = [isinstance(leaf, Tensor) and leaf.requires_grad for leaf in leaves]
    kept = [None if it else leaf for leaf, it in zip(leaves, moving)]
    forms = [(leaf.shape, leaf.dtype) for leaf, it in zip(leaves, moving) if it]
    if not forms:
        return Tensor(0.0), lambda y: rebuild(kept), np.dtype("float32")
    dtype = np.result_type(*(dtype for _, dtype in forms))
    parts = [ops.astype(ops.flatten(leaf), dtype) for leaf, it in zip(leaves, moving) if it]

    def apart(y: Tensor) -> Any:
        pieces = iter(zip(ops.split(y, [math.prod(shape) for shape, _ in forms]), forms))
        return rebuild(_formed(*next(pieces)) if it else leaf for leaf, it in zip(kept, moving))

    return ops.concatenate(parts), apart, min((dtype for _, dtype in forms), key=lambda dtype: dtype.itemsize)


def _formed(piece: Tensor, form: tuple) -> Tensor:
    return ops.astype(ops.reshape(piece, form[0]), form[1])


def _looking_on(outer: Mode) -> tuple[list[ref], dict[str, Callable]]:
    """A list that grows by the arrays that ops are given, and what of a Mode makes it grow."""
    seen: list[ref] = []

    def read(*values: Any) -> None:
        arrays = [x.data if isinstance(x, Tensor) else x for x in values]
        seen.extend(ref(array) for array in kept_arrays(arrays))

    def given(op: Any, inputs: tuple) -> tuple:
        if recording():  # what is computed off the tape, running statistics say, may change
            read(*inputs)
        return outer.given(op, inputs)

    def note(node: Node | None, op: Any, inputs: tuple, options: tuple, y: Any) -> None:
        if node is not None:
            read(*options)
        outer.note(node, op, inputs, options, y)

    return seen, {"given": given, "note": note}


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one.dtype == other.dtype and bool(backend.of(one).xp.array_equal(one, other))


def _replaced(read: list, seen: list[ref]) -> str:
    """In words, which array a segment read the first time and another in its place the second time; "" if none."""
    for old, new in zip(read, seen) if len(read) == len(seen) else ():
        if old is not None and (new := new()) is not None and new is not old and not _equal(old, new):
            return f"read a Tensor of shape {tuple(old.shape)} with other values"
    return ""


def _difference(first: Any, again: Any, dtype: np.dtype) -> str:
    """In words, what a segment returned the second time instead of `first`; "" if that is the same but for roundings.

    Mostly both are the same to the bit.  Where threads add up in another order, they differ by a few roundings of a
    typical entry, far less than √eps of it.
    """
    again = again.data
    if first is None or _equal(first, again):
        return ""
    if (first.shape, first.dtype) != (again.shape, again.dtype):
        return f"returned shape {tuple(again.shape)} in {again.dtype} instead of {tuple(first.shape)} in {first.dtype}"
    one, other = (backend.of(a).to_numpy(a).astype(np.float64) for a in (first, again))
    sizes = np.abs(one[np.isfinite(one)])
    noise = 2.0 ** (-4 if is_half(dtype) else -11 if dtype.itemsize == 4 else -26)  # about √eps
    same = np.isclose(other, one, rtol=noise, atol=noise * np.median(sizes) if sizes.size else 0, equal_nan=True)
    return "" if same.all() else f"returned other values in {(~same).sum()} of {same.size} entries"


def _read_by_name(f: Any) -> dict[str, int]:
    """What stands behind the names that a function reads from outside, its closure's and globals, as each one's id."""
    f = getattr(f, "__func__", f)
    if not isinstance(f, FunctionType):
        return {}
    cells = zip(f.__code__.co_freevars, f.__closure__ or ())
    return {name: id(f.__globals__[name]) for name in f.__code__.co_names if name in f.__globals__} | {
        name: id(cell.cell_contents) for name, cell in cells if cell != CellType()
    }


class _Recompute(Step):
    """The step of a checkpoint: run the segment again, and send the gradient through what that made."""

    name, fresh = "checkpoint", True

    def __init__(self, again: Callable[[], Tensor]):
        self.again = again

    def pull(self, node: Node, saved: Any, g: Any, create_graph: bool) -> list:
        y = self.again()
        g = g if isinstance(g, Tensor) else wrap(g, None)
        found = carry_back(y, g, list(node.parents), create_graph, create_graph, beyond=False)
        return [
            found.get(parent) if create_graph or parent not in found else found[parent].data for parent in node.parents
        ]


def _entrances(y: Tensor, begin: int) -> list[Node]:
    """The nodes older than `begin` through which the tape of y is entered: inputs, and closed-over weights."""
    seen, entrances, stack = set(), [], [y.node] if y.node is not None else []
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            if node.order > begin:
                entrances.append(node)
            else:
                stack.extend(node.parents)
    return entrances


class Draws:
    """What a function draws random numbers from, as it was before, so that it can be run again with the same numbers.

    Ops say what they draw from (see `ops.random.generator`).  For a function that draws by itself, with NumPy or
    Python, the generators that it can reach are looked for: what it closes over, its globals, its arguments, the
    attributes of its Modules.
    """

    def __init__(self, *roots: Any):
        self.before = {id(g): (g, generator_state(g)) for g in generators(*roots)}
        self.fresh: list[Any] = []  # the generators that were made on the way, by ops given rng=None
        self.outer = mode().draws

    def noted(self, rng: Any, generator: Any) -> Any:
        """A generator that is about to be drawn from for the first time: `rng` is what was given for it, None say."""
        generator = self.outer(rng, generator)
        if rng is generator:
            self.before.setdefault(id(generator), (generator, generator_state(generator)))
        elif rng is None:
            self.fresh.append(generator_state(generator))
        return generator

    @contextmanager
    def repeated(self) -> Iterator[Callable]:
        """In the body all generators draw again what they drew; after it they are where they were."""
        now, fresh = [(g, generator_state(g)) for g, _ in self.before.values()], iter(self.fresh)

        def repeat(rng: Any, generator: Any) -> Any:
            if rng is None and (state := next(fresh, None)) is not None:
                set_generator_state(generator, state)
            return generator

        for g, state in self.before.values():
            set_generator_state(g, state)
        try:
            yield repeat
        finally:
            for g, state in now:
                set_generator_state(g, state)


MANY = 1000  # entries of a list or dict that are looked through: more are data
_GENERATORS = np.random.Generator, np.random.BitGenerator, np.random.RandomState, random.Random
_NOT_LOOKED_INTO = Tensor, np.ndarray, np.generic, str, bytes, int, float, type(None), type


def generators(*roots: Any) -> list[Any]:
    """The random generators reachable from these functions, Modules or collections, and the global ones."""
    found, stack = global_generators(), list(roots)
    seen = set(map(id, found))
    while stack:
        item = stack.pop()
        if id(item) in seen or isinstance(item, _NOT_LOOKED_INTO):
            continue
        seen.add(id(item))
        if isinstance(item, _GENERATORS):
            found.append(item)
        elif isinstance(item, (list, tuple, set, frozenset, dict)):
            if len(item) <= MANY:
                stack.extend(item.values() if isinstance(item, dict) else item)
        elif isinstance(item, FunctionType):
            stack.extend([item.__defaults__, item.__kwdefaults__])
            stack.extend(cell.cell_contents for cell in item.__closure__ or () if cell != CellType())
            if not item.__module__ or item.__module__.partition(".")[0] not in ("minigrad", "numpy"):
                stack.extend(_globals(item))
        elif isinstance(item, MethodType):
            stack.extend([item.__self__, item.__func__])
        elif isinstance(item, partial):
            stack.extend([item.func, item.args, item.keywords])
        elif not isinstance(item, ModuleType) and hasattr(item, "__dict__"):
            stack.extend([vars(item), *_own_methods(item)])
    return found


def _own_methods(item: Any) -> list[FunctionType]:
    """The methods of a user's own Module, which may draw from a global generator."""
    kinds = [kind for kind in type(item).__mro__ if not kind.__module__.startswith("minigrad")]
    methods = [f for kind in kinds for f in vars(kind).values() if isinstance(f, FunctionType)]
    return methods if isinstance(item, Module) else []


def _globals(function: FunctionType) -> list[Any]:
    """What a function, and functions in it, use by a global name, or by a name in a module."""
    names, codes = set(), [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes.extend(part for part in code.co_consts if isinstance(part, CodeType))
    names = sorted(names)  # so that generators are found in the same order in every process
    found = [function.__globals__[name] for name in names if name in function.__globals__]
    parts = [getattr(module, name, None) for module in found if isinstance(module, ModuleType) for name in names]
    return found + [part for part in parts if isinstance(part, _GENERATORS)]


def generator_state(generator: Any) -> Any:
    """Where a generator of random numbers is."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.get_state() if isinstance(generator, np.random.RandomState) else _bits(generator).state


def set_generator_state(generator: Any, state: Any) -> None:
    """Put a generator of random numbers where it was when `generator_state` was called."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        _bits(generator).state = state


def _bits(generator: Any) -> np.random.BitGenerator:
    return getattr(generator, "bit_generator", generator)
