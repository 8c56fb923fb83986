"""Keeps the pages of other sites out: host names, origins, and security headers."""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reid_dhm.service.auth import AllowedHosts, is_same_origin
from reid_dhm.service.errors import Problem
from reid_dhm.service.middleware.errors import refuse

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HEADERS = {
    # Scripts and styles are our own files; images come from us or are being uploaded.
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


class SecurityMiddleware:
    """Refuses requests that another site's page could send; adds security headers to responses.

    Args:
        app: the application.
        hosts: host names that the service answers to.
    """

    def __init__(self, app: ASGIApp, hosts: AllowedHosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the service has no WebSocket
            await send({"type": "websocket.close", "code": 1008})
            return
        static = scope["path"].startswith("/static/")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                # People's images stay in no browser's cache; our own files are revalidated.
                headers["Cache-Control"] = "no-cache" if static else "no-store"
            await send(message)

        problem = self._problem(scope)
        if problem is not None:
            await refuse(problem, scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)

    def _problem(self, scope: Scope) -> Problem | None:
        headers, path = Headers(scope=scope), scope["path"]
        if "\0" in path:  # not a possible file name
            return Problem(404, "there is no such page")
        if path == "/health":  # a monitor may use any host name
            return None
        host = headers.get("host", "")
        if host not in self._hosts:
            shown = host[:100]
            return Problem(
                421, f"host {shown!r} is not allowed: add --allow-host {shown or 'NAME'}"
            )
        site = headers.get("sec-fetch-site", "none")
        if path.startswith("/api/") and site not in ("same-origin", "none"):
            return Problem(403, "the page of another site may not use this service")
        # Browsers send the origin with every request that changes something; programs need not.
        origin = headers.get("origin")
        if scope["method"] not in _SAFE_METHODS and origin and not is_same_origin(origin, host):
            return Problem(403, "the page of another site may not change anything here")
        return None
