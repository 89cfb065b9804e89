"""Places the boxes of a graph in layers from top to bottom, with few crossings (Sugiyama, Tagawa & Toda 1981)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 8  # pairs of downward and upward passes: half of them to order, half to straighten
ACROSS, DOWN = 24, 46  # gaps between neighbours and between layers, in pixels
Point = tuple[float, float]


class Layout(NamedTuple):
    """The centres of the boxes and, for each edge, the points that it runs through."""

    centres: dict[Hashable, Point]
    routes: list[list[Point]]
    width: float
    height: float


def layered(sizes: dict[Hashable, tuple[float, float]], edges: list[tuple[Hashable, Hashable]]) -> Layout:
    """Lay out an acyclic graph, with edges running downwards.

    Args:
        sizes: (width, height) of each box, parents before children.
    """
    layer = _layers(list(sizes), edges)
    sizes, chains = dict(sizes), []
    for i, (a, b) in enumerate(edges):  # an edge that spans several layers gets a narrow place in each of them
        chain: list[Hashable]
        chain = [a, *((i, k) for k in range(layer[a] + 1, layer[b])), b]
        for k, place in enumerate(chain[1:-1], layer[a] + 1):
            sizes[place], layer[place] = (2.0, 0.0), k
        chains.append(chain)
    above, below = defaultdict(list), defaultdict(list)
    for chain in chains:
        for a, b in pairwise(chain):
            above[b].append(a)
            below[a].append(b)
    rows: list[list[Hashable]] = [[] for _ in range(max(layer.values(), default=-1) + 1)]
    for place in sizes:
        rows[layer[place]].append(place)
    x: dict[Hashable, float] = {}
    for row in rows:
        x.update(zip(row, _apart([0.0] * len(row), [sizes[p][0] for p in row])))
    for sweep in range(2 * SWEEPS):  # downwards and upwards in turn: each place moves to the mean of its neighbours
        beside, order = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        for row in order:
            wish = {p: sum(x[q] for q in beside[p]) / len(beside[p]) if beside[p] else x[p] for p in row}
            if sweep < SWEEPS:  # the first half reorders the row, so that few edges cross
                row.sort(key=wish.__getitem__)
            x.update(zip(row, _apart([wish[p] for p in row], [sizes[p][0] for p in row])))
    left = min((x[p] - sizes[p][0] / 2 for p in x), default=0.0) - ACROSS
    y, top = {}, DOWN / 2
    for row in rows:
        tall = max(sizes[p][1] for p in row)
        y.update((p, top + tall / 2) for p in row)
        top += tall + DOWN
    centres = {p: (x[p] - left, y[p]) for p in sizes}
    routes = [
        [
            (centres[a][0], centres[a][1] + sizes[a][1] / 2),
            *(centres[p] for p in middle),
            (centres[b][0], centres[b][1] - sizes[b][1] / 2),
        ]
        for a, *middle, b in chains
    ]
    width = max((x[p] - left + sizes[p][0] / 2 for p in x), default=0.0) + ACROSS
    return Layout(centres, routes, width, top - DOWN / 2)


def _layers(places: list[Hashable], edges: Iterable[tuple[Hashable, Hashable]]) -> dict[Hashable, int]:
    """Assign each place a layer below all its parents: as high as possible, then lower if that shortens the edges."""
    above, below = defaultdict(list), defaultdict(list)
    for a, b in edges:
        above[b].append(a)
        below[a].append(b)
    waiting = {p: len(above[p]) for p in places}
    ready, layer = [p for p in places if not waiting[p]], {}
    while ready:
        place = ready.pop()
        layer[place] = max((layer[a] + 1 for a in above[place]), default=0)
        for b in below[place]:
            waiting[b] -= 1
            if not waiting[b]:
                ready.append(b)
    for place in reversed(layer):  # children before parents
        if len(below[place]) >= max(1, len(above[place])):
            layer[place] = min(layer[b] for b in below[place]) - 1
    return layer


def _apart(wishes: list[float], widths: list[float]) -> list[float]:
    """Positions in this order that are nearest to the wishes, in least squares, without overlaps.

    With the required offsets subtracted, the positions must only not decrease: isotonic regression.  Neighbours that
    would decrease are pooled at their mean.
    """
    needed, offset = [], 0.0
    for i, width in enumerate(widths):
        offset += (widths[i - 1] + width) / 2 + ACROSS if i else 0.0
        needed.append(offset)
    pools: list[tuple[float, int]] = []  # (sum of wishes, number of them)
    for wish, need in zip(wishes, needed):
        total, count = wish - need, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            before = pools.pop()
            total, count = total + before[0], count + before[1]
        pools.append((total, count))
    means = [total / count for total, count in pools for _ in range(count)]
    return [mean + need for mean, need in zip(means, needed)]
