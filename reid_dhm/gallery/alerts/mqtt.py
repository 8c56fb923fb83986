"""Announcements over MQTT, each watched person an entity of Home Assistant's discovery.

https://www.home-assistant.io/integrations/event.mqtt/
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from reid_dhm.errors import InputError
from reid_dhm.extras import require
from reid_dhm.gallery.alerts.receivers import DeliveryError, split_address, tls_context
from reid_dhm.gallery.store.people import Person
from reid_dhm.gallery.store.watching import Announcement

_SECONDS = 10.0  # to connect, and for the broker to confirm a message
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_DISCOVERY = "homeassistant/event"


class Mqtt:
    """A broker that gets every announcement with quality of service 1.

    Topics: ``reid-dhm/GALLERY/person/NUMBER`` for announcements, ``reid-dhm/GALLERY/status`` for
    ``online`` and ``offline``, and a retained description of every watched person below
    ``homeassistant/event``.

    Args:
        url: ``mqtt://[USER@]HOST[:PORT]``, or ``mqtts://`` for TLS.
        gallery: its folder, whose name is part of the topics.
        password: of the user.
        authority: PEM file of the broker's certificate authority; the system's by default.

    Raises:
        InputError: another kind of address, or a password in it.
        UnsupportedError: paho-mqtt is not installed.
    """

    def __init__(
        self, url: str, gallery: Path, password: str | None = None, authority: Path | None = None
    ) -> None:
        require("mqtt", "MQTT", "paho")
        from paho.mqtt import client
        from paho.mqtt.enums import CallbackAPIVersion

        host, port, user, secure = _address(url)
        self._node = re.sub(r"[^A-Za-z0-9_-]+", "_", gallery.resolve().name) or "gallery"
        self._base = f"reid-dhm/{self._node}"
        self.name = f"mqtt {host}:{port}"
        self._shown: dict[int, str] = {}
        self._where = host, port
        self._client = client.Client(CallbackAPIVersion.VERSION2)
        self._client.will_set(f"{self._base}/status", "offline", qos=1, retain=True)
        if user is not None:
            self._client.username_pw_set(user, password)
        if secure:
            self._client.tls_set_context(tls_context(authority))
        self._running = False

    def send(self, announcement: Announcement) -> None:
        """Publish it; returns when the broker has it."""
        content = {"event_type": "appearance", **announcement.to_dict()}
        self._publish(f"{self._base}/person/{announcement.person}", content)

    def show(self, people: Sequence[Person]) -> None:
        """Publish a description of each watched person, and withdraw those of others."""
        wanted = {each.id: each.label for each in people}
        if wanted == self._shown:
            return
        self._publish(f"{self._base}/status", "online", retain=True)
        for number in sorted({*wanted, *self._shown}):
            if wanted.get(number) != self._shown.get(number):
                self._shown[number] = ""  # until it is confirmed
                topic = f"{_DISCOVERY}/reid_dhm_{self._node}/person_{number}/config"
                label = wanted.get(number)
                content = "" if label is None else self._description(number, label)
                self._publish(topic, content, retain=True)
                if label is None:
                    del self._shown[number]
                else:
                    self._shown[number] = label

    def close(self) -> None:
        """Say that nothing more comes, and disconnect."""
        if self._running and self._client.is_connected():
            self._client.publish(f"{self._base}/status", "offline", 1, True).wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()

    def _description(self, number: int, label: str) -> dict[str, Any]:
        return {
            "name": label,
            "unique_id": f"reid_dhm_{self._node}_person_{number}",
            "state_topic": f"{self._base}/person/{number}",
            "event_types": ["appearance"],
            "icon": "mdi:account-eye",
            "availability_topic": f"{self._base}/status",
            "device": {
                "identifiers": [f"reid_dhm_{self._node}"],
                "name": f"reid-dhm {self._node}",
                "manufacturer": "reid-dhm",
            },
        }

    def _publish(self, topic: str, content: Any, retain: bool = False) -> None:
        try:
            self._connect()
            text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
            sent = self._client.publish(topic, text, qos=1, retain=retain)
            sent.wait_for_publish(_SECONDS)
            confirmed = sent.is_published()
        except (OSError, RuntimeError, ValueError) as error:
            self._stop()
            raise DeliveryError(f"no connection ({type(error).__name__})") from error
        if not confirmed:
            self._stop()
            raise DeliveryError("the broker confirmed nothing, or refused user or password")

    def _connect(self) -> None:
        if not self._running:
            self._client.connect(*self._where, keepalive=30)
            self._client.loop_start()
            self._running = True

    def _stop(self) -> None:
        """Begin anew at the next attempt; what the broker holds then is not known."""
        self._client.disconnect()
        self._client.loop_stop()
        self._running, self._shown = False, dict.fromkeys(self._shown, "")


def _address(url: str) -> tuple[str, int, str | None, bool]:
    """Host, port, user and whether TLS is used."""
    parts = split_address(
        url, _PORTS, "the MQTT broker is no address: give mqtt://HOST or mqtts://USER@HOST:8883"
    )
    if parts.password is not None:
        raise InputError(
            "a password in an address is shown to all users of this machine: leave it out, and set "
            "REID_DHM_MQTT_PASSWORD"
        )
    user = None if parts.username is None else unquote(parts.username)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme], user, parts.scheme == "mqtts"
