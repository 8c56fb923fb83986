"""Threads beside indexing or serving: new tracklets get their people, and announcements leave."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from reid_dhm.errors import LockedError, ReidError, StorageError
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
        receiver: that the gallery knows (:func:`.add_receiver`); closed by :meth:`last`.
        over: whether nothing more is to be sent for now, asked before each announcement.
    """

    def __init__(
        self, gallery: GalleryStore, receiver: Receiver, over: Callable[[], bool] = lambda: False
    ) -> None:
        self._gallery, self._receiver, self._over = gallery, receiver, over
        self._pause, self._next = 0.0, 0.0

    def step(self) -> None:
        """Send what is waiting; after a failure the next attempt is made later and later."""
        if time.monotonic() < self._next:
            return
        try:
            self._receiver.show(watched(self._gallery))
            while waiting := pending(self._gallery, self._receiver.name):
                for each in waiting:
                    if self._over():
                        return
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
        self._over = lambda: time.monotonic() >= give_up
        try:
            while not self._over() and pending(self._gallery, self._receiver.name, 1):
                self._next = 0.0
                self.step()
                time.sleep(min(self._pause, 1.0))
        finally:
            self._receiver.close()


@contextmanager
def alerts(folder: Path, receivers: Sequence[Receiver], link: bool = True) -> Iterator[None]:
    """Link new tracklets and send announcements while the block runs, and what is left at its end.

    What a receiver did not confirm stays in the gallery and is sent by the next run.

    Args:
        folder: of a gallery that exists.
        receivers: of announcements.
        link: whether new tracklets get people here; otherwise another process does it.

    Raises:
        LockedError, StorageError: the receivers cannot be registered.
    """
    with GalleryStore(folder) as gallery:  # before anything is announced, which they would miss
        for receiver in receivers:
            add_receiver(gallery, receiver.name)
    stop, linked = Event(), Event()

    def work(prepare: Callable[[GalleryStore], Linking | Delivery], after: Event) -> None:
        patiently = _Patience()
        try:
            with _opened(folder, patiently, after) as gallery:
                steps = prepare(gallery)
                while not stop.wait(_POLL):
                    patiently(steps.step)
                after.wait()
                patiently(steps.last)
        except ReidError as error:
            logger.error("announcing ended: %s", error)

    threads = [
        Thread(
            target=work,
            args=(lambda gallery, r=receiver: Delivery(gallery, r, stop.is_set), linked),
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


class _Patience:
    """Takes steps that a locked or failing gallery puts off; each failure is told once."""

    def __init__(self) -> None:
        self._told = ""

    def __call__(self, step: Callable[[], None]) -> bool:
        """Whether the step was made."""
        try:
            step()
        except (LockedError, StorageError) as error:
            if str(error) != self._told:
                logger.warning("%s; tried again", error)
            self._told = str(error)
            return False
        self._told = ""
        return True


@contextmanager
def _opened(folder: Path, patiently: _Patience, give_up: Event) -> Iterator[GalleryStore]:
    """The gallery, as soon as it can be opened."""
    opened: list[GalleryStore] = []
    while not patiently(lambda: opened.append(GalleryStore(folder))):
        if give_up.wait(_POLL):
            opened.append(GalleryStore(folder))
            break
    with opened[0] as gallery:
        yield gallery
