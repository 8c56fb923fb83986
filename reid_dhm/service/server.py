"""Listening: which addresses a service may be bound to, and how it starts and stops."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from reid_dhm.errors import InputError
from reid_dhm.service.auth import TOKEN_VARIABLE, Tokens, is_loopback

_GRACE_SECONDS = 30  # for requests that are being answered when the service is told to stop
_IDLE_SECONDS = 15  # that a connection is kept open without a request
_BACKLOG = 1024


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
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(self.file, self.key)
        except OSError as error:  # ssl's own are among them
            raise InputError(
                f"{self.file} cannot serve as a certificate ({error.strerror or error}): give a "
                "PEM file of the whole chain, and --key if the key is in another"
            ) from error


def check_address(host: str, tokens: Tokens, names: Sequence[str] = ()) -> None:
    """Refuse to open a gallery to others without a token.

    Args:
        host: the address to listen on.
        tokens: that will be asked for.
        names: further names that the service is reached by, through a proxy as a rule.

    Raises:
        InputError: an address or a name that others reach, and no token.
    """
    open_to = [name for name in (host, *names) if not is_loopback(name)]
    if open_to and not tokens:
        raise InputError(
            f"others can reach {open_to[0]}, so a token is needed: give --token-file FILE, or set "
            f"{TOKEN_VARIABLE}"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes a free one.

    Raises:
        InputError: an address that is not this machine's, or a port that is taken or forbidden.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f"--host {host} is no address of this machine ({error})") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise InputError(
            f"cannot listen on {host} port {port} ({error.strerror}): choose another --port, or "
            "stop what uses it"
        ) from error
    return bound


def build_server(
    app: FastAPI,
    certificate: Certificate | None = None,
    on_ready: Callable[[], None] = lambda: None,
) -> uvicorn.Server:
    """A server, to be run with ``run(sockets=[listen(…)])``.

    Told to stop by a signal, or by ``should_exit``, it takes no more requests and finishes those
    that have begun.

    Args:
        app: the application.
        certificate: for HTTPS.
        on_ready: called when requests are answered.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,  # paths say who was looked for: that is the audit log's
        server_header=False,
        proxy_headers=False,  # clients could claim any address
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=certificate.file if certificate else None,
        ssl_keyfile=certificate.key if certificate else None,
    )
    return _Server(config, on_ready)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()
