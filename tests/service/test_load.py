"""Many at once: every request is answered, or told why not and when to come again."""

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

import numpy as np
import pytest

from reid_dhm.service.middleware.limits import Limits

CLIENTS = 50


class Slow:
    """An embedder that takes as long for a batch as a network does."""

    def __init__(self, embedder, seconds: float) -> None:
        self._embedder, self._seconds = embedder, seconds
        self.card, self.dim, self.fingerprint = embedder.card, embedder.dim, embedder.fingerprint

    def __call__(self, images):
        time.sleep(self._seconds)
        return self._embedder(images)


def multipart(image: bytes) -> tuple[bytes, dict[str, str]]:
    head = b'--edge\r\nContent-Disposition: form-data; name="pictures"; filename="p"\r\n\r\n'
    body = head + image + b"\r\n--edge--\r\n"
    return body, {"Content-Type": "multipart/form-data; boundary=edge"}


class Client:
    """One connection that asks again when told to."""

    def __init__(self, address: str, seen: Counter, lock: threading.Lock) -> None:
        self._connection = HTTPConnection(urlsplit(address).netloc, timeout=60)
        self._seen, self._lock = seen, lock

    def ask(self, method: str, path: str, body=None, headers=None) -> bytes:
        while True:
            self._connection.request(method, path, body, headers or {})
            response = self._connection.getresponse()
            content = response.read()
            with self._lock:
                self._seen[response.status] += 1
            if response.status != 503:
                assert response.status == 200, (response.status, path, content)
                return content
            assert json.loads(content)["detail"]
            time.sleep(0.5 * int(response.headers["Retry-After"]))


def crowd(
    address: str, site, image: bytes, rounds: int, clients: int = CLIENTS
) -> tuple[Counter, list[float]]:
    """Clients use the service together; statuses, and seconds of every search."""
    seen, lock, together = Counter(), threading.Lock(), threading.Barrier(clients)
    seconds: list[float] = []
    video = site.ids["gate", "anna"].split("-")[0]
    anna = {site.ids["gate", "anna"], site.ids["yard", "anna"]}

    def visit(number: int) -> None:
        client = Client(address, seen, lock)
        together.wait(60)
        for turn in range(rounds):
            begin = time.perf_counter()
            found = json.loads(client.ask("POST", "/api/search/pictures", *multipart(image)))
            seconds.append(time.perf_counter() - begin)
            assert {hit["tracklet"] for hit in found["hits"][:2]} == anna
            client.ask("GET", f"/api/tracklets/{found['hits'][0]['tracklet']}/thumbnail")
            client.ask("GET", f"/api/videos/{video}/frames/{(number + 7 * turn) % 40}")

    with ThreadPoolExecutor(clients) as pool:
        for visited in [pool.submit(visit, number) for number in range(clients)]:
            visited.result(240)
    return seen, seconds


def test_fifty_clients_are_all_answered(serve, site, embedder, image_of):
    address = serve(embed=Slow(embedder, 0.02))
    seen, _ = crowd(address, site, image_of("anna"), rounds=1)
    assert seen[200] == 3 * CLIENTS
    # They waited together, so they were looked at together.
    assert len(embedder.batches) < CLIENTS


def test_what_is_too_much_is_told_so(serve, site, embedder, image_of):
    limits = Limits(requests=4, waiting=8, patience=0.2)
    address = serve(embed=Slow(embedder, 0.02), limits=limits)
    seen, _ = crowd(address, site, image_of("anna"), rounds=1, clients=20)
    assert seen[200] == 3 * 20
    assert seen[503] > 0
    assert set(seen) == {200, 503}


def test_stopping_finishes_what_has_begun(serve, site, embedder, image_of):
    begun, go = threading.Event(), threading.Event()

    class Held(Slow):
        def __call__(self, images):
            begun.set()
            assert go.wait(30)
            return self._embedder(images)

    address = serve(embed=Held(embedder, 0))
    seen, lock = Counter(), threading.Lock()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(
            Client(address, seen, lock).ask,
            *("POST", "/api/search/pictures", *multipart(image_of("anna"))),
        )
        assert begun.wait(30)
        serve.stop()
        time.sleep(0.3)  # it has been told by now
        go.set()
        assert json.loads(asked.result(30))["hits"]
    serve.join()
    with pytest.raises(OSError):  # noqa: PT011 (refused or reset)
        Client(address, seen, lock).ask("GET", "/health")


@pytest.mark.soak
@pytest.mark.parametrize("clients", [50, 200])
def test_many_clients_and_a_real_network(serve_real, image_of, clients):
    address, site = serve_real
    begin = time.perf_counter()
    rounds = 1000 // clients
    seen, seconds = crowd(address, site, image_of("anna"), rounds, clients)
    spent = time.perf_counter() - begin
    p50, p99 = np.percentile(seconds, [50, 99])
    print(
        f"\n{clients} clients, {sum(seen.values())} requests in {spent:.1f} s "
        f"({sum(seen.values()) / spent:.0f} a second), statuses {dict(seen)}; "
        f"searches by image: p50 {p50:.2f} s, p99 {p99:.2f} s"
    )
    assert seen[200] == 3 * clients * rounds
    assert set(seen) <= {200, 503}
