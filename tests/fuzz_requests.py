"""Malformed requests to a service, thousands of them: `python -m tests.fuzz_requests --requests 10000`.

Fuzzed JSON, wrong types, huge bodies, slow senders, cut connections, absurd lengths and damaged heads, with requests as
they should be among them.  Request n is made from the seed and n alone.  Held against the service: no status of the
kind 5xx, right requests are answered with 200 and the same answer all the time, its memory does not grow, and no input
waits in the end.
"""

import argparse
import asyncio
import json
import random
import socket
import struct
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import serving  # noqa: E402

PATH = "/text-classification"
TEXTS = ["oven salt", "the old violin", "mast and wind", "soup " * 50, "", "ä 𝄞 \u0000 \u202e", "[MASK] [SEP]"]
QUESTION = {"inputs": TEXTS[1], "parameters": {"top_k": 3}}
AT_ONCE = 64
READ_TIMEOUT = 1  # seconds, of the service
PATIENCE = 30  # seconds to wait for a response
GROWTH = 16_000_000  # bytes that memory may grow by after the first requests


def head(length: int | str | None, *lines: str, method: str = "POST", path: str = PATH) -> bytes:
    """The head of a request."""
    named = [] if length is None else [f"Content-Length: {length}"]
    usual = "Host: localhost", "Content-Type: application/json", *named, *lines
    return "\r\n".join([f"{method} {path} HTTP/1.1", *usual, "", ""]).encode("utf-8", "surrogatepass")


def whole(body: bytes) -> bytes:
    return head(len(body)) + body


def value(draw: random.Random, depth: int = 0) -> object:
    """Any JSON value."""
    kinds: list[Callable[[], object]] = [
        lambda: None,
        lambda: draw.random() < 0.5,
        lambda: draw.choice([0, -1, 10**30, -(2**63), 2**31, 3.5, 1e308, -1e-320]),
        lambda: draw.choice([*TEXTS, "\ud800", "9" * 40, "NaN", "../../etc/passwd"]),
        lambda: [value(draw, depth + 1) for _ in range(draw.randrange(5 * (depth < 4)))] if depth < 4 else [],
        lambda: {str(draw.choice([*TEXTS, "inputs", "text"])): value(draw, depth + 1)} if depth < 4 else {},
    ]
    return draw.choice(kinds)()


# The kinds of requests: pieces that are sent one after the other.  A number is a pause in seconds, None the end.


def right(draw: random.Random) -> list:
    return [whole(json.dumps(QUESTION).encode())]


def fuzzed(draw: random.Random) -> list:
    body = json.dumps({"inputs": draw.sample(TEXTS, 3), "parameters": {"top_k": 2}}).encode()
    for _ in range(draw.randrange(1, 6)):
        at = draw.randrange(len(body))
        piece = draw.choice([bytes([draw.randrange(256)]), bytes([draw.choice(b'{}[]",:\\0eE-')]), b"", body[at:] * 2])
        body = body[:at] + piece + body[at + draw.randrange(9) :] or b"0"
    return [whole(body)]


def typed(draw: random.Random) -> list:
    names = draw.sample(["inputs", "parameters", "options", "", "inputs "], 2)
    return [whole(json.dumps({name: value(draw) for name in names} | {"inputs": value(draw)}).encode())]


def absurd(draw: random.Random) -> list:
    parameter = draw.choice(["top_k", "max_new_tokens", "temperature", "seed", "top_k", "x" * 9999])
    bodies = [
        lambda: json.dumps({"inputs": "oven", "parameters": {parameter: value(draw)}}),
        lambda: json.dumps({"inputs": ["oven"] * draw.choice([0, 65, 5000])}),
        lambda: json.dumps({"inputs": "a" * draw.choice([20_001, 900_000])}),
        lambda: json.dumps({"inputs": "oven " * 3999}),
        lambda: "[" * draw.choice([99, 101, 100_000]),
        lambda: '{"inputs":' * 3000,
        lambda: '{"inputs": ' + "9" * draw.choice([400, 5000, 500_000]) + "}",
        lambda: '{"inputs": "oven", "parameters": {"top_k": 1e999}}',
        lambda: '{"inputs": "oven", "parameters": {"top_k": NaN}}',
        lambda: '{"inputs": "\\ud800"}',
    ]
    return [whole(draw.choice(bodies)().encode())]


def huge(draw: random.Random) -> list:
    size, part = draw.choice([(1 << 20) + 1, 3 << 20, 1 << 40]), b" " * 65536
    if draw.random() < 0.5:
        pieces = [b"%x\r\n" % len(part) + part + b"\r\n"] * (min(size, 4 << 20) // len(part) + 1)
        return [head(None, "Transfer-Encoding: chunked"), *pieces, b"0\r\n\r\n"]
    expect = ["Expect: 100-continue"] if draw.random() < 0.3 else []
    return [head(size, *expect), *[part] * (min(size, 4 << 20) // len(part))]


def slow(draw: random.Random) -> list:
    sent = right(draw)[0]
    at = draw.randrange(1, len(sent))
    if draw.random() < 0.5:  # a byte from time to time
        return [sent[:at], *[piece for i in range(at, min(at + 8, len(sent) - 1)) for piece in (0.4, sent[i : i + 1])]]
    return [sent[:at], 2 * READ_TIMEOUT]


def cut(draw: random.Random) -> list:
    sent = draw.choice([right, fuzzed, absurd])(draw)[0]
    return [sent[: draw.choice([draw.randrange(len(sent)), len(sent)])], draw.choice([0, 0.001, 0.05]), None]


def damaged(draw: random.Random) -> list:
    body = json.dumps(QUESTION).encode()
    heads = [
        lambda: (
            head(len(body), method=draw.choice(["GET", "PUT", "BREW", "post", "POST\x00", "OPTIONS", "HEAD"])) + body
        ),
        lambda: (
            head(
                len(body),
                path=draw.choice(["/", "/x", "*", "/%00", "//", "http://x/", "/metrics/..", "/" + "a" * 9999]),
            )
            + body
        ),
        lambda: head(draw.choice([-1, "x", "9" * 30, "1, 2", ""])) + body,
        lambda: head(len(body), f"Content-Length: {len(body) + 1}") + body,
        lambda: head(None, "Transfer-Encoding: chunked") + draw.choice([b"zz\r\n", b"-1\r\n", b"5\r\nabc", b"f" * 99]),
        lambda: head(len(body), "Transfer-Encoding: gzip, chunked") + body,
        lambda: (
            head(len(body)).replace(b"localhost", draw.choice([b"evil.example", b"", b"[::1", b"a:b:c", b"\xff"]))
            + body
        ),
        lambda: head(len(body)).replace(b"Host: localhost\r\n", b"") + body,
        lambda: head(len(body)).replace(b"application/json", draw.choice([b"text/plain", b"", b";;;", b"\xe9"])) + body,
        lambda: head(len(body), "X: " + "a" * draw.choice([9_000, 70_000])) + body,
        lambda: head(len(body), *[f"X{i}: 1" for i in range(500)]) + body,
        lambda: head(len(body), "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: x") + body,
        lambda: head(len(body), "Range: bytes=0-,1-,2-", method="GET", path="/") + body,
        lambda: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + draw.randbytes(300),
        lambda: draw.randbytes(draw.randrange(1, 400)),
        lambda: b"\r\n" * 3000,
        lambda: whole(body) * 5,  # one behind the other
        lambda: whole(body) + draw.randbytes(50),
    ]
    return [draw.choice(heads)()]


KINDS = (right, fuzzed, typed, absurd, huge, slow, cut, damaged)


class Fuzz:
    """What came of the requests so far."""

    def __init__(self, port: int, seed: int):
        self.port, self.seed, self.answer = port, seed, None
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    async def request(self, number: int) -> None:
        draw = random.Random(f"{self.seed} {number}")
        kind = KINDS[number % len(KINDS)]
        try:
            status, body = await asyncio.wait_for(self.sent(kind(draw)), PATIENCE)
        except TimeoutError:
            self.wrong.append(f"request {number} ({kind.__name__}): no answer for {PATIENCE} s")
            return
        self.counts[f"{kind.__name__} {status or 'closed'}"] += 1
        if 500 <= status:
            self.wrong.append(f"request {number} ({kind.__name__}): {status} {body[:300]!r}")
        elif kind is right:
            answer = rounded(body)
            self.answer = answer if self.answer is None else self.answer
            if status != 200 or answer != self.answer:
                self.wrong.append(f"request {number} should have been answered: {status} {body[:300]!r}")

    async def sent(self, pieces: list) -> tuple[int, bytes]:
        """The status of the response, 0 if there was none, and its body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for piece in pieces:
                if piece is None:  # hang up, at once and without a word
                    writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    return 0, b""
                if isinstance(piece, bytes):
                    writer.write(piece)
                    await writer.drain()
                else:
                    await asyncio.sleep(piece)
            return await response(reader, has_body=not pieces[0].startswith(b"HEAD"))
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0, b""
        finally:
            writer.transport.abort()


def rounded(text: str | bytes) -> object:
    """An answer whose scores are rounded, since they depend a little on the batch that a text was in."""
    return json.loads(text, parse_float=lambda digits: round(float(digits), 4))


async def response(reader: asyncio.StreamReader, has_body: bool) -> tuple[int, bytes]:
    """The status and the body of the next response on a connection."""
    status, length = 0, 0
    while status < 200:  # 100 says that the body may be sent
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        while (line := await reader.readuntil(b"\r\n")) != b"\r\n":
            name, _, text = line.partition(b":")
            length = int(text) if name.lower() == b"content-length" else length
    return status, await reader.readexactly(length) if has_body else b""


def fuzz(port: int, requests: int, seed: int = 0) -> Fuzz:
    """Send so many requests, and ask afterwards how the service is."""
    found = Fuzz(port, seed)

    async def some(numbers: range) -> None:
        free = asyncio.Semaphore(AT_ONCE)

        async def one(number: int) -> None:
            async with free:
                await found.request(number)

        await asyncio.gather(*map(one, numbers))

    first = requests // 5
    asyncio.run(some(range(first)))
    before = serving.measured(port, "process_resident_memory_bytes")
    asyncio.run(some(range(first, requests)))
    after = serving.measured(port, "process_resident_memory_bytes")
    found.counts.update({"MB of memory before": round(before / 1e6), "MB of memory after": round(after / 1e6)})
    if after - before > GROWTH:
        found.wrong.append(f"memory grew from {before / 1e6:.0f} to {after / 1e6:.0f} MB")
    if waiting := serving.measured(port, "minigrad_waiting_texts"):
        found.wrong.append(f"{waiting:.0f} inputs still wait")
    status, answer = serving.ask(port, PATH, QUESTION)
    if status != 200 or rounded(json.dumps(answer)) != found.answer:
        found.wrong.append(f"afterwards the service answers {status} {answer}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.fuzz_requests")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        with serving.served(serving.classifier(Path(directory)), "--read-timeout", str(READ_TIMEOUT)) as (
            port,
            process,
        ):
            found = fuzz(port, given.requests, given.seed)
            is_running = process.poll() is None
    for name, count in sorted(found.counts.items()):
        print(f"{count:8}  {name}")
    print(*found.wrong[:20], sep="\n", end="\n" * bool(found.wrong))
    print(f"{given.requests} requests, {len(found.wrong)} faults, the service {'runs' if is_running else 'has ended'}")
    return bool(found.wrong) or not is_running


if __name__ == "__main__":
    sys.exit(main())
