"""Threads that share the work of the calling one; imported when first needed, to keep `import minigrad` light."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue


class Helper:
    """A thread that runs jobs; a ThreadPoolExecutor takes half as long again to start one."""

    def __init__(self):
        self.jobs: SimpleQueue[Job] = SimpleQueue()
        threading.Thread(target=self.serve, name="minigrad", daemon=True).start()

    def serve(self) -> None:
        while True:
            self.jobs.get().run()  # a local variable for the job would keep its arrays alive

    def job(self, work: Callable[[], None]) -> Job:
        """Have the work done; wait for what this returns."""
        return Job(self, work)


class Job:
    """Work for a helper.

    Each job has its own lock, so that a job that is abandoned (after Ctrl-C) does not affect others.
    """

    def __init__(self, helper: Helper, work: Callable[[], None]):
        self.helper, self.work, self.error, self.done = helper, work, None, threading.Lock()
        self.done.acquire()
        helper.jobs.put(self)

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self.error = error
        self.done.release()

    def wait(self) -> BaseException | None:
        """Wait until the job is done; return its error, if there was one."""
        try:
            self.helper.jobs.get_nowait()  # the job has not begun, and no work is left for it
        except Empty:
            self.done.acquire()
        return self.error
