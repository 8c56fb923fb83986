"""Threads beside indexing or serving: new tracklets get their people, and announcements leave."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from reid_dhm.errors import LockedError, ReidError
from reid_dhm.gallery.alerts.receivers import DeliveryError, Receiver
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.watching import add_receiver, delivered, pending, watched

logger = logging.getLogger(__name__)

_POLL = 1.0  # seconds
_REST = 4.0  # times that a pass took, before the next one
_SLOWEST = 60.0  # seconds between two attempts to deliver
_FAREWELL = 10.0  # seconds for what is left when everything ends

_UNASSIGNED = "SELECT 1 FROM tracklets WHERE key NOT IN (SELECT tracklet FROM members) LIMIT 1"


class Linking:
    """Gives new tracklets their people, in pauses that grow with what a pass takes.

    Args:
        gallery: to be used by one thread.
    """

    def __init__(self, gallery: GalleryStore) -> None:
        self._gallery = gallery
        self._next = 0.0

    def step(self) -> None:
        """Make a pass if there is somebody new and it is time."""
        if time.monotonic() < self._next:
            return
        with self._gallery.reading() as db:
            if db.execute(_UNASSIGNED).fetchone() is None:
                return
        began = time.monotonic()
        link_gallery(self._gallery, new_only=True, live=True)
        self._next = time.monotonic() + _REST * (time.monotonic() - began)

    def last(self) -> None:
        """Make a pass, whenever the one before was."""
        self._next = 0.0
        self.step()


class Delivery:
    """Sends a receiver its announcements in order, each until it is confirmed.

    Args:
        gallery: to be used by one thread.
        receiver: closed by :meth:`close`.
    """

    def __init__(self, gallery: GalleryStore, receiver: Receiver) -> None:
        self._gallery, self._receiver = gallery, receiver
        self._pause, self._next = 0.0, 0.0
        add_receiver(gallery, receiver.name)

    def step(self) -> None:
        """Send what is waiting; after a failure the next attempt is made later and later."""
        if time.monotonic() < self._next:
            return
        try:
            self._receiver.show(watched(self._gallery))
            while waiting := pending(self._gallery, self._receiver.name):
                for each in waiting:
                    self._receiver.send(each)
                    delivered(self._gallery, self._receiver.name, each.id)
        except DeliveryError as error:
            if not self._pause:
                kind = self._receiver.name.split()[0]
                logger.warning("%s: %s; announcements are kept and sent later", kind, error)
            self._pause = min(max(2 * self._pause, 1.0), _SLOWEST)
            self._next = time.monotonic() + self._pause
            return
        self._pause = 0.0

    def last(self) -> None:
        """Try for a while to send what is left."""
        give_up = time.monotonic() + _FAREWELL
        while pending(self._gallery, self._receiver.name, 1) and time.monotonic() < give_up:
            self._next = 0.0
            self.step()
            time.sleep(min(self._pause, 1.0))
        self._receiver.close()


@contextmanager
def alerts(folder: Path, receivers: Sequence[Receiver], link: bool = True) -> Iterator[None]:
    """Link new tracklets and send announcements while the block runs, and what is left at its end.

    What a receiver did not confirm stays in the gallery and is sent by the next run.

    Args:
        folder: of a gallery that exists.
        receivers: of announcements.
        link: whether new tracklets get people here; otherwise another process does it.
    """
    stop, linked = Event(), Event()

    def work(prepare: Callable[[GalleryStore], Linking | Delivery], after: Event) -> None:
        try:
            with GalleryStore(folder) as gallery:
                steps = prepare(gallery)
                while not stop.wait(_POLL):
                    _patiently(steps.step)
                after.wait()
                _patiently(steps.last)
        except ReidError as error:
            logger.error("announcing ended: %s", error)

    threads = [
        Thread(
            target=work,
            args=(lambda gallery, r=receiver: Delivery(gallery, r), linked),
            name=receiver.name.split()[0],
            daemon=True,
        )
        for receiver in receivers
    ]
    linking = Thread(target=work, args=(Linking, stop), name="linking", daemon=True)
    running = [*threads, linking] if link else threads
    for thread in running:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        if link:
            linking.join()
        linked.set()
        for thread in threads:
            thread.join()


def _patiently(step: Callable[[], None]) -> None:
    """A step that a locked gallery puts off."""
    try:
        step()
    except LockedError as error:
        logger.warning("%s", error)
