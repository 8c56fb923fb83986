"""The service's error responses: every failure is answered as ``{"detail": "one sentence"}``."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from reid_dhm.errors import (
    InputError,
    LockedError,
    ModelMismatchError,
    NotFoundError,
    ReidError,
    StorageError,
    StorageFullError,
)
from reid_dhm.gallery.address import shared_address
from reid_dhm.gallery.records import Box
from reid_dhm.gallery.search.query_image import SeveralPeopleError
from reid_dhm.service.health import Health
from reid_dhm.text import shell_word

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1


class ProblemModel(BaseModel):
    """Why a request failed."""

    detail: str = Field(description="One sentence: the cause and the remedy.")
    boxes: list[list[float]] | None = Field(
        None,
        description="x1, y1, x2, y2 of the people of whom one is to be chosen.",
    )


class Problem(Exception):
    """Answer a request with an error status.

    Args:
        status: HTTP status.
        detail: one sentence: the cause and the remedy.
        headers: further response headers.
        boxes: of the people in an image, where one of them is to be chosen.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        headers: dict[str, str] | None = None,
        boxes: Sequence[Box] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        self.boxes = boxes

    def response(self) -> JSONResponse:
        """The response to send."""
        body = {"detail": self.detail} | ({"boxes": self.boxes} if self.boxes else {})
        return JSONResponse(body, self.status, self.headers)


class Busy(Problem):
    """The request would succeed a little later: 503 with ``Retry-After``."""

    def __init__(self, detail: str) -> None:
        super().__init__(503, detail, {"Retry-After": str(RETRY_SECONDS)})


_MEANINGS: dict[int | str, str] = {
    400: "The request, or an image in it, cannot be read",
    401: "No token, or an unknown one",
    403: "The request comes from another site's page, or the token's role does not allow it",
    404: "Not in the gallery",
    405: "The path does not support this method",
    408: "The request took too long to arrive",
    413: "The request, or an image in it, is too large",
    421: "The host name is not allowed",
    422: "An invalid value",
    500: "The gallery is damaged or cannot be written: trying again does not help",
    503: "Too busy, or the gallery is locked: try again after Retry-After seconds",
    507: "The disk is full",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Errors for the OpenAPI schema: those of every request, and ``statuses``."""
    every = (400, 401, 403, 405, 408, 413, 421, 422, 500, 503, 507)
    return {
        status: {"model": ProblemModel, "description": _MEANINGS[status]}
        for status in sorted({*every, *statuses})
    }


def to_problem(error: ReidError) -> Problem:
    """The response to an error of the package, by its type."""
    if isinstance(error, NotFoundError):
        return Problem(404, str(error))
    if isinstance(error, ModelMismatchError):
        return Busy("the gallery has just moved to another model: try again in a moment")
    if isinstance(error, SeveralPeopleError):
        return Problem(422, str(error), boxes=error.boxes)
    if isinstance(error, InputError):
        return Problem(422, str(error))
    if isinstance(error, LockedError):
        return Busy("the gallery is locked by another process: try again in a moment")
    logger.error("%s", error)
    return Problem(507 if isinstance(error, StorageFullError) else 500, str(error))


def install(app: FastAPI, folder: Path, routers: Sequence[APIRouter], health: Health) -> None:
    """Answer every exception of an application as a problem.

    Args:
        app: the application.
        folder: of the gallery; messages to clients do not reveal its path.
        routers: of the application.
        health: is asked to check the whole file after a failure of storage.
    """

    @app.exception_handler(Problem)
    async def problem(_: Request, error: Problem) -> JSONResponse:
        return error.response()

    @app.exception_handler(ReidError)
    async def failed(_: Request, error: ReidError) -> JSONResponse:
        if isinstance(error, StorageError) and not isinstance(error, StorageFullError):
            health.suspect()
        problem = to_problem(error)
        detail = problem.detail.replace(shell_word(folder), "the gallery")
        detail = detail.replace(str(shared_address(folder) or folder), "the gallery")
        return Problem(problem.status, detail, problem.headers, problem.boxes).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        return Problem(422, _sentence(error.errors())).response()

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        if error.status_code == 405:
            headers["Allow"] = ", ".join(_methods(routers, request))
        return Problem(error.status_code, str(error.detail), headers).response()


def _methods(routers: Sequence[APIRouter], request: Request) -> list[str]:
    """The methods of all routes of a path; Starlette's own header names those of the first."""
    found = {
        method
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return sorted(found or {"GET", "HEAD"})  # files and the schema


def _sentence(errors: Sequence[Any]) -> str:
    first = errors[0]
    place = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{place}: {first['msg']}{more}"
