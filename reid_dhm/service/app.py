"""The application: its routes, and the middleware that every request passes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware

from reid_dhm.service import errors
from reid_dhm.service.api import (
    cases,
    catalog,
    clips,
    deletion,
    people,
    search,
    session,
    statements,
)
from reid_dhm.service.auth import AllowedHosts
from reid_dhm.service.middleware.authentication import AuthenticationMiddleware
from reid_dhm.service.middleware.bodies import BodyMiddleware
from reid_dhm.service.middleware.concurrency import ConcurrencyLimiter
from reid_dhm.service.middleware.errors import ErrorMiddleware
from reid_dhm.service.middleware.limits import Limits
from reid_dhm.service.middleware.metrics import MetricsMiddleware
from reid_dhm.service.middleware.security import SecurityMiddleware
from reid_dhm.service.state import Service
from reid_dhm.version import __version__

_SPARE_THREADS = 8  # for open paths, which are not counted

_DESCRIPTION = """Who was where, when: search the people of a gallery by image, by a box in a
frame, or by a tracklet of the gallery; view frames; delete people. Every search and every deletion
is written to the gallery's audit log."""


def create_app(
    service: Service,
    host: str = "127.0.0.1",
    names: Iterable[str] = (),
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> FastAPI:
    """The application over a service; it closes the service when it ends.

    Args:
        service: shared by all requests.
        host: the address that it will listen on.
        names: further allowed host names.
        limits: how much it accepts.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # A thread for every request that is answered, so that none waits for another's images.
        anyio.to_thread.current_default_thread_limiter().total_tokens = (
            limits.requests + _SPARE_THREADS
        )
        yield
        service.close()

    app = FastAPI(
        title="reid-dhm",
        version=__version__,
        description=_DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # they load scripts from other sites
        redoc_url=None,
        generate_unique_id_function=_operation_id,
        middleware=[  # outermost first
            Middleware(MetricsMiddleware, metrics=service.metrics),
            Middleware(SecurityMiddleware, hosts=AllowedHosts(host, names)),
            Middleware(ErrorMiddleware),
            Middleware(AuthenticationMiddleware, tokens=service.tokens, sessions=service.sessions),
            Middleware(BodyMiddleware, limits=limits),
            Middleware(ConcurrencyLimiter, limits=limits),
        ],
    )
    app.state.service = service
    secured = [Depends(HTTPBearer(auto_error=False))] if service.tokens else []
    rooms = (catalog, clips, people, statements, cases, search, deletion, session)
    routers = [room.router for room in rooms]
    for router in routers:
        app.include_router(router, dependencies=secured if router is not session.router else [])
    errors.install(app, service.connections.folder, routers, service.health)
    app.mount("/static", StaticFiles(directory=session.STATIC), name="static")
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
