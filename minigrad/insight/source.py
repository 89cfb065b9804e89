"""The tape as a plain NumPy program, forward and backward, to read and to run."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path
from typing import Any, cast

import numpy as np

from .. import ops
from ..backend import host
from ..backend.shared.layers import normal_cdf
from ..execution import enable_grad
from ..nn import Module
from ..tape import Node, Step
from ..tensor import Tensor, as_array, carry_back
from .program import embedded, kept, laid_out, tidy
from .recording import NOTES, unwrapped
from .rules import rule
from .tape import Tape
from .tracing import Trace, Traced, tracing

FUNCTIONS = {"erf": host.erf, "normal_cdf": normal_cdf}  # functions that a program may call and NumPy lacks
MAX_EMBEDDED = 1 << 20  # entries that a program may contain itself; more must go into a file beside it


def to_numpy_source(loss: Tensor, path: str | Path | None = None, model: Module | None = None) -> str:
    """A NumPy program that computes `loss` and all its gradients, bit for bit as `loss.backward()` does.

    Compute the loss inside `with mg.insight.recording(kernels=False):`, so that the tape holds definitions and no fused
    kernels.  The program is obtained by running the steps and the backward pass again on arrays that record every
    operation.

    Args:
        path: file to write the program to, such as "steps.py"; its arrays then go into "steps.npz" beside it.  Without
            a path the program contains them.
        model: the model that names the parameters, if the loss was not computed by a Module.

    Returns:
        The program.  It needs only NumPy, and leaves the gradients in `gradients`, by name.

    Raises:
        ValueError: the tape was not recorded, was recorded with kernels, or has a checkpoint or a hook; a Tensor was
            modified since; there are too many numbers and no path; the Tensor is a leaf.
    """
    tape = Tape(loss, model)
    _check(tape)
    with tracing() as trace:
        with enable_grad():
            made = _forward(tape, trace)
        trace.lines += ["", "", "# Backward: from the last step to the first.  g_x is d(loss)/dx."]
        found = carry_back(made[tape.end], None, None, False, False)
        return _assembled(trace, _gradients(tape, trace, made, found), path)


def _check(tape: Tape) -> None:
    """Refuse a tape that a program cannot reproduce."""
    how = "compute the loss inside `with mg.insight.recording(kernels=False):`"
    if not tape.steps:
        raise ValueError("this Tensor is a leaf, which no op has computed: give a loss")
    hooked = next((tape.name(node) for node in tape.nodes if node.hooks), None)
    if hooked is not None:
        raise ValueError(
            f"{hooked} has a hook, which may change the gradient and is not a step of the tape: remove it first, by "
            "calling the function that register_hook returned"
        )
    for node in tape.steps:
        if node.step.name == "checkpoint":
            raise ValueError(
                "a checkpoint keeps none of its steps: compute the loss without mg.checkpoint, for the same gradients"
            )
        if node not in NOTES:
            raise ValueError(
                f"the step {node.step.name} was not recorded, and a tape by itself keeps only what the backward pass "
                f"needs: {how}"
            )
        if hasattr(unwrapped(node.step), "plan"):
            raise ValueError(
                f"the step {node.step.name} ran as a fused kernel, whose last bits differ from its definition's: {how}"
            )
        if NOTES[node].y.dtype.kind == "V":
            raise ValueError("NumPy alone has no bfloat16: use .to('float32')")
        if not isinstance(NOTES[node].y, np.ndarray):
            raise ValueError("this tape is not on the CPU: move model and data with .to('cpu') first")


def _forward(tape: Tape, trace: Trace) -> dict[Node, Tensor]:
    """Run the steps again on traced arrays, which records a second tape."""
    made: dict[Node, Tensor] = {}
    before = None
    for leaf in tape.leaves:
        x = next(x for node in tape.steps for x in NOTES[node].inputs if isinstance(x, Tensor) and x.node is leaf)
        made[leaf] = Tensor(trace.constant(x.data, tape.name(leaf)), requires_grad=True)
    uses = Counter(parent for node in tape.steps for parent in node.parents)
    for node in reversed(tape.steps):
        note = NOTES[node]
        where = "   ".join(
            filter(None, [tape.place(node), *(f"{line}  {line.text:.80}" for line in tape.lines(node)[-1:])])
        )
        if where != before:
            trace.comment(where)
            before = where
        inputs = tuple(_given(trace, x, name, made) for x, name in zip(note.inputs, note.names, strict=True))
        options = tuple(
            _wrapped(trace, option, name) for option, name in zip(note.options, note.op.options, strict=True)
        )
        y = note.op.run(inputs, options)
        if y.data.array.tobytes() != note.y.tobytes():
            raise ValueError(
                f"{node.step.name} returns something else now: a Tensor was modified in place after it was recorded "
                "(by an optimiser step, for example), or the op draws random numbers"
            )
        made[node] = y
        own = trace.call_it(y.data, tape.names.get(node) or node.step.name)
        if node is tape.end:
            own = trace.names[y.data.id] = "loss"
        if node in tape.names or node is tape.end:
            trace.firm.add(y.data.id)
        trace.known[id(note.y)] = y.data  # so that a detached use of it is not a new constant
        parents = [
            trace.names[made[parent].data.id] + (f"_by_{own}" if uses[parent] > 1 else "") for parent in node.parents
        ]
        rules = ", ".join(f"{name}: {rule(node.step.name, note.op, name)}" for name in tape.inputs(node))
        place = f" in {path}" if (path := tape.path(node)) else ""
        y.node.step = _Told(
            y.node.step, trace, f"{own}: back through {node.step.name}{place}.  {rules}", f"g_{own}", parents
        )
    return made


def _given(trace: Trace, x: Any, name: str | None, made: dict[Node, Tensor]) -> Any:
    """An input of a step: the output of an earlier step or a constant; ops take a list as an array."""
    if isinstance(x, Tensor):
        return made[x.node] if x.node in made else Tensor(trace.constant(x.data, name or "constant"))
    return _wrapped(trace, as_array(x) if isinstance(x, (list, tuple)) else x, name or "constant")


def _wrapped(trace: Trace, value: Any, name: str) -> Any:
    if isinstance(value, np.ndarray):
        return trace.constant(value, name)
    return tuple(_wrapped(trace, part, name) for part in value) if type(value) is tuple else value


class _Told(Step):
    """A step of the traced tape that writes a comment on its backward pass into the program and names its gradients."""

    def __init__(self, step: Any, trace: Trace, story: str, own: str, parents: list[str]):
        self.step, self.name, self.fresh, self.trace = step, step.name, step.fresh, trace
        self.story, self.own, self.parents = story, own, parents

    def pull(self, node: Node, saved: tuple, g: Traced, again: bool) -> list:
        self.trace.comment(self.story)
        _settle(self.trace, g, self.own)
        pulled = self.step.pull(node, saved, g, again)
        for i, (parent, name) in enumerate(zip(node.parents, self.parents)):
            if isinstance(pulled[i], Traced):
                if pulled[i].shape != parent.shape:
                    pulled[i] = ops.sum_to(pulled[i], parent.shape)  # done here, so that the sum has a name
                if self.trace.call_it(pulled[i], f"g_{name}") == self.trace.names[g.id]:
                    self.trace.lines.append(f"# g_{name} is {self.trace.names[g.id]} itself")
        return pulled


def _settle(trace: Trace, g: Traced, name: str) -> None:
    """Name a complete gradient; a variable named as one contribution to it is renamed."""
    trace.call_it(g, name, again=trace.names.get(g.id, "").startswith(f"{name}_by_"))
    trace.firm.add(g.id)


def _gradients(tape: Tape, trace: Trace, made: dict[Node, Tensor], found: dict[Node, Tensor]) -> dict[str, Traced]:
    """The gradients of the leaves, by name.

    The copies that the tape makes to protect them are left out of the program.
    """
    copies = dict(re.findall(r"^(v\d+) = np\.array\((v\d+), ", "\n".join(trace.lines), re.M))
    traced, gradients = {value.id: value for value in trace.known.values()}, {}
    for leaf in tape.leaves:
        node = made[leaf].node
        if node is not None and node in found:
            g, variable = found[node].data, trace.names[made[leaf].data.id]
            g = traced[copies.get(g.id, g.id)]
            _settle(trace, g, f"g_{variable}")
            name = tape.name(leaf)
            gradients[variable if name in gradients or name == "leaf" else name] = g
    return gradients


def _sources(function: Any) -> list[str]:
    """The text of a function, after that of the functions of its file that it calls."""
    called = [function.__globals__.get(name) for name in function.__code__.co_names]
    return [inspect.getsource(part) for part in (*filter(inspect.isfunction, called), function)]


def _assembled(trace: Trace, gradients: dict[str, Traced], path: str | Path | None) -> str:
    """The whole program: its constants, its steps and the gradients by name."""
    steps = tidy(trace.lines, trace.names, {value.id: value.shape for value in trace.known.values()}, trace.firm)
    used = set(re.findall(r"\w+", "\n".join(steps)))
    constants = {name: array for key, array in trace.constants.items() if (name := trace.names[key]) in used}
    if path is None and sum(array.size for array in constants.values()) > MAX_EMBEDDED:
        raise ValueError(
            f"the program starts from {sum(array.size for array in constants.values())} numbers, too many to write "
            'into it: give path="steps.py", and they go into steps.npz beside it'
        )
    helpers = [text for name, part in FUNCTIONS.items() if name in used for text in _sources(part)]
    given = [
        f"{name} = {embedded(array) if path is None else kept(name, array)}  # {array.shape}"
        for name, array in constants.items()
    ]
    if any("laid_out(" in line for line in given):
        helpers.append(inspect.getsource(laid_out))
    text = "\n".join(
        [
            '"""A loss and its gradients, step by step, as minigrad computed them: run it, or read it."""',
            *(["import math", ""] if used & {"erf", "normal_cdf"} else []),
            "import numpy as np",
            "",
            "",
            *("\n".join([helper, ""]) for helper in helpers),
            "# Inputs.",
            *([] if path is None else ['data = np.load(__file__[:-3] + ".npz")']),
            *given,
            "",
            "# Forward.",
            *steps,
            "",
            "gradients = {",
            *(f"    {name!r}: {trace.names[g.id]}," for name, g in gradients.items()),
            "}",
            "",
            'if __name__ == "__main__":',
            "    for name, g in gradients.items():",
            '        print(f"{name:40} {str(g.shape):16} norm {np.linalg.norm(g):.9g}")',
            "",
        ]
    )
    if path is not None:
        path = Path(path)
        if path.suffix != ".py":
            raise ValueError(f"path={str(path)!r}: the program is Python, so let the name end in .py")
        path.write_text(text, encoding="utf-8")
        # The cast is for the type stubs, which take the constants for savez's options.
        np.savez(path.with_suffix(".npz"), **cast("dict[str, Any]", constants))
    return text
