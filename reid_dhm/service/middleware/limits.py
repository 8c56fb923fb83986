"""How much the service accepts: sizes, times and counts, in one place."""

from __future__ import annotations

from dataclasses import dataclass

UPLOADS = "/pictures"
"""How the paths of requests with images end."""


@dataclass(frozen=True)
class Limits:
    """How much the service accepts.

    Attributes:
        requests: answered at the same time.
        waiting: requests that may wait for their turn; more are refused at once.
        patience: seconds that they wait at most.
        upload_bytes: size of a request with images.
        body_bytes: size of any other request.
        body_seconds: in which a request has to arrive.
        uploads: requests with images that may arrive at the same time.
        bodies: other requests with a body that may arrive at the same time.
        connections: connections that may wait for a request at the same time.
        header_seconds: in which a request's header has to arrive; an idle connection is closed
            after as long.
    """

    requests: int = 64
    waiting: int = 512
    patience: float = 10.0
    upload_bytes: int = 32 * 2**20
    body_bytes: int = 2**18
    body_seconds: float = 60.0
    uploads: int = 32
    bodies: int = 128
    connections: int = 2048
    header_seconds: float = 15.0
