"""How much the service takes on: requests at once, and the size and pace of their bodies."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from reid_dhm.service.errors import Busy, Problem

_DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class Limits:
    """How much is taken on.

    Attributes:
        requests: that are answered at the same time.
        waiting: requests that may wait for their turn; more are refused at once.
        patience: seconds that they wait at most.
        upload_bytes: of a request with images.
        body_bytes: of any other request.
        body_seconds: in which a request has to arrive.
    """

    requests: int = 64
    waiting: int = 512
    patience: float = 10.0
    upload_bytes: int = 32 * 2**20
    body_bytes: int = 2**18
    body_seconds: float = 60.0


class Turnstile:
    """Lets through so many requests at a time, and has a bounded number wait."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.requests)
        self._waiting = 0

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and have it while the context lasts.

        Raises:
            Busy: too many wait already, or it took too long.
        """
        if self._slots.locked() and self._waiting >= self._limits.waiting:
            raise Busy(f"{self._waiting} requests wait already: try again in a moment")
        self._waiting += 1
        try:
            await asyncio.wait_for(self._slots.acquire(), self._limits.patience)
        except asyncio.TimeoutError:
            raise Busy("too many requests are being answered: try again in a moment") from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._slots.release()


def limited(receive: Receive, most: int, seconds: float) -> Receive:
    """A request's body that fails when it grows too large or comes too slowly.

    Args:
        receive: the body as it comes.
        most: bytes.
        seconds: until its end.
    """
    received, ended = 0, False
    deadline = time.monotonic() + seconds

    async def receive_limited() -> Message:
        nonlocal received, ended
        if ended:  # what still comes is the client hanging up
            return await receive()
        try:
            message = await asyncio.wait_for(receive(), max(0, deadline - time.monotonic()))
        except asyncio.TimeoutError:
            raise HTTPException(
                408, f"the request did not arrive within {seconds:g} seconds: send it again"
            ) from None
        received += len(message.get("body", b""))
        ended = not message.get("more_body", False)
        if received > most:
            problem = too_large(most)
            raise HTTPException(problem.status, problem.detail)
        return message

    return receive_limited


def too_large(most: int) -> Problem:
    """Says how large a request may be."""
    return Problem(413, f"the request is larger than {most / 2**20:g} MiB: send less at once")


async def drain(receive: Receive) -> None:
    """Read on what a refused request still sends, as most clients send before they listen."""

    async def read() -> None:
        while (await receive()).get("more_body"):
            pass

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(read(), _DRAIN_SECONDS)
