"""The tape behind a Tensor, with what is known about each step: its name, its module, its line in the program."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import places
from ..nn import Module
from ..places import Line
from ..tape import Node
from ..tensor import Tensor
from .recording import NOTES, plan


class Tape:
    """Every step that a Tensor was made by.

    Args:
        y: the end of the tape, a loss most of the time.
        model: whose names the parameters are told by; may be left out if the tape was recorded (`insight.recording`).

    Raises:
        TypeError: y is not a Tensor, or model is not a Module.
        ValueError: y has no tape.
    """
    def __init__(self, y: Tensor, model: Module | None = None):
        if not isinstance(y, Tensor):
            raise TypeError(f"a Tensor was expected, with the tape that made it, not a {type(y).__name__}"
                            + (": give its .loss" if hasattr(y, "loss") else ""))
        if model is not None and not isinstance(model, Module):
            raise TypeError(f"model must be a Module, not a {type(model).__name__}")
        if y.node is None:
            raise ValueError("this Tensor has no tape: nothing it was made from requires a gradient, or it was made inside "
                             "mg.no_grad(), or detached")
        self.y, self.nodes, stack = y, {y.node}, [y.node]
        while stack:
            new = set(stack.pop().parents) - self.nodes
            self.nodes |= new
            stack.extend(new)
        self.nodes = sorted(self.nodes, key=lambda node: node.order)           # the newest first, as a backward pass visits them
        self.steps = [node for node in self.nodes if node.step is not None]
        self.leaves = [node for node in self.nodes if node.step is None]
        noted = {id(note.modules[0]): note.modules[0] for node in self.steps if (note := NOTES.get(node)) and note.modules}
        self.roots = [model] if model is not None else list(noted.values())
        self.names = self._names()
        self.paths = self._noted_paths() or (_guessed_paths(model, self.steps) if model else {})

    def op(self, node: Node) -> Any:
        """The op that made a node: the _Op itself, or None for a step of another kind (a checkpoint)."""
        return getattr(plan(node), "op", None)

    def inputs(self, node: Node) -> list[str]:
        """What the op calls those of its inputs that want a gradient: one name for each parent."""
        op = self.op(node)
        if op is None:
            return [f"input {i}" for i in range(len(node.parents))]
        return [name for name, want in zip(op.inputs, plan(node).wanted, strict=True) if want]

    def name(self, node: Node) -> str:
        """What a node is called: a parameter's name, a variable's, or just what it is."""
        return self.names.get(node) or ("leaf" if node.step is None else node.step.name)

    def path(self, node: Node) -> str:
        """The path of the module that made a step, "" for none."""
        return self.paths.get(node, "")

    def place(self, node: Node) -> str:
        """The module that made a step, with its kind; "" if none is known."""
        if node not in self.paths:
            return ""
        path = self.paths[node]
        module = next((m for root in self.roots for p, m in root.named_modules() if p == path), None)
        return f"{path} ({type(module).__name__})" if path else type(module).__name__

    def lines(self, node: Node) -> list[Line]:
        """The line of the layer that made a step, if it was one, and the user's; empty if the tape was not recorded."""
        note = NOTES.get(node)
        return [] if note is None else [note.lines[0], note.lines[-1]][:len(note.lines)]

    def _names(self) -> dict[Node, str]:
        found, known = {}, set(self.nodes)
        for node in self.steps:
            if (note := NOTES.get(node)) is not None:
                found.update({x.node: name for x, name in zip(note.inputs, note.names, strict=True)
                              if name and isinstance(x, Tensor) and x.node is not None})
        if (caller := next((f for f in places.frames() if places.room(f) is None), None)) is not None:
            found.update({x.node: name for name, x in caller.f_locals.items()
                          if isinstance(x, Tensor) and x.node in known and not name.startswith("_")})
        for root in self.roots:
            found.update({p.node: name for name, p in root.named_parameters() if p.node is not None})
        mine = found.get(self.y.node)           # as which nothing else goes: losses, too, have a variable called loss
        return {node: name for node, name in found.items() if name != mine or node is self.y.node}

    def _noted_paths(self) -> dict[Node, str]:
        found, known = {}, {id(root): {id(m): path for path, m in root.named_modules()} for root in self.roots}
        for node in self.steps:
            modules = note.modules if (note := NOTES.get(node)) is not None else []
            root = next((m for m in modules if id(m) in known), None)
            if root is not None:
                found[node] = next(known[id(root)][id(m)] for m in reversed(modules) if id(m) in known[id(root)])
        return found


def _guessed_paths(model: Module, steps: list[Node]) -> dict[Node, str]:
    """Without notes: a step with a parameter belongs to the parameter's module; one without belongs to the innermost module
    that holds both the step with a parameter before it and the one after it."""
    owners = {p.node: name.rpartition(".")[0] for name, p in model.named_parameters() if p.node is not None}
    known = {node: owners[parent] for node in steps for parent in node.parents if parent in owners}
    after: dict[Node, list[Node]] = {}
    for node in steps:
        for parent in node.parents:
            after.setdefault(parent, []).append(node)

    def nearest(node: Node | None, way: Callable) -> str | None:
        while node is not None and node not in known:
            node = next((n for n in way(node) if n not in owners), None)
        return known.get(node)

    found = dict(known)
    for node in steps:
        around = nearest(node, lambda n: n.parents), nearest(node, lambda n: after.get(n, ()))
        if None not in around:
            found.setdefault(node, _shared(*around))
    return found


def _shared(a: str, b: str) -> str:
    """The beginning that two paths have in common."""
    steps = a.split("."), b.split(".")
    count = next((i for i, (x, y) in enumerate(zip(*steps)) if x != y), min(map(len, steps)))
    return ".".join(steps[0][:count])
