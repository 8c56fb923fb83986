"""What an announcement can be sent to: a web address, an MQTT broker, a file of JSON lines."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import ssl
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.parse import SplitResult, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from reid_dhm.errors import InputError
from reid_dhm.gallery.store.people import Person
from reid_dhm.gallery.store.watching import Announcement

_SECONDS = 10.0  # that a receiver may take for an answer


class DeliveryError(Exception):
    """A receiver did not confirm an announcement; the message holds no address and no secret."""


class Receiver(Protocol):
    """Where announcements go; used by one thread.

    Attributes:
        name: by which the gallery keeps how far it got: the same for the same receiver.
    """

    name: str

    def send(self, announcement: Announcement) -> None:
        """Send one; returns once it is confirmed.

        Raises:
            DeliveryError: it was not; it is sent again later.
        """

    def show(self, people: Sequence[Person]) -> None:
        """Make known who is watched.

        Raises:
            DeliveryError: it was not; it is tried again later.
        """

    def close(self) -> None:
        """Nothing is sent any more."""


class Lines:
    """A JSON line for every announcement.

    Args:
        path: of the file, which is appended to; ``-`` is the standard output.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"lines {'-' if str(path) == '-' else path.absolute()}"
        self._path = path

    def send(self, announcement: Announcement) -> None:
        """Write and flush a line."""
        line = json.dumps(announcement.to_dict(), ensure_ascii=False)
        if str(self._path) == "-":
            print(line, flush=True)
            return
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeliveryError(f"the file cannot be written ({error.strerror})") from error

    def show(self, people: Sequence[Person]) -> None:
        """Lines say nothing of it."""

    def close(self) -> None:
        """Nothing is open."""
        sys.stdout.flush()


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """Names of people go to the address that was given, and to no other."""


class Webhook:
    """An HTTP address that gets a POST for every announcement.

    ``X-Reid-Signature`` is ``sha256=`` and the HMAC-SHA256, by the secret, of ``X-Reid-Timestamp``,
    a full stop and the body. ``X-Reid-Delivery`` is the announcement's id. Any 2xx is a
    confirmation.

    Args:
        url: http or https.
        secret: shared with the receiver; None does not sign.

    Raises:
        InputError: another kind of address.
    """

    def __init__(self, url: str, secret: str | None = None) -> None:
        remedy = "the webhook is no http or https address: give one, https://HOST/PATH"
        split_address(url, ("http", "https"), remedy)
        self.name = f"webhook {hashlib.sha256(url.encode()).hexdigest()[:16]}"
        self._url, self._secret = url, secret
        self._opener = build_opener(_NoRedirects)

    def send(self, announcement: Announcement) -> None:
        """POST it, signed."""
        headers = {"Content-Type": "application/json", "X-Reid-Delivery": str(announcement.id)}
        try:
            body = json.dumps(announcement.to_dict(), ensure_ascii=False).encode()
            if self._secret is not None:
                headers |= sign(body, self._secret, str(int(time.time())))
            request = Request(self._url, body, headers, method="POST")
            with self._opener.open(request, timeout=_SECONDS):
                return
        except HTTPError as error:
            error.close()
            raise DeliveryError(f"it answered {error.code}") from error
        except (URLError, OSError, http.client.HTTPException) as error:
            raise DeliveryError(f"no answer ({type(error).__name__})") from error
        except ValueError as error:  # UnicodeError too: a host or text that HTTP cannot carry
            raise DeliveryError(f"it cannot be sent ({type(error).__name__})") from error

    def show(self, people: Sequence[Person]) -> None:
        """A webhook is told appearances only."""

    def close(self) -> None:
        """Nothing is open."""


def split_address(url: str, schemes: Collection[str], problem: str) -> SplitResult:
    """The parts of an address with a host and a usable port.

    Raises:
        InputError: it is none of these schemes; the message is ``problem`` and shows no address.
    """
    try:
        url.encode()
        parts = urlsplit(url)
        usable = parts.scheme in schemes and parts.hostname and parts.port != 0
    except ValueError:
        raise InputError(problem) from None  # its text would show the address
    if not usable:
        raise InputError(problem)
    return parts


def sign(body: bytes, secret: str, timestamp: str) -> dict[str, str]:
    """The headers by which a receiver checks who sent a body, and when."""
    content = timestamp.encode() + b"." + body
    digest = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    return {"X-Reid-Timestamp": timestamp, "X-Reid-Signature": f"sha256={digest}"}


def tls_context(authority: Path | None) -> ssl.SSLContext:
    """Verifies servers by the system's authorities, or by those of a PEM file.

    Raises:
        InputError: the file cannot be used.
    """
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:
        raise InputError(f"{authority} holds no usable certificates: give a PEM file") from error
