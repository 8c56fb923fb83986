"""Who may use the service: tokens, sessions of the page, and allowed host names.

The middleware applies these rules to requests.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import os
import re
import secrets
import socket
import stat
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from urllib.parse import urlsplit

from reid_dhm.errors import InputError

logger = logging.getLogger(__name__)

TOKEN_VARIABLE = "REID_DHM_TOKEN"
SESSION_SECONDS = 12 * 3600.0

_MIN_TOKEN_LENGTH = 16
_MAX_SESSIONS = 1000
_SIGNED = re.compile(r"((?:[0-9a-f]{2})+)\.([0-9]{1,12})\.([0-9a-f]{64})")
_MAKE_TOKEN = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


class Role(IntEnum):
    """What the owner of a token may do; a higher role may do everything that a lower one may."""

    VIEWER = 1
    """Look and search."""
    INVESTIGATOR = 2
    """Also say who is who."""
    ADMINISTRATOR = 3
    """Also delete."""

    @property
    def word(self) -> str:
        """As token files and messages write it."""
        return self.name.lower()


class Tokens:
    """Secrets that open the service, each with its owner's name in the audit log, and role.

    Only their digests are kept.

    Args:
        by_name: token by owner's name; empty for a service without tokens.
        roles: by owner's name; owners without one are administrators.

    Raises:
        InputError: a token that is short enough to be guessed.
    """

    def __init__(self, by_name: Mapping[str, str], roles: Mapping[str, Role] | None = None) -> None:
        self._roles = dict(roles or {})
        for name, token in by_name.items():
            if len(token) < _MIN_TOKEN_LENGTH:
                raise InputError(
                    f"the token of {name!r} has {len(token)} characters: need at least "
                    f"{_MIN_TOKEN_LENGTH}; {_MAKE_TOKEN}"
                )
        self._digests = {name: _digest(token.encode()) for name, token in by_name.items()}

    def __bool__(self) -> bool:
        """Whether the service asks for a token."""
        return bool(self._digests)

    def role(self, name: str | None) -> Role:
        """The role of an owner; without tokens everybody is an administrator."""
        return self._roles.get(name or "", Role.ADMINISTRATOR)

    def signature(self, name: str, text: str) -> str | None:
        """A text signed for an owner, in hexadecimal digits; None if there is no such owner."""
        key = self._digests.get(name)
        if key is None:
            return None
        return hmac.new(key, f"session {name} {text}".encode(), hashlib.sha256).hexdigest()

    def owner(self, token: bytes) -> str | None:
        """The owner of a token; None if it is unknown.

        Every digest is compared in constant time, so that timing reveals nothing.
        """
        digest, found = _digest(token), None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                found = name
        return found


def read_tokens(file: Path | None, environment: Mapping[str, str] = os.environ) -> Tokens:
    """Tokens of a file, or the one in the environment variable ``REID_DHM_TOKEN``, or none.

    A line of the file is a token; or its owner's name and a token; or name, role and token, where
    the role is ``viewer``, ``investigator`` or ``administrator``. ``#`` begins a comment. Without a
    role the owner is an administrator.

    Raises:
        InputError: a file that is missing, holds no token, names an owner twice or an unknown role.
    """
    if file is None:
        token = environment.get(TOKEN_VARIABLE, "").strip()
        return Tokens({"token": token} if token else {})
    try:
        text, mode = file.read_text("utf-8"), file.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} cannot be read as a token file ({error}): {_MAKE_TOKEN} > {file}"
        ) from error
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        logger.warning("%s can be read by others on this machine: chmod 600 it", file)
    tokens: dict[str, str] = {}
    roles: dict[str, Role] = {}
    by_word = {role.word: role for role in Role}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        *name, token = words
        # A name that is a role is a line without a name: it must not make an administrator.
        if len(name) > 2 or (name and name[0] in by_word) or (name[1:] and name[1] not in by_word):
            raise InputError(
                f"{file}, line {number}: expected a token, or a name and a token, or a name, a "
                f"role ({', '.join(by_word)}) and a token"
            )
        owner = name[0] if name else "token"
        if owner in tokens:
            raise InputError(
                f"{file}, line {number}: {owner!r} already has a token: use another name"
            )
        tokens[owner] = token
        if len(name) == 2:
            roles[owner] = by_word[name[1]]
    if not tokens:
        raise InputError(f"{file} holds no token: {_MAKE_TOKEN} > {file}")
    return Tokens(tokens, roles)


class Sessions:
    """Sessions of people who signed in on the page, in memory only. For one thread.

    Args:
        seconds: how long a session lasts.
    """

    def __init__(self, seconds: float = SESSION_SECONDS) -> None:
        self.seconds = seconds
        self._open: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def begin(self, name: str) -> str:
        """Open a session for the owner of a token and return its secret."""
        secret = secrets.token_urlsafe(32)
        self._open[_digest(secret.encode())] = (name, time.monotonic() + self.seconds)
        while len(self._open) > _MAX_SESSIONS:
            self._open.popitem(last=False)
        return secret

    def owner(self, secret: bytes) -> str | None:
        """The owner of a session; None if it has ended or never existed."""
        name, ends = self._open.get(_digest(secret), ("", 0.0))
        if time.monotonic() < ends:
            return name
        self.end(secret)
        return None

    def end(self, secret: bytes) -> None:
        """End a session."""
        self._open.pop(_digest(secret), None)


class SignedSessions:
    """Sessions that any number of services with the same tokens accept: the cookie holds them.

    The cookie is the owner's name and the end of the session, signed with a key that follows from
    the owner's token. Changing the token ends its sessions; signing out only forgets the cookie.

    Args:
        tokens: of the services.
        seconds: how long a session lasts.
    """

    def __init__(self, tokens: Tokens, seconds: float = SESSION_SECONDS) -> None:
        self.seconds = seconds
        self._tokens = tokens

    def begin(self, name: str) -> str:
        """Open a session for the owner of a token and return its secret."""
        ends = str(int(time.time() + self.seconds))
        return f"{name.encode().hex()}.{ends}.{self._tokens.signature(name, ends)}"

    def owner(self, secret: bytes) -> str | None:
        """The owner of a session; None if it has ended or never existed."""
        found = _SIGNED.fullmatch(secret.decode("latin-1"))
        if found is None or int(found[2]) < time.time():
            return None
        name = bytes.fromhex(found[1]).decode("utf-8", "replace")
        own = self._tokens.signature(name, found[2])
        return name if own is not None and hmac.compare_digest(own, found[3]) else None

    def end(self, secret: bytes) -> None:
        """Nothing is kept: the page forgets its cookie."""


class AllowedHosts:
    """The ``Host`` headers that the service answers to.

    A page of another site can point its own name at this machine (DNS rebinding) and then read
    responses, but it cannot make a browser send another host name than its own.

    Args:
        host: the address that the service listens on.
        others: further names, such as a proxy's.
    """

    def __init__(self, host: str, others: Iterable[str] = ()) -> None:
        self._known = {"localhost", "127.0.0.1", "::1", *(name.lower() for name in others)}
        # An address cannot be rebound by DNS, but only clients on the network use it.
        self._addresses = not is_loopback(host)
        if self._addresses:
            self._known |= {host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}

    def __contains__(self, host: str) -> bool:
        """Whether a ``Host`` header, with or without a port, is allowed."""
        found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]/@\s]+))(?::\d{1,5})?", host.lower())
        if found is None:
            return False
        name = (found[1] or found[2]).removesuffix(".")
        return name in self._known or (self._addresses and _is_address(name))


def check_address(host: str, tokens: Tokens, names: Sequence[str] = ()) -> None:
    """Refuse to listen on a public address without a token.

    Args:
        host: the address to listen on.
        tokens: that open the service.
        names: further allowed host names, such as a proxy's.

    Raises:
        InputError: a public address or name, and no token.
    """
    open_to = [name for name in (host, *names) if not is_loopback(name)]
    if open_to and not tokens:
        raise InputError(
            f"{open_to[0]} is reachable from other machines, so a token is required: give "
            f"--token-file FILE or set {TOKEN_VARIABLE}"
        )


def is_same_origin(origin: str, host: str) -> bool:
    """Whether an ``Origin`` header is that of the service's own page.

    The scheme is ignored: behind a proxy the service does not know its own.
    """
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and parts.netloc.lower() == host.lower()


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    if host.lower() == "localhost":
        return True
    return _is_address(host) and ipaddress.ip_address(host).is_loopback


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _digest(secret: bytes) -> bytes:
    return hashlib.sha256(secret).digest()
