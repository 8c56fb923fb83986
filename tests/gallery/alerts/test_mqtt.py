"""Announcements over a real MQTT broker (amqtt), with Home Assistant's discovery."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.alerts.mqtt import Mqtt
from reid_dhm.gallery.alerts.receivers import DeliveryError
from reid_dhm.gallery.store.people import Person
from reid_dhm.gallery.store.watching import Announcement

pytest.importorskip("paho.mqtt.client", reason="needs the extra mqtt")
amqtt = pytest.importorskip("amqtt.broker", reason="needs amqtt, of the extra dev")
from paho.mqtt import client as paho  # noqa: E402

PASSWORD = "not-to-be-printed"
SEEN = Announcement(7, 3, "Anna", "gate", "0" * 16, f"{'0' * 16}-1", 1.0, 2.0, None, None,
                    datetime(2026, 3, 1, tzinfo=timezone.utc))  # fmt: skip


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


@pytest.fixture
def broker(tmp_path) -> Iterator[Callable[[int], None]]:
    """Starts a broker that knows one user, in a thread; all are stopped at the end."""
    pytest.importorskip("pwdlib", reason="amqtt checks passwords with it")
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    users = tmp_path / "users"
    users.write_text(f"anna:{PasswordHash((Argon2Hasher(),)).hash(PASSWORD)}\n")
    stops = []

    def start(port: int) -> None:
        config = {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {
                "amqtt.plugins.authentication.FileAuthPlugin": {"password_file": str(users)}
            },
        }
        ready, loop = threading.Event(), asyncio.new_event_loop()
        stopping = asyncio.Event()

        async def serve() -> None:
            running = amqtt.Broker(config)
            await running.start()
            ready.set()
            await stopping.wait()
            await running.shutdown()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert ready.wait(20)
        stops.append((loop, stopping, thread))

    yield start
    for loop, stopping, thread in stops:
        loop.call_soon_threadsafe(stopping.set)
        thread.join(10)


class Listener:
    """A client that keeps what was published."""

    def __init__(self, port: int) -> None:
        self.got: dict[str, list[str]] = {}
        self._changed = threading.Condition()
        subscribed = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.username_pw_set("anna", PASSWORD)
        self.client.on_message = self._keep
        self.client.on_connect = lambda client, *_: client.subscribe("#", 1)
        self.client.on_subscribe = lambda *_: subscribed.set()
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()
        assert subscribed.wait(10)

    def _keep(self, _client, _data, message) -> None:
        with self._changed:
            self.got.setdefault(message.topic, []).append(message.payload.decode())
            self._changed.notify_all()

    def wait(self, topic: str, count: int = 1) -> list[str]:
        with self._changed:
            found = lambda: len(self.got.get(topic, [])) >= count  # noqa: E731
            assert self._changed.wait_for(found, 10), self.got
            return self.got[topic]


def test_a_broker_gets_people_and_appearances_and_never_the_password(
    broker, tmp_path, monkeypatch, caplog
):
    port = free_port()
    receiver = Mqtt(f"mqtt://anna@127.0.0.1:{port}", tmp_path / "my site", PASSWORD)
    with pytest.raises(DeliveryError, match="no connection"):
        receiver.send(SEEN)  # nobody listens yet
    broker(port)
    listener = Listener(port)
    receiver.show([Person(3, "Anna", 2, 1)])
    receiver.send(SEEN)
    config = "homeassistant/event/reid_dhm_my_site/person_3/config"
    described = json.loads(listener.wait(config)[0])
    assert described["name"] == "Anna"
    assert described["event_types"] == ["appearance"]
    event = json.loads(listener.wait(described["state_topic"])[0])
    assert (event["event_type"], event["id"], event["person"]) == ("appearance", 7, "Anna")
    assert listener.wait(described["availability_topic"]) == ["online"]
    receiver.show([])
    assert listener.wait(config, 2)[1] == ""  # Home Assistant forgets the entity
    receiver.close()
    assert listener.wait(described["availability_topic"], 3)[-1] == "offline"
    listener.client.loop_stop()
    assert PASSWORD not in caplog.text + repr(vars(receiver)) + receiver.name
    assert not any(PASSWORD in text for texts in listener.got.values() for text in texts)


def test_a_name_that_a_failure_left_at_the_broker_is_withdrawn_later(tmp_path, monkeypatch):
    receiver, held, working = Mqtt("mqtt://host", tmp_path), {}, [True, True]

    def publish(topic, content, retain=False):
        if not working:
            receiver._stop()
            raise DeliveryError("no connection")
        working.pop()
        held[topic.split("/")[-2]] = content

    monkeypatch.setattr(receiver, "_publish", publish)
    with pytest.raises(DeliveryError):  # after the status and one of two people
        receiver.show([Person(3, "Anna", 2, 1), Person(4, "Bert", 2, 1)])
    assert held["person_3"]["name"] == "Anna"
    working.extend([True] * 9)
    receiver.show([])
    assert (held["person_3"], held["person_4"]) == ("", "")
    count = len(working)
    receiver.show([])
    assert len(working) == count


def test_a_wrong_password_is_a_failed_delivery(broker, tmp_path, monkeypatch):
    monkeypatch.setattr("reid_dhm.gallery.alerts.mqtt._SECONDS", 2.0)
    port = free_port()
    broker(port)
    receiver = Mqtt(f"mqtt://anna@127.0.0.1:{port}", tmp_path, "wrong")
    with pytest.raises(DeliveryError) as refused:
        receiver.send(SEEN)
    assert "wrong" not in str(refused.value)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://host", "give mqtt://HOST"),
        ("mqtt://", "give mqtt://HOST"),
        ("mqtt://host:99999", "give mqtt://HOST"),
        ("mqtt://[::1/", "give mqtt://HOST"),
        (f"mqtt://anna:{PASSWORD}@host", "shown to all users of this machine: leave it out"),
    ],
)
def test_other_addresses_are_refused_without_showing_them(url, message, tmp_path):
    with pytest.raises(InputError, match=message) as refused:
        Mqtt(url, Path(tmp_path))
    assert PASSWORD not in str(refused.value)
