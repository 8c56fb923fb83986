"""Options for announcing watched people, and the receivers that they name."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reid_dhm.gallery.alerts.receivers import Receiver

ALERTS = "Announcing watched people"

LinesOption = Annotated[
    Path | None,
    typer.Option(
        "--alerts",
        metavar="FILE",
        rich_help_panel=ALERTS,
        help="Append a JSON line for every appearance; - prints it.",
    ),
]
WebhookOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        rich_help_panel=ALERTS,
        help="POST every appearance there; signed by the secret in REID_DHM_WEBHOOK_SECRET.",
    ),
]
MqttOption = Annotated[
    str | None,
    typer.Option(
        metavar="mqtt://[USER@]HOST",
        rich_help_panel=ALERTS,
        help="Publish every appearance to this broker; mqtts:// for TLS. The password is that in "
        "REID_DHM_MQTT_PASSWORD.",
    ),
]
AuthorityOption = Annotated[
    Path | None,
    typer.Option(
        "--mqtt-ca",
        metavar="FILE.pem",
        rich_help_panel=ALERTS,
        help="Of the broker's certificate authority.",
        show_default="the system's",
    ),
]
LinkOption = Annotated[
    bool | None,
    typer.Option(
        "--link/--no-link",
        rich_help_panel=ALERTS,
        help="Give new tracklets their people while they come in, as people link --new does.",
        show_default="for live streams, and where appearances are announced",
    ),
]


def announcing(
    gallery: Path, receivers: list[Receiver], link: bool
) -> AbstractContextManager[None]:
    """Link and announce while the block runs, if either is wanted; makes the gallery."""
    if not (link or receivers):
        return nullcontext()
    from reid_dhm.gallery.alerts.running import alerts
    from reid_dhm.gallery.store.gallery import GalleryStore

    GalleryStore(gallery, create=True).close()
    return alerts(gallery, receivers, link)


def open_receivers(
    gallery: Path,
    lines: Path | None,
    webhook: str | None,
    mqtt: str | None,
    authority: Path | None,
) -> list[Receiver]:
    """The receivers that the options name; nothing is sent yet.

    Raises:
        InputError: an address or certificate that cannot be used.
        UnsupportedError: paho-mqtt is not installed.
    """
    if not any((lines, webhook, mqtt)):
        return []
    from reid_dhm.gallery.alerts.mqtt import Mqtt
    from reid_dhm.gallery.alerts.receivers import Lines, Webhook

    found: list[Receiver] = []
    if lines is not None:
        found.append(Lines(lines))
    if webhook is not None:
        found.append(Webhook(webhook, os.environ.get("REID_DHM_WEBHOOK_SECRET")))
    if mqtt is not None:
        password = os.environ.get("REID_DHM_MQTT_PASSWORD")
        found.append(Mqtt(mqtt, gallery, password, authority))
    return found
