"""Watched people: each appearance is announced once, to every receiver, and none is lost."""

import hashlib
import hmac
import json
import threading
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.alerts import running
from reid_dhm.gallery.alerts.receivers import Lines, Webhook
from reid_dhm.gallery.alerts.running import Delivery, alerts
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import audit, deletion, statements, watching
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.people import find_person, people

NOON = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
ANNA, BERT = np.eye(8)[:2] + 0.01


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Anna and Bert before the gate; Anna has her name and is watched."""
    keep(empty, np.stack([ANNA, BERT]), "gate", [0.0, 100.0], NOON)
    link_gallery(empty)
    anna = empty.tracklets()[0].person_id
    statements.name(empty, find_person(empty, anna), "Anna")
    watching.watch(empty, find_person(empty, "Anna"), "cleo")
    return empty


def told(gallery: GalleryStore, receiver: str = "test") -> list[dict]:
    return [each.to_dict() for each in watching.pending(gallery, receiver)]


def test_an_appearance_is_announced_once_and_a_return_again(site, keep):
    watching.add_receiver(site, "test")
    keep(site, np.stack([ANNA, BERT, ANNA]), "gate", [3600.0, 3610.0, 3630.0], NOON)
    link_gallery(site, new_only=True, live=True)
    link_gallery(site, new_only=True, live=True)
    (one,) = told(site)
    assert (one["person"], one["camera"]) == ("Anna", "gate")
    assert one["start_time"] == "2026-03-01T13:00:00+00:00"
    assert one["end_time"] == "2026-03-01T13:00:31+00:00"
    keep(site, np.stack([ANNA]), "gate", [3680.0], NOON)  # still the same
    keep(site, np.stack([ANNA, ANNA]), "door", [3680.0, 7200.0], NOON)
    link_gallery(site, new_only=True, live=True)
    assert [(each["camera"], each["start_time"][11:16]) for each in told(site)] == [
        ("gate", "13:00"), ("door", "13:01"), ("door", "14:00"),
    ]  # fmt: skip
    assert list(check_integrity(site)) == []


def test_nobody_else_and_no_earlier_footage_is_announced(site, keep):
    watching.add_receiver(site, "test")
    keep(site, np.stack([BERT]), "gate", [5000.0], NOON)
    link_gallery(site, new_only=True, live=True)
    bert = site.tracklets()[-1].person_id
    keep(site, np.stack([BERT]), "gate", [6000.0], NOON)
    watching.watch(site, find_person(site, bert))
    link_gallery(site, new_only=True, live=True)
    keep(site, np.stack([ANNA]), "gate", [7000.0], NOON)
    link_gallery(site, new_only=True)  # nobody is told of what is linked afterwards
    assert watching.unwatch(site, find_person(site, "Anna"))
    keep(site, np.stack([ANNA]), "gate", [8000.0], NOON)
    link_gallery(site, new_only=True, live=True)
    assert told(site) == []
    assert [e.detail["watched"] for e in audit.entries(site) if e.action == "watch"] == [
        True, True, False,
    ]  # fmt: skip


def test_whoever_joins_a_watched_person_is_watched_and_a_deletion_ends_it(site, keep):
    watching.add_receiver(site, "test")
    keep(site, np.stack([ANNA]), "gate", [1000.0], NOON)
    link_gallery(site, new_only=True)
    other = statements.split(site, find_person(site, "Anna"), [site.tracklets()[-1].id])
    statements.merge(site, [find_person(site, who) for who in (other, "Anna")])
    assert [p.id for p in watching.watched(site)] == [other]
    keep(site, np.stack([ANNA]), "gate", [9000.0], NOON)
    link_gallery(site, new_only=True, live=True)
    assert len(told(site)) == 1
    deletion.delete(site, TrackletFilter(person=other))
    assert (told(site), watching.watched(site), len(people(site))) == ([], [], 1)


class Receiver:
    """A web server that answers as told, then 200, and keeps what it got."""

    def __init__(self, answers: list[int]) -> None:
        got = self.got = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = answers.pop(0) if answers else 200
                got.append((status, dict(self.headers), body))
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?key=hidden"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def ids(self) -> list[int]:
        """Of the announcements that it confirmed."""
        return [json.loads(body)["id"] for status, _, body in self.got if status == 200]


def test_a_webhook_that_fails_first_gets_all_in_order_and_signed(site, keep, monkeypatch, caplog):
    receiver = Receiver([500, 307, 503])
    monkeypatch.setattr(running, "_SLOWEST", 0.0)  # the next attempt at once
    delivery = Delivery(site, Webhook(receiver.url, "a secret"))
    for hour in range(3):
        keep(site, np.stack([ANNA]), "gate", [3600.0 * (hour + 2)], NOON)
    link_gallery(site, new_only=True, live=True)
    delivery.step()
    assert receiver.ids == []
    delivery.last()
    assert receiver.ids == [1, 2, 3]
    _, headers, body = receiver.got[-1]
    signed = headers["X-Reid-Timestamp"].encode() + b"." + body
    right = hmac.new(b"a secret", signed, hashlib.sha256).hexdigest()
    assert headers["X-Reid-Signature"] == f"sha256={right}"
    assert headers["X-Reid-Delivery"] == "3"
    assert "it answered 500" in caplog.text
    assert "hidden" not in caplog.text + Webhook(receiver.url).name


def test_what_was_not_confirmed_is_sent_by_the_next_run_and_nothing_twice(site, keep, tmp_path):
    closed = Receiver([])
    closed.server.server_close()
    closed.server.shutdown()
    watching.add_receiver(site, Webhook(closed.url).name)
    keep(site, np.stack([ANNA]), "gate", [5000.0], NOON)
    link_gallery(site, new_only=True, live=True)
    Delivery(site, Webhook(closed.url)).step()
    lines = tmp_path / "lines.jsonl"
    for _ in range(2):  # a receiver that is new does not get what was before
        Delivery(site, Lines(lines)).step()
        keep(site, np.stack([ANNA]), "door", [9000.0], NOON)
        link_gallery(site, new_only=True, live=True)
        Delivery(site, Lines(lines)).step()
    assert [json.loads(line)["camera"] for line in lines.read_text().splitlines()] == ["door"]
    assert len(told(site, Webhook(closed.url).name)) == 2


def test_threads_link_what_is_new_and_announce_it(site, keep, tmp_path):
    lines = tmp_path / "lines.jsonl"
    with alerts(site.folder, [Lines(lines)]), GalleryStore(site.folder) as other:
        wait_for_receiver(other)
        keep(other, np.stack([ANNA]), "gate", [5000.0], NOON)
    assert [json.loads(line)["person"] for line in lines.read_text().splitlines()] == ["Anna"]


def wait_for_receiver(gallery: GalleryStore) -> None:
    for _ in range(200):
        with gallery.reading() as db:
            if db.execute("SELECT 1 FROM receivers").fetchone():
                return
        threading.Event().wait(0.05)
    raise AssertionError("the thread did not begin")


@pytest.mark.parametrize("url", ["ftp://a/b", "file:///etc/passwd", "nonsense", "https://"])
def test_other_addresses_are_refused(url):
    with pytest.raises(InputError, match="no http or https address"):
        Webhook(url)


def test_a_file_that_cannot_be_written_is_tried_again(site, keep, tmp_path):
    path = tmp_path / "folder" / "lines.jsonl"
    delivery = Delivery(site, Lines(path))
    keep(site, np.stack([ANNA]), "gate", [5000.0], NOON)
    link_gallery(site, new_only=True, live=True)
    delivery.step()
    Path(path.parent).mkdir()
    delivery.last()
    assert len(path.read_text().splitlines()) == 1


def test_no_appearance_is_lost_on_a_receiver_that_fails_half_of_the_time_and_restarts(
    site, keep, monkeypatch
):
    monkeypatch.setattr(running, "_SLOWEST", 0.0)
    random = np.random.default_rng(0)
    receiver = Receiver([500 if failed else 200 for failed in random.random(380) < 0.5])
    watching.add_receiver(site, Webhook(receiver.url).name)
    keep(site, np.tile(ANNA, (200, 1)), "gate", 3600.0 * np.arange(2, 202), NOON)
    link_gallery(site, new_only=True, live=True)
    while told(site, Webhook(receiver.url).name):
        with GalleryStore(site.folder) as restarted:  # a new process after every few failures
            delivery = Delivery(restarted, Webhook(receiver.url))
            for _ in range(20):
                delivery.step()
    assert receiver.ids == list(range(1, 201))
