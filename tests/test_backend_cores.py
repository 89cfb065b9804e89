"""Work shared out over threads: done once, in order, errors and all, and BLAS gets its threads back."""
import multiprocessing
import threading

import numpy as np
import pytest

from minigrad.backend import cores
from minigrad.backend.blas import get_blas_threads
from minigrad.backend.cores import each_piece, share


@pytest.fixture(params=[1, 3], ids=["1 core", "3 cores"])
def some_cores(request, monkeypatch):
    """One or three, whatever the machine."""
    monkeypatch.setattr(cores, "CORES", request.param)
    cores._helpers.cache_clear()
    yield
    cores._helpers.cache_clear()


def test_pieces_cover_everything_once():
    x = np.zeros((cores.PIECE // 8, 37), np.float32)

    def work(piece):
        piece += 1
    each_piece(work, x)
    assert (x == 1).all()


def test_results_come_in_order_and_errors_through(some_cores):
    assert share(lambda i: i * i, range(50)) == [i * i for i in range(50)] and share(abs, []) == []
    with pytest.raises(ZeroDivisionError):
        share(lambda i: 1 // (i - 30), range(50))
    assert share(abs, [-1, -2]) == [1, 2]       # and the next one works


def test_sharing_within_sharing_and_from_two_threads(some_cores):
    assert share(lambda i: share(lambda j: i * j, range(4)), range(4)) == [[i * j for j in range(4)] for i in range(4)]
    results = [None, None]

    def one(i):
        results[i] = share(lambda j: np.full(1000, j).sum(), range(200))
    threads = [threading.Thread(target=one, args=(i,)) for i in range(2)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert results == [[1000 * j for j in range(200)]] * 2


def test_blas_gets_its_threads_back(some_cores):
    before = get_blas_threads()
    during = share(lambda i: get_blas_threads(), range(6))
    assert set(during) == {1} and get_blas_threads() == before


def _in_a_child(queue):
    queue.put(sum(share(abs, range(10))))


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_makes_its_own_threads(some_cores):
    share(abs, range(10))
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(queue,))
    child.start()
    assert queue.get(timeout=20) == 45
    child.join()


@pytest.mark.parametrize("variables, limit", [({}, 10**6), ({"OMP_NUM_THREADS": "1"}, 1), ({"OPENBLAS_NUM_THREADS": "2"}, 2),
                                              ({"OPENBLAS_NUM_THREADS": "none"}, 10**6)])
def test_as_many_threads_as_blas_was_told(variables, limit, monkeypatch):
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    everything = cores._cores()
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert 1 <= everything and cores._cores() == min(everything, limit)
