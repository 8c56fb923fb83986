"""Bodies that come slowly, or never, keep nobody else out."""

import asyncio
import io
import threading
import time
from collections.abc import Coroutine
from typing import Any

import pytest

from reid_dhm.service.errors import Busy, Problem
from reid_dhm.service.middleware import bodies
from reid_dhm.service.middleware.bodies import BodyMiddleware
from reid_dhm.service.middleware.limits import UPLOADS, Limits

SCOPE = {"type": "http", "method": "POST", "path": UPLOADS, "headers": []}


class Client:
    """Sends pieces, each after so many seconds."""

    def __init__(self, pieces, pause: float = 0.0) -> None:
        self._pieces, self._pause = list(pieces), pause
        self.hung_up = asyncio.Event()

    async def receive(self):
        if self._pieces:
            await asyncio.sleep(self._pause)
            piece = self._pieces.pop(0)
            if piece is None:
                return {"type": "http.disconnect"}
            more = bool(self._pieces)
            return {"type": "http.request", "body": piece, "more_body": more}
        await self.hung_up.wait()
        return {"type": "http.disconnect"}


class App:
    """Reads the whole body, as the routes do."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.states: list[dict] = []

    async def __call__(self, scope, receive, send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.bodies.append(body)
        self.states.append(scope["state"])


def run(limits: Limits, *clients: Client, path: str = UPLOADS):
    """What the application was given, and how each client's request ended."""
    app = App()

    async def send(message) -> None:
        raise AssertionError(message)

    async def everybody():
        middleware = BodyMiddleware(app, limits)
        calls = [
            asyncio.ensure_future(middleware({**SCOPE, "path": path}, client.receive, send))
            for client in clients
        ]
        return await asyncio.gather(*calls, return_exceptions=True)

    return app, asyncio.run(everybody())


@pytest.mark.parametrize("size", [0, 10, 2**16, 3 * 2**20])
def test_a_body_arrives_as_it_was_sent(size):
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    app, (end,) = run(Limits(), Client([body[:7], body[7:]]))
    assert end is None
    assert app.bodies == [body]


def test_a_body_that_is_never_finished_is_refused():
    _, (end,) = run(Limits(body_seconds=0.1), Client([b"a", b"b"], pause=60))
    assert isinstance(end, Problem)
    assert (end.status, "not complete after 0.1 seconds" in end.detail) == (408, True)


def test_more_than_allowed_is_refused_whatever_was_announced():
    _, (end,) = run(Limits(upload_bytes=10), Client([b"x" * 6, b"x" * 6]))
    assert isinstance(end, Problem)
    assert end.status == 413


def test_a_client_that_hangs_up_is_dropped():
    app, (end,) = run(Limits(), Client([b"a", None]))
    assert end is None
    assert not app.bodies


def test_the_slowest_makes_room_for_a_new_one(monkeypatch):
    monkeypatch.setattr(bodies, "_FAIR_SECONDS", 0.05)
    limits = Limits(uploads=2)

    class Late(Client):
        async def receive(self):
            return await super().receive()

    async def everybody():
        app, ends = App(), {}
        middleware = BodyMiddleware(app, limits)

        async def upload(name, client):
            try:
                await middleware(dict(SCOPE), client.receive, None)
                ends[name] = "answered"
            except Problem as problem:
                ends[name] = problem.status

        slow = [
            asyncio.ensure_future(upload(f"slow {n}", Client([b"x"] * 500, pause=0.01 * (n + 1))))
            for n in range(2)
        ]
        await asyncio.sleep(0.2)
        await upload("new", Client([b"y" * 100]))
        for call in slow:
            call.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return app, ends

    app, ends = asyncio.run(everybody())
    assert ends == {"slow 1": 408, "new": "answered"}
    assert app.bodies == [b"y" * 100]


def test_where_all_have_just_begun_a_new_one_waits_for_its_turn():
    first = Client([b"a"] * 3, pause=0.05)
    app, ends = run(Limits(uploads=1), first, Client([b"b"]), Client([b"c"]))
    assert ends == [None, None, None]
    assert app.bodies == [b"aaa", b"b", b"c"]


def test_a_bounded_number_waits_for_its_turn(monkeypatch):
    monkeypatch.setattr(bodies, "_FAIR_SECONDS", 0.05)
    never = [Client([b"a", b"b"], pause=60) for _ in range(1 + bodies._WAITING)]
    begin = time.monotonic()
    _, ends = run(Limits(uploads=1, body_seconds=0.3), *never, Client([b"c"]))
    assert isinstance(ends[-1], Busy)
    assert [end.status for end in ends[:-1]] == [408] * len(never)  # each had its time, in turn
    assert time.monotonic() - begin < 2


def test_uploads_take_no_place_of_other_requests():
    limits = Limits(uploads=1, bodies=1, body_seconds=1)
    app = App()

    async def both():
        middleware = BodyMiddleware(app, limits)
        stuck = asyncio.ensure_future(
            middleware(dict(SCOPE), Client([b"a", b"b"], pause=60).receive, None)
        )
        await asyncio.sleep(0.05)
        await middleware({**SCOPE, "path": "/api/search/frame"}, Client([b"{}"]).receive, None)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)

    asyncio.run(both())
    assert app.bodies == [b"{}"]


def test_the_application_learns_that_the_client_hung_up():
    seen: list[threading.Event] = []

    async def app(scope, receive, send) -> None:
        disconnected = scope["state"]["disconnected"]
        assert not disconnected.is_set()
        client.hung_up.set()
        deadline = time.monotonic() + 5
        while not disconnected.is_set() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        seen.append(disconnected)

    async def one():
        nonlocal client
        client = Client([b"a"])
        await BodyMiddleware(app, Limits())(dict(SCOPE), client.receive, None)

    client = None
    asyncio.run(one())
    assert seen[0].is_set()


def test_a_place_that_became_free_as_the_wait_ended_displaces_nobody(monkeypatch):
    """The last body ended in the moment in which its fair time did."""

    async def find() -> None:
        pool = bodies._Pool(1)
        ended = bodies._Transfer(Client([]).receive, io.BytesIO(), 0)
        pool._transfers.add(ended)

        async def wait_for(waiting: Coroutine[Any, Any, Any], seconds: float) -> None:
            waiting.close()
            pool._transfers.discard(ended)
            raise asyncio.TimeoutError

        monkeypatch.setattr(bodies.asyncio, "wait_for", wait_for)
        await pool._find_place()
        assert pool._transfers == set()

    asyncio.run(find())
