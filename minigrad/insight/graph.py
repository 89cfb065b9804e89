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
from .tape import Tape

LEGIBLE = 40                                    # as many boxes are drawn, unless a depth is asked for;
MOST = 150                                      # and then as many as this
FEW = 3                                         # parameters that are told one by one in a module's box
LETTER, LINE = 6.8, 15                          # pixels of a letter and of a line of text
COLOURS = {"folded": "#f4f4fb", "module": "#dbe9fb", "step": "#ffffff", "leaf": "#dff3df", "input": "#eeeeee", "end": "#fde9d0"}


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
        self.folded = 0                         # boxes that have become one, since there were too many to draw

    def save(self, path: str | Path) -> None:
        """Write the picture to a file, an .svg, which every browser shows."""
        if Path(path).suffix != ".svg":
            raise ValueError(f"{str(path)!r}: the picture is an SVG, so let the name end in .svg")
        Path(path).write_text(self._repr_svg_(), encoding="utf-8")

    def _repr_svg_(self) -> str:
        texts = {key: _text(box) for key, box in self.boxes.items()}
        sizes = {key: (max(map(len, text)) * LETTER + 24, len(text) * LINE + 10) for key, text in texts.items()}
        place = layered(sizes, list(self.edges))
        drawn, told = [], set()
        for route, ((source, _), shapes) in zip(place.routes, self.edges.items()):
            said = (source, *shapes)            # a shape is said once of each box
            drawn.append(_edge(route, shapes if said not in told else ()))
            told.add(said)
        drawn += [_box(self.boxes[key], texts[key], place.centres[key], sizes[key]) for key in self.boxes]
        w, h = place.width, place.height
        return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{w:.0f}" height="{h:.0f}" viewBox="0 0 {w:.0f} {h:.0f}" '
                f'font-family="monospace" font-size="11">\n'
                '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
                '<path d="M0,0 L8,4 L0,8 z" fill="#667"/></marker></defs>\n'
                f'<rect width="{w:.0f}" height="{h:.0f}" fill="white"/>\n' + "\n".join(drawn) + "\n</svg>")

    def __repr__(self) -> str:
        folded = f", {self.folded:,} others folded" if self.folded else ""
        return (f"Graph({len(self.boxes)} boxes{folded}, {len(self.edges)} arrows, depth={self.depth}): "
                'it shows itself in a notebook; elsewhere .save("picture.svg")')


def graph(y: Tensor, model: Module | None = None, depth: int | None = None) -> Graph:
    """A picture of the tape behind `y`: steps and modules, with shapes on the arrows and parameters by name.

    Modules are known if y was made inside `with mg.insight.recording():`, and guessed from the names of the parameters if a
    model is given, or is one of your variables.  Several models on one tape are told apart by their names: "generator.0".

    Args:
        depth: modules that are this many levels below the model are folded into one box, as `summary` counts them: 1 gives the
            children of the model, 0 folds the whole model.  By default, the most that gives no more than 40 boxes.

    If there are still more than 40 boxes (150, if a depth is given), the middle of the tape is folded into a box that says so.

    Raises:
        TypeError, ValueError: y is not a Tensor, has no tape; depth is negative.
    """
    if depth is not None and (not isinstance(depth, int) or isinstance(depth, bool) or depth < 0):
        kind = ValueError if isinstance(depth, int) else TypeError
        raise kind(f"depth={depth!r}: give how many levels of modules below the model to draw, 0 or more")
    drawn = _modules_folded(Tape(y, model), depth)
    return _middle_folded(drawn, LEGIBLE if depth is None else MOST)


def _modules_folded(tape: Tape, depth: int | None) -> Graph:
    if depth is not None:
        return _folded(tape, depth)
    drawn = None
    for depth in range(max(map(len, tape.chains.values()), default=1), -1, -1):
        drawn = _folded(tape, depth)
        if len(drawn.boxes) <= LEGIBLE:
            break
    return drawn


def picture(y: Tensor) -> str:
    """What a notebook shows for a Tensor: its values and, if it has a tape that can be overseen, the picture of that."""
    values = f"<pre>{escape(repr(y))}</pre>"
    drawn = _modules_folded(Tape(y), None)
    if len(drawn.boxes) > LEGIBLE:
        return values + f"<p>Its tape has {len(drawn.boxes)} steps and leaves: mg.graph(y, model) draws it folded.</p>"
    return values + drawn._repr_svg_()


def _middle_folded(graph: Graph, most: int) -> Graph:
    """The same with no more than `most` boxes, or a few: the middle of the tape becomes one, what enters it alone goes along.

    In an order in which arrows only go forward, what lies between two places can be one box without closing a circle.
    """
    if len(graph.boxes) <= most:
        return graph
    above: dict[Any, list] = {key: [] for key in graph.boxes}
    below: dict[Any, list] = {key: [] for key in graph.boxes}
    for a, b in graph.edges:
        above[b].append(a)
        below[a].append(b)
    waiting, order = {key: len(found) for key, found in above.items()}, []
    ready = [key for key in reversed(graph.boxes) if not waiting[key]]
    while ready:
        order.append(ready.pop())
        for key in reversed(below[order[-1]]):
            waiting[key] -= 1
            if not waiting[key]:
                ready.append(key)
    inner = [key for key in order if above[key]]
    ends = most // 4                            # boxes that are kept at each end, with what enters them
    middle = set(inner[ends:len(inner) - ends])
    sources = [key for key in order if not above[key]]
    middle |= {key for key in sources if below[key] and middle.issuperset(below[key])}
    shared = [key for key in sources if key not in middle]
    many = set(shared[most // 2:]) if len(shared) > most // 2 else set()       # nothing enters them, so that they can be one, too
    new, folded = {}, {}
    for group, word in ((middle, "folded"), (many, "inputs")):
        if len(group) > 1:
            parts = [graph.boxes[key] for key in order if key in group]
            kinds = Counter(box.text[0] for box in parts if box.kind not in ("leaf", "input")).most_common()
            told = ", ".join(f"{name} × {n:,}" for name, n in kinds[:3]) + (", …" if len(kinds) > 3 else "")
            outside = sum(box.kind in ("leaf", "input") for box in parts)
            text = [f"{len(parts):,} boxes folded" if word == "folded" else f"{len(parts):,} leaves", told,
                    f"{outside:,} leaves and inputs" if outside and word == "folded" else ""]
            box = Box("folded" if word == "folded" else "leaf", [line for line in text if line],
                      sum(box.steps for box in parts))
            folded |= dict.fromkeys(group, (word, box))
    boxes = {}
    for key in graph.boxes:
        new[key] = (folded[key][0],) if key in folded else key
        boxes.setdefault(new[key], folded[key][1] if key in folded else graph.boxes[key])
    edges: dict[tuple[Any, Any], list[tuple]] = {}
    for (a, b), shapes in graph.edges.items():
        if new[a] != new[b]:
            known = edges.setdefault((new[a], new[b]), [])
            known += [shape for shape in shapes if shape not in known]
    small = Graph(boxes, edges, graph.depth)
    small.folded = len(folded)
    return small


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
        for key, box in _constants(tape, node):
            boxes[key] = box
            edges.setdefault((key, home[node]), [])
    end = boxes[home[tape.y.node]] if tape.steps else Box("leaf", ["leaf"])
    end.kind = "end"
    return Graph(boxes or {tape.y.node: end}, edges, depth)


def _module(tape: Tape, node: Node, depth: int) -> str | None:
    """The path of the module into whose box a step goes; None if it is drawn by itself."""
    chain = tape.chains.get(tape.paths.get(node), ())
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
    """What a step was given that has no gradient: the data, if it has a name."""
    return [(id(x), Box("input", [name, str(x.shape)])) for name, x in tape.data(node) if getattr(x, "ndim", 0)]


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
