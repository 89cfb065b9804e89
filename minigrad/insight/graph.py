"""The tape as an SVG picture, drawn without other programs; the modules of a model are folded into boxes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from ..nn import Module
from ..tape import Node
from ..tensor import Tensor
from .layout import DOWN, layered
from .tape import Tape

MAX_BOXES = 40  # boxes drawn by default, so that the picture stays legible
MAX_BOXES_AT_DEPTH = 150  # boxes drawn if the caller chooses a depth
MAX_LISTED_PARAMETERS = 3  # with more parameters, a module's box shows only their number
LETTER, LINE = 6.8, 15.0  # width of a letter and height of a line of text, in pixels
COLOURS = {
    "folded": "#f4f4fb",
    "module": "#dbe9fb",
    "step": "#ffffff",
    "leaf": "#dff3df",
    "input": "#eeeeee",
    "end": "#fde9d0",
}


Edges = dict[tuple[Any, Any], list[tuple[int, ...]]]  # (from, to) -> shapes of what is passed on


@dataclass
class Box:
    """One box: a step, a module with all of its steps, a leaf or an input."""

    kind: str  # a key of COLOURS
    text: list[str]
    steps: int = 0
    parameters: dict[str, tuple[int, ...]] = field(default_factory=dict)  # shapes of the parameters inside, by name
    lines: list[str] = field(default_factory=list)  # lines of the user's program


class Graph:
    """A picture of a tape: evaluate it in a notebook, or call `.save("picture.svg")`."""

    def __init__(self, boxes: dict[Any, Box], edges: Edges, depth: int):
        self.boxes, self.edges, self.depth = boxes, edges, depth
        self.folded = 0  # number of boxes that were folded because there were too many to draw

    def save(self, path: str | Path) -> None:
        """Write the picture to an .svg file, which any browser displays."""
        if Path(path).suffix != ".svg":
            raise ValueError(f"{str(path)!r}: the picture is an SVG, so let the name end in .svg")
        Path(path).write_text(self._repr_svg_(), encoding="utf-8")

    def _repr_svg_(self) -> str:
        texts = {key: _text(box) for key, box in self.boxes.items()}
        sizes: dict[Hashable, tuple[float, float]] = {
            key: (max(map(len, text)) * LETTER + 24, len(text) * LINE + 10) for key, text in texts.items()
        }
        place = layered(sizes, list(self.edges))
        drawn, told = [], set()
        for route, ((source, _), shapes) in zip(place.routes, self.edges.items()):
            said = (source, *shapes)  # label only the first of the edges that leave a box with the same shapes
            drawn.append(_edge(route, shapes if said not in told else []))
            told.add(said)
        drawn += [_box(self.boxes[key], texts[key], place.centres[key], sizes[key]) for key in self.boxes]
        w, h = place.width, place.height
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" '
            f'font-family="monospace" font-size="11">\n'
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>\n'
            f'<rect width="{w:.0f}" height="{h:.0f}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>"
        )

    def __repr__(self) -> str:
        folded = f", {self.folded:,} others folded" if self.folded else ""
        return (
            f"Graph({len(self.boxes)} boxes{folded}, {len(self.edges)} arrows, depth={self.depth}): "
            'it shows itself in a notebook; elsewhere .save("picture.svg")'
        )


def graph(y: Tensor, model: Module | None = None, depth: int | None = None) -> Graph:
    """Draw the tape behind `y`: steps and modules, with shapes at the arrows and parameters by name.

    Modules are known if y was computed inside `with mg.insight.recording():`.  Otherwise they are inferred from the
    names of the parameters, if a model is given or held by one of your variables.  If several models are on the tape,
    their paths begin with the name of the model: "generator.0".

    Args:
        depth: fold modules at this level below the model into one box each, with the levels of `summary`: 1 draws the
            children of the model, 0 the whole model as one box.  The default is the greatest depth with at most 40
            boxes.

    If more than 40 boxes remain (150 if a depth is given), the middle of the tape is folded into one box that says so.

    Raises:
        TypeError, ValueError: y is not a Tensor, has no tape; depth is negative.
    """
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        kind = ValueError if isinstance(depth, int) else TypeError
        raise kind(f"depth={depth!r}: give how many levels of modules below the model to draw, 0 or more")
    drawn = _modules_folded(Tape(y, model), depth)
    return _middle_folded(drawn, MAX_BOXES if depth is None else MAX_BOXES_AT_DEPTH)


def _modules_folded(tape: Tape, depth: int | None) -> Graph:
    """The picture at this depth; None chooses the greatest depth that is legible."""
    deepest = max(map(len, tape.chains.values()), default=1) if depth is None else depth
    drawn = _folded(tape, deepest)
    while depth is None and deepest and len(drawn.boxes) > MAX_BOXES:
        deepest -= 1
        drawn = _folded(tape, deepest)
    return drawn


def picture(y: Tensor) -> str:
    """The HTML that a notebook shows for a Tensor: its values and, if its tape is small enough, a picture of it."""
    values = f"<pre>{escape(repr(y))}</pre>"
    drawn = _modules_folded(Tape(y), None)
    if len(drawn.boxes) > MAX_BOXES:
        return values + f"<p>Its tape has {len(drawn.boxes)} steps and leaves: mg.graph(y, model) draws it folded.</p>"
    return values + drawn._repr_svg_()


def _middle_folded(graph: Graph, most: int) -> Graph:
    """Fold the middle of the tape into one box, with the leaves that only it uses, so that about `most` boxes are left.

    In topological order every edge points forward, so the boxes between two positions can be merged without making a
    cycle.
    """
    if len(graph.boxes) <= most:
        return graph
    above: dict[Any, list] = {key: [] for key in graph.boxes}
    below: dict[Any, list] = {key: [] for key in graph.boxes}
    for a, b in graph.edges:
        above[b].append(a)
        below[a].append(b)
    order = _topological(above, below)
    inner = [key for key in order if above[key]]
    ends = most // 4  # boxes to keep at each end
    middle = set(inner[ends : len(inner) - ends])
    sources = [key for key in order if not above[key]]
    middle |= {key for key in sources if below[key] and middle.issuperset(below[key])}
    shared = [key for key in sources if key not in middle]
    leaves = set(shared[most // 2 :])  # no edge enters them, so they can be merged, too
    merged: dict[Any, tuple[Any, Box]] = {}
    for group, word in ((middle, "folded"), (leaves, "inputs")):
        if len(group) > 1:
            box = _merged_box([graph.boxes[key] for key in order if key in group], word)
            merged |= dict.fromkeys(group, ((word,), box))
    new, boxes = {}, {}
    for key, box in graph.boxes.items():
        new[key], box = merged.get(key, (key, box))
        boxes.setdefault(new[key], box)
    edges: Edges = {}
    for (a, b), shapes in graph.edges.items():
        if new[a] != new[b]:
            known = edges.setdefault((new[a], new[b]), [])
            known += [shape for shape in shapes if shape not in known]
    small = Graph(boxes, edges, graph.depth)
    small.folded = len(merged)
    return small


def _topological(above: dict[Any, list], below: dict[Any, list]) -> list:
    """The boxes in an order in which every edge points forward, depth first (Kahn 1962)."""
    waiting, order = {key: len(found) for key, found in above.items()}, []
    ready = [key for key in reversed(above) if not waiting[key]]
    while ready:
        order.append(ready.pop())
        for key in reversed(below[order[-1]]):
            waiting[key] -= 1
            if not waiting[key]:
                ready.append(key)
    return order


def _merged_box(parts: list[Box], word: str) -> Box:
    """One box in place of many, which says how many of which kind they were."""
    kinds = Counter(box.text[0] for box in parts if box.kind not in ("leaf", "input")).most_common()
    listed = ", ".join(f"{name} × {n:,}" for name, n in kinds[:3]) + (", …" if len(kinds) > 3 else "")
    outside = sum(box.kind in ("leaf", "input") for box in parts)
    if word == "inputs":
        text = [f"{len(parts):,} leaves", listed]
    else:
        text = [f"{len(parts):,} boxes folded", listed, f"{outside:,} leaves and inputs" if outside else ""]
    return Box(
        "leaf" if word == "inputs" else "folded", [line for line in text if line], sum(box.steps for box in parts)
    )


def _folded(tape: Tape, depth: int) -> Graph:
    """Assign every node to its box, and draw the edges between boxes."""
    boxes: dict[Any, Box] = {}
    home: dict[Node, Any] = {}
    after: dict[Any, set] = {}  # the edges between boxes so far
    turns: Counter = Counter()  # how many boxes a module has been split into, less one
    for node in reversed(tape.steps):  # the oldest first
        sources = {home[p] for p in node.parents if p in home}
        module = _module(tape, node, depth)
        key = (module, turns[module]) if module is not None else node
        if key in boxes and _reaches(after, key, sources - {key}):
            turns[module] += 1  # reusing the module's box would make a cycle: begin a new one
            key = (module, turns[module])
        if key not in boxes:
            boxes[key] = _new_box(tape, node, module)
        boxes[key].steps += 1
        home[node] = key
        for source in sources - {key}:
            after.setdefault(source, set()).add(key)
    edges: Edges = {}
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
                if parent.step is not None and parent.shape not in shapes:  # a leaf's box shows its shape already
                    shapes.append(parent.shape)
        for key, box in _constants(tape, node):
            boxes[key] = box
            edges.setdefault((key, home[node]), [])
    end = boxes[home[tape.end]] if tape.steps else Box("leaf", ["leaf"])
    end.kind = "end"
    return Graph(boxes or {tape.end: end}, edges, depth)


def _module(tape: Tape, node: Node, depth: int) -> str | None:
    """The path of the module into whose box a step is folded; None if the step has a box of its own."""
    path = tape.paths.get(node)
    chain = [] if path is None else tape.chains.get(path, [])
    return chain[depth] if len(chain) > depth else None


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
    kind = type(tape.modules[module]).__name__
    return Box("module", [module or kind, *([kind] if module else [])], lines=lines)


def _constants(tape: Tape, node: Node) -> list[tuple[Any, Box]]:
    """The boxes of a step's named inputs that have no gradient, such as the data."""
    return [(id(x), Box("input", [name, str(x.shape)])) for name, x in tape.data(node) if getattr(x, "ndim", 0)]


def _text(box: Box) -> list[str]:
    if len(box.parameters) <= MAX_LISTED_PARAMETERS:
        told = [f"{name} {shape}" for name, shape in box.parameters.items()]
    else:
        told = [f"{len(box.parameters)} parameters, {sum(map(math.prod, box.parameters.values())):,} numbers"]
    return [*box.text, *told, *([f"{box.steps} steps"] if box.steps > 1 else [])]


def _box(box: Box, text: list[str], centre: tuple[float, float], size: tuple[float, float]) -> str:
    (x, y), (w, h) = centre, size
    styles = ['font-weight="bold"', *['fill="#556"'] * len(text)]
    first = y - h / 2 + 5 + 0.75 * LINE
    rows = "".join(
        f'<text x="{x:.1f}" y="{first + i * LINE:.1f}" text-anchor="middle" {style}>{escape(row)}</text>'
        for i, (row, style) in enumerate(zip(text, styles))
    )
    tip = f"<title>{escape(chr(10).join(box.lines))}</title>" if box.lines else ""
    return (
        f'<g>{tip}<rect x="{x - w / 2:.1f}" y="{y - h / 2:.1f}" width="{w:.1f}" height="{h:.1f}" '
        f'rx="{h / 2 if box.kind in ("leaf", "input") else 4:.0f}" fill="{COLOURS[box.kind]}" stroke="#667"/>{rows}</g>'
    )


def _edge(route: list[tuple[float, float]], shapes: Sequence[tuple[int, ...]]) -> str:
    (x, y), *rest = route
    path = f"M{x:.1f},{y:.1f}"
    for to_x, to_y in rest:
        middle = (y + to_y) / 2
        path += f" C{x:.1f},{middle:.1f} {to_x:.1f},{middle:.1f} {to_x:.1f},{to_y:.1f}"
        x, y = to_x, to_y
    label = " ".join(map(str, shapes[:2])) + (" …" if len(shapes) > 2 else "")
    (x0, y0), (x1, _) = route[:2]
    side, anchor = (-4, "end") if x1 > x0 + 1 else (4, "start")  # the side that the line does not cross
    return (
        f'<path d="{path}" fill="none" stroke="#667" marker-end="url(#tip)"/>'
        f'<text x="{x0 + 0.1 * (x1 - x0) + side:.1f}" y="{y0 + 0.4 * DOWN:.1f}" text-anchor="{anchor}" font-size="9" '
        f'fill="#889">{escape(label)}</text>'
    )
