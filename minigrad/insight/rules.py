"""The derivative rule of a step in symbols: those of its op, or a description if the op has none."""

from __future__ import annotations

from typing import Any

OTHER_STEPS = {"checkpoint": "computed again, then back through the steps of that", "slot": "g"}


def rule(name: str, op: Any, input: str) -> str:
    """The rule of an op for one input.

    For a user's op without symbols it lists the names that the rule depends on.
    """
    if op is None:
        return OTHER_STEPS.get(name, "g, carried back")
    if input in op.symbols:
        return op.symbols[input]
    if input in getattr(op, "rules", ()):
        return f"its own rule, of {', '.join(['g', *op.rules[input][1]])}"
    return "nothing: no rule was given" if hasattr(op, "rules") else "back through its definition"
