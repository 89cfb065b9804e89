"""Starts ranks for tests."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
needs_mpi = pytest.mark.skipif(
    MPIEXEC is None or importlib.util.find_spec("mpi4py") is None, reason='there is no MPI: pip install -e ".[mpi]"'
)
ONE_THREAD = {name: "1" for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}


def ranks(n, *arguments, timeout=100, **environment):
    """What came of `mpiexec -n N python ...`, which is given so many seconds."""
    given = {**os.environ, **ONE_THREAD, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1])]), **environment}
    return subprocess.run(
        [MPIEXEC, "-n", str(n), sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=given,
    )


def program(n, text, *arguments, **more):
    """What came of a program given as text."""
    return ranks(n, "-c", text, *arguments, **more)
