"""Finds out who sends a request, and refuses requests that need a token and have none."""

from __future__ import annotations

import logging
import re

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from reid_dhm.service.auth import Sessions, SignedSessions, Tokens
from reid_dhm.service.errors import Problem

logger = logging.getLogger(__name__)

COOKIE = "reid_dhm_session"

_OPEN = frozenset({"/", "/health", "/openapi.json", "/api/session"})
_PAGES = re.compile(r"/(people|cases)(/\d{1,16})?")


class AuthenticationMiddleware:
    """Sets ``actor`` and ``role`` of ``request.state``.

    The actor is the owner of the token, or the client's address without tokens.

    Args:
        app: the application.
        tokens: that open the service; none for a service without tokens.
        sessions: of people who signed in.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, sessions: Sessions | SignedSessions) -> None:
        self._app = app
        self._tokens = tokens
        self._sessions = sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or raise a 401."""
        if scope["type"] == "http":
            actor = self._actor(scope)
            if actor is None and not is_open(scope["path"]):
                raise Problem(
                    401,
                    "a token is required: send it as `Authorization: Bearer TOKEN`",
                    {"WWW-Authenticate": "Bearer"},
                )
            state = scope.setdefault("state", {})
            state["actor"], state["role"] = actor, self._tokens.role(actor)
        await self._app(scope, receive, send)

    def _actor(self, scope: Scope) -> str | None:
        if not self._tokens:
            return client_address(scope)
        headers = Headers(scope=scope)
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            owner = self._tokens.owner(token.strip().encode("latin-1", "replace"))
            if owner is None:
                logger.warning("unknown token from %s", client_address(scope))
            return owner
        secret = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
        return self._sessions.owner(secret.encode("latin-1", "replace"))


def client_address(scope: Scope) -> str:
    """The address that a request comes from."""
    return str((scope.get("client") or ("unknown",))[0])


def is_open(path: str) -> bool:
    """Whether a path needs no token: it costs little and shows nothing of the gallery."""
    return path in _OPEN or path.startswith("/static/") or bool(_PAGES.fullmatch(path))
