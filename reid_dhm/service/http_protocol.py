"""HTTP connections that cannot be held open by clients that never finish a request's header."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol


class WaitingConnections:
    """Connections without a complete request header, oldest first.

    Above ``most`` the oldest is closed: a client that sends its header is done with it at once,
    so those that wait longest are the ones that never will.

    Args:
        most: connections that may wait.
        seconds: in which a header has to arrive.
    """

    def __init__(self, most: int, seconds: float) -> None:
        self._most = most
        self._seconds = seconds
        self._waiting: OrderedDict[LimitedProtocol, asyncio.TimerHandle] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, connection: LimitedProtocol) -> None:
        """Begin to wait for a header."""
        self.remove(connection)
        while len(self._waiting) >= self._most:
            oldest, timer = self._waiting.popitem(last=False)
            timer.cancel()
            oldest.transport.abort()
        loop = asyncio.get_running_loop()
        self._waiting[connection] = loop.call_later(self._seconds, self._expire, connection)

    def remove(self, connection: LimitedProtocol) -> None:
        """Stop waiting: the header is complete, or the connection is closed."""
        timer = self._waiting.pop(connection, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, connection: LimitedProtocol) -> None:
        self._waiting.pop(connection, None)
        connection.transport.abort()


class LimitedProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with a limit on connections that wait for a header.

    Args:
        waiting: of the server.
        arguments: uvicorn's.
    """

    def __init__(self, waiting: WaitingConnections, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._waiting = waiting

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first header."""
        super().connection_made(transport)
        self._waiting.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._waiting.remove(self)
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Stop waiting when a request has begun."""
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._waiting.remove(self)

    def on_response_complete(self) -> None:
        """Wait for the next header, as long as uvicorn keeps the connection."""
        super().on_response_complete()
        if not self.transport.is_closing() and self.cycle.response_complete:
            self._waiting.add(self)
