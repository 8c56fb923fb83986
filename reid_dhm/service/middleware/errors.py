"""Answers what fails outside the application's own handlers, so that every failure has a body."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid_dhm.service.errors import Problem

logger = logging.getLogger(__name__)

_DRAIN_SECONDS = 2.0
_DRAIN_BYTES = 2**20


class ErrorMiddleware:
    """Logs unexpected exceptions and answers 500; answers problems of inner middleware.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except Exception as error:
            problem = error
            if not isinstance(problem, Problem):
                logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
                problem = Problem(500, "the service failed: see its log")
            if not started:
                await refuse(problem, scope, receive, send)


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem.

    A small body that was announced is read first, as most clients send before they listen.
    """
    headers = Headers(scope=scope)
    if 0 < content_length(headers) <= _DRAIN_BYTES and "expect" not in headers:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(_drain(receive), _DRAIN_SECONDS)
    await problem.response()(scope, receive, send)


def content_length(headers: Headers) -> int:
    """The length that a request announces, 0 if it announces none."""
    length = headers.get("content-length", "0")
    return int(length[:20]) if length.isascii() and length.isdigit() else 0


async def _drain(receive: Receive) -> None:
    while (await receive()).get("more_body"):
        pass
