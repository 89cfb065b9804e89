"""How each op is written in ONNX: a table of rules, by the name of the op.

A rule is a function of the graph and of a step, whose inputs and options are the op's own; arrays among them are names
of tensors of the graph.  It adds nodes to the graph, and returns the name of the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .steps import Step

if TYPE_CHECKING:
    from .graph import Graph, Name

RULES: dict[str, Callable[[Graph, Step], Name]] = {}
END = np.iinfo(np.int64).max  # where a slice ends that reaches to the end of its axis


def rule(*ops: str) -> Callable:
    """Make the function below the rule for the ops of these names.

    @minigrad.onnx.rule("cos")
    def cos(graph, step):
        return graph.add("Cos", graph.of(step.inputs[0]))
    """

    def declare(function: Callable[[Graph, Step], Name]) -> Callable[[Graph, Step], Name]:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return declare


# Ops with a namesake that takes the same inputs, all of the dtype of the result, and no options.
NAMESAKES = {
    "add": "Add",
    "subtract": "Sub",
    "multiply": "Mul",
    "divide": "Div",
    "negative": "Neg",
    "abs": "Abs",
    "sign": "Sign",
    "maximum": "Max",
    "minimum": "Min",
    "exp": "Exp",
    "log": "Log",
    "sqrt": "Sqrt",
    "sin": "Sin",
    "cos": "Cos",
    "tanh": "Tanh",
    "sigmoid": "Sigmoid",
    "erf": "Erf",
    "relu": "Relu",
    "matmul": "MatMul",
    "power_by": "Pow",
}
COMPARISONS = {
    "equal": "Equal",
    "less": "Less",
    "less_equal": "LessOrEqual",
    "greater": "Greater",
    "greater_equal": "GreaterOrEqual",
}
REDUCTIONS = {
    "sum": "ReduceSum",
    "max": "ReduceMax",
    "min": "ReduceMin",
    "logsumexp": "ReduceLogSumExp",
    "norm": "ReduceL2",
}


@rule(*NAMESAKES)
def _namesake(graph: Graph, step: Step) -> Name:
    dtype = np.dtype("int64") if step.dtype == bool else step.dtype  # ONNX does not compute with booleans
    y = graph.add(NAMESAKES[step.op], *(graph.of(x, dtype) for x in step.inputs))
    return y if dtype == step.dtype else graph.add("Cast", y, to=step.dtype)


@rule(*COMPARISONS)
def _comparison(graph: Graph, step: Step) -> Name:
    dtype = np.result_type(*(graph.dtypes.get(x, x) if isinstance(x, str) else x for x in step.inputs))
    return graph.add(COMPARISONS[step.op], *(graph.of(x, dtype) for x in step.inputs))


@rule("not_equal")
def _not_equal(graph: Graph, step: Step) -> Name:
    return graph.add("Not", _comparison(graph, replace(step, op="equal")))


@rule("where")
def _where(graph: Graph, step: Step) -> Name:
    condition, a, b = step.inputs
    return graph.add("Where", graph.of(condition, bool), graph.of(a, step.dtype), graph.of(b, step.dtype))


@rule("astype")
def _astype(graph: Graph, step: Step) -> Name:
    return graph.add("Cast", graph.of(step.inputs[0]), to=step.dtype)


@rule("normal_cdf")
def _normal_cdf(graph: Graph, step: Step) -> Name:
    def number(value: float) -> Name:
        return graph.of(value, step.dtype)

    erf = graph.add("Erf", graph.add("Mul", graph.of(step.inputs[0]), number(1 / math.sqrt(2))))
    return graph.add("Mul", graph.add("Add", erf, number(1)), number(0.5))


@rule("softplus")
def _softplus(graph: Graph, step: Step) -> Name:
    (x,), (beta, threshold) = step.inputs, step.options
    scaled = graph.add("Mul", graph.of(x), graph.of(beta, step.dtype))
    soft = graph.add("Div", graph.add("Softplus", scaled), graph.of(beta, step.dtype))
    return graph.add("Where", graph.add("Greater", scaled, graph.of(threshold, step.dtype)), graph.of(x), soft)


@rule("power_of")
def _power_of(graph: Graph, step: Step) -> Name:
    return graph.add("Pow", graph.of(step.inputs[0], step.dtype), graph.of(step.options[0], step.dtype))


@rule("clip")
def _clip(graph: Graph, step: Step) -> Name:
    y = graph.of(step.inputs[0], step.dtype)
    for kind, limit in zip(("Max", "Min"), step.options, strict=True):
        y = y if limit is None else graph.add(kind, y, graph.of(limit, step.dtype))
    return y


@rule(*REDUCTIONS)
def _reduction(graph: Graph, step: Step) -> Name:
    x, (axis, keepdims) = graph.of(step.inputs[0], step.dtype), step.options
    axes = range(graph.ranks[step.inputs[0]]) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    options = {"keepdims": int(keepdims), "noop_with_empty_axes": 1}
    return graph.add(REDUCTIONS[step.op], x, graph.constant([*axes], np.int64), **options)


@rule("softmax")
def _softmax(graph: Graph, step: Step) -> Name:
    return graph.add("Softmax", graph.of(step.inputs[0], step.dtype), axis=step.options[0])


@rule("log_softmax")
def _log_softmax(graph: Graph, step: Step) -> Name:
    return graph.add("LogSoftmax", graph.of(step.inputs[0], step.dtype), axis=step.options[0])


@rule("cumsum")
def _cumsum(graph: Graph, step: Step) -> Name:
    return graph.add("CumSum", graph.of(step.inputs[0], step.dtype), graph.constant(step.options[0], np.int64))


@rule("linear")
def _linear(graph: Graph, step: Step) -> Name:
    x, weight, bias = (graph.of(x, step.dtype) for x in step.inputs)
    y = graph.add("MatMul", x, graph.add("Transpose", weight, perm=[1, 0]))
    return graph.add("Add", y, bias) if bias else y


@rule("embedding")
def _embedding(graph: Graph, step: Step) -> Name:
    return graph.add("Gather", graph.of(step.inputs[0]), graph.of(step.options[0]), axis=0)


@rule("reshape")
def _reshape(graph: Graph, step: Step) -> Name:
    shape = step.options[0]
    return graph.add("Reshape", graph.of(step.inputs[0]), graph.vector(shape if isinstance(shape, tuple) else (shape,)))


@rule("broadcast_to")
def _broadcast_to(graph: Graph, step: Step) -> Name:
    return graph.add("Expand", graph.of(step.inputs[0]), graph.vector(step.options[0]))


@rule("swapaxes")
def _swapaxes(graph: Graph, step: Step) -> Name:
    order, (a, b) = list(range(len(step.shape))), step.options
    order[a], order[b] = order[b], order[a]
    return graph.add("Transpose", graph.of(step.inputs[0]), perm=order)


@rule("transpose")
def _transpose(graph: Graph, step: Step) -> Name:
    many, axes = len(step.shape), step.options[0]
    order = range(many)[::-1] if axes is None else (axis % many for axis in axes)
    return graph.add("Transpose", graph.of(step.inputs[0]), perm=[*order])


@rule("concatenate")
def _concatenate(graph: Graph, step: Step) -> Name:
    return graph.add("Concat", *(graph.of(x, step.dtype) for x in step.inputs), axis=step.options[0])


@rule("pad")
def _pad(graph: Graph, step: Step) -> Name:
    widths, value = step.options
    sides = graph.vector(tuple(before for before, _ in widths) + tuple(after for _, after in widths))
    return graph.add("Pad", graph.of(step.inputs[0]), sides, graph.of(value, step.dtype))


@rule("take")
def _take(graph: Graph, step: Step) -> Name:
    """First what the slices keep, then what numbers and at most one array of them choose, then new axes."""
    y, index = graph.of(step.inputs[0]), step.options[0]
    index = list(index) if isinstance(index, tuple) else [index]
    rest = graph.ranks[y] - sum(part is not None and part is not Ellipsis for part in index)
    at = next((i for i, part in enumerate(index) if part is Ellipsis), len(index))
    index[at : at + 1] = [slice(None)] * rest
    axes = [part for part in index if part is not None]
    slices = {axis: part for axis, part in enumerate(axes) if isinstance(part, slice) and part != slice(None)}
    chosen = {axis: part for axis, part in enumerate(axes) if not isinstance(part, slice)}
    arrays = [part for part in chosen.values() if isinstance(part, str)]
    if arrays and (len(chosen) > 1 or graph.dtypes[arrays[0]].kind == "b"):
        raise NotImplementedError("an index with a mask, or with several parts of which one is an array, has no rule")
    if slices:
        steps = [1 if part.step is None else part.step for part in slices.values()]
        starts = [
            (0 if n > 0 else END) if part.start is None else part.start for part, n in zip(slices.values(), steps)
        ]
        ends = [(END if n > 0 else -END) if part.stop is None else part.stop for part, n in zip(slices.values(), steps)]
        y = graph.add("Slice", y, *(graph.vector(tuple(x)) for x in (starts, ends, slices, steps)))
    for axis, part in reversed(chosen.items()):
        y = graph.add("Gather", y, graph.of(part, np.int64), axis=axis)
    kept = [part for part in index if part is None or isinstance(part, slice | str)]
    new = [place for place, part in enumerate(kept) if part is None]
    return graph.add("Unsqueeze", y, graph.constant(new, np.int64)) if new else graph.add("Identity", y)


@rule("conv")
def _conv(graph: Graph, step: Step) -> Name:
    inputs, (window, groups) = [graph.of(x, step.dtype) for x in step.inputs], step.options
    return graph.add("Conv", *inputs, group=groups, **_window(window))


@rule("max_pool")
def _max_pool(graph: Graph, step: Step) -> Name:
    if len(step.shape) != len(step.options[0].kernel) + 2:
        raise NotImplementedError("pooling over other axes than those of (batch, channels, *size) has no rule")
    return graph.add("MaxPool", graph.of(step.inputs[0]), **_window(step.options[0]))


def _window(window: Any) -> dict[str, list[int]]:
    """What a kernel sees, as ONNX says it."""
    before, after = zip(*window.padding, strict=True)
    return {
        "kernel_shape": [*window.kernel],
        "strides": [*window.stride],
        "dilations": [*window.dilation],
        "pads": [*before, *after],
    }
