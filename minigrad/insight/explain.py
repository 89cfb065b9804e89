"""The backward pass, step by step: the gradient that arrives, the rule applied, and the gradient of each input."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from .. import backend, ops
from ..execution import no_grad
from ..nn import Module
from ..places import Line
from ..tape import FREED, Node
from ..tensor import Pending, Tensor
from ..writes import changed
from .rules import rule
from .tape import Tape

LIMIT = 100  # default number of steps, leaves and contributions to print
MAX_PATHS = 12  # with more paths, contributions are listed by use instead of by path


@dataclass
class Passed:
    """The gradient that a step passes on to one of its inputs."""

    input: str  # the op's name for the input
    name: str  # the user's name for it
    rule: str
    shape: tuple[int, ...]
    norm: float
    why: str  # why the rule is followed by a sum or a cast; usually empty


@dataclass
class Step:
    """One step of the backward pass."""

    op: str
    name: str  # the user's name for the op's output, if known and outside any module
    path: str  # module path of the op
    shape: tuple[int, ...]  # of the gradient that arrives
    norm: float  # its norm, √Σg²
    passed: list[Passed]
    lines: list[Line]

    def __str__(self) -> str:
        return f"{self.name} = {self.op}" if self.name else self.op


@dataclass(repr=False)
class Explanation:
    """A backward pass in words; print it, or evaluate it in a notebook.

    `steps` holds all steps; at most `limit` are shown.
    """

    title: str
    steps: list[Step]
    gradients: list[tuple[str, tuple[int, ...], float]]  # (name, shape, norm) of each leaf's gradient
    contributions: list[tuple[str, float]] = field(default_factory=list)  # (path, norm), with `wrt`
    remark: str = ""
    limit: int | None = LIMIT

    def __repr__(self) -> str:
        return str(self)

    def _shown(self, items: list, what: str) -> tuple[list[tuple[int, Any]], list[tuple[int, Any]], str]:
        """The first and the last items, numbered, and a line that says how many are left out between them."""
        numbered = list(enumerate(items, 1))
        if self.limit is None or len(items) <= self.limit:
            return numbered, [], ""
        first, last = self.limit - self.limit // 2, self.limit // 2
        left = len(items) - self.limit
        line = f"… {left:,} more {what}: mg.explain with limit=None prints all, limit={2 * self.limit} twice as many"
        return numbered[:first], numbered[len(items) - last :], line

    def __str__(self) -> str:
        told, (first, last, left) = [self.title, ""], self._shown(self.steps, "steps")
        told += self._told(first) + (["", f"    {left}", ""] if left else []) + self._told(last)

        def table(title, items, what, line):
            first, last, left = self._shown(items, what)
            return [
                "",
                title,
                *(line(*item) for _, item in first),
                *([f"    {left}"] if left else []),
                *(line(*item) for _, item in last),
            ]

        told += table(
            "what arrives:", self.gradients, "leaves", lambda name, shape, norm: f"    {name} {shape} ‖·‖ = {norm:.6g}"
        )
        if self.contributions:
            told += table(
                "contributions:",
                self.contributions,
                "contributions",
                lambda path, norm: f"    ‖·‖ = {norm:.6g}   {path}",
            )
        return "\n".join([*told, *(["", self.remark] if self.remark else [])])

    def _told(self, steps: list[tuple[int, Step]]) -> list[str]:
        told, before = [], []
        for i, step in steps:
            told.append(
                f"{i:3} {step}{f'  in {step.path}' if step.path else ''}   g {step.shape} ‖g‖ = {step.norm:.4g}"
            )
            told += [f"      {line}  {line.text}" for line in step.lines if step.lines != before]
            before = step.lines
            told += [
                f"    → {_called(p)}: {p.rule}   {p.shape} ‖·‖ = {p.norm:.4g}" + (f"\n        {p.why}" if p.why else "")
                for p in step.passed
            ]
        return told

    def _repr_html_(self) -> str:
        def table(items, what, row):
            first, last, left = self._shown(items, what)
            return [
                *(row(i, item) for i, item in first),
                *([("", escape(left), "", "")] if left else []),
                *(row(i, item) for i, item in last),
            ]

        def told(i, step):
            place = "".join(f"<br><small>{escape(f'{line}  {line.text}')}</small>" for line in step.lines)
            passed = "".join(
                f"<div>→ <b>{escape(_called(p))}</b>: {escape(p.rule)} &nbsp; {p.shape} ‖·‖ = {p.norm:.4g}"
                + (f"<br><i>{escape(p.why)}</i>" if p.why else "")
                + "</div>"
                for p in step.passed
            )
            return (
                str(i),
                f"<b>{escape(str(step))}</b> {escape(step.path)}{place}",
                f"{step.shape}<br>‖g‖ = {step.norm:.4g}",
                passed,
            )

        rows = table(self.steps, "steps", told)
        rows += table(
            self.gradients,
            "leaves",
            lambda _, leaf: ("", f"<b>{escape(leaf[0])}</b>", str(leaf[1]), f"‖·‖ = {leaf[2]:.6g}"),
        )
        rows += table(
            self.contributions,
            "contributions",
            lambda _, way: ("", "contribution", f"‖·‖ = {way[1]:.6g}", escape(way[0])),
        )
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left;vertical-align:top'>{cell}</td>" for cell in row) + "</tr>"
            for row in [("", "<b>step</b>", "<b>what arrives</b>", "<b>what is passed on</b>"), *rows]
        )
        return f"<p><b>{escape(self.title)}</b></p><table>{body}</table><p>{escape(self.remark)}</p>"


def _called(p: Passed) -> str:
    return f"{p.input} = {p.name}" if p.name not in ("", p.input) else p.input


def explain(
    loss: Tensor, wrt: Tensor | None = None, model: Module | None = None, *, limit: int | None = LIMIT
) -> Explanation:
    """Explain the backward pass from `loss`, step by step.

    The tape, every `.grad` and all version counters stay unchanged; hooks are not called.  To see the lines of your
    program and the modules of a model, compute the loss inside `with mg.insight.recording():`.

    Args:
        loss: a scalar, or any Tensor with a tape (then the gradient of its sum is explained).
        wrt: restrict the explanation to the steps that lead to this Tensor, and list what each path contributes to its
            gradient.
        model: the model that names the parameters, if the tape was not recorded and no variable of yours holds the
            model.
        limit: how many steps to print, half of them from the start and half from the end; None prints all.

    Raises:
        TypeError: loss is not a Tensor, model not a Module, limit not a number.
        ValueError: limit is less than 2; loss has no tape, or does not depend on wrt.
        RuntimeError: a backward pass has already freed the tape.
    """
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
        raise TypeError(f"limit={limit!r}: give how many steps to print, 2 or more, or None for all")
    if limit is not None and limit < 2:
        raise ValueError(f"limit={limit}: give how many steps to print, 2 or more, or None for all")
    tape = Tape(loss, model)
    target = None if wrt is None else getattr(wrt, "node", None)
    if wrt is not None and (target is None or target not in tape.nodes):
        raise ValueError("the loss does not depend on wrt: give a Tensor with requires_grad=True that it was made from")
    wanted = set(tape.nodes) if target is None else _leading_to(target, tape)
    steps, gradients, numbers = [], {}, {}
    with no_grad():
        for node, g, passed in walk(tape, wanted):
            if node.step is None or node is target:
                gradients[node] = g
                if node.step is None:
                    continue
            told = [
                _passed(tape, node, i, raw, gx)
                for i, (raw, gx) in enumerate(passed)
                if gx is not None and node.parents[i] in wanted
            ]
            if told:
                path = tape.path(node)
                name = "" if path else tape.names.get(node, "")
                steps.append(Step(node.step.name, name, path, g.shape, _norm(g), told, tape.lines(node)))
                numbers[node] = len(steps)
        arrived = [(tape.name(node), g.shape, _norm(g)) for node, g in gradients.items()]
        ways, remark = ([], "") if target is None else _contributions(tape, target, wanted, gradients[target], numbers)
    many = f"{len(steps)} steps back, {len(arrived)} {'leaf' if len(arrived) == 1 else 'leaves'}"
    hint = (
        ""
        if any(step.lines for step in steps)
        else "To see the lines of your program here, compute the loss inside `with mg.insight.recording():`."
    )
    title = f"The gradient of {tape.names.get(tape.end, 'a Tensor')}, of shape {loss.shape}: {many}"
    return Explanation(title, steps, arrived, ways, "\n".join(filter(None, [remark, hint])), limit)


def walk(tape: Tape, wanted: set[Node]) -> Iterator[tuple[Node, Any, list[tuple[Any, Any]]]]:
    """Yield (node, its gradient, [(raw, final) for each parent]) for every wanted node, the newest first.

    `raw` is what the rule returned; `final` has the parent's shape and dtype.  This is the loop of `tensor.carry_back`,
    but it shows every intermediate gradient, calls no hooks and leaves the tape unchanged.
    """
    pending = Pending(recorded=False, oldest=1)
    pending.add(tape.end, backend.of(tape.y.data).xp.ones_like(tape.y.data), fresh=False)
    while pending.heap:
        node, g = pending.newest()
        passed = _pull(node, g)
        for parent, (_, gx) in zip(node.parents, passed):
            if gx is not None and parent in wanted:
                pending.add(parent, gx, fresh=False)
        yield node, g, passed


def _pull(node: Node, g: Any) -> list[tuple[Any, Any]]:
    """For each parent, what the step's rule returned and the same in the parent's shape and dtype."""
    if node.step is None:
        return []
    if node.saved is FREED:
        raise RuntimeError(
            "a backward pass has freed this tape: explain the loss before loss.backward(), or keep the tape with "
            "loss.backward(retain_graph=True)"
        )
    if changed(node) is not None:
        raise RuntimeError(
            f"a Tensor that {node.step.name} needs was modified in place after the forward pass, by an optimiser step "
            "for example: explain the loss before that"
        )
    pulled = [np.asarray(gx) if isinstance(gx, np.generic) else gx for gx in node.step.pull(node, node.saved, g, False)]
    return [
        (gx, gx if gx is None else ops.astype(ops.sum_to(gx, parent.shape), parent.dtype))
        for parent, gx in zip(node.parents, pulled)
    ]


def _passed(tape: Tape, node: Node, i: int, raw: Any, gx: Any) -> Passed:
    input, parent = tape.inputs(node)[i], node.parents[i]
    why = ""
    if raw.shape != gx.shape:
        lead = len(raw.shape) - len(gx.shape)
        axes = [*range(lead), *(i + lead for i, n in enumerate(gx.shape) if n == 1 and raw.shape[i + lead] != 1)]
        why = (
            f"then summed from {raw.shape} over {'axis' if len(axes) == 1 else 'axes'} {', '.join(map(str, axes))}: "
            f"{input} {gx.shape} was broadcast along {'it' if len(axes) == 1 else 'them'}, "
            "so each entry was used many times, and gradients of many uses add up"
        )
    elif raw.dtype != gx.dtype:
        why = f"then from {raw.dtype} to {gx.dtype}, {input}'s own dtype"
    name = tape.names.get(parent, "" if parent.step is None else parent.step.name)
    return Passed(input, name, rule(node.step.name, tape.op(node), input), gx.shape, _norm(gx), why)


def _norm(g: Any) -> float:
    return float(np.linalg.norm(backend.of(g).to_numpy(g).astype(np.float64)))


def _leading_to(target: Node, tape: Tape) -> set[Node]:
    """The nodes on any path from the end of the tape to the target."""
    reach = {target}
    for node in reversed(tape.nodes):  # the oldest first, so parents come before their children
        if not reach.isdisjoint(node.parents):
            reach.add(node)
    return reach


def _contributions(
    tape: Tape, target: Node, wanted: set[Node], total: Any, numbers: dict[Node, int]
) -> tuple[list[tuple[str, float]], str]:
    """What each path to the target, or if there are many each use of it, contributes to its gradient, and a check."""
    count = {target: 1}
    for node in reversed(tape.nodes):
        if node in wanted and node is not target:
            count[node] = sum(count[parent] for parent in node.parents if parent in wanted)
    many = count[tape.end]
    found = list(_each_path(tape, target, wanted) if many <= MAX_PATHS else _each_use(tape, target, wanted, numbers))
    rest = abs(sum(g.astype(np.float64) for _, g in found) - backend.of(total).to_numpy(total)).max(initial=0.0)
    name = tape.names.get(target, "wrt")
    told = f"{many} path{'s lead' if many != 1 else ' leads'} to {name}"
    if many > MAX_PATHS:
        told += f", too many to follow each by itself, through {len(found)} use{'s' * (len(found) != 1)} of it"
    return (
        [(path, _norm(g)) for path, g in found],
        f"{told}.  The sum of the contributions is its gradient: the largest difference is {rest:.1e}.",
    )


def _each_path(tape: Tape, target: Node, wanted: set[Node]) -> Iterator[tuple[str, Any]]:
    """Carry the gradient along one path at a time.

    Every rule is linear in g, so the contributions of the paths add up.
    """
    stack = [(tape.end, backend.of(tape.y.data).xp.ones_like(tape.y.data), [])]
    while stack:
        node, g, way = stack.pop()
        if node is target:
            yield " ← ".join([*way, tape.names.get(target, "wrt")]), backend.of(g).to_numpy(g)
            continue
        for i, (parent, (_, gx)) in reversed(list(enumerate(zip(node.parents, _pull(node, g))))):
            if parent in wanted and gx is not None:
                stack.append((parent, gx, [*way, f"{node.step.name}({tape.inputs(node)[i]})"]))


def _each_use(tape: Tape, target: Node, wanted: set[Node], numbers: dict[Node, int]) -> Iterator[tuple[str, Any]]:
    """What each step that used the target contributes."""
    for node, _, passed in walk(tape, wanted):
        for i, (parent, (_, gx)) in enumerate(zip(node.parents, passed)):
            if parent is target and gx is not None:
                place = tape.path(node) and f" in {tape.path(node)}"
                yield (
                    f"step {numbers[node]}, {node.step.name}({tape.inputs(node)[i]}){place}",
                    backend.of(gx).to_numpy(gx),
                )
