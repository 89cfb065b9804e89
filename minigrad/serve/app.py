"""The addresses of the service: the task's own, /health, /metrics, and the page to try it in a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from time import perf_counter
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..train import Pipeline
from .batching import Batcher, Job, QueueFull
from .limits import Limits
from .measures import Measures
from .requests import Refusal, asked

PAGE = {  # what the page consists of
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
HEADERS = {  # the page loads nothing but its own files, and no other page may show it in a frame
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
HUNG_UP = 499  # the status by which nginx counts clients that did not wait for the answer


class HungUp(Exception):
    """The client did not wait for the answer."""


class Service:
    """The ASGI application that serves a pipeline.

    Args:
        pipe: what answers.
        name: what the model is called in /health and on the page.
        limits: what a request may ask for.
        batch_size: how many inputs the model is given at a time, at most.
        hosts: the names by which requests may call the service, without the port; None for any.  A service for this
            machine alone lists its own, so that no page on the web can reach it under another name.
    """

    def __init__(
        self,
        pipe: Pipeline,
        name: str,
        limits: Limits | None = None,
        batch_size: int = 32,
        hosts: tuple[str, ...] | None = None,
    ):
        self.pipe, self.name, self.hosts = pipe, name, hosts
        self.limits = Limits() if limits is None else limits
        self.measures = Measures()
        self.batcher = Batcher(pipe, batch_size, self.limits.max_queue, self.measures)
        self.is_stopping = False
        self.path = f"/{pipe.task.name}"
        self.page = {path: (Path(__file__).parent / "page" / file).read_bytes() for path, (file, _) in PAGE.items()}
        self.routes = Starlette(
            routes=[
                Route(self.path, self.answer, methods=["POST"]),
                Route("/health", self.health),
                Route("/metrics", self.metrics),
                *(Route(path, self.part_of_page) for path in PAGE),
            ],
            exception_handlers={Refusal: self.refused, HTTPException: self.not_here, Exception: self.broken},
        )

    async def __call__(self, scope: Any, receive: Callable[[], Awaitable], send: Callable[[Any], Awaitable]) -> None:
        start, status = perf_counter(), HUNG_UP

        async def counted(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self.is_stopping:
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            if self.hosts is not None and (host := host_of(scope)) not in self.hosts:
                told = f"the Host header names {host[:60]!r}; expected one of {', '.join(self.hosts)}"
                await failed(400, told)(scope, receive, counted)
            else:
                await self.routes(scope, receive, counted)
        finally:
            self.measures.request(status, perf_counter() - start, status == 200 and scope["path"] == self.path)

    async def answer(self, request: Request) -> Response:
        """The task's own address: what `pipeline(task, model)` returns for the inputs, as JSON."""
        task = self.pipe.task
        try:
            question = asked(await self.body(request), task, self.limits)
            found = await until_hung_up(request, self.batcher.submit(question.examples, question.options))
        except QueueFull:
            told = f"{self.batcher.waiting} inputs wait already, and there is room for {self.limits.max_queue}"
            return failed(429, f"{told}: try again in a second", {"Retry-After": "1"})
        except HungUp:
            return Response(status_code=HUNG_UP)
        except (ValueError, TypeError) as error:
            return failed(422, " ".join(str(error).split()))
        except asyncio.CancelledError:  # the time for stopping is over
            return failed(503, "the service was stopped before it could answer")
        return in_json(task.returned(found, question.inputs, **question.options))

    async def body(self, request: Request) -> bytes:
        """The body of a request, which arrives within the limits of size and time."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Refusal(415, f"the content type is {kind[:60]!r}; expected the header Content-Type: application/json")
        most, seconds, size, parts = self.limits.max_body_bytes, self.limits.read_timeout, 0, []
        length = request.headers.get("content-length", "0")
        try:
            async with asyncio.timeout(seconds):
                while int(length) <= most:
                    message = await request.receive()
                    if message["type"] == "http.disconnect":
                        raise HungUp
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    if size > most:
                        break
                    if not message.get("more_body"):
                        return b"".join(parts)
        except TimeoutError:
            raise Refusal(408, f"the body did not arrive within {seconds} seconds: send it faster") from None
        raise Refusal(413, f"the body is larger than {most} bytes, the most that is read: send less at a time")

    async def health(self, request: Request) -> Response:
        """That the service answers, and what it is: for a load balancer, and for the page."""
        return in_json(
            {
                "status": "stopping" if self.is_stopping else "ok",
                "task": self.pipe.task.name,
                "model": self.name,
                "sample": self.pipe.task.sample(),
                "parameters": list(self.pipe.task.answer_options),
                "limits": asdict(self.limits),
                "version": __version__,
            }
        )

    async def metrics(self, request: Request) -> Response:
        """The counts, for Prometheus."""
        text = self.measures.text(self.batcher.waiting)
        return Response(text, headers=HEADERS, media_type="text/plain; version=0.0.4")

    async def part_of_page(self, request: Request) -> Response:
        """A file of the page."""
        path = request.scope["path"]
        return Response(self.page[path], headers=HEADERS, media_type=PAGE[path][1])

    async def not_here(self, request: Request, error: Any) -> Response:
        """The response to another address, or another method."""
        told = f"there is no {request.method} {request.scope['path'][:60]}"
        expected = f"POST {self.path}, GET /health, GET /metrics, or in a browser /"
        return failed(error.status_code, f"{told}; expected {expected}", dict(error.headers or {}))

    async def refused(self, request: Request, error: Any) -> Response:
        """The response to a request that asks for what it may not."""
        is_last = error.status == 408 or "expect" in request.headers  # of its connection: more of the body may come
        return failed(error.status, str(error), {"Connection": "close"} if is_last else {})

    async def broken(self, request: Request, error: Exception) -> Response:
        """The response after an error of ours, which the log has in full."""
        return failed(500, "the service failed; its log says where")


def host_of(scope: Any) -> str:
    """The name by which a request calls the service, without the port."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"").decode("latin-1").lower()
    return host[: host.find("]") + 1] if host.startswith("[") else host.partition(":")[0]


async def until_hung_up(request: Request, job: Job) -> list[Any]:
    """The answers to a job, which is given up as soon as its client hangs up.  Raises HungUp."""
    gone = asyncio.ensure_future(request.receive())  # after the body nothing but a disconnection is received
    try:
        await asyncio.wait({job.done, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not job.done.done():
            raise HungUp
        return job.done.result()
    finally:
        job.done.cancel()
        gone.cancel()
        with suppress(asyncio.CancelledError):
            await gone


def in_json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response in JSON.  Raises ValueError for a number that is not finite."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Response(
        text.encode("utf-8", "backslashreplace"), status, HEADERS | (headers or {}), media_type="application/json"
    )


def failed(status: int, message: str, headers: dict[str, str] | None = None) -> Response:
    """A response that says what is wrong."""
    return in_json({"error": message}, status, headers)
