"""The page, its sessions, and what monitors request: health and metrics."""

from __future__ import annotations

import logging
from pathlib import Path
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from reid_dhm.errors import StorageError
from reid_dhm.service.api.requests import SignIn
from reid_dhm.service.api.responses import HealthModel, SessionModel
from reid_dhm.service.errors import Problem, documented
from reid_dhm.service.middleware.authentication import COOKIE, client_address
from reid_dhm.service.middleware.metrics import CONTENT_TYPE
from reid_dhm.service.state import Service, ServiceDep

STATIC = Path(__file__).parents[1] / "static"

logger = logging.getLogger(__name__)

router = APIRouter()


@router.get("/", include_in_schema=False)
@router.get("/people", include_in_schema=False)
@router.get("/people/{person}", include_in_schema=False)
@router.get("/cases", include_in_schema=False)
@router.get("/cases/{case}", include_in_schema=False)
def page() -> FileResponse:
    """The page; it shows what its address names."""
    return FileResponse(STATIC / "index.html", media_type="text/html")


@router.get("/health", tags=["operation"], responses={503: documented()[503]})
def health(service: ServiceDep) -> HealthModel:
    """Whether the gallery can be read. Needs no token."""
    try:
        service.health.check()
    except StorageError as error:
        logger.error("%s", error)
        raise Problem(503, "the gallery is missing or damaged: see the service's log") from error
    return HealthModel(status="ok")


class MetricsResponse(Response):
    """Metrics for Prometheus."""

    media_type = CONTENT_TYPE


@router.get(
    "/metrics",
    tags=["operation"],
    response_class=Response,
    responses={200: {"content": {CONTENT_TYPE: {"schema": {"type": "string"}}}}, **documented()},
)
def metrics(service: ServiceDep) -> MetricsResponse:
    """Metrics in Prometheus' text format."""
    with service.gallery() as gallery:
        service.metrics.tracklets.set(gallery.count())
    return MetricsResponse(service.metrics.text())


@router.get("/api/session", tags=["session"], responses=documented())
async def session(service: ServiceDep, request: Request) -> SessionModel:
    """Who sends the request. Needs no token."""
    return _session(service, request.state.actor)


@router.post("/api/session", tags=["session"], responses=documented())
async def sign_in(
    service: ServiceDep, request: Request, response: Response, credentials: SignIn
) -> SessionModel:
    """Exchange a token for a cookie, so that the page need not keep it."""
    if not service.tokens:
        return _session(service, request.state.actor)
    owner = service.tokens.owner(credentials.token.strip().encode("utf-8", "replace"))
    if owner is None:
        logger.warning("sign-in with an unknown token from %s", client_address(request.scope))
        raise Problem(401, "unknown token", {"WWW-Authenticate": "Bearer"})
    response.set_cookie(
        COOKIE,
        service.sessions.begin(owner),
        max_age=int(service.sessions.seconds),
        httponly=True,
        samesite="strict",
        # Behind an encrypting proxy, only the browser knows the scheme.
        secure=urlsplit(request.headers.get("origin", "")).scheme == "https",
    )
    return _session(service, owner)


@router.delete("/api/session", tags=["session"], responses=documented())
async def sign_out(service: ServiceDep, request: Request, response: Response) -> SessionModel:
    """End the page's session."""
    service.sessions.end(request.cookies.get(COOKIE, "").encode("latin-1", "replace"))
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return _session(service, None)


def _session(service: Service, actor: str | None) -> SessionModel:
    role = None if actor is None else service.tokens.role(actor).word
    return SessionModel(required=bool(service.tokens), actor=actor, role=role)
