"""Requests wait in a queue; a thread computes, and takes what has arrived meanwhile as its next batch."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

from ..train import Pipeline
from .measures import Measures

MAX_TOGETHER = 8  # inputs of similar length in one call of the model: more would add padding, not speed


class QueueFull(Exception):
    """More texts wait than the queue holds."""


class Job:
    """The examples of a request, and `done`, the future of their answers; cancelling that gives the job up."""

    def __init__(self, examples: Sequence[Any], options: Mapping[str, Any]):
        self.examples, self.options = examples, options
        self.done: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()


class Batcher:
    """Answers jobs, those with the same options together, at most `batch_size` texts at a time.

    The event loop alone touches the queue, the thread alone the model.  Nothing waits for a batch to fill: while one
    is computed the next one gathers, so that batches grow with the load, and a single request is answered at once.
    """

    def __init__(self, pipe: Pipeline, batch_size: int, max_queue: int, measures: Measures):
        self.pipe, self.batch_size, self.max_queue, self.measures = pipe, batch_size, max_queue, measures
        self.writes = "max_new_tokens" in pipe.task.answer_options
        self.jobs: deque[Job] = deque()
        self.computing: list[Job] = []
        self.batches: queue.SimpleQueue[tuple[list[Job], asyncio.AbstractEventLoop]] = queue.SimpleQueue()
        # A daemon, since the process must be able to end while a batch is computed.
        threading.Thread(target=self.work, name="model", daemon=True).start()

    def submit(self, examples: Sequence[Any], options: Mapping[str, Any]) -> Job:
        """Put examples into the queue.  Raises QueueFull."""
        if self.waiting + len(examples) > self.max_queue and self.jobs:
            raise QueueFull
        job = Job(examples, options)
        job.done.add_done_callback(lambda _: self.leave(job))
        self.jobs.append(job)
        asyncio.get_running_loop().call_soon(self.begin)  # after what else has arrived
        return job

    @property
    def waiting(self) -> int:
        """How many texts wait."""
        return sum(len(job.examples) for job in self.jobs)

    def leave(self, job: Job) -> None:
        """Free the place of a job that was given up before its turn."""
        if job in self.jobs:
            self.jobs.remove(job)

    def begin(self) -> None:
        """Give the thread its next batch, unless it has one or there is none."""
        if self.jobs and not self.computing:
            self.computing = self.take()
            self.batches.put((self.computing, asyncio.get_running_loop()))

    def take(self) -> list[Job]:
        """Remove from the queue the oldest job and those that can share a batch with it.

        Texts that are drawn at random are not batched, since the draws of each would depend on the others.
        """
        batch, rest = [self.jobs.popleft()], deque[Job]()
        options, size = batch[0].options, len(batch[0].examples)
        while self.jobs and not options.get("do_sample"):
            job = self.jobs.popleft()
            if job.options == options and size + len(job.examples) <= self.batch_size:
                batch.append(job)
                size += len(job.examples)
            else:
                rest.append(job)
        self.jobs = rest + self.jobs
        return batch

    def work(self) -> None:
        """What the thread does."""
        while True:
            batch, loop = self.batches.get()
            start = perf_counter()
            found = self.computed(batch)
            seconds = perf_counter() - start
            try:
                loop.call_soon_threadsafe(self.finish, batch, found, seconds)
            except RuntimeError:  # the loop was closed: nobody waits for answers any more
                return

    def computed(self, batch: list[Job]) -> list[list[Any] | Exception]:
        """The answers to each job, or why there are none; if a batch fails, its jobs are computed one by one."""
        options = dict(batch[0].options)
        if self.writes:  # nothing is written for those who have hung up
            options["stopping_criteria"] = lambda ids, scores: all(job.done.cancelled() for job in batch)
        try:
            examples = [one for job in batch for one in job.examples]
            answers = iter(self.pipe.answers(examples, MAX_TOGETHER, title=None, **options))
        except Exception as error:
            return [error] if len(batch) == 1 else [self.computed([job])[0] for job in batch]
        return [[next(answers) for _ in job.examples] for job in batch]

    def finish(self, batch: list[Job], found: list[list[Any] | Exception], seconds: float) -> None:
        """Hand the answers out, and begin with the next batch."""
        self.measures.batch(sum(len(job.examples) for job in batch), seconds)
        self.computing = []
        for job, answers in zip(batch, found, strict=True):
            if job.done.done():
                continue
            if isinstance(answers, Exception):
                job.done.set_exception(answers)
            else:
                job.done.set_result(answers)
        self.begin()
