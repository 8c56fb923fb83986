"""Metrics of a running service, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["CONTENT_TYPE", "Metrics", "MetricsMiddleware"]


class Metrics:
    """Counters of one service; nothing in them tells who was searched for."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "reid_requests", "Requests", ["method", "route", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "reid_request_seconds", "Seconds to an answer", ["route"], registry=self._registry
        )
        self.running = Gauge("reid_requests_running", "Requests now", registry=self._registry)
        self.tracklets = Gauge("reid_tracklets", "In the gallery", registry=self._registry)
        self.embedded = Counter("reid_embedded", "Images embedded", registry=self._registry)

    def watch(self, name: str, meaning: str, read: Callable[[], float]) -> None:
        """Add a gauge that is read for every scrape."""
        Gauge(name, meaning, registry=self._registry).set_function(read)

    def text(self) -> bytes:
        """All metrics, in Prometheus' text format."""
        return generate_latest(self._registry)


class MetricsMiddleware:
    """Counts and times the requests of an application.

    Args:
        app: the application.
        metrics: where they are counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, begin = 500, time.perf_counter()

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._metrics.running.track_inprogress():
            try:
                await self._app(scope, receive, remember)
            finally:
                # The route's pattern, not the path: few labels, and none that names a person.
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.requests.labels(_method(scope), route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(time.perf_counter() - begin)


def _method(scope: Scope) -> str:
    known = ("GET", "HEAD", "POST", "DELETE", "PUT", "PATCH", "OPTIONS")
    return scope["method"] if scope["method"] in known else "other"
