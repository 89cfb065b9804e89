"""Several ranks, each with a simulated GPU: their sums by NCCL's calls, of which a stand-in makes them by MPI."""

import numpy as np
import pytest
import rank_runs
from mpi import needs_mpi, program

pytestmark = [needs_mpi, pytest.mark.usefixtures("simulated")]
RUN = """
import os, sys
from pathlib import Path
tests = Path({tests!r})
sys.path[:0] = [str(tests)]
import cupy_sim
import cupy_sim.nccl
if os.environ.get("MINIGRAD_RENDEZVOUS"):
    os.environ.update(RANK=os.environ["PMI_RANK"], WORLD_SIZE=os.environ["PMI_SIZE"])
import rank_runs
rank_runs.main(*sys.argv[1:])
from minigrad.distributed import world
print(world().rank, type(world()).__name__, *sorted(set(cupy_sim.nccl.calls)))
"""
CASES = "classes", "sharded gradients", "synchronised"


def runs(directory, n, *cases, **environment):
    text = RUN.format(tests=str(rank_runs.Path(rank_runs.__file__).parent))
    done = program(n, text, directory, n, *cases, DEVICE="cuda", MINIGRAD_RANK_TIMEOUT="60", timeout=120, **environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    directory = tmp_path_factory.mktemp("one")
    runs(directory, 1, *CASES)
    return directory


def test_ranks_with_gpus_are_one_rank(alone, tmp_path):
    told = runs(tmp_path, 2, *CASES)
    assert "MPICommunicator FLOAT64" in told
    for case in CASES:
        one, two = np.load(alone / f"{case}-1.npz"), np.load(tmp_path / f"{case}-2.npz")
        for name in one:
            np.testing.assert_allclose(two[name], one[name], rtol=1e-11, atol=1e-12, err_msg=f"{case}: {name}")


def test_ranks_find_each_other_through_a_file(alone, tmp_path):
    told = runs(tmp_path, 2, "classes", MINIGRAD_RENDEZVOUS=str(tmp_path / "here"))
    assert "FileCommunicator FLOAT64 FLOAT32" in told or "FileCommunicator FLOAT32 FLOAT64" in told
    one, two = np.load(alone / "classes-1.npz"), np.load(tmp_path / "classes-2.npz")
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-11, atol=1e-12, err_msg=name)
    assert not (tmp_path / "here").exists(), "a file that is left would be taken for that of the next run"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_gradients_can_be_summed_in_half_precision(alone, tmp_path, dtype):
    assert dtype.upper() in runs(tmp_path, 2, "classes", REDUCE_DTYPE=dtype)
    one, two = np.load(alone / "classes-1.npz"), np.load(tmp_path / "classes-2.npz")
    losses = [name for name in one if name.endswith("/loss")]
    assert any(one[name] != two[name] for name in losses)
    for name in losses:
        np.testing.assert_allclose(two[name], one[name], rtol=0.05, err_msg=name)
