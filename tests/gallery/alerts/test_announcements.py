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

from reid_dhm.errors import InputError, LockedError, StorageError
from reid_dhm.gallery.alerts import running
from reid_dhm.gallery.alerts.receivers import DeliveryError, Lines, Webhook
from reid_dhm.gallery.alerts.running import Delivery, alerts
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import audit, changes, deletion, statements, watching
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
    assert [each["person_id"] for each in told(site)] == [other, other]
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
    delivery = registered(site, Webhook(receiver.url, "a secret"))
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
        registered(site, Lines(lines)).step()
        keep(site, np.stack([ANNA]), "door", [9000.0], NOON)
        link_gallery(site, new_only=True, live=True)
        registered(site, Lines(lines)).step()
    assert [json.loads(line)["camera"] for line in lines.read_text().splitlines()] == ["door"]
    assert len(told(site, Webhook(closed.url).name)) == 2


def test_threads_link_what_is_new_and_announce_it(site, keep, tmp_path):
    lines = tmp_path / "lines.jsonl"
    with alerts(site.folder, [Lines(lines)]), GalleryStore(site.folder) as other:
        keep(other, np.stack([ANNA]), "gate", [5000.0], NOON)
    assert [json.loads(line)["person"] for line in lines.read_text().splitlines()] == ["Anna"]


def registered(gallery: GalleryStore, receiver: Lines | Webhook) -> Delivery:
    watching.add_receiver(gallery, receiver.name)
    return Delivery(gallery, receiver)


def test_a_receiver_is_registered_before_the_block_or_the_block_does_not_begin(site, tmp_path):
    receiver = Lines(tmp_path / "lines.jsonl")
    with alerts(site.folder, [receiver]), site.reading() as db:
        assert db.execute("SELECT name FROM receivers").fetchall() == [(receiver.name,)]
    with site.writing(), pytest.raises(LockedError), alerts(site.folder, [receiver]):
        raise AssertionError("nobody would be told of what is announced now")


def test_a_gallery_that_fails_for_a_while_puts_announcing_off(
    site, keep, tmp_path, monkeypatch, caplog
):
    failures = [LockedError("locked"), StorageError("disk"), StorageError("disk")]
    receiver, asked = Lines(tmp_path / "lines.jsonl"), watching.watched

    def fails_first(gallery):
        if failures:
            raise failures.pop(0)
        return asked(gallery)

    monkeypatch.setattr(running, "watched", fails_first)
    monkeypatch.setattr(running, "_POLL", 0.01)
    with alerts(site.folder, [receiver], link=False):
        for _ in range(500):
            if not failures:
                break
            threading.Event().wait(0.02)
        keep(site, np.stack([ANNA]), "gate", [5000.0], NOON)
        link_gallery(site, new_only=True, live=True)
    assert len((tmp_path / "lines.jsonl").read_text().splitlines()) == 1
    assert [record.message for record in caplog.records] == [
        "locked; tried again", "disk; tried again",
    ]  # fmt: skip


def test_every_pass_announces_footage_indexed_after_the_watch(site, keep):
    watching.add_receiver(site, "test")
    for hour, new_only in ((2, True), (3, False)):
        keep(site, np.stack([ANNA]), "gate", [3600.0 * hour], NOON)
        link_gallery(site, new_only=new_only)
    assert [each["start_time"][11:16] for each in told(site)] == ["14:00", "15:00"]


def test_nobody_sends_on_after_the_end_or_after_the_watch(site, keep, monkeypatch):
    sent, over = [], []

    class Slow(Lines):
        def send(self, announcement):
            sent.append(announcement.id)
            over.append(True)

    receiver = Slow(Path("-"))
    watching.add_receiver(site, receiver.name)
    keep(site, np.stack([ANNA] * 3), "gate", [7200.0, 14400.0, 21600.0], NOON)
    link_gallery(site, new_only=True)
    Delivery(site, receiver, lambda: bool(over)).step()
    assert sent == [1]
    monkeypatch.setattr(running, "_FAREWELL", 0.0)
    Delivery(site, receiver).last()
    assert sent == [1]
    watching.unwatch(site, find_person(site, "Anna"))
    assert told(site, receiver.name) == []
    with site.reading() as db:
        assert db.execute("SELECT id FROM announcements").fetchall() == [(1,)]


def test_a_label_that_empties_a_watched_person_hands_watch_and_announcements_on(site, keep):
    watching.add_receiver(site, "test")
    keep(site, np.stack([ANNA]), "gate", [7200.0], NOON)
    link_gallery(site, new_only=True)
    own = [t.id for t in site.tracklets(TrackletFilter(person="Anna"))]
    statements.label(site, own, "Dora")
    assert [p.name for p in watching.watched(site)] == ["Dora"]
    assert [each["person"] for each in told(site)] == ["Dora"]


def test_taking_a_merge_back_gives_watch_and_announcements_back(site, keep):
    watching.add_receiver(site, "test")
    keep(site, np.stack([ANNA]), "gate", [7200.0], NOON)
    link_gallery(site, new_only=True)
    anna = find_person(site, "Anna")
    (bert,) = (p for p in people(site) if p.id != anna.id)
    statements.merge(site, [bert, anna])
    merged = changes.latest(site)[0].id
    assert [p.id for p in watching.watched(site)] == [bert.id]
    again = changes.undo(site, merged)
    assert [p.id for p in watching.watched(site)] == [anna.id]
    assert [each["person_id"] for each in told(site)] == [anna.id]
    merged = changes.undo(site, again)
    watching.unwatch(site, find_person(site, bert.id))
    changes.undo(site, merged)  # what was said of watching since stays
    assert watching.watched(site) == []
    assert list(check_integrity(site)) == []


def test_deleting_a_part_of_an_appearance_deletes_its_announcement_and_no_other(site, keep):
    watching.add_receiver(site, "test")
    keep(site, np.stack([ANNA] * 3), "gate", [7200.0, 7230.0, 14400.0], NOON)
    keep(site, np.stack([ANNA]), "door", [7230.0], NOON)
    link_gallery(site, new_only=True)
    part = site.tracklets(TrackletFilter(cameras=["gate"]))[-2]  # not the one announced
    deletion.delete(site, TrackletFilter(tracklets=[part.id]))
    assert sorted((each["camera"], each["start_time"][11:16]) for each in told(site)) == [
        ("door", "14:00"), ("gate", "16:00"),
    ]  # fmt: skip


def test_what_all_receivers_got_is_deleted_after_a_week(site, keep):
    for name in ("test", "other"):
        watching.add_receiver(site, name)
    keep(site, np.stack([ANNA] * 2), "gate", [7200.0, 14400.0], NOON)
    link_gallery(site, new_only=True)
    watching.delivered(site, "test", 2)
    watching.delivered(site, "other", 1)
    nobody = np.empty(0, np.int64)
    watching.announce(site, nobody, nobody)
    assert len(told(site, "other")) == 1
    with site.writing() as db:
        db.execute("UPDATE announcements SET made = '2020-01-01T00:00:00+00:00'")
    watching.announce(site, nobody, nobody)
    with site.reading() as db:
        assert db.execute("SELECT id FROM announcements").fetchall() == [(2,)]


def test_text_that_http_cannot_carry_is_a_failed_delivery(site, keep):
    receiver = Webhook(f"http://{'a' * 70}.example/\N{EURO SIGN}")
    watching.add_receiver(site, receiver.name)
    keep(site, np.stack([ANNA]), "gate", [7200.0], NOON)
    link_gallery(site, new_only=True)
    with pytest.raises(DeliveryError, match="cannot be sent"):
        receiver.send(watching.pending(site, receiver.name)[0])


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a/b",
        "file:///etc/passwd",
        "nonsense",
        "https://",
        "http://[::1/",
        "http://a:99999/",
        "http://a\udcff/",
    ],
)
def test_other_addresses_are_refused(url):
    with pytest.raises(InputError, match="no http or https address"):
        Webhook(url)


def test_a_file_that_cannot_be_written_is_tried_again(site, keep, tmp_path):
    path = tmp_path / "folder" / "lines.jsonl"
    delivery = registered(site, Lines(path))
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
