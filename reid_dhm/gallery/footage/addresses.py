"""Addresses of streams and of recordings on a server, and what of them may be stored and shown."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_SECRET = re.compile(
    r"\b(user|username|usr|login|account|pass|passwd|password|passphrase|pwd|psw|pw|token|auth|key|"
    r"apikey|api_key|secret|session|sig|signature)=[^/&;,]*",
    re.IGNORECASE,
)


def is_address(text: str) -> bool:
    """Whether a source is an address, such as ``rtsp://…``, and not a path."""
    return _SCHEME.match(text) is not None


def local_path(address: str) -> Path | None:
    """The path that a ``file://`` address names; None for any other address."""
    parts = urlsplit(address)
    return Path(url2pathname(parts.path)) if parts.scheme.lower() == "file" else None


def without_credentials(address: str) -> str:
    """An address without user, password, query and secrets in its path.

    Everything up to the last ``@`` is removed: passwords may hold ``/``, ``?`` and ``#`` unescaped.
    """
    match = _SCHEME.match(address)
    scheme, rest = (match[0], address[match.end() :]) if match else ("", address)
    rest = re.split(r"[?#]", rest.rpartition("@")[2], maxsplit=1)[0]
    return scheme + _SECRET.sub(r"\1=***", rest)


def escape_hint(address: str) -> str:
    """How to write a password with special characters, for an error; empty without a password."""
    if "@" not in address:
        return ""
    return "; in a password write / as %2F, # as %23, ? as %3F and @ as %40"
