"""Mistakes that a module may contain, as changes to try on it: another eps, activation, mask, scale or position."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from .. import backend
from ..backend import Kernel, host
from ..primitive import OPS
from ..tensor import Tensor
from .sides import Call, Side, attribute
from .structure import Change, head_orders, softmax_axes, structures

MAX_STRUCTURES = 200  # changes of structure to try at most


class Trial(NamedTuple):
    """A change, and the mistake it points to if it closes the gap; `whole` if it changes the whole model."""

    told: str
    change: Callable[[Any], Callable]  # a module -> its forward function with the change in force
    whole: bool = False


def trials(ours: Side, theirs: Side, call: Call | None, other: Call | None, name: str) -> Iterator[Trial]:
    """All changes to try on the module of `call`, or on the whole model.

    Args:
        other: the reference's call of the module.
        name: the first module or output that differs.
    """
    module = call.module if call else ours.model
    yield from other_ids(call, other)
    yield from other_eps(module)
    yield from other_activations()
    yield from other_masks(ours, call)
    yield from other_scales()
    yield from other_weights(module)
    yield Trial("dropout acts on attention in ours, even in evaluation mode", attention(keep=lambda *_: None))
    yield Trial("dropout acts in ours, even in evaluation mode", during(replaced("dropout", lambda _, x, *options: x)))
    yield from in_float32()
    for told, compute in softmax_axes():
        yield Trial(told, during(replaced("softmax", compute)))
    for told, compute in head_orders():
        yield Trial(told, during(replaced("scaled_dot_product_attention", compute)))
    for sign, told in (
        (1, "ours lacks the residual: the input is not added"),
        (-1, "ours adds the input once too often: the reference has no residual here"),
    ):
        yield Trial(
            told,
            lambda module, sign=sign: (
                lambda x, *args, forward=module.forward, **kwargs: forward(x, *args, **kwargs) + x * sign
            ),
        )
    for told, change, whole in islice(structures(ours, theirs, call, name), MAX_STRUCTURES):
        yield Trial(told, change.of if isinstance(change, Change) else during(change), whole)


def in_float32() -> Iterator[Trial]:
    """In a comparison in float64, a cast to float32 inside: ours without such a cast, or the reference with one."""
    yield Trial(
        "something is computed in float32 here, in ours: a conversion to float32 loses the digits",
        during(
            replaced(
                "astype",
                lambda original, x, dtype: (
                    x if np.dtype(dtype) == np.float32 and x.dtype == np.float64 else original(x, dtype)
                ),
            )
        ),
    )
    for name in ("softmax", "layer_norm", "cos", "sin", "exp", "matmul", "linear"):

        def rounded(original: Callable, *given: Any) -> Any:
            y = original(
                *(x.astype(np.float32).astype(x.dtype) if getattr(x, "dtype", None) == np.float64 else x for x in given)
            )
            return y.astype(np.float32).astype(y.dtype)

        yield Trial(f"something is computed in float32 here, in the reference: {name}", during(replaced(name, rounded)))
    yield Trial(
        "something is computed in float32 here, in the reference: the result",
        lambda module: (
            lambda *args, forward=(module.forward), **kwargs: (
                forward(*args, **kwargs).astype("float32").astype("float64")
            )
        ),
    )


def during(context: Callable) -> Callable:
    """A change that runs the module inside `context(module)`."""

    def change(module):
        forward = module.forward

        def run(*args, **kwargs):
            with context(module):
                return forward(*args, **kwargs)

        return run

    return change


def replaced(name: str, compute: Callable) -> Callable:
    """A context in which `compute(original, *inputs, *options)` is the kernel of the op of that name."""

    @contextmanager
    def context(module):
        before, op = host.kernel_float32(name), OPS[name]

        def original(*given):
            if before and (before.fits is None or before.fits(*given)):
                return before.forward(np, *given)[0]
            return op.function(np, *given) if op.on_arrays else op.function(*given)

        with host.computing(name, Kernel(lambda xp, *given: (compute(original, *given), None), _no_backward)):
            yield

    return context


def _no_backward(*_: Any) -> Any:
    raise NotImplementedError("changes are tried on the forward pass only")


def other_ids(call: Call | None, other: Call | None) -> Iterator[Trial]:
    """An embedding that looks up other rows: all shifted by an offset, or those that the reference looks up."""
    if call is None or not call.inputs or call.inputs[0].dtype.kind != "i":
        return

    def asking(ids):
        return lambda module: lambda _, *args, forward=module.forward, **kwargs: forward(ids, *args, **kwargs)

    ids = call.inputs[0]
    for offset in (1, 2, 3, -1, -2, -3):
        if (ids + offset).min() >= 0:
            yield Trial(
                f"the position offset: where ours looks up row {ids.min()}, the reference looks up row "
                f"{ids.min() + offset}, and so on",
                asking(ids + offset),
            )
    theirs = next((x for x in other.inputs if x.dtype.kind == "i"), None) if other else None
    if theirs is not None and not np.array_equal(ids, theirs):
        row = int(np.argmax((ids != theirs).any(-1))) if ids.ndim == theirs.ndim == 2 else 0
        yield Trial(
            f"the position offset, or the ids: where ours looks up {ids[row % len(ids)]}, the reference looks up "
            f"{theirs[row]}",
            asking(theirs),
        )


def other_eps(module: Any) -> Iterator[Trial]:
    """Another eps: the usual values first, then any power of ten."""
    now = sorted({value for *_, value in held_eps(module)})
    for eps in (1e-12, 1e-5, 1e-6, 1e-3, 1e-8, 1e-7, *(10.0**-k for k in (2, 4, 9, 10, 11, 13, 14, 15)), 0.0):
        if now != [eps]:
            told = (
                f"eps is {' or '.join(f'{value:g}' for value in now)} in ours"
                if now
                else "eps is something else in ours"
            )
            yield Trial(f"{told} and {eps:g} in the reference", during(partial(with_eps, eps)))


def held_eps(module: Any) -> list[tuple[Any, str, float]]:
    """(module, attribute, value) of each eps in a module."""
    return [
        (m, name, value)
        for m in module.modules()
        for name, value in vars(m).items()
        if "eps" in name and isinstance(value, float)
    ]


@contextmanager
def with_eps(eps: float, module: Any) -> Iterator[None]:
    """In the body, every eps in the module is this one, and so is that of every call of layer_norm."""
    with ExitStack() as stack:
        for m, name, _ in held_eps(module):
            stack.enter_context(attribute(m, name, eps))
        stack.enter_context(
            replaced("layer_norm", lambda compute, x, weight, bias, _: compute(x, weight, bias, eps))(module)
        )
        yield


# Activations are x · gate(x).
GATES = {
    "exact GELU": lambda x: 0.5 * (1 + backend.of(x).erf(x * math.sqrt(0.5))),
    "tanh GELU": lambda x: 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))),
    "SiLU": lambda x: 0.5 * (1 + np.tanh(x / 2)),
    "ReLU": lambda x: (x > 0).astype(x.dtype),
    "ReLU6": lambda x: (x > 0) * np.minimum(6 / np.where(x == 0, 1, np.abs(x)), 1),
    "quick GELU": lambda x: 0.5 * (1 + np.tanh(1.702 * x / 2)),
    "no activation": lambda x: np.ones_like(x),
}


def other_activations() -> Iterator[Trial]:
    """Each activation in place of each op that activations are made of."""
    for told, gate in GATES.items():
        for op, now in (("gelu", "GELU"), ("relu", "ReLU"), ("sigmoid", "SiLU"), ("tanh", "tanh")):
            if told == now:
                continue
            if op == "gelu":
                now = {"exact GELU": "tanh GELU", "tanh GELU": "exact GELU"}.get(told, now)

            def compute(_: Callable, x: np.ndarray, *options: Any, op: str = op, gate: Callable = gate) -> np.ndarray:
                if op == "gelu" and options[0] is not None:
                    x = x + options[0]  # its bias
                return gate(x) if op == "sigmoid" else x * gate(x)

            yield Trial(f"the activation is {now} in ours and {told} in the reference", during(replaced(op, compute)))


def attention(**changes: Callable) -> Callable:
    """A change of options of attention: each new value is `change(old value, q, k)`."""
    op = OPS["scaled_dot_product_attention"]
    options = [*op.inputs[3:], *op.options]

    def compute(original, q, k, v, *given):
        now = dict(zip(options, given, strict=True))
        now |= {name: change(now[name], q, k) for name, change in changes.items()}
        return original(q, k, v, *now.values())

    return during(replaced("scaled_dot_product_attention", compute))


def with_masks(module: Any, new: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """The forward function of a module with other masks among its arguments: boolean, or scores to be added."""
    forward = module.forward

    def other(x: Any) -> Any:
        if isinstance(x, np.ndarray) and x.dtype.kind == "b":
            return new(x)
        if isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.size and _is_additive_mask(x):
            return np.where(new(x == 0), 0, x.min()).astype(x.dtype)
        if isinstance(x, Tensor):
            array = x.numpy()
            return x if (changed := other(array)) is array else Tensor(changed)
        return x

    return lambda *args, **kwargs: forward(*map(other, args), **{name: other(x) for name, x in kwargs.items()})


def _is_additive_mask(x: np.ndarray) -> bool:
    """Whether x is a mask to add to scores: 0 where attention is allowed, else one negative or very negative number."""
    low = x.min()
    return x.max() <= 0 and bool(low <= -1e3 or low < 0 and np.isin(x, (0, low)).all())


def same_with(ours: Side, module: Any, forward: Callable) -> bool:
    """Whether our model gives the same results if a module has this forward function."""
    try:
        with attribute(module, "forward", forward):
            record = ours.observed()[0]
    except Exception:  # a change that does not run does not give the same results
        return False
    return all(np.array_equal(record[key], x) for key, x in ours.observed()[0].items())


def other_masks(ours: Side, call: Call | None) -> Iterator[Trial]:
    """Masks that are missing, ignored or of another strength, on either side."""
    yield from closing(lambda T, S: np.tri(T, S, S - T, dtype=bool), "the causal mask is missing in ours")
    yield Trial("ours is causal, the reference is not", attention(is_causal=lambda *_: False))
    given = ours.inputs.get("attention_mask")
    if given is not None:

        def unmasked(model):
            forward = model.forward
            return lambda *args, **kwargs: forward(*args, **{**kwargs, "attention_mask": np.ones_like(given)})

        ignored = "in ours" if same_with(ours, ours.model, unmasked(ours.model)) else ""
        if not ignored and call is not None and same_with(ours, call.module, with_masks(call.module, np.ones_like)):
            ignored = f"in {call.name} of ours"
        yield Trial("the reference ignores attention_mask, ours does not", unmasked, whole=True)
        yield from closing(
            lambda T, S: given[:, None, None, :].astype(bool),
            f"the mask is ignored: attention_mask changes nothing {ignored}"
            if ignored
            else "the mask value: what ours adds to the scores of padding does not mask them",
        )
    yield Trial(
        "the mask is inverted in ours: it masks the positions that the reference allows",
        attention(
            mask=lambda mask, q, k: (
                mask
                if mask is None
                else ~mask
                if mask.dtype == bool
                else np.where(mask < -1e3, 0, np.finfo(q.dtype).min / 2).astype(q.dtype)
            )
        ),
    )
    yield Trial(
        "the mask is inverted in ours: it masks the positions that the reference allows",
        lambda module: with_masks(module, np.logical_not),
    )
    for value in (float(np.finfo(np.float32).min), -1e9, -1e4, -1e3, -100.0, -10.0, -1.0):

        def weaker(mask, q, k, value=value):
            if mask is None:
                return None
            return (np.where(mask, 0, value) if mask.dtype == bool else np.where(mask < -1e3, value, mask)).astype(
                q.dtype
            )

        yield Trial(
            f"the mask value: the reference adds {value:g} to the scores that ours masks", attention(mask=weaker)
        )


def closing(allowed: Callable[[int, int], np.ndarray], told: str) -> Iterator[Trial]:
    """Mask the scores (…, T, S) where `allowed(T, S)` is False: in attention, or in a softmax that is written out."""

    def closed(mask, q, k):
        seen = allowed(q.shape[-2], k.shape[-2])
        if mask is None or mask.dtype == bool:
            return seen if mask is None else seen & mask
        return np.where(seen, mask, np.finfo(q.dtype).min / 2)

    def compute(original, x, *options):
        return original(np.where(allowed(*x.shape[-2:]), x, np.finfo(x.dtype).min / 2) if x.ndim == 4 else x, *options)

    yield Trial(told, attention(mask=closed))
    yield Trial(told, during(replaced("softmax", compute)))


def other_scales() -> Iterator[Trial]:
    """Another scale of the scores of attention."""
    for told, scale in (
        ("1 (none)", lambda q: 1.0),
        ("1/√d, d the size of a head", lambda q: 1 / math.sqrt(q.shape[-1])),
        ("1/d, d the size of a head", lambda q: 1 / q.shape[-1]),
        ("1/√D, D the size of all heads", lambda q: 1 / math.sqrt(q.shape[-1] * q.shape[-3])),
    ):
        yield Trial(
            f"the scores of attention are scaled by {told} in the reference, by something else in ours",
            attention(scale=lambda _, q, k, scale=scale: scale(q)),
        )


def other_weights(module: Any) -> Iterator[Trial]:
    """Each square matrix transposed, since a missing transpose of one raises no error."""
    for name, p in module.named_parameters():
        if p.ndim == 2 and p.shape[0] == p.shape[1]:
            yield Trial(f"{name} is used transposed in ours", during(partial(turned, p)))


@contextmanager
def turned(weight: Any, _: Any) -> Iterator[None]:
    """In the body, the weight is transposed."""
    before, weight.data = weight.data, np.ascontiguousarray(weight.data.T)
    try:
        yield
    finally:
        weight.data = before
