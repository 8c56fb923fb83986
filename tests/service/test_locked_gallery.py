"""Another process's transaction: searches give way together, and what only reads goes on."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reid_dhm.errors import LockedError
from reid_dhm.gallery.store.database import FILE


@pytest.fixture
def locked(site):
    """A write lock that another process holds until it is told to let go."""
    other = sqlite3.connect(site.folder / FILE, isolation_level=None, check_same_thread=False)
    yield other
    other.close()


def test_all_searches_give_way_within_seconds_and_lists_are_answered(client, site, locked):
    question = {"tracklets": [site.ids["gate", "anna"]]}
    locked.execute("BEGIN IMMEDIATE")

    def search(_: int) -> tuple[int, float, str]:
        begin = time.monotonic()
        response = client.post("/api/search/tracklets", json=question)
        return response.status_code, time.monotonic() - begin, response.text

    with ThreadPoolExecutor(32) as pool:
        waiting = [pool.submit(search, number) for number in range(32)]
        time.sleep(0.1)
        begin = time.monotonic()
        assert client.get("/api/tracklets").status_code == 200
        assert client.get("/health").status_code == 200
        assert time.monotonic() - begin < 5
        ended = [call.result(60) for call in waiting]
    assert {status for status, _, _ in ended} == {503}
    assert all("locked by another process" in text for _, _, text in ended)
    # One patience for all, not one after the other; 32 of them would take 40 seconds.
    assert max(seconds for _, seconds, _ in ended) < 8
    locked.execute("ROLLBACK")
    assert client.post("/api/search/tracklets", json=question).status_code == 200


def test_a_short_transaction_is_waited_for(client, site, locked):
    locked.execute("BEGIN IMMEDIATE")
    with ThreadPoolExecutor(1) as pool:
        question = {"tracklets": [site.ids["gate", "anna"]]}
        asked = pool.submit(client.post, "/api/search/tracklets", json=question)
        time.sleep(0.3)
        locked.execute("ROLLBACK")
        assert asked.result(30).status_code == 200


def test_who_comes_after_a_failure_tries_again(client, site, locked):
    service = client.app.state.service
    locked.execute("BEGIN IMMEDIATE")
    with pytest.raises(LockedError), service.writing() as gallery, gallery.writing():
        raise AssertionError("was locked")
    locked.execute("ROLLBACK")
    service.record("search", {}, "anna")
