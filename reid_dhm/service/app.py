"""The application: what answers which address, and what every request passes before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import anyio.to_thread
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles

from reid_dhm.service import errors
from reid_dhm.service.api import catalog, deletion, search, session
from reid_dhm.service.auth import Names
from reid_dhm.service.middleware.metrics import Measured
from reid_dhm.service.middleware.security import Gate, Limits
from reid_dhm.service.state import Service
from reid_dhm.version import __version__

_SPARE_THREADS = 8  # for what is open to everybody and not counted

_DESCRIPTION = """Who was where, when: search the people of a gallery by image, by a box in a
frame, or by a tracklet that is in it already; look at frames; forget people. Every search and every
deletion is written to the gallery's audit log."""


def create_app(
    service: Service,
    host: str = "127.0.0.1",
    names: Iterable[str] = (),
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> FastAPI:
    """The application over a service; it closes the service when it ends.

    Args:
        service: what requests share.
        host: the address that it will listen on.
        names: further host names that it is reached by.
        limits: how much is taken on.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        # Every request that is taken on has a thread, so that none waits for another's images.
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
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
        generate_unique_id_function=_operation_id,
    )
    app.state.service = service
    errors.install(app, service.connections.folder)
    secured = [Depends(HTTPBearer(auto_error=False))] if service.tokens else []
    for router in (catalog.router, search.router, deletion.router):
        app.include_router(router, dependencies=secured)
    app.include_router(session.router)
    app.mount("/static", StaticFiles(directory=session.STATIC), name="static")
    # The last one added is the first that a request meets.
    app.add_middleware(
        Gate,
        tokens=service.tokens,
        sessions=service.sessions,
        names=Names(host, names),
        limits=limits,
    )
    app.add_middleware(Measured, metrics=service.metrics)
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
