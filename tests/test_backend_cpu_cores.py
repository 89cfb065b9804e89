"""Work shared out over threads: done once, in order, errors and all, and BLAS gets its threads back."""

import multiprocessing
import signal
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.backend.cpu import cores
from minigrad.backend.cpu.blas import get_blas_threads
from minigrad.backend.cpu.cores import cuts, share


@pytest.fixture(params=[1, 3], ids=["1 core", "3 cores"])
def some_cores(request, monkeypatch):
    """One or three, whatever the machine."""
    monkeypatch.setattr(cores, "CORES", request.param)
    cores._helpers.cache_clear()
    yield
    cores._helpers.cache_clear()


@given(st.integers(0, 50), st.integers(0, 20), st.integers(1, 4))
def test_things_are_cut_evenly(count, most, among):
    parts = cores.evenly(count, most, among)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    sizes = {part.stop - part.start for part in parts}
    assert max(sizes, default=0) <= max(1, most) and max(sizes, default=0) - min(sizes, default=0) <= 1
    assert len(parts) % among == 0 or len(parts) == count


def test_pieces_cover_everything_once():
    x = np.zeros((cores.MAX_PIECE // 8, 37), np.float32)

    def work(piece):
        piece += 1

    share(work, [x[part] for part in cuts(len(x), x.size)])
    assert (x == 1).all()


def test_results_come_in_order_and_errors_through(some_cores):
    assert share(lambda i: i * i, range(50)) == [i * i for i in range(50)] and share(abs, []) == []
    with pytest.raises(ZeroDivisionError):
        share(lambda i: 1 // (i - 30), range(50))
    assert share(abs, [-1, -2]) == [1, 2]  # and the next one works


def test_sharing_within_sharing_and_from_two_threads(some_cores):
    assert share(lambda i: share(lambda j: i * j, range(4)), range(4)) == [[i * j for j in range(4)] for i in range(4)]
    results = [None, None]

    def one(i):
        results[i] = share(lambda j: np.full(1000, j).sum(), range(200))

    threads = [threading.Thread(target=one, args=(i,)) for i in range(2)]
    [thread.start() for thread in threads], [thread.join() for thread in threads]
    assert results == [[1000 * j for j in range(200)]] * 2


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timers here")
def test_an_interrupt_at_any_moment_leaves_the_next_call_right(some_cores):
    def interrupt(*_):
        raise KeyboardInterrupt

    share(abs, range(6))  # threads are there: to interrupt the making of one is not ours to survive
    before, threads = signal.signal(signal.SIGALRM, interrupt), get_blas_threads()
    interrupted, errors = 0, np.geterr()
    try:
        for after in np.linspace(1e-5, 3e-3, 200):
            try:
                signal.setitimer(signal.ITIMER_REAL, after)
                while True:
                    share(lambda i: time.sleep(i * 1e-4), range(3))
            except KeyboardInterrupt:
                interrupted += 1
            assert share(lambda i: time.sleep(1e-4) or i, range(6)) == list(range(6))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 200 and get_blas_threads() == threads and np.geterr() == errors


def test_an_error_is_told_when_all_have_stopped(monkeypatch):
    monkeypatch.setattr(cores, "CORES", 4)
    cores._helpers.cache_clear()
    working = []

    def work(i):
        working.append(i)
        time.sleep(0.02 * (i + 1))
        working.remove(i)
        if i in (1, 2):
            raise MemoryError

    with pytest.raises(MemoryError):
        share(work, range(4))
    cores._helpers.cache_clear()
    assert working == []


def test_what_was_worked_on_is_let_go(some_cores):
    for _ in range(50):
        x = np.zeros(8)
        gone = weakref.ref(x)
        share(lambda i, x=x: x.sum(), range(4))
        del x
        time.sleep(1e-3)  # a helper may only now find that nothing is left
        assert gone() is None


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


@pytest.mark.parametrize(
    "variables, limit",
    [
        ({}, 10**6),
        ({"OMP_NUM_THREADS": "1"}, 1),
        ({"OPENBLAS_NUM_THREADS": "2"}, 2),
        ({"OPENBLAS_NUM_THREADS": "none"}, 10**6),
    ],
)
def test_as_many_threads_as_blas_was_told(variables, limit, monkeypatch):
    for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    everything = cores._cores()
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert 1 <= everything and cores._cores() == min(everything, limit)
