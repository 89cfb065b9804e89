"""The tape as a picture: SVG, drawn without any other program, with the modules of a model folded into boxes."""
from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ..nn import Module
from ..tape import Node
from ..tensor import Tensor
from .layout import DOWN, layered
from .recording import NOTES
from .tape import Tape

LEGIBLE = 40                                    # as many boxes may be drawn, unless a depth is asked for
FEW = 3                                         # parameters that are told one by one in a module's box
LETTER, LINE = 6.8, 15                          # pixels of a letter and of a line of text
COLOURS = {"module": "#dbe9fb", "step": "#ffffff", "leaf": "#dff3df", "input": "#eeeeee", "end": "#fde9d0"}


@dataclass
class Box:
    """One box: a step, a module with all of its steps, or what the tape begins with."""
    kind: str
    text: list[str]
    steps: int = 0
    parameters: dict[str, tuple] = field(default_factory=dict)                 # the shapes of those inside
    lines: list[str] = field(default_factory=list)                             # of the user's program


class Graph:
    """A picture of a tape: evaluate it in a notebook, or `.save("picture.svg")`."""
    def __init__(self, boxes: dict[Any, Box], edges: dict[tuple[Any, Any], list[tuple]], depth: int):
        self.boxes, self.edges, self.depth = boxes, edges, depth

    def save(self, path: str | Path) -> None:
        """Write the picture to a file, an .svg, which every browser shows."""
        if Path(path).suffix != ".svg":
            raise ValueError(f"{str(path)!r}: the picture is an SVG, so let the name end in .svg")
        Path(path).write_text(self._repr_svg_(), encoding="utf-8")

    def _repr_svg_(self) -> str:
        texts = {key: _text(box) for key, box in self.boxes.items()}
        sizes = {key: (max(map(len, text)) * LETTER + 24, len(text) * LINE + 10) for key, text in texts.items()}
        place = layered(sizes, list(self.edges))
        told = [(source, *shapes) for (source, _), shapes in self.edges.items()]
        drawn = [_edge(route, shapes[1:] if shapes not in told[:i] else ())    # a shape is said once of each box
                 for i, (route, shapes) in enumerate(zip(place.routes, told))]
        drawn += [_box(self.boxes[key], texts[key], place.centres[key], sizes[key]) for key in self.boxes]
        w, h = place.width, place.height
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" '
                f'font-family="monospace" font-size="11">\n'
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
                '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>\n'
                f'<rect width="{w:.0f}" height="{h:.0f}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>")

    def __repr__(self) -> str:
        return (f"Graph({len(self.boxes)} boxes, {len(self.edges)} arrows, depth={self.depth}): it shows itself in a notebook; "
                'elsewhere .save("picture.svg")')


def graph(y: Tensor, model: Module | None = None, depth: int | None = None) -> Graph:
    """A picture of the tape behind `y`: steps and modules, with shapes on the arrows and parameters by name.

    Modules are known if y was made inside `with mg.insight.recording():`, and guessed from the names of the parameters if a
    model is given.

    Args:
        depth: modules whose path has this many steps are folded into one box: 1 gives the children of the model, 3 makes
            "encoder.layer.3" one box, 0 folds the whole model.  By default, the most that gives no more than 40 boxes.

    Raises:
        TypeError, ValueError: y is not a Tensor, has no tape; depth is negative.
    """
    tape = Tape(y, model)
    if depth is not None:
        if not isinstance(depth, int) or depth < 0:
            raise ValueError(f"depth={depth!r}: give the number of steps of a module's path at which to fold, 0 or more")
        return _folded(tape, depth)
    deepest = max((path.count(".") + 1 for path in tape.paths.values() if path), default=0) + 1
    drawn = None
    for depth in range(deepest, -1, -1):
        drawn = _folded(tape, depth)
        if len(drawn.boxes) <= LEGIBLE:
            break
    return drawn


def picture(y: Tensor) -> str:
    """What a notebook shows for a Tensor: its values and, if it has a tape that can be overseen, the picture of that."""
    values = f"<pre>{escape(repr(y))}</pre>"
    drawn = graph(y)
    if len(drawn.boxes) > LEGIBLE:
        return values + f"<p>Its tape has {len(drawn.boxes)} steps and leaves: mg.graph(y, model) draws it folded.</p>"
    return values + drawn._repr_svg_()


def _folded(tape: Tape, depth: int) -> Graph:
    """Every node into its box, and the arrows between boxes."""
    boxes: dict[Any, Box] = {}
    home: dict[Node, Any] = {}
    after: dict[Any, set] = {}                  # arrows between boxes as they are so far
    turns: Counter = Counter()
    for node in reversed(tape.steps):           # the oldest first
        sources = {home[p] for p in node.parents if p in home}
        module = _module(tape, node, depth)
        key = (module, turns[module]) if module is not None else node
        if key in boxes and _reaches(after, key, sources - {key}):
            turns[module] += 1                  # the module's box would be entered from something that comes out of it: a new one
            key = (module, turns[module])
        if key not in boxes:
            boxes[key] = _new_box(tape, node, module)
        boxes[key].steps += 1
        home[node] = key
        for source in sources - {key}:
            after.setdefault(source, set()).add(key)
    edges: dict[tuple[Any, Any], list[tuple]] = {}
    for node in reversed(tape.steps):
        for parent in dict.fromkeys(node.parents):
            if parent.step is None:
                name, inside = tape.names.get(parent, "leaf"), home[node]
                module = inside[0] if isinstance(inside, tuple) else None
                if module is not None and name.startswith(f"{module}." if module else ""):
                    boxes[inside].parameters[name.removeprefix(f"{module}.")] = parent.shape
                    continue
                home[parent] = parent
                boxes[parent] = Box("leaf", [name, str(parent.shape)])
            if home[parent] != home[node]:
                shapes = edges.setdefault((home[parent], home[node]), [])
                if parent.step is not None and parent.shape not in shapes:     # a leaf's shape stands in its box
                    shapes.append(parent.shape)
        for key, box in _constants(node):
            boxes[key] = box
            edges.setdefault((key, home[node]), [])
    end = boxes[home[tape.y.node]] if tape.steps else Box("leaf", ["leaf"])
    end.kind = "end"
    return Graph(boxes or {tape.y.node: end}, edges, depth)


def _module(tape: Tape, node: Node, depth: int) -> str | None:
    """The path of the module into whose box a step goes; None if it is drawn by itself."""
    if node not in tape.paths:
        return None
    parts = tape.paths[node].split(".") if tape.paths[node] else []
    return ".".join(parts[:depth]) if len(parts) >= depth else None


def _reaches(after: dict[Any, set], start: Any, goals: set) -> bool:
    seen, stack = {start}, [start]
    while stack:
        new = after.get(stack.pop(), set()) - seen
        seen |= new
        stack.extend(new)
    return bool(seen & goals)


def _new_box(tape: Tape, node: Node, module: str | None) -> Box:
    lines = [f"{line}  {line.text}" for line in tape.lines(node)[-1:]]
    if module is None:
        path = tape.path(node)
        return Box("step", [node.step.name, *([path] if path else [])], lines=lines)
    found = next((dict(root.named_modules()).get(module) for root in tape.roots), None)
    kind = type(found).__name__ if found is not None else ""
    return Box("module", [module or kind, *([kind] if module and kind else [])], lines=lines)


def _constants(node: Node) -> list[tuple[Any, Box]]:
    """What a recorded step was given that has no gradient: the data, if it is a Tensor and has a name."""
    note = NOTES.get(node)
    if note is None:
        return []
    return [(id(x), Box("input", [name, str(x.shape)])) for x, name in zip(note.inputs, note.names, strict=True)
            if isinstance(x, Tensor) and x.node is None and name and x.ndim]


def _text(box: Box) -> list[str]:
    if len(box.parameters) <= FEW:
        told = [f"{name} {shape}" for name, shape in box.parameters.items()]
    else:
        told = [f"{len(box.parameters)} parameters, {sum(map(math.prod, box.parameters.values())):,} numbers"]
    return [*box.text, *told, *([f"{box.steps} steps"] if box.steps > 1 else [])]


def _box(box: Box, text: list[str], centre: tuple[float, float], size: tuple[float, float]) -> str:
    (x, y), (w, h) = centre, size
    styles = ['font-weight="bold"', *['fill="#556"'] * len(text)]
    first = y - h / 2 + 5 + 0.75 * LINE
    rows = "".join(f'<text x="{x:.1f}" y="{first + i * LINE:.1f}" text-anchor="middle" {style}>{escape(row)}</text>'
                   for i, (row, style) in enumerate(zip(text, styles)))
    tip = f"<title>{escape(chr(10).join(box.lines))}</title>" if box.lines else ""
    return (f'<g>{tip}<rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" '
            f'rx="{h / 2 if box.kind in ("leaf", "input") else 4:.0f}" fill="{COLOURS[box.kind]}" stroke="#667"/>{rows}</g>')


def _edge(route: list[tuple[float, float]], shapes: tuple) -> str:
    (x, y), *rest = route
    path = f"M{x:.1f},{y:.1f}"
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        path += f" C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"
        x, y = to_x, to_y
    label = " ".join(map(str, shapes[:2])) + (" …" if len(shapes) > 2 else "")
    (x0, y0), (x1, _) = route[:2]
    side, anchor = (-4, "end") if x1 > x0 + 1 else (4, "start")               # where the line does not go
    return (f'<path d="{path}" fill="none" stroke="#667" marker-end="url(#tip)"/>'
            f'<text x="{x0 + 0.1 * (x1 - x0) + side:.1f}" y="{y0 + 0.4 * DOWN:.1f}" text-anchor="{anchor}" font-size="9" '
            f'fill="#889">{escape(label)}</text>')
