"""Collective calls of ranks, and that none waits for ever for a missing rank."""

import numpy as np
import pytest
from mpi import needs_mpi, program

from minigrad.distributed import Communicator, RankError, world

pytestmark = pytest.mark.slow
TALK = """
import numpy as np
from minigrad.distributed import world
w = world()
x = np.arange(3.0) + w.rank
total = w.all_reduce(x.copy())
most = w.all_reduce(x.copy(), "max")
sent = w.broadcast(np.full(2, float(w.rank)), 1)
begun = [w.start_all_reduce(np.full(4, float(w.rank + i))) for i in range(3)]
for work in begun:
    w.wait(work)
w.barrier()
if w.rank == 0:
    print(total.tolist(), most.tolist(), sent.tolist(), w.all_gather_object(w.rank), w.size)
else:
    w.all_gather_object(w.rank)
"""
FAIL = """
import os, sys, time
import numpy as np
from minigrad.distributed import world
w = world()
w.barrier()
w.timeout = 3.0
if w.rank == 1:
    {}
w.all_reduce(np.zeros(3))
w.barrier()
"""


def test_a_process_by_itself_is_the_only_rank():
    alone = Communicator()
    x = np.arange(3.0)
    assert alone.all_reduce(x) is x and alone.broadcast(x) is x
    alone.wait(alone.start_all_reduce(x))
    alone.barrier()
    assert x.tolist() == [0, 1, 2] and alone.all_gather_object("a") == ["a"] and (alone.rank, alone.size) == (0, 1)
    assert world().size == 1


def test_what_ranks_must_have_in_common_is_compared():
    other = Communicator()
    other.all_gather_object = lambda item: [item, item, {"bias": 3, "weight": 5}]
    with pytest.raises(RankError, match="rank 2 has a different model from rank 0: weight 5, not weight 4"):
        other.agree("model", {"bias": 3, "weight": 4})


@needs_mpi
def test_sums_broadcasts_and_objects_reach_every_rank():
    done = program(3, TALK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[3.0, 6.0, 9.0] [2.0, 3.0, 4.0] [1.0, 1.0] [0, 1, 2] 3"


@needs_mpi
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("raise ValueError('no such file')", "rank 1 of 3 ended all: ValueError: no such file"),
        ("sys.exit(0)", "rank 1 of 3 has ended early; the others, which wait for it, end too"),
        ("time.sleep(60)", "rank 1 of 3 has not made the call for which the others have waited 3 s"),
        ("os.kill(os.getpid(), 9)", "rank 1 of 3 has died|Killed"),
    ],
)
def test_a_rank_that_fails_ends_all(what, told):
    done = program(3, FAIL.format(what), timeout=60)
    assert done.returncode != 0
    assert any(part in done.stdout + done.stderr for part in told.split("|")), done.stderr


def test_a_launched_program_without_mpi4py_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    monkeypatch.setenv("PMI_SIZE", "2")
    world.cache_clear()
    with pytest.raises(ImportError, match=r"minigrad-learn\[mpi\]"):
        world()
    world.cache_clear()
