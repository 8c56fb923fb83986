"""Receives a request's body within limits of size, time and number, before anything works on it."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import IO

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid_dhm.service.errors import Busy, Problem
from reid_dhm.service.middleware.errors import content_length
from reid_dhm.service.middleware.limits import UPLOADS, Limits

_IN_MEMORY = 2**20  # bytes of a body; more is kept in a temporary file
_PIECE = 2**16
_FAIR_SECONDS = 0.25  # that every body is given before another may take its place
_WAITING = 8  # bodies that may wait for a place, for each place there is
_NO_BODY = frozenset({"GET", "HEAD", "OPTIONS"})


class BodyMiddleware:
    """Passes on requests whose body has arrived completely.

    Where as many bodies arrive as are allowed, a new one takes the place of the slowest, so that
    clients that never finish cannot keep others out. It waits for that until one of them has had
    its fair time.

    ``request.state.disconnected`` is an event that is set when the client hangs up.

    Args:
        app: the application.
        limits: of size, time and number.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._uploads = _Pool(limits.uploads)
        self._bodies = _Pool(limits.bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its body, or raise a problem."""
        if scope["type"] != "http" or scope["method"] in _NO_BODY:
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"].endswith(UPLOADS)
        most = self._limits.upload_bytes if is_upload else self._limits.body_bytes
        if content_length(Headers(scope=scope)) > most:
            raise _too_large(most)
        pool = self._uploads if is_upload else self._bodies
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as file:
            transfer = _Transfer(receive, file, most)
            if not await pool.run(transfer, self._limits.body_seconds):
                return  # the client hung up
            file.seek(0)
            disconnected = threading.Event()
            scope.setdefault("state", {})["disconnected"] = disconnected
            watcher = asyncio.ensure_future(_watch(receive, disconnected))
            try:
                await self._app(scope, _replay(file, transfer.received, watcher), send)
            finally:
                watcher.cancel()


@dataclass(eq=False)
class _Transfer:
    """A body on its way."""

    receive: Receive
    file: IO[bytes]
    most: int
    received: int = 0
    started: float = field(default_factory=time.monotonic)
    task: asyncio.Task[bool] | None = None
    displaced: bool = False

    async def run(self) -> bool:
        """Receive the whole body; False if the client hung up."""
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return False
            piece = message.get("body", b"")
            self.received += len(piece)
            if self.received > self.most:
                raise _too_large(self.most)
            self.file.write(piece)
            if not message.get("more_body", False):
                return True

    def pace(self, now: float) -> float:
        """Bytes a second so far; infinite for one that has only begun."""
        elapsed = now - self.started
        return self.received / elapsed if elapsed >= _FAIR_SECONDS else float("inf")


class _Pool:
    """Bodies that arrive at the same time."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._transfers: set[_Transfer] = set()
        self._turn = asyncio.Lock()  # those that wait for a place get it in their order
        self._left = asyncio.Event()
        self._waiting = 0

    async def run(self, transfer: _Transfer, seconds: float) -> bool:
        """Receive a body in at most so many seconds; False if the client hung up."""
        await self._find_place()
        transfer.started = time.monotonic()
        self._transfers.add(transfer)
        transfer.task = asyncio.ensure_future(transfer.run())
        try:
            return await asyncio.wait_for(transfer.task, seconds)
        except asyncio.TimeoutError:
            raise _too_slow(f"not complete after {seconds:g} seconds") from None
        except asyncio.CancelledError:
            if not transfer.displaced:
                raise
            raise _too_slow("slower than others while the service is busy") from None
        finally:
            self._transfers.discard(transfer)
            self._left.set()

    async def _find_place(self) -> None:
        if self._waiting >= _WAITING * self._size:
            raise Busy("too many requests are arriving: try again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                while len(self._transfers) >= self._size:
                    oldest = min(transfer.started for transfer in self._transfers)
                    try:
                        self._left.clear()
                        fair = oldest + _FAIR_SECONDS - time.monotonic()
                        await asyncio.wait_for(self._left.wait(), max(0.0, fair))
                    except asyncio.TimeoutError:
                        if len(self._transfers) >= self._size:  # none has left meanwhile
                            self._displace_slowest()
        finally:
            self._waiting -= 1

    def _displace_slowest(self) -> None:
        now = time.monotonic()
        slowest = min(self._transfers, key=lambda transfer: transfer.pace(now))
        self._transfers.discard(slowest)
        slowest.displaced = True
        assert slowest.task is not None
        slowest.task.cancel()


async def _watch(receive: Receive, disconnected: threading.Event) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    disconnected.set()


def _replay(file: IO[bytes], left: int, watcher: asyncio.Task[None]) -> Receive:
    """The received body, and after it the client's disconnection."""
    ended = False

    async def receive() -> Message:
        nonlocal left, ended
        if ended:
            await asyncio.shield(watcher)
            return {"type": "http.disconnect"}
        piece = file.read(_PIECE)
        left -= len(piece)
        ended = left <= 0
        return {"type": "http.request", "body": piece, "more_body": not ended}

    return receive


def _too_large(most: int) -> Problem:
    return Problem(413, f"the request is larger than {most / 2**20:g} MiB: send less at once")


def _too_slow(reason: str) -> Problem:
    return Problem(408, f"the request did not arrive in time ({reason}): send it again")
