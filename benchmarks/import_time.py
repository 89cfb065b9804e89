"""What `import minigrad` costs beside the `import numpy` that it contains, each in a fresh interpreter."""
from __future__ import annotations

import subprocess
import sys
from functools import partial

from .pairing import Row, in_turns


def seconds(module: str) -> float:
    """The time of one import statement; the start of the interpreter itself is not counted."""
    code = f"from time import perf_counter as now; start = now(); import {module}; print(now() - start)"
    return float(subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout)


def run(rounds: int = 15) -> list[Row]:
    ours, theirs = in_turns(partial(seconds, "minigrad"), partial(seconds, "numpy"), rounds=rounds)
    return [Row("import minigrad", ours, theirs, goal=1.3, beside="import numpy")]
