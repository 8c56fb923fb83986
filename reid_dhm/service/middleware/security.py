"""What every request passes before the application sees it: names, origins, tokens, limits."""

from __future__ import annotations

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid_dhm.service.auth import Names, Sessions, Tokens, is_same_origin
from reid_dhm.service.errors import Problem
from reid_dhm.service.middleware.concurrency import Limits, Turnstile, drain, limited, too_large

logger = logging.getLogger(__name__)

COOKIE = "reid_dhm_session"
UPLOADS = "/api/search/pictures"

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_OPEN = frozenset({"/", "/health", "/openapi.json", "/api/session"})

_HEADERS = {
    # Scripts and styles are files of our own, images come from us or are being uploaded.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Gate:
    """Refuses what must not reach the application, and adds the security headers to every answer.

    Who asks is put into ``request.state.actor``: the owner of the token, or the client's address
    where no token is asked for.

    Args:
        app: the application.
        tokens: that open it; none for a service that asks for none.
        sessions: of people who signed in.
        names: it answers to.
        limits: how much is taken on.
    """

    def __init__(
        self, app: ASGIApp, tokens: Tokens, sessions: Sessions, names: Names, limits: Limits
    ) -> None:
        self._app = app
        self._tokens = tokens
        self._sessions = sessions
        self._names = names
        self._limits = limits
        self._turnstile = Turnstile(limits)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or say why not."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            answer = _Answer(send, kept=scope["path"].startswith("/static/"))
            await self._answer(scope, receive, answer)
        else:  # nothing here speaks WebSocket
            await send({"type": "websocket.close", "code": 1008})

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        most = self._limits.upload_bytes if scope["path"] == UPLOADS else self._limits.body_bytes
        body = limited(receive, most, self._limits.body_seconds)
        try:
            self._check(scope, most)
            if _is_open(scope["path"]):
                await self._app(scope, body, answer)
                return
            async with self._turnstile.turn():
                await self._app(scope, body, answer)
        except Problem as problem:
            if not answer.begun:
                if 0 < _length(scope) <= most and "expect" not in Headers(scope=scope):
                    await drain(receive)
                await problem.response()(scope, receive, answer)
        except Exception as error:
            logger.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
            if not answer.begun:
                failure = Problem(500, "the service failed: its log says why")
                await failure.response()(scope, receive, answer)

    def _check(self, scope: Scope, most: int) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        if "\0" in path:  # no file system can be asked for it
            raise Problem(404, "there is no such page")
        if path != "/health":  # whoever watches the service may call it by any name
            self._check_origin(scope["method"], path, headers)
        actor = self._actor(scope, headers)
        if actor is None and not _is_open(path):
            raise Problem(
                401,
                "this service asks for a token: send it as `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer"},
            )
        scope.setdefault("state", {})["actor"] = actor
        if _length(scope) > most:
            raise too_large(most)

    def _check_origin(self, method: str, path: str, headers: Headers) -> None:
        host = headers.get("host", "")
        if host not in self._names:
            raise Problem(
                421,
                f"this service is not called {host[:100]!r}: use its address, or start it with "
                "--allow-host",
            )
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in ("same-origin", "none"):
            raise Problem(403, "the page of another site may not use this service")
        # Browsers send the origin with whatever changes something; programs need not.
        origin = headers.get("origin")
        if method not in _SAFE_METHODS and origin and not is_same_origin(origin, host):
            raise Problem(403, "the page of another site may not change anything here")

    def _actor(self, scope: Scope, headers: Headers) -> str | None:
        if not self._tokens:
            return caller(scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            owner = self._tokens.owner(token.strip().encode("latin-1", "replace"))
            if owner is None:
                logger.warning("%s came with a token that is not known", caller(scope))
            return owner
        secret = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return self._sessions.owner(secret.encode("latin-1", "replace"))


class _Answer:
    """What is sent back, with the security headers."""

    def __init__(self, send: Send, kept: bool) -> None:
        self._send = send
        self._kept = kept
        self.begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.begun = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers[name] = value
            # People's images stay in no browser's cache; our own files are asked for anew.
            headers["Cache-Control"] = "no-cache" if self._kept else "no-store"
        await self._send(message)


def caller(scope: Scope) -> str:
    """The address that a request comes from."""
    return str((scope.get("client") or ("unknown",))[0])


def _is_open(path: str) -> bool:
    """Whether a path is for everybody: it costs little and shows nothing of the gallery."""
    return path in _OPEN or path.startswith("/static/")


def _length(scope: Scope) -> int:
    """The length that a request claims, 0 if it claims none."""
    length = Headers(scope=scope).get("content-length", "0")
    return int(length[:20]) if length.isascii() and length.isdigit() else 0
