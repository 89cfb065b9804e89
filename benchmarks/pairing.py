"""Compares two libraries in turns (A B A B …), each in a process of its own, with the same number of threads."""

from __future__ import annotations

import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import median, quantiles
from typing import Any

Work = Callable[..., Iterator[Any]]  # yields once set up, then the numbers to compare, then after each unit of work
# the last two are read by JAX and tinygrad
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PJRT_NPROC", "NUM_CPU_THREADS")
NOISY = 0.15  # a row whose ratios spread further than this, relative to their median, is marked as noisy


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fix_threads(count: int = 0) -> None:
    """Limit every process started from here on to `count` threads, by default one for each core.

    The libraries read the limit when they are imported.
    """
    count = count or cores()
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(count)))


class Side:
    """The work of one library in a process of its own; a call runs one unit of work and returns its seconds.

    `numbers` is what the work yields for comparison, and `result` what it yields after a unit.  `before` and `peak` are
    the resident memory of the process in bytes, after setting up and at its maximum.
    """

    def __init__(self, work: Work, *given: Any):
        context = get_context("spawn")  # with "fork" the memory of the parent would count
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, work, given), daemon=True)
        self.process.start()
        there.close()
        self.numbers, self.before = self._hear()
        self.peak, self.result = self.before, None

    def __call__(self) -> float:
        self.pipe.send("work")
        seconds, self.peak, self.result = self._hear()
        return seconds

    def _hear(self) -> Any:
        try:
            return self.pipe.recv()
        except EOFError:
            sys.exit("A library's process ended before its work was done: its own error is printed above.")


def _serve(pipe: Any, work: Work, given: tuple) -> None:
    units = work(*given)
    next(units)
    before = memory_in_use("VmRSS")
    pipe.send((next(units), before))
    while True:
        try:
            pipe.recv()
        except EOFError:  # the other end was closed: the measurement is over
            return
        start = time.perf_counter()
        result = next(units)
        seconds = time.perf_counter() - start
        pipe.send((seconds, memory_in_use("VmHWM"), result))


def memory_in_use(kind: str) -> float:
    """Resident memory of this process in bytes, now ("VmRSS") or at its maximum ("VmHWM"); only on Linux."""
    status = Path("/proc/self/status")
    return int(re.search(rf"{kind}:\s+(\d+) kB", status.read_text())[1]) * 1024 if status.exists() else math.nan


@contextmanager
def sides(*works: Work, given: tuple = (), tolerance: float = 1e-4) -> Iterator[list[Side]]:
    """Start the works one after the other, and check that those that yield numbers yield the same.

    Raises:
        ValueError: they do not compute the same, so that comparing their speed would mean nothing.
    """
    started: list[Side] = []
    try:
        for work in works:
            started.append(Side(work, *given))
            agree(started[0].numbers, started[-1].numbers, tolerance)
        yield started
    finally:
        for side in started:
            side.pipe.close()
            side.process.join()


def agree(ours: Sequence[float], theirs: Sequence[float] | None, tolerance: float = 1e-4) -> None:
    """Raise ValueError unless both computed the same numbers; None stands for work without a result."""
    if theirs is not None and not (
        len(ours) == len(theirs)
        and all(math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance) for a, b in zip(ours, theirs))
    ):
        raise ValueError(f"the two sides do not compute the same, so their speed cannot be compared:\n{ours}\n{theirs}")


def in_turns(*samplers: Callable[[], float], rounds: int, warm_up: int = 1, run_up: int = 0) -> list[tuple[float, ...]]:
    """Call each in turn, `rounds` times; returns a tuple of results for each.

    In its turn, each is first called `run_up` times without being measured.  This is for work of milliseconds that is
    repeated in training: after a pause, the system needs some calls to spread threads over the cores.
    """
    taken = []
    for _ in range(warm_up + rounds):
        taken.append([])
        for sample in samplers:
            time.sleep(0.25)  # the previous one's threads spin for a while
            taken[-1].append([sample() for _ in range(run_up + 1)][-1])
    return list(zip(*taken[warm_up:]))


@dataclass
class Row:
    """A row of the table: two sides measured in turns, and the goal, the largest allowed ratio ours / theirs, if any.

    A training step or a forward pass also has the time of its matrix products alone, measured in the same turns, the
    largest allowed multiple of that time, and the peak memory of both processes, of which ours may not exceed theirs.
    With `tokens`, the number of tokens read, the row also has the cost of one token.
    """

    workload: str
    ours: Sequence[float]
    theirs: Sequence[float]
    goal: float | None = None
    beside: str = "torch"
    unit: str = "s"  # "s" (seconds), "B" (bytes) or "%"
    products: Sequence[float] = ()
    products_goal: float | None = None
    memory: tuple[float, float] | None = None
    tokens: int = 0

    @property
    def ratios(self) -> list[float]:
        """Ours / theirs, pair by pair, so that a slow period of the machine affects both."""
        return [a / b for a, b in zip(self.ours, self.theirs)]

    @property
    def times_products(self) -> list[float]:
        """Ours / the products alone, pair by pair."""
        return [a / b for a, b in zip(self.ours, self.products)]

    @property
    def verdict(self) -> str:
        """Whether the goals were met, the time's first."""
        said = [judged(self.ratios, self.goal), judged(self.times_products, self.products_goal)]
        if self.memory and self.goal is not None:
            said.append(judged([self.memory[0] / self.memory[1]], 1))
        return ", ".join(part + what for part, what in zip(said, ("", " (products)", " (memory)")) if part)

    suffix = ""

    def cells(self) -> list[str]:
        low, high = spread(self.ratios)
        beside_products = ""
        if self.products:
            theirs = median(a / b for a, b in zip(self.theirs, self.products))
            beside_products = f"{median(self.times_products):.2f}, {self.beside} {theirs:.2f}"
        if self.products_goal is not None:
            beside_products += f" (≤ {self.products_goal})"
        memory = self.memory and (
            f"{self.memory[0] / 1e6:.0f} / {self.memory[1] / 1e6:.0f} MB, {self.memory[0] / self.memory[1]:.2f}"
        )
        return [
            self.workload,
            shown(median(self.ours), self.unit),
            f"{shown(median(self.theirs), self.unit)} {self.beside}",
            f"{median(self.ratios):.2f}{self.suffix}",
            f"{low:.2f} – {high:.2f}" if len(self.ratios) > 1 else "one run",
            "" if self.goal is None else f"≤ {self.goal}",
            beside_products,
            shown(median(self.ours) / self.tokens, self.unit) if self.tokens else "",
            memory or "",
            self.verdict,
        ]


class Points(Row):
    """Two percentages, whose goal is a difference in points."""

    suffix = " points"
    ratios = property(lambda self: [abs(a - b) for a, b in zip(self.ours, self.theirs)])


def spread(ratios: Sequence[float]) -> tuple[float, float]:
    """The lower and the upper quartile of the ratios."""
    low, _, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else list(ratios) * 3
    return low, high


def judged(ratios: Sequence[float], goal: float | None) -> str:
    """Whether the goal was met; if it lies between the quartiles, the machine was too noisy to tell."""
    if not ratios:
        return ""
    low, high = spread(ratios)
    noisy = ", noisy" if high - low > NOISY * median(ratios) else ""
    if goal is None:
        return noisy.removeprefix(", ")
    return ("met" if high <= goal else "not met" if low > goal else "too noisy to tell") + noisy


HEADINGS = (
    "workload",
    "minigrad",
    "beside",
    "ratio",
    "middle half",
    "goal",
    "× products",
    "per token",
    "memory, ours / theirs",
    "verdict",
)


def shown(value: float, unit: str) -> str:
    """A value with three digits and a readable unit."""
    scales = {"s": (("s", 1), ("ms", 1e-3), ("µs", 1e-6)), "B": (("MB", 1e6),), "%": (("%", 1),)}[unit]
    name, scale = next((s for s in scales if value >= s[1]), scales[-1])
    return f"{value / scale:.0f} {name}" if value / scale >= 100 else f"{value / scale:#.3g} {name}"


def table(rows: Sequence[Row]) -> str:
    """The rows in Markdown, in columns that also line up in a terminal, without empty columns."""
    lines = [list(HEADINGS), *(row.cells() for row in rows)]
    full = [any(column) for column in zip(*lines[1:])]
    lines = [[cell for cell, some in zip(line, full) if some] for line in lines]
    widths = [max(map(len, column)) for column in zip(*lines)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in lines)
