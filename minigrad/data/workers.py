"""Makes batches ahead of time, in threads or in processes, and returns them in the order of their requests."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import copy_context
from threading import Lock, Thread, current_thread
from typing import Any

CONTEXTS = ("spawn", "forkserver")


class Threads:
    """Runs jobs in up to `number` threads, in order of submission.

    A thread ends when no job is left, so none outlives the loop that it serves, even if the loop is abandoned.
    """

    def __init__(self, number: int):
        self.number, self.jobs, self.lock = number, deque(), Lock()
        self.threads: set[Thread] = set()

    def submit(self, function: Callable, *args: Any) -> Future:
        """Schedule function(*args), and return a Future for the result."""
        future = Future()
        with self.lock:
            self.jobs.append((future, function, args))
            if len(self.threads) < self.number:  # a thread runs in a copy of the loop's context, including no_grad()
                thread = Thread(target=copy_context().run, args=(self.work,), name="minigrad data worker")
                self.threads.add(thread)
                thread.start()
        return future

    def work(self) -> None:
        """Do jobs until none is left."""
        while True:
            with self.lock:
                if not self.jobs:
                    self.threads.discard(current_thread())
                    return
                future, function, args = self.jobs.popleft()
            try:
                future.set_result(function(*args))
            except BaseException as error:  # raised in the loop when it takes the result
                future.set_exception(error)
            del future, function, args  # they would keep a batch alive until the next one is made

    def stop(self) -> None:
        """Cancel the jobs that have not begun, and wait for those that have."""
        with self.lock:
            for future, *_ in self.jobs:
                future.cancel()
            self.jobs.clear()
            threads = self.threads - {current_thread()}
        for thread in threads:
            thread.join()


class Processes:
    """Runs jobs in `number` processes, each with a copy of `shared`, the first argument of every job."""

    def __init__(self, number: int, context: str, shared: Any):
        if context not in CONTEXTS:
            raise ValueError(
                f"multiprocessing_context is {context!r}; expected one of {', '.join(CONTEXTS)}, or None for threads"
                + (
                    ": a fork of a process that has threads, as NumPy's libraries start them, may hang"
                    * (context == "fork")
                )
            )
        try:
            content = pickle.dumps(shared)
        except Exception as error:
            raise TypeError(
                f"the dataset and its collate function cannot be sent to a process ({error}): make them of functions "
                "and classes at the top of a module, or leave multiprocessing_context out, for threads"
            ) from None
        self.pool = ProcessPoolExecutor(number, multiprocessing.get_context(context), _begin, (content,))

    def submit(self, function: Callable, *args: Any) -> Future:
        """Schedule function(shared, *args), and return a Future for the result."""
        try:
            return self.pool.submit(_run, function, *args)
        except BrokenProcessPool as error:
            future = Future()
            future.set_exception(error)
            return future

    def stop(self) -> None:
        """Cancel the jobs that have not begun, and end the processes."""
        self.pool.shutdown(cancel_futures=True)


_content: bytes = b""
_shared: list[Any] = []


def _begin(content: bytes) -> None:
    """Initialise a worker process: it ignores Ctrl-C, which its parent handles, and ends when its parent ends."""
    global _content
    _content = content
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def _run(function: Callable, *args: Any) -> Any:
    if not _shared:
        try:
            _shared.append(pickle.loads(_content))  # in a job, so that an error is raised in the parent
        except Exception as error:
            error.add_note(
                "in a process that makes batches, which imports the dataset's classes and functions: define them in a "
                "module, or leave multiprocessing_context out, for threads"
            )
            raise
    return function(_shared[0], *args)


class Ahead:
    """The results of jobs, some of them computed ahead of time.

    `source` defines the batches: `end(at)` is where the batch that begins at an item ends (`at` itself if there is
    none), `job(at, end)` returns the function that makes it and its arguments, `given(result)` is called when it is
    taken, and `undo(results, error)` when results are discarded.  With a pool, up to `most` jobs run at a time.
    """

    def __init__(self, source: Any, pool: Threads | Processes | None, most: int):
        self.source, self.pool, self.most = source, pool, most
        self.jobs: deque[tuple[int, Future]] = deque()  # where each batch ends

    def take(self, at: int) -> Any:
        """The result for the batch that begins at an item."""
        if self.jobs and self.jobs[0][0] != self.source.end(at):  # the size of the batches was changed meanwhile
            self.discard()
        if self.pool is None:
            function, *args = self.source.job(at, self.source.end(at))
            result = function(*args)
        else:
            self.submit(self.pool, at)
            end, future = self.jobs.popleft()
            self.submit(self.pool, end)  # keeps the pool busy while this batch is used
            try:
                result = future.result()
            except BrokenProcessPool as error:
                raise RuntimeError(
                    f"a process that makes batches has ended ({error}); a script that starts processes runs its own "
                    'code under if __name__ == "__main__": do that, or leave multiprocessing_context out, for threads'
                ) from None
        self.source.given(result)
        return result

    def submit(self, pool: Threads | Processes, at: int) -> None:
        """Submit jobs for the batches from an item on, up to the limit."""
        at = self.jobs[-1][0] if self.jobs else at
        while len(self.jobs) < self.most and (end := self.source.end(at)) > at:
            self.jobs.append((end, pool.submit(*self.source.job(at, end))))
            at = end

    def discard(self) -> None:
        """Discard the batches that were made ahead, and restore the state before them."""
        if self.pool is None or not self.jobs:
            return
        futures, self.jobs = [future for _, future in self.jobs], deque()
        if isinstance(self.pool, Threads):
            self.pool.stop()
        done = [future for future in futures if future.done() and not future.cancelled()]
        errors = [future.exception() for future in done]
        self.source.undo(
            [one.result() for one, error in zip(done, errors) if error is None], next(filter(None, errors), None)
        )

    def close(self) -> None:
        """Discard the batches made ahead, and stop the pool."""
        if self.pool is not None:
            self.discard()
            self.pool.stop()
