"""What a service counts, as text in the format that Prometheus reads."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

# The format: https://prometheus.io/docs/instrumenting/exposition_formats/
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
STATM = Path("/proc/self/statm")  # where the system is Linux


class Measures:
    """Counts of requests by status, their seconds, and the texts, batches and seconds of the model."""

    def __init__(self):
        self.requests: Counter[int] = Counter()  # by status
        self.within: Counter[float] = Counter()  # answered requests, by the bucket that their seconds are in
        self.answered, self.seconds = 0, 0.0
        self.texts, self.batches, self.model_seconds = 0, 0, 0.0

    def request(self, status: int, seconds: float, is_answer: bool) -> None:
        """Count a request; `is_answer` if the model answered it."""
        self.requests[status] += 1
        if is_answer:
            self.answered += 1
            self.seconds += seconds
            self.within[next((bound for bound in BUCKETS if seconds <= bound), float("inf"))] += 1

    def batch(self, texts: int, seconds: float) -> None:
        """Count a batch."""
        self.texts += texts
        self.batches += 1
        self.model_seconds += seconds

    def text(self, waiting: int) -> str:
        """All of it, a line for each number; `waiting` inputs are in the queue."""
        return "".join(f"{line}\n" for line in self.lines(waiting))

    def lines(self, waiting: int) -> Iterator[str]:
        yield from head("minigrad_requests_total", "counter", "requests by the status of the response")
        for status, count in sorted(self.requests.items()):
            yield f'minigrad_requests_total{{status="{status}"}} {count}'
        yield from head("minigrad_request_seconds", "histogram", "from a request's head to its answer by the model")
        count = 0
        for bound in (*BUCKETS, float("inf")):
            count += self.within[bound]
            yield f'minigrad_request_seconds_bucket{{le="{bound:g}"}} {count}'.replace('"inf"', '"+Inf"')
        yield f"minigrad_request_seconds_sum {self.seconds:.6f}"
        yield f"minigrad_request_seconds_count {self.answered}"
        for name, kind, meaning, value in (
            ("texts_total", "counter", "inputs that the model has computed", self.texts),
            ("batches_total", "counter", "batches that the model has computed", self.batches),
            ("model_seconds_total", "counter", "seconds in which the model computed", round(self.model_seconds, 6)),
            ("waiting_texts", "gauge", "inputs in the queue now", waiting),
        ):
            yield from head(f"minigrad_{name}", kind, meaning)
            yield f"minigrad_{name} {value}"
        if STATM.exists():
            yield from head("process_resident_memory_bytes", "gauge", "memory of the process")
            yield f"process_resident_memory_bytes {resident_bytes()}"


def head(name: str, kind: str, meaning: str) -> tuple[str, str]:
    """The two lines above a measure."""
    return f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"


def resident_bytes() -> int:
    """The memory of this process."""
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
