"""The tape behind a Tensor, with what is known of each step: its name, its module path and its line in the program."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np

from .. import places
from ..nn import Module
from ..places import Line
from ..tape import FREED, Node
from ..tensor import Tensor
from .recording import NOTES, plan, unwrapped

MAX_ITEMS = 1000  # longest list or dictionary that is searched for named Tensors


class Tape:
    """All steps that computed a Tensor.

    Args:
        y: the end of the tape, usually a loss.
        model: the model that names the parameters; may be left out if the tape was recorded (`insight.recording`) or a
            variable of yours holds the model.

    Raises:
        TypeError: y is not a Tensor, or model is not a Module.
        ValueError: y has no tape.
    """

    def __init__(self, y: Tensor, model: Module | None = None):
        if not isinstance(y, Tensor):
            raise TypeError(
                f"expected a Tensor and its tape, not a {type(y).__name__}"
                + (": give its .loss" if hasattr(y, "loss") else "")
            )
        if model is not None and not isinstance(model, Module):
            raise TypeError(f"model must be a Module, not a {type(model).__name__}")
        if y.node is None:
            raise ValueError(
                "this Tensor has no tape: nothing it was made from requires a gradient, or it was made inside "
                "mg.no_grad(), or detached"
            )
        self.y, self.end = y, y.node
        reached, stack = {y.node}, [y.node]
        while stack:
            new = set(stack.pop().parents) - reached
            reached |= new
            stack.extend(new)
        self.nodes = sorted(reached, key=lambda node: node.order)  # the newest first, as a backward pass visits them
        self.steps = [node for node in self.nodes if node.step is not None]
        self.leaves = [node for node in self.nodes if node.step is None]
        self.variables = list(places.variables())
        self.roots = self._roots(model)
        self.modules: dict[str, Module] = {}  # by module path
        # For each path: the paths of its enclosing modules, outermost first, and itself.
        self.chains: dict[str, list[str]] = {}
        self._find_modules()
        self.names = self._names()
        self.paths = self._noted_paths() or self._guessed_paths()

    def op(self, node: Node) -> Any:
        """The op that made a node, an `_Op`; None for a step of another kind, such as a checkpoint."""
        return getattr(plan(node), "op", None)

    def inputs(self, node: Node) -> list[str]:
        """The op's names of the inputs that require a gradient: one for each parent."""
        op = self.op(node)
        if op is None:
            return [f"input {i}" for i in range(len(node.parents))]
        return [name for name, want in zip(op.inputs, plan(node).wanted, strict=True) if want]

    def name(self, node: Node) -> str:
        """The name of a node: that of a parameter or a variable, else the op's name or "leaf"."""
        return self.names.get(node) or ("leaf" if node.step is None else node.step.name)

    def path(self, node: Node) -> str:
        """The path of the module that ran a step; "" if there is none."""
        return self.paths.get(node, "")

    def place(self, node: Node) -> str:
        """The path and the class of the module that ran a step; "" if none is known."""
        if node not in self.paths:
            return ""
        path, kind = self.paths[node], type(self.modules[self.paths[node]]).__name__
        return f"{path} ({kind})" if path else kind

    def lines(self, node: Node) -> list[Line]:
        """The line of the layer that ran a step, if any, and the user's line; empty if the tape was not recorded."""
        note = NOTES.get(node)
        return [] if note is None else [note.lines[0], note.lines[-1]][: len(note.lines)]

    def data(self, node: Node) -> list[tuple[str, Any]]:
        """(name, array) of each input of a step that has a known name and no gradient."""
        if (note := NOTES.get(node)) is not None:
            return [
                (name, getattr(x, "data", x) if isinstance(x, Tensor) else x)
                for x, name in zip(note.inputs, note.names, strict=True)
                if name and getattr(x, "node", None) is None
            ]
        if node.saved is FREED or self.op(node) is None:
            return []
        step = plan(node)  # what it keeps begins with inputs; those without a gradient are data
        saved = node.saved[0] if hasattr(unwrapped(node.step), "plan") else node.saved
        arrays = [x for i, x in zip(step.kept, saved) if i < len(step.wanted) and not step.wanted[i]]
        return [(self.arrays[id(x)], x) for x in arrays if id(x) in self.arrays]

    @cached_property
    def arrays(self) -> dict[int, str]:
        """The variable names of the user's arrays, by array id."""
        found: dict[int, str] = {}
        for name, x in self.variables:
            if isinstance(x, (Tensor, np.ndarray)):
                found.setdefault(id(x.data if isinstance(x, Tensor) else x), name)
        return found

    def _roots(self, model: Module | None) -> dict[str, Module]:
        """The models on this tape, by the prefix of their parameters' names.

        They are the model given, the models that ran while the tape was recorded, and those in the user's variables
        whose parameters are leaves of the tape.  The model given, or the only one with parameters, has an empty prefix;
        the prefix of any other is the name of its variable, or of its class.
        """

        def weights(m):
            return {p.node for p in m.parameters()} & leaves

        leaves, given = set(self.leaves), id(model)
        noted = [note.modules[0] for node in reversed(self.steps) if (note := NOTES.get(node)) and note.modules]
        found = {id(m): m for m in [*([] if model is None else [model]), *noted]}
        found = {key: m for key, m in found.items() if key == given or model not in m.modules()}
        told = {node for m in found.values() for node in weights(m)}
        held = {id(m): m for _, m in self.variables if isinstance(m, Module)}
        found = {
            key: m for key, m in held.items() if weights(m) - told and (model is None or model not in m.modules())
        } | found
        inside = {key: set(map(id, m.modules())) - {key} for key, m in found.items()}
        outer = [key for key in reversed(found) if key == given or not any(key in others for others in inside.values())]
        bearing = [key for key in outer if weights(found[key])]
        plain = (
            given if model is not None else bearing[0] if len(bearing) == 1 else outer[0] if len(outer) == 1 else None
        )
        called = {id(m): name for name, m in reversed(self.variables) if isinstance(m, Module)}
        roots, taken = {}, set() if plain is None else set(map(str, vars(found[plain])))
        for key in outer:
            kind = type(found[key]).__name__
            name = base = "" if key == plain else called.get(key, kind[0].lower() + kind[1:])
            while name in taken:
                name = f"{base}_{sum(name.startswith(base) for name in taken) + 1}"
            taken.add(name)
            roots[name] = found[key]
        return roots

    def _find_modules(self) -> None:
        for prefix, root in self.roots.items():
            around: list[str] = []
            for path, module in root.named_modules():
                path = _joined(prefix, path)
                while around and not path.startswith(f"{around[-1]}." if around[-1] else ""):
                    around.pop()
                around.append(path)
                self.modules[path], self.chains[path] = module, list(around)

    def _parameters(self) -> Iterator[tuple[Node, str]]:
        for prefix, root in self.roots.items():
            yield from ((p.node, _joined(prefix, name)) for name, p in root.named_parameters() if p.node is not None)

    def _names(self) -> dict[Node, str]:
        found: dict[Node, str] = {}
        known = set(self.nodes)
        for node in self.steps:
            if (note := NOTES.get(node)) is not None:
                found.update(
                    (x.node, name)
                    for x, name in zip(note.inputs, note.names, strict=True)
                    if name and isinstance(x, Tensor) and x.node is not None
                )
        frame = next((f for f in places.frames() if places.room(f) is None), None)
        near = set() if frame is None else {id(x) for x in frame.f_locals.values()}
        held = {
            x.node: name
            for name, x in reversed(self.variables)
            if isinstance(x, Tensor)
            and x.node in known
            and (id(x) in near or x.node.step is None or x.node not in found)
        }
        found.update(held)
        unnamed = {node for node in self.leaves if node not in found}
        for name, group in self.variables if unnamed else ():
            if type(group) in (dict, list, tuple) and len(group) <= MAX_ITEMS:
                for key, x in group.items() if type(group) is dict else enumerate(group):
                    if isinstance(x, Tensor) and x.node in unnamed:
                        found.setdefault(x.node, f"{name}[{key!r}]")
        parameters = dict(reversed(list(self._parameters())))
        found.update(parameters)
        mine = found.get(self.end)  # a name kept for the end: inside a loss function, too, there is a `loss`
        return {node: name for node, name in found.items() if name != mine or node is self.end or node in parameters}

    def _noted_paths(self) -> dict[Node, str]:
        known = {
            id(root): {id(m): _joined(prefix, path) for path, m in root.named_modules()}
            for prefix, root in self.roots.items()
        }
        found = {}
        for node in self.steps:
            modules = note.modules if (note := NOTES.get(node)) is not None else []
            inner = next(((m, paths) for m in reversed(modules) for paths in known.values() if id(m) in paths), None)
            if inner is not None:
                found[node] = inner[1][id(inner[0])]
        return found

    def _guessed_paths(self) -> dict[Node, str]:
        """Module paths of a tape without notes.

        A step with a parameter belongs to the parameter's module.  Any other step belongs to the innermost module that
        contains both the nearest step with a parameter before it and the nearest one after it.
        """
        owners = {node: self._module(name.rpartition(".")[0]) for node, name in self._parameters()}
        found = {
            node: path for node in self.steps for parent in node.parents if (path := owners.get(parent)) is not None
        }
        before, after = dict(found), dict(found)
        for node in reversed(self.steps):  # the oldest first
            nearest = next((p for p in node.parents if p not in owners), None)
            if node not in before and nearest in before:
                before[node] = before[nearest]
        for node in self.steps:
            for parent in node.parents if node in after else ():
                after.setdefault(parent, after[node])
        for node in self.steps:
            if node not in found and node in before and node in after:
                path = self._module(_shared(before[node], after[node]))
                if path is not None:
                    found[node] = path
        return found

    def _module(self, path: str) -> str | None:
        """The path of the innermost module at or above `path`; None if there is none."""
        while path and path not in self.modules:
            path = path.rpartition(".")[0]
        return path if path in self.modules else None


def _joined(prefix: str, path: str) -> str:
    return f"{prefix}.{path}" if prefix and path else prefix or path


def _shared(a: str, b: str) -> str:
    """The longest common prefix of two module paths."""
    steps = a.split("."), b.split(".")
    count = next((i for i, (x, y) in enumerate(zip(*steps)) if x != y), min(map(len, steps)))
    return ".".join(steps[0][:count])
