"""The law of workers: whatever their number, the same batches in the same order, and nothing is left behind."""

import gc
import os
import random
import signal
import subprocess
import sys
import threading
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minigrad as mg
from minigrad.data import DataLoader, Subset
from minigrad.execution import recording

ROOT = Path(__file__).parent.parent


class Slow:
    """Items that take longer the earlier they are, so that later ones are ready first."""

    def __init__(self, n=24):
        self.n, self.threads = n, set()

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        self.threads.add(threading.current_thread().name)
        time.sleep(0.002 * (self.n - i) / self.n)
        return int(i)


class Drawing(Slow):
    """Items with noise from a generator of the dataset's own."""

    def __init__(self, n=24, seed=0):
        super().__init__(n)
        self.rng = np.random.default_rng(seed)

    def __getitem__(self, i):
        return super().__getitem__(i) + self.rng.random()


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "minigrad data worker"]


@pytest.mark.parametrize("number", [1, 2, 5])
@pytest.mark.parametrize("dataset", [Slow, Drawing, lambda: Subset(Drawing(), range(4, 20))])
def test_any_number_of_workers_makes_the_same_batches_in_the_same_order(dataset, number):
    def passes(workers):
        loader = DataLoader(dataset(), 5, shuffle=True, seed=3, collate=tuple, num_workers=workers)
        return [list(loader), list(islice(loader, 2)), list(loader)]

    assert passes(number) == passes(0)
    assert not workers()


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(0, 30),
    size=st.integers(1, 6),
    number=st.integers(1, 4),
    ahead=st.integers(1, 3),
    grouped=st.booleans(),
    drop_last=st.booleans(),
    drawn=st.booleans(),
    after=st.integers(0, 8),
)
def test_the_position_is_saved_and_restored(n, size, number, ahead, grouped, drop_last, drawn, after):
    """What was made ahead is not given yet; the generator of a saved run is where it is without workers."""

    def new(number, seed):
        dataset = Drawing(n, seed) if drawn else Slow(n)
        lengths = [i % 7 for i in range(n)] if grouped else None
        more = {"num_workers": number, "prefetch_factor": ahead, "lengths": lengths, "drop_last": drop_last}
        return DataLoader(dataset, size, True, 1, tuple, **more)

    plain = new(0, 0)
    expected = [*plain, *plain]
    first = new(number, 0)
    passes = iter(first)
    given = list(islice(passes, after))
    saved = first.state_dict()
    second = new(number, 9)
    second.load_state_dict(saved)
    if drawn:
        second.dataset.rng.bit_generator.state = first.dataset.rng.bit_generator.state
    if saved["epoch"]:  # the first pass is at its end
        assert given + [*second] == expected
    else:
        assert given + [*second, *second] == expected


def test_batches_are_made_while_the_loop_works_and_by_several_threads():
    dataset = Slow(40)
    loader = iter(DataLoader(dataset, 2, num_workers=3, prefetch_factor=2))
    next(loader)
    next(loader)
    time.sleep(0.2)
    assert loader.gi_frame is not None and len(dataset.threads) >= 2
    made = []
    ready = iter(DataLoader(Noting(made), 1, num_workers=2, prefetch_factor=3))
    next(ready)
    next(ready)
    time.sleep(0.2)
    assert sorted(made) == list(range(8))  # the first, the second, and 2 · 3 ahead


def test_one_worker_that_is_one_batch_ahead_works_while_the_loop_does():
    made = []
    loader = iter(DataLoader(Noting(made), 1, num_workers=1, prefetch_factor=1))
    for i in range(3):
        assert next(loader) == [i]
        deadline = time.monotonic() + 10
        while len(made) < i + 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert made == list(range(i + 2))


class Noting(Slow):
    def __init__(self, made):
        super().__init__(100)
        self.made = made

    def __getitem__(self, i):
        self.made.append(int(i))
        return super().__getitem__(i)


def test_one_thread_reads_a_file_whose_position_is_shared(tmp_path):
    (tmp_path / "rows").write_bytes(bytes(range(200)))

    class Rows:
        def __init__(self):
            self.file = open(tmp_path / "rows", "rb")  # noqa: SIM115

        def __len__(self):
            return 200

        def __getitem__(self, i):
            self.file.seek(i)
            time.sleep(1e-4)
            return self.file.read(1)[0]

    dataset = Rows()
    loader = DataLoader(Subset(dataset, range(200)), 10, shuffle=True, num_workers=4, collate=list)
    order = np.concatenate(loader.batches(0)).tolist()
    assert [value for batch in loader for value in batch] == order
    dataset.file.close()


@pytest.mark.parametrize("draw", [random.random, np.random.random])
def test_global_generators_are_not_drawn_from_in_threads(draw):
    class Global(Slow):
        def __getitem__(self, i):
            return super().__getitem__(i) + draw()

    def numbers(workers):
        random.seed(1)
        np.random.seed(1)
        told = []
        for batch in DataLoader(Global(), 4, num_workers=workers):
            told.append([*batch, draw()])  # as the loop may
        return told

    with pytest.warns(UserWarning, match="draws from the global random generators"):
        with_workers = numbers(3)
    assert with_workers == numbers(0)


module_level = np.random.default_rng(4)


class Module(Slow):
    def __getitem__(self, i):
        return super().__getitem__(i) + module_level.random()


def test_a_generator_of_the_module_is_found():
    told = []
    for number in (0, 3):
        module_level.bit_generator.state = np.random.default_rng(4).bit_generator.state
        told.append(list(DataLoader(Module(), 4, num_workers=number)))
    assert told[0] == told[1]


def test_a_change_of_the_batch_size_holds_at_once():
    def sizes(workers, dataset):
        loader, told = DataLoader(dataset, 2, collate=tuple, num_workers=workers), []
        for batch in loader:
            told.append(batch)
            loader.batch_size = 2 + len(told) // 3
        return told

    assert sizes(3, Slow()) == sizes(0, Slow())
    assert sizes(3, Drawing()) == sizes(0, Drawing())


# Errors and interruptions.


class Broken(Slow):
    def __getitem__(self, i):
        if i == 13:
            raise OSError("the picture is cut off")
        return super().__getitem__(i)


def refuse(items):
    raise KeyError("label")


@pytest.mark.parametrize("number", [0, 1, 4])
def test_an_error_says_which_item_it_is_about(number):
    given = []
    with pytest.raises(OSError, match="the picture is cut off\nin item 13 of the dataset") as error:
        for batch in DataLoader(Broken(), 5, num_workers=number):
            given += batch
    assert given == list(range(10)) and "__getitem__" in str(error.traceback[-1])
    with pytest.raises(KeyError, match="in the batch of the items 0, 1, 2 of the dataset"):
        list(DataLoader(Slow(6), 3, collate=refuse, num_workers=number))
    gc.collect()
    assert not workers()


def test_an_error_in_a_stream_comes_after_the_items_before_it():
    class Stream:
        def __iter__(self):
            yield from range(7)
            raise OSError("the line is cut off")

    for number in (0, 2):
        given = []
        with pytest.raises(OSError, match="the line is cut off\nin item 7 of the dataset"):
            for batch in (loader := DataLoader(Stream(), 2, num_workers=number)):
                given += batch
                loader.batch_size = 3  # what was read ahead is given in other batches
        assert given == [0, 1, 2, 3, 4]


def test_no_thread_outlives_a_loop_that_is_broken_off():
    for _ in DataLoader(Slow(), 1, num_workers=4):
        break
    assert not workers()
    kept = iter(DataLoader(Slow(), 1, num_workers=4))  # as a traceback keeps it
    next(kept)
    next(kept)
    deadline = time.monotonic() + 10
    while workers() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not workers()
    assert [*kept] == [[i] for i in range(2, 24)]


def test_an_interruption_reaches_the_loop_and_leaves_no_thread(tmp_path):
    code = """
import signal, sys, threading, time, os
sys.path.insert(0, "tests")
from test_data_workers import Slow
from minigrad.data import DataLoader
class Slower(Slow):
    def __getitem__(self, i):
        time.sleep(0.05)
        return i
signal.signal(signal.SIGINT, signal.default_int_handler)  # which the background jobs of a shell ignore
threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
try:
    for batch in DataLoader(Slower(10000), 4, num_workers=3):
        pass
except KeyboardInterrupt:
    print("interrupted", [t.name for t in threading.enumerate() if "worker" in t.name])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.stdout.strip() == "interrupted []", done.stderr


def test_workers_record_no_graph_where_the_loop_does_not():
    class Modes(Slow):
        def __getitem__(self, i):
            return recording()

    assert recording()
    with mg.no_grad():
        assert list(DataLoader(Modes(12), 3, num_workers=2)) == [[False] * 3] * 4
    assert list(DataLoader(Modes(12), 3, num_workers=2)) == [[True] * 3] * 4


# Processes.


def squares(items):
    return [item * item for item in items], os.getpid()


def test_processes_make_the_same_batches_and_end():
    loader = DataLoader(Slow(12), 3, shuffle=True, collate=squares, num_workers=2, multiprocessing_context="spawn")
    batches = list(loader)
    assert [items for items, _ in batches] == [[int(i) ** 2 for i in batch] for batch in loader.batches(0)]
    makers = {process for _, process in batches[1:]}
    assert os.getpid() not in makers and len(makers) <= 2
    for process in makers:
        with pytest.raises(OSError):
            os.kill(process, 0)
    broken = DataLoader(Broken(), 5, num_workers=1, multiprocessing_context="spawn")
    with pytest.raises(OSError, match="the picture is cut off\nin item 13 of the dataset"):
        list(broken)


def test_what_cannot_be_sent_to_a_process_is_said_beforehand():
    class Local(Slow):
        pass

    more = {"num_workers": 1, "multiprocessing_context": "spawn"}
    with pytest.raises(TypeError, match="cannot be sent to a process .*Local.*: make them of functions and classes"):
        list(DataLoader(Local(), 5, **more))
    with pytest.raises(TypeError, match="cannot be sent to a process"):
        list(DataLoader(Slow(), 5, collate=lambda items: items, **more))
    with pytest.raises(ValueError, match="draws from a random generator of its own, of which each process"):
        list(DataLoader(Drawing(), 5, **more))
    for context, told in (("fork", "a fork of a process that has threads"), ("mpi", "expected one of spawn")):
        with pytest.raises(ValueError, match=told):
            list(DataLoader(Slow(), 5, num_workers=1, multiprocessing_context=context))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX")
def test_processes_end_with_the_one_that_began_them():
    code = """
import sys, time
sys.path.insert(0, "tests")
from test_data_workers import Slow, squares
from minigrad.data import DataLoader
if __name__ == "__main__":
    loader = iter(DataLoader(Slow(1000), 2, collate=squares, num_workers=1, multiprocessing_context="spawn"))
    next(loader)
    print(next(loader)[1], flush=True)
    time.sleep(60)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    worker = int(process.stdout.readline())
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(OSError):
        os.kill(worker, 0)


def test_bad_arguments():
    with pytest.raises(ValueError, match="num_workers is -1; expected at least 0"):
        DataLoader("abc", num_workers=-1)
    with pytest.raises(ValueError, match="prefetch_factor is 0; expected at least 1"):
        DataLoader("abc", prefetch_factor=0)
