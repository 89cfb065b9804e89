"""Mistakes in the structure of a module, as changes to try on it: parts exchanged, moved or missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import combinations, permutations
from typing import Any

import numpy as np

from .. import functional, nn
from ..nn.module import Parameter
from ..nn.position import RotaryPositions, scaled_frequencies
from ..primitive import OPS
from .sides import Call, Side, attribute

NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d)
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
MAX_PARTS = 30  # most submodules of a module in which residuals are tried
# (mistake, context of the module or Change, whether it is of the whole model)
Found = tuple[str, "Callable | Change", bool]


def structures(ours: Side, theirs: Side, call: Call | None, name: str) -> Iterator[Found]:
    """Changes of structure to try on the module of `call`, or on the whole model; `name` is the first that differs."""
    module = call.module if call else ours.model
    yield from batch_norms(ours, module)
    yield from exchanged(module)
    yield from gates(module)
    yield from positions(ours.model)
    yield from unused(ours, theirs, name)
    if isinstance(module, nn.Module):
        yield from norms_moved(module)
        yield from residuals(module, call)


def batch_norms(ours: Side, module: Any) -> Iterator[Found]:
    """Batch normalisation in the other mode; its running statistics are restored."""
    layers = [m for m in module.modules() if isinstance(m, BATCH_NORMS)]
    if not layers:
        return
    now = "in training mode" if layers[0].training else "in evaluation mode"
    other = "in evaluation mode" if layers[0].training else "in training mode"

    @contextmanager
    def switched(_):
        kept = [(t, t.data.copy()) for m in layers for t in m.state_dict().values()]
        for name, t in ours.model.state_dict().items():  # undo earlier runs in training mode
            if any(t is other for other, _ in kept) and ("weights", name) in ours.record:
                t.copy_(ours.record["weights", name])
        with ExitStack() as stack:
            for m in layers:
                stack.enter_context(attribute(m, "training", not m.training))
            try:
                yield
            finally:
                for t, before in kept:
                    t.copy_(before)

    yield (
        f"batch normalisation is {now} in ours and {other} in the reference: call .eval() or .train() on both",
        switched,
        False,
    )


def exchanged(module: Any) -> Iterator[Found]:
    """Two submodules of one kind and shape exchanged, such as query and key; or two thirds of a packed projection."""
    for path, parent in module.named_modules():
        parts = [(name, m) for name, m in vars(parent).items() if isinstance(m, nn.Module)]
        for name, group in vars(parent).items():
            listed = [m for m in group if isinstance(m, nn.Module)] if isinstance(group, (list, tuple)) else []
            parts += [(f"{name}.{i}", m) for i, m in enumerate(listed)]
        for (a, x), (b, y) in combinations(parts, 2):
            if (
                type(x) is type(y)
                and {k: t.shape for k, t in x.state_dict().items()} == {k: t.shape for k, t in y.state_dict().items()}
                and x.parameters()
            ):
                where = f" of {path}" if path else ""
                yield f"{a} and {b}{where} are exchanged in ours", both(x, y), False
        for name, p in vars(parent).items():
            rows = p.shape[0] if isinstance(p, Parameter) and p.ndim else 0
            if name in ("in_proj_weight", "weight") and p.ndim == 2 and rows == 3 * p.shape[1]:
                bias = vars(parent).get(name.replace("weight", "bias"))
                for i, j in combinations(range(3), 2):
                    order = [0, 1, 2]
                    order[i], order[j] = j, i
                    yield (
                        f"{'qkv'[i]} and {'qkv'[j]} are exchanged in ours: the thirds {i + 1} and {j + 1} of {name}",
                        reordered([p] + [bias] * (bias is not None), 3, order),
                        False,
                    )


def both(x: Any, y: Any) -> Callable:
    """A context in which two modules have each other's forward function."""

    @contextmanager
    def swapped(_):
        first, second = x.forward, y.forward
        with attribute(x, "forward", second), attribute(y, "forward", first):
            yield

    return swapped


def gates(module: Any) -> Iterator[Found]:
    """The gates of recurrent layers in another order."""
    for m in module.modules():
        letters = {nn.LSTM: "ifgo", nn.LSTMCell: "ifgo", nn.GRU: "rzn", nn.GRUCell: "rzn"}.get(type(m), "")
        weights = [p for p in m.parameters() if letters and p.shape[0] == len(letters) * m.hidden_size]
        for order in permutations(range(len(letters))) if weights else ():
            if list(order) != sorted(order):
                text = ", ".join(letters[i] for i in order)
                yield (
                    f"the order of the gates: ours takes {', '.join(letters)}, and agrees when it "
                    f"takes its blocks as {text}",
                    reordered(weights, len(letters), order),
                    False,
                )


def reordered(weights: list, count: int, order: Any) -> Callable:
    """A context in which the row blocks of weights are permuted."""

    @contextmanager
    def turned(_):
        before = [w.data for w in weights]
        try:
            for w in weights:
                blocks = np.split(w.data, count)
                w.data = np.concatenate([blocks[i] for i in order])
            yield
        finally:
            for w, data in zip(weights, before):
                w.data = data

    return turned


def positions(model: Any) -> Iterator[Found]:
    """Rotary positions with another base."""
    held = [
        (m, name)
        for m in model.modules()
        for name in ("base", "theta", "rope_theta")
        if isinstance(vars(m).get(name), (int, float)) and not isinstance(vars(m)[name], bool)
    ]
    for base in (10_000.0, 1e6, 5e5, 1e5, 1e3, 100.0) if held else ():

        @contextmanager
        def rebased(_, base=base):
            with ExitStack() as stack:
                for m, name in held:
                    stack.enter_context(attribute(m, name, base))
                    if isinstance(m, RotaryPositions):
                        frequencies, _ = scaled_frequencies(m.dim, base, m.scaling)
                        stack.enter_context(attribute(m, "frequencies", frequencies.astype(m.frequencies.dtype)))
                yield

        if (now := vars(held[0][0])[held[0][1]]) != base:
            yield f"the base of the rotary positions is {now:g} in ours and {base:g} in the reference", rebased, True


def unused(ours: Side, theirs: Side, name: str) -> Iterator[Found]:
    """A normalisation before or after the module `name` that ours never runs, or that only the reference has."""
    ran = {id(c.module) for c in ours.calls}
    norms = [(path, m) for path, m in ours.model.named_modules() if isinstance(m, NORMS) and id(m) not in ran]
    found: list[tuple[str, Callable]] = [(f"{path}, which ours has but never runs,", m) for path, m in norms]
    weights = {
        of: x for (stage, of), x in theirs.record.items() if stage == "weights" and ("weights", of) not in ours.record
    }
    for of, x in weights.items():
        if of.endswith("weight") and x.ndim == 1:
            prefix = of.rpartition("weight")[0]
            bias = weights.get(f"{prefix}bias", np.zeros_like(x))
            for kind, make in (
                ("LayerNorm", lambda y, x=x, bias=bias, eps=1e-5: functional.layer_norm(y, x.shape, x, bias, eps)),
                ("LayerNorm", lambda y, x=x, bias=bias: functional.layer_norm(y, x.shape, x, bias, 1e-12)),
                ("RMSNorm", lambda y, x=x: functional.rms_norm(y, x.shape, x, 1e-6)),
            ):
                found.append((f"{prefix.rstrip('.')}, a {kind} that only the reference has,", make))
    last = next((c.module for c in ours.calls if c.name == name), None)
    for told, norm in found:

        def before(forward, x, *args, norm=norm, **kwargs):
            return forward(norm(x), *args, **kwargs)

        def after(forward, *args, norm=norm, **kwargs):
            return norm(forward(*args, **kwargs))

        if last is not None:
            yield f"{told} is missing in ours: it runs before {name}", changed(last, before), True
            yield f"{told} is missing in ours: it runs after {name}", changed(last, after), True


def changed(module: Any, run: Callable) -> Callable:
    """A context in which a module computes run(its forward function, *arguments)."""

    @contextmanager
    def context(_):
        forward = module.forward
        with attribute(module, "forward", lambda *args, **kwargs: run(forward, *args, **kwargs)):
            yield

    return context


def norms_moved(module: Any) -> Iterator[Found]:
    """Post-norm, x = norm(x + f(x)), changed into pre-norm, x = x + f(norm(x)), and the other way round."""
    parts = [m for m in vars(module).values() if isinstance(m, nn.Module)]
    norms = [m for m in parts if isinstance(m, NORMS)]
    if norms:
        yield (
            "ours normalises after each residual (post-norm), the reference before (pre-norm)",
            _norms_before(parts, norms),
            False,
        )
        yield (
            "ours normalises before each residual (pre-norm), the reference after (post-norm)",
            Change(_norms_after(norms)),
            False,
        )


def _norms_before(parts: list[Any], norms: list[Any]) -> Callable:
    """A context in which each norm runs on the input of the first part after the previous norm, not in its place."""

    @contextmanager
    def context(_):
        ran: list[Any] = []
        real = {id(m): m.forward for m in parts}
        waiting: Iterator[Any] = iter(norms)
        following = next(waiting)

        def run(x, *args, m, **kwargs):
            nonlocal following
            if any(m is n for n in norms):
                following = next(waiting, None)
                return x
            if following is not None and not any(r is following for r in ran):
                ran.append(following)
                normed = real[id(following)](x)
                args = tuple(normed if a is x else a for a in args)
                return real[id(m)](normed, *args, **kwargs)
            return real[id(m)](x, *args, **kwargs)

        with ExitStack() as stack:
            for m in parts:
                stack.enter_context(attribute(m, "forward", partial(run, m=m)))
            yield

    return context


def _norms_after(norms: list[Any]) -> Callable:
    """Let each norm but the first apply its predecessor to the whole sum, and run the last one at the end."""

    def change(scope):
        whole = scope.forward

        def run(*args, **kwargs):
            real, off = [m.forward for m in norms], 0.0

            def moved(x, *_, i):
                nonlocal off
                if i == 0:
                    return x
                normed = real[i - 1](x + off)
                off = normed - x
                return normed

            with ExitStack() as stack:
                for i, m in enumerate(norms):
                    stack.enter_context(attribute(m, "forward", partial(moved, i=i)))
                return real[-1](whole(*args, **kwargs) + off)

        return run

    return change


class Change:
    """A change that is not a context but a function: module -> its forward function."""

    def __init__(self, of: Callable):
        self.of = of


def residuals(module: Any, call: Call | None) -> Iterator[Found]:
    """A missing residual: the input of a submodule, or of the module, is added to an output or input inside."""
    given = [x for x in (call.inputs if call else []) if x.dtype.kind == "f" and x.ndim > 1]
    parts = list(module.named_modules())[1:]
    if len(parts) > MAX_PARTS:
        return
    children = [(name, m) for name, m in vars(module).items() if isinstance(m, nn.Module)]
    for i, (first, begin) in enumerate(children):
        for last, end in children[i:]:
            yield (
                f"ours lacks a residual inside: the input of {first} is not added to the output of {last}",
                bridged(begin, end),
                False,
            )
    for path, part in parts:
        for i, x in enumerate(given):

            def inside(forward, y, *args, x=x, **kwargs):
                return forward(y + x, *args, **kwargs)

            yield (
                f"ours lacks a residual inside: input {i + 1} of the module is not added to the input of {path}",
                changed(part, inside),
                False,
            )


def bridged(begin: Any, end: Any) -> Callable:
    """A context in which the input of one module is added to the output of another."""

    @contextmanager
    def context(_):
        kept, first = [], begin.forward

        def noting(x, *args, **kwargs):
            kept[:] = [x]
            return first(x, *args, **kwargs)

        with attribute(begin, "forward", noting):
            last = end.forward
            with attribute(end, "forward", lambda *args, **kwargs: last(*args, **kwargs) + kept[0]):
                yield

    return context


def softmax_axes() -> Iterator[tuple[str, Callable]]:
    """The softmax along another axis."""
    for axis in (-1, -2, 1, 0):
        yield (
            f"the softmax runs along another axis in ours than in the reference, where it is {axis}",
            lambda original, x, now, axis=axis: original(x, axis if now != axis else now),
        )


def head_orders() -> Iterator[tuple[str, Callable]]:
    """Heads split the other way: the width as (head, entry) or as (entry, head)."""
    options = OPS["scaled_dot_product_attention"]
    if options.inputs[:3] != ["q", "k", "v"]:
        return

    def turned(x):
        B, H, T, d = x.shape
        return np.ascontiguousarray(np.swapaxes(x, 1, 2).reshape(B, T, d, H).transpose(0, 3, 1, 2))

    def back(x):
        B, H, T, d = x.shape
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1).reshape(B, T, H, d).swapaxes(1, 2))

    for told, there, here in (
        ("(head, entry) in ours and as (entry, head)", turned, back),
        ("(entry, head) in ours and as (head, entry)", back, turned),
    ):
        yield (
            f"the width is split into heads as {told} in the reference",
            lambda original, q, k, v, *given, there=there, here=here: here(
                original(there(q), there(k), there(v), *given)
            ),
        )


def width_factor(factor: float, width: int) -> str:
    """A note on a factor that is the square root of the width, or its reciprocal; else empty."""
    root = math.sqrt(width)
    return f", which is {'√' if factor > 1 else '1/√'}{width}, the width" * bool(
        np.isclose(factor, root) or np.isclose(factor, 1 / root)
    )
