"""Clients that hold connections, uploads and the database at once keep nobody out."""

import contextlib
import json
import os
import re
import resource
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from reid_dhm.gallery.store.database import FILE

TOKEN = "a-token-that-nobody-guesses"
STALLED, UPLOADS = 2000, 64
SECONDS, LIMIT = 40.0, 2.0
ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.soak, pytest.mark.skipif(os.name != "posix", reason="needs /proc")]


@pytest.fixture
def served(tmp_path, real_site):
    """The command with the package's network, started with 1,024 open files; site, address, log."""
    site = real_site
    log = tmp_path / "log"
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "reid_dhm", "serve", "--gallery", site.folder, "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "REID_DHM_TOKEN": TOKEN},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard)),
        )
    address = re.search(r"http://\S+", process.stdout.readline())[0]
    yield process, site, urlsplit(address).netloc, log
    process.kill()
    process.wait()
    process.stdout.close()


class Attack:
    """The clients of attackers.py; ``open`` is what they reported last."""

    def __init__(self, netloc: str) -> None:
        command = [sys.executable, Path(__file__).with_name("attackers.py"), *netloc.split(":")]
        command += [TOKEN, str(STALLED), str(UPLOADS)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._listen)
        self.open: dict[str, int] = {}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def _listen(self) -> None:
        with self._process.stdout as lines:
            for line in lines:
                self.open = json.loads(line)


class Lock:
    """Another process's transaction, for four seconds out of eight."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.held = False

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        with contextlib.closing(sqlite3.connect(self._path, 30, isolation_level=None)) as db:
            while not self._ended.wait(4):
                db.execute("BEGIN IMMEDIATE")
                self.held = True
                self._ended.wait(4)
                self.held = False
                db.execute("ROLLBACK")


def ask(netloc: str, method: str, path: str, body=None, headers=None) -> tuple[int, float]:
    """Status, and seconds until the whole answer."""
    begin = time.perf_counter()
    connection = HTTPConnection(netloc, timeout=30)
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    response.read()
    connection.close()
    assert response.status != 503 or response.headers["Retry-After"]
    return response.status, time.perf_counter() - begin


def memory(pid: int) -> float:
    """MiB that a process holds."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024


def test_holders_of_a_token_are_answered_all_the_same(served, image_of):
    process, site, netloc, log = served
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    image = image_of("anna")
    head = b'--edge\r\nContent-Disposition: form-data; name="pictures"; filename="p"\r\n\r\n'
    upload = head + image + b"\r\n--edge--\r\n"
    requests = {
        "health": ("GET", "/health"),
        "tracklets": (
            *("POST", "/api/search/tracklets"),
            json.dumps({"tracklets": [site.ids["gate", "anna"]]}).encode(),
            bearer | {"Content-Type": "application/json"},
        ),
        "pictures": (
            *("POST", "/api/search/pictures", upload),
            bearer | {"Content-Type": "multipart/form-data; boundary=edge"},
        ),
    }
    for request in requests.values():
        assert ask(netloc, *request)[0] == 200
    before, seconds = memory(process.pid), {name: [] for name in requests}
    statuses = {name: Counter() for name in requests}
    with Attack(netloc) as attack, Lock(site.folder / FILE) as lock:
        ends = time.monotonic() + 30
        while attack.open.get("stalled", 0) < STALLED // 2 and time.monotonic() < ends:
            time.sleep(0.1)
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            for name, request in requests.items():
                held = lock.held
                status, spent = ask(netloc, *request)
                seconds[name].append(spent)
                statuses[name][status] += 1
                if name == "health" or not (held or lock.held):
                    assert status == 200, name
            time.sleep(0.2)
        after, opened = memory(process.pid), dict(attack.open)
    for name, spent in seconds.items():
        print(
            f"\n{name}: {len(spent)} requests, slowest {max(spent):.2f} s, {dict(statuses[name])}"
        )
    print(f"open {opened}; memory {before:.0f} to {after:.0f} MiB; log {log.stat().st_size} bytes")
    assert max(max(spent) for spent in seconds.values()) < LIMIT
    for counted in statuses.values():
        assert counted[200] > 10
        assert set(counted) <= {200, 503}
    assert after - before < 300
    assert log.stat().st_size < 2**16
    assert process.poll() is None
