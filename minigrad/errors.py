"""Errors that teach: which op it was, on what shapes, and what would help."""

from __future__ import annotations

from typing import Any

from . import places

ELSEWHERE = {  # what torch's users look for on a Tensor, and what to type instead
    "view": "x.reshape(…)",
    "permute": "x.transpose(…)",
    "unsqueeze": "mg.expand_dims(x, axis)",
    "numel": "x.size",
    "expand": "mg.broadcast_to(x, shape)",
    "cuda": 'x.to("cuda")',
    "cpu": 'x.to("cpu")',
    "float": 'x.to("float32")',
    "double": 'x.to("float64")',
    "half": 'x.to("float16")',
    "long": 'x.to("int64")',
    "clamp": "x.clip(low, high)",
    "masked_fill": "mg.where(mask, value, x)",
    "requires_grad_": "x.requires_grad = True",
    "t": "x.T",
}


def explained(error: Exception, op: Any, inputs: tuple, arrays: list, options: tuple) -> Exception:
    """The same kind of error, saying which op it was, on what shapes, and what would help."""
    if hasattr(error, "op"):  # the innermost op has already spoken
        return error
    shapes = [str(tuple(a.shape)) if hasattr(a, "shape") else repr(a) for a in arrays]
    given = [
        *shapes,
        *(
            f"{name}={value!r}"
            for name, value in zip(op.options, options, strict=True)
            if isinstance(value, (int, float, str, tuple, type(None)))
        ),
    ]
    hint = _hint(op.name, [a.shape for a in arrays if hasattr(a, "shape")])
    kind = next(kind for kind in (IndexError, ValueError, TypeError, OverflowError) if isinstance(error, kind))
    kind = ValueError if kind is OverflowError else kind  # of a number that the dtype does not hold
    told: Any = kind(f"{op.name}({', '.join(given)}): {hint or error}")
    told.op = op.name
    places.told(told, op.inputs, inputs)
    return told


def _hint(name: str, shapes: list[Any]) -> str | None:
    """What is wrong with these shapes and what to type, where that can be told."""
    if name == "matmul" and (len(shapes) < 2 or () in shapes):
        return "each operand needs an axis at least; with a single number multiply by *"
    if len(shapes) < 2:
        return None
    a, b = shapes[:2]
    if name in ("matmul", "linear") and a and b:
        if name == "linear" and a[-1] != b[-1]:
            return f"the last axis of x is {a[-1]} long, but the weight (out, in) takes {b[-1]} features"
        if name == "matmul" and a[-1] != b[-2 if len(b) > 1 else 0]:
            if len(b) == 1:
                fix = "; did you mean a.mT @ b?" if len(a) > 1 and a[-2] == b[0] else ""
                return f"the last axis of a ({a[-1]}) must be as long as b ({b[0]}){fix}"
            fix = "; did you mean a @ b.mT?" if a[-1] == b[-1] else ""
            return f"the last axis of a ({a[-1]}) must equal the last but one of b ({b[-2]}){fix}"
        if any(m != n and 1 not in (m, n) for m, n in zip(a[-3::-1], b[-3::-1])):
            stacks = f"the stacks' axes {a[:-2]} and {b[:-2]} do not broadcast"
            return f"{stacks}: from the right, each two must be equal, or one be 1"
    if name in ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum", "where"):
        for back, (m, n) in enumerate(zip(reversed(a), reversed(b)), 1):
            if m != n and 1 not in (m, n):
                insert = next(
                    (
                        f"; to line up the first axes write {long}{short}[..., None]"
                        for long, short, s, t in (("a with ", "b", a, b), ("b with ", "a", b, a))
                        if len(t) < len(s) and t == s[: len(t)]
                    ),
                    "",
                )
                return f"axis -{back} is {m} in one and {n} in the other; shapes are aligned from the right{insert}"
    return None
