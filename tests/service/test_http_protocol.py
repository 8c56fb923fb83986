"""Connections that never finish a request's header, and logs that they cannot flood."""

import contextlib
import logging
import socket
import time
from urllib.parse import urlsplit

import pytest

from reid_dhm.service.log_limit import LogLimit
from reid_dhm.service.middleware.limits import Limits

HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
WHOLE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connect(address: str) -> socket.socket:
    parts = urlsplit(address)
    return socket.create_connection((parts.hostname, parts.port), timeout=20)


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed a connection that it never answered."""
    connection.settimeout(5)
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def ask(connection: socket.socket) -> bytes:
    connection.sendall(WHOLE)
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
        piece = connection.recv(4096)
        assert piece, answer
        answer += piece
    return answer


@pytest.mark.parametrize("sent", [b"", b"G", HALF], ids=["nothing", "a byte", "half a header"])
def test_a_header_that_is_never_finished_closes_the_connection(serve, sent):
    address = serve(limits=Limits(header_seconds=0.3))
    with connect(address) as stalled:
        stalled.sendall(sent)
        begin = time.monotonic()
        assert is_closed(stalled)
        assert time.monotonic() - begin < 3


def test_a_header_that_drips_is_given_no_more_time(serve):
    address = serve(limits=Limits(header_seconds=0.5))
    begin = time.monotonic()
    with connect(address) as slow, contextlib.suppress(ConnectionError):
        slow.sendall(HALF)
        while time.monotonic() - begin < 10:
            time.sleep(0.05)
            slow.sendall(b"x")
    assert time.monotonic() - begin < 5


def test_the_second_request_of_a_connection_has_the_same_limit(serve):
    address = serve(limits=Limits(header_seconds=0.5))
    with connect(address) as connection:
        assert b" 200 OK" in ask(connection)
        time.sleep(0.2)
        assert b" 200 OK" in ask(connection)
        connection.sendall(HALF)
        assert is_closed(connection)


def test_the_longest_waiting_connection_makes_room(serve):
    address = serve(limits=Limits(connections=16, header_seconds=30))
    stalled = []
    for _ in range(40):
        stalled.append(connect(address))
        stalled[-1].sendall(HALF)
    with connect(address) as fresh:
        assert b" 200 OK" in ask(fresh)
    assert is_closed(stalled[0])
    stalled[-1].settimeout(0.2)
    with pytest.raises(TimeoutError):  # still waited for
        stalled[-1].recv(1)
    for connection in stalled:
        connection.close()


def test_a_place_that_logs_too_often_is_cut_short_and_counted(caplog, monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    logger = logging.getLogger("reid_dhm.test")
    limit = LogLimit(most=3)
    logger.addFilter(limit)
    try:
        for turn in (0.0, 61.0):
            now = turn
            for number in range(10):
                logger.warning("client %d", number)
            logger.warning("another place")
    finally:
        logger.removeFilter(limit)
    assert caplog.messages == [
        *("client 0", "client 1", "client 2", "another place"),
        *("client 0 (7 more like it)", "client 1", "client 2", "another place"),
    ]
