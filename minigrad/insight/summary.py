"""A model as a table: its layers as a tree, with their output shapes and their numbers of parameters as formulas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from html import escape
from typing import Any

from ..execution import no_grad
from ..nn.module import Buffer, Module, Parameter, children, walk
from ..tensor import Tensor
from .formulas import formula

COLUMNS = ("layer", "output", "parameters", "share", "frozen", "why so many")
NUMBERS = (2, 3, 4)  # columns that are aligned to the right


@dataclass
class Row:
    """One module."""

    path: str
    level: int  # in the tree of modules: 0 is the model, 1 its children
    name: str  # module path relative to the module above
    kind: str  # name of its class
    output: str  # shape of its output; "" if it was not run
    total: int  # entries of its parameters, those of its submodules included
    trainable: int  # entries of those that are trained
    formula: str  # size of its own parameters, such as "in · out + out = 3 · 4 + 4"


@dataclass(repr=False)
class Summary:
    """A model as a table; print it, or evaluate it in a notebook."""

    rows: list[Row]
    total: int  # entries of all parameters, each parameter counted once
    trainable: int
    by_kind: dict[str, int]  # entries of the parameters of each kind of layer, the largest first
    memory: dict[str, int]  # bytes, of "parameters", "gradients", "buffers" and "outputs"

    @property
    def frozen(self) -> int:
        """The number of entries that are not trained."""
        return self.total - self.trainable

    def __repr__(self) -> str:
        return str(self)

    def _cells(self) -> list[tuple[str, ...]]:
        rows = []
        for row in self.rows:
            name = f"{'  ' * row.level}{row.name}{': ' if row.name else ''}{row.kind}"
            frozen = row.total - row.trainable
            counts = [f"{n:,}" if n else "" for n in (row.total, frozen)]
            share = f"{row.total / self.total:.1%}" if row.total else ""
            rows.append((name, row.output, counts[0], share, counts[1], row.formula))
        return rows

    def _totals(self) -> str:
        kinds = ", ".join(f"{kind} {size:,} ({size / self.total:.1%})" for kind, size in self.by_kind.items())
        memory = ", ".join(f"{what} {_bytes(size)}" for what, size in self.memory.items() if size)
        return "\n".join(
            [
                f"{self.total:,} parameters: {self.trainable:,} trainable, {self.frozen:,} frozen",
                f"by kind of layer: {kinds or 'none'}",
                f"memory: {memory or 'none'}",
            ]
        )

    def __str__(self) -> str:
        cells = [COLUMNS, *self._cells()]
        used = [i for i in range(len(COLUMNS)) if any(row[i] for row in cells[1:])]
        wide = {i: max(len(row[i]) for row in cells) for i in used}
        lines = [
            "  ".join(row[i].rjust(wide[i]) if i in NUMBERS else row[i].ljust(wide[i]) for i in used).rstrip()
            for row in cells
        ]
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], "", self._totals()])

    def _repr_html_(self) -> str:
        def row(cells, tag):
            style = "text-align:{};white-space:pre"
            return (
                "<tr>"
                + "".join(
                    f"<{tag} style='{style.format('right' if i in NUMBERS else 'left')}'>{escape(cell)}</{tag}>"
                    for i, cell in enumerate(cells)
                )
                + "</tr>"
            )

        body = "".join(row(cells, "td") for cells in self._cells())
        return f"<table>{row(COLUMNS, 'th')}{body}</table><pre>{escape(self._totals())}</pre>"


def summary(model: Module, *inputs: Any, depth: int | None = None, **named: Any) -> Summary:
    """Summarise the layers of `model` in a table.

    Args:
        inputs, named: example inputs, to show the output shapes.  The model is run once, in evaluation mode and without
            a tape, and is left unchanged.  They may be left out.
        depth: show at most this many levels of the tree; the parameters of deeper levels are still counted.

    Raises:
        TypeError, ValueError: model is not a Module; depth is negative.
    """
    if not isinstance(model, Module):
        raise TypeError(f"summary takes a Module, not a {type(model).__name__}: mg.summary(model, x)")
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        kind = ValueError if isinstance(depth, int) else TypeError
        raise kind(f"depth={depth!r}: give how many levels below the model to show, 0 or more")
    outputs = _outputs(model, inputs, named) if inputs or named else {}
    rows, seen, above, kinds, counted = [], set(), [], Counter(), set()
    for path, module in model.named_modules():
        while above and not path.startswith(above[-1]):
            above.pop()
        level, name = len(above), path.removeprefix(above[-1]) if above else path
        above.append(f"{path}." if path else "")
        mine = dict(_own(module))
        kinds[type(module).__name__] += _size(p for p in mine.values() if id(p) not in counted)
        counted.update(map(id, mine.values()))
        if id(module) in seen or depth is not None and level > depth:
            continue
        seen.add(id(module))
        below = module.parameters()
        rows.append(
            Row(
                path,
                level,
                name,
                type(module).__name__,
                _shapes(outputs.get(id(module))),
                _size(below),
                _size(p for p in below if p.requires_grad),
                formula(module, mine),
            )
        )
    parameters, buffers = model.parameters(), {id(t): t for _, t in walk(model) if isinstance(t, Buffer)}.values()
    by_kind = {kind: size for kind, size in kinds.most_common() if size}
    return Summary(
        rows,
        _size(parameters),
        _size(p for p in parameters if p.requires_grad),
        by_kind,
        {
            "parameters": sum(p.data.nbytes for p in parameters),
            "buffers": sum(t.data.nbytes for t in buffers),
            "gradients": sum(p.data.nbytes for p in parameters if p.requires_grad),
            "outputs": sum({id(t.data): t.data.nbytes for y in outputs.values() for t in _tensors(y)}.values()),
        },
    )


def _own(item: Any, path: str = "") -> Iterator[tuple[str, Parameter]]:
    """The parameters of a module itself, in its attributes, lists and dictionaries, but not in its submodules."""
    for name, child in children(item).items():
        name = f"{path}.{name}" if path else str(name)
        if isinstance(child, Parameter):
            yield name, child
        elif not isinstance(child, Module):
            yield from _own(child, name)


def _size(tensors: Iterable[Tensor]) -> int:
    return sum(t.size for t in tensors)


def _outputs(model: Module, inputs: tuple, named: dict) -> dict[int, Any]:
    """The output of each module in a run of the model, by the id of the module."""
    found: dict[int, Any] = {}
    modes = [(m, "training" in vars(m), m.training) for m in model.modules()]

    def watched(module: Module, forward: Callable) -> Callable:
        def run(*args: Any, **kwargs: Any) -> Any:
            found[id(module)] = y = forward(*args, **kwargs)
            return y

        return run

    model.eval()
    for m, _, _ in modes:
        vars(m)["forward"] = watched(m, m.forward)
    try:
        with no_grad():
            model(*inputs, **named)
    finally:
        for m, own, training in modes:
            vars(m).pop("forward", None)
            vars(m).pop("training", None)
            if own:
                m.training = training
    return found


def _tensors(y: Any) -> list[Tensor]:
    """The Tensors in the output of a module, which may be nested in tuples, dictionaries and dataclasses."""
    if isinstance(y, Tensor):
        return [y]
    parts = y if isinstance(y, (tuple, list)) else (y if isinstance(y, dict) else getattr(y, "__dict__", {})).values()
    return [t for part in parts for t in _tensors(part)]


def _shapes(y: Any) -> str:
    return ", ".join(str(t.shape) for t in _tensors(y))


def _bytes(size: float) -> str:
    for unit in ("B", "KB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
