"""The time of `import minigrad` beside that of `import numpy`, which it includes, each in a fresh interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from tempfile import TemporaryDirectory

from .pairing import Row, in_turns


def seconds(module: str, cache: str) -> float:
    """Seconds of one import statement with compiled files in `cache`, without the start of the interpreter."""
    code = f"from time import perf_counter as now; start = now(); import {module}; print(now() - start)"
    env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
    return float(
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, env=env).stdout
    )


def run(rounds: int = 25) -> list[Row]:
    with TemporaryDirectory() as cache:  # filled in the warm-up
        ours, theirs = in_turns(partial(seconds, "minigrad", cache), partial(seconds, "numpy", cache), rounds=rounds)
    return [Row("import minigrad", ours, theirs, goal=1.2, beside="import numpy")]
