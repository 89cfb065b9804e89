"""A client's connection: uvicorn's, with a limit on how many there are and on how long a request may take to arrive."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from .limits import Limits

LINGER = 0.5  # seconds in which a request may still arrive on an idle connection when the service stops


class Connection(H11Protocol):
    """uvicorn closes a connection that waits too long for a request; this one also if half of one has arrived."""

    late: asyncio.TimerHandle | None = None

    @property
    def limits(self) -> Limits:
        """Those of the service."""
        service: Any = self.config.app
        return service.limits

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        if len(self.connections) > self.limits.max_connections:
            self.end(HTTPStatus.TOO_MANY_REQUESTS)
        else:
            self.watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self.unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Either the head of a request is incomplete, or the rest of one that was answered already is thrown away.
        if self.conn.their_state is h11.IDLE or self.is_draining:
            self.watch()
        else:
            self.unwatch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.is_draining:
            self.watch()

    @property
    def is_draining(self) -> bool:
        """Whether a request was answered before all of it has arrived."""
        return self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE

    def watch(self) -> None:
        """End the connection after `read_timeout` seconds, unless all of the request arrives before."""
        if self.late is None:
            self.late = self.loop.call_later(self.limits.read_timeout, self.end, HTTPStatus.REQUEST_TIMEOUT)

    def unwatch(self) -> None:
        if self.late is not None:
            self.late.cancel()
            self.late = None

    def end(self, status: HTTPStatus) -> None:
        """Close the connection, and say why unless an answer was sent already."""
        if not self.is_draining:
            lines = f"HTTP/1.1 {status.value} {status.phrase}", "content-length: 0", "connection: close", "", ""
            self.transport.write("\r\n".join(lines).encode())
        self.transport.close()

    def shutdown(self) -> None:
        """Close the connection after the answer, or if it is idle after a moment: a request may be on its way."""
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER, self.leave)
        else:
            super().shutdown()

    def leave(self) -> None:
        """Close the connection, now or after the answer."""
        if not self.transport.is_closing():
            super().shutdown()
