"""Starts and stops the service: listens on the port, loads the model, and handles the signals to stop."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import uvicorn

from ..errors import is_whole
from ..train import Pipeline, pipeline
from .app import Service
from .connection import Connection
from .limits import Limits

LOCAL = ("127.0.0.1", "localhost", "[::1]")  # the names of this machine for itself
MAX_PICTURE_BODY = 1 << 24  # bytes of a request with pictures
KEEP_ALIVE = 60  # seconds for which a connection may wait for its next request


def run(
    model: str | os.PathLike,
    task: str | None,
    host: str,
    port: int,
    batch_size: int,
    timeout_graceful_shutdown: int,
    options: dict[str, Any],
) -> None:
    """What `serve` does."""
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("timeout_graceful_shutdown", timeout_graceful_shutdown, 0),
    ):
        if not is_whole(value, least):
            raise ValueError(f"{name} is {value!r}; expected a whole number, {least} or more")
    limits = {field.name: options.pop(field.name) for field in fields(Limits) if field.name in options}
    with listening(host, port) as listener:
        pipe = pipeline(task, model, **options)
        if pipe.task.name == "image-classification":
            limits = {"max_body_bytes": MAX_PICTURE_BODY} | limits
        prepare(pipe, model)
        hosts = LOCAL if listener.getsockname()[0] in ("127.0.0.1", "::1") else None
        service = Service(pipe, Path(model).resolve().name, Limits(**limits), batch_size, hosts)
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        print(f"{pipe.task.name} with {model}: {address} (Ctrl-C stops it)", flush=True)
        Server(settings(service, timeout_graceful_shutdown)).run([listener])
        print(f"stopped after {sum(service.measures.requests.values())} requests", flush=True)


def settings(service: Service, timeout_graceful_shutdown: int) -> uvicorn.Config:
    """uvicorn's settings for a service."""
    return uvicorn.Config(
        service,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=timeout_graceful_shutdown,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which returns after a signal to stop, instead of dying of it."""

    async def shutdown(self, sockets: Any = None) -> None:
        service: Any = self.config.app
        service.is_stopping = True
        print("stopping: what was accepted is answered", flush=True)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # the others hear of no signal
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens, so that a second service on the port is refused before it reads its model."""
    if not is_whole(port, 0) or port > 65535:
        raise ValueError(f"port is {port!r}; expected a whole number from 0 to 65535, such as 8000")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = {
            errno.EADDRINUSE: f"port {port} of {host} is in use by another program: choose another, such as {port + 1}",
            errno.EACCES: f"port {port} of {host} is for the administrator alone: choose one above 1023, such as 8000",
            **dict.fromkeys(
                (errno.EADDRNOTAVAIL, socket.EAI_NONAME, socket.EAI_AGAIN),
                f"{host} is no address of this machine: expected 127.0.0.1, 0.0.0.0, or its own",
            ),
        }
        raise OSError(why.get(error.errno or 0, str(error))) from None


def prepare(pipe: Pipeline, model: str | os.PathLike) -> None:
    """Bring the weights into memory, and answer once, which finds out whether the model can.

    The weights of a directory are mapped from its files, and a file that is cut short would end the process.
    """
    for tensor in pipe.task.model.state_dict().values():
        tensor.data = tensor.data.copy(order="K")
    options = {"max_new_tokens": 1} if "max_new_tokens" in pipe.task.answer_options else {}
    answer = pipe(pipe.task.received(pipe.task.sample()), **options)
    try:
        json.dumps(answer, allow_nan=False)
    except ValueError:
        raise ValueError(
            f"the model in {model} answers with numbers that are not finite: its weights are damaged, or training "
            "went wrong; minigrad evaluate says how good it is"
        ) from None
