"""Bounds the number of requests that are answered at the same time, and that wait for it."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

from reid_dhm.service.errors import Busy
from reid_dhm.service.middleware.authentication import is_open
from reid_dhm.service.middleware.limits import Limits


class ConcurrencyLimiter:
    """Passes on so many requests at a time; a bounded number waits.

    Requests get here complete, so that a slow client holds no slot. Open paths are not counted:
    they cost little.

    Args:
        app: the application.
        limits: how many requests are answered, wait, and how long.
    """

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app = app
        self._limits = limits
        self._slots = asyncio.Semaphore(limits.requests)
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on in its turn, or raise :class:`Busy`."""
        if scope["type"] != "http" or is_open(scope["path"]):
            await self._app(scope, receive, send)
            return
        if self._slots.locked() and self._waiting >= self._limits.waiting:
            raise Busy(f"request queue is full ({self._waiting} waiting): try again in a moment")
        self._waiting += 1
        try:
            await asyncio.wait_for(self._slots.acquire(), self._limits.patience)
        except asyncio.TimeoutError:
            raise Busy("too many requests are being answered: try again in a moment") from None
        finally:
            self._waiting -= 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._slots.release()
