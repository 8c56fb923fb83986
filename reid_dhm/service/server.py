"""The HTTP server: the address it listens on, its limits, and how it starts and stops."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from reid_dhm.errors import InputError
from reid_dhm.service.http_protocol import LimitedProtocol, WaitingConnections
from reid_dhm.service.log_limit import limit_logs
from reid_dhm.service.middleware.limits import Limits

_GRACE_SECONDS = 30  # for requests in progress when the service is told to stop
_BACKLOG = 4096  # connections that the system completes and keeps until they are accepted
_ACCEPTED = 64  # at most, before requests that have arrived get their turn
_OPEN_FILES = 8192  # wanted; connections, databases and videos count


@dataclass(frozen=True)
class Certificate:
    """For HTTPS.

    Attributes:
        file: PEM, with the chain.
        key: PEM; None if it is in ``file``.

    Raises:
        InputError: the files cannot be read, or do not belong together.
    """

    file: Path
    key: Path | None = None

    def __post_init__(self) -> None:
        try:
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
                self.file,
                self.key,
                password="",  # never asked for at a terminal
            )
        except OSError as error:  # ssl's own are among them
            raise InputError(
                f"{self.file} is not a usable certificate ({error.strerror or error}): give a PEM "
                "file of the whole chain, and --key if the key is in another file"
            ) from error


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes a free one.

    Raises:
        InputError: an address of another machine, or a port that is in use or forbidden.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # a text that is no host name
        raise InputError(
            f"--host {host[:100]} is not an address of this machine ({error}): use 127.0.0.1 or "
            "0.0.0.0"
        ) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise InputError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another --port, or "
            "stop the program that uses it"
        ) from error
    return bound


def build_server(
    app: FastAPI,
    certificate: Certificate | None = None,
    on_ready: Callable[[], None] = lambda: None,
    limits: Limits = Limits(),  # noqa: B008 (frozen)
) -> uvicorn.Server:
    """A server, to be run with ``run(sockets=[listen(…)])``.

    A signal, or ``should_exit``, stops it: it accepts no more requests and finishes those that
    have begun.

    Args:
        app: the application.
        certificate: for HTTPS.
        on_ready: called when the server accepts requests.
        limits: on connections.
    """
    waiting = WaitingConnections(_max_waiting(limits.connections), limits.header_seconds)
    config = uvicorn.Config(
        app,
        http=partial(LimitedProtocol, waiting),  # type: ignore[arg-type]
        ws="none",
        log_level="warning",
        backlog=_ACCEPTED,
        access_log=False,  # paths tell who was searched for: only the audit log may
        server_header=False,
        proxy_headers=False,  # a client could claim any address
        timeout_keep_alive=max(1, round(limits.header_seconds)),
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=certificate.file if certificate else None,
        ssl_keyfile=certificate.key if certificate else None,
    )
    limit_logs()
    return _Server(config, on_ready, limits.header_seconds)


def _max_waiting(wanted: int) -> int:
    """How many connections may wait, leaving most of the process's open files to requests."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return wanted
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES:
        soft = min(_OPEN_FILES, hard) if hard != resource.RLIM_INFINITY else _OPEN_FILES
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(16, min(wanted, soft // 4))


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, on_ready: Callable[[], None], handshake_seconds: float
    ) -> None:
        super().__init__(config)
        self._on_ready = on_ready
        self._handshake_seconds = handshake_seconds

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        if self.config.ssl is not None:  # uvicorn has no option for it; asyncio's default is 60
            loop.create_server = partial(  # type: ignore[method-assign]
                loop.create_server, ssl_handshake_timeout=self._handshake_seconds
            )
        await super().startup(sockets)
        if self.started:
            # asyncio's backlog is also how many it accepts at a time, which held up everything.
            for bound in sockets or ():
                bound.listen(_BACKLOG)
            self._on_ready()
