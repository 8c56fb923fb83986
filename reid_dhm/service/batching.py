"""One network for many callers: images that wait together are embedded together."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import Embed
from reid_dhm.service.errors import Busy


@dataclass(frozen=True)
class _Job:
    images: Sequence[NDArray[np.uint8]]
    result: Future[NDArray[np.float32]] = field(default_factory=Future)


class Batcher:
    """Runs an embedder in a thread of its own, for as many callers at once as there are.

    Args:
        embed: turns images into embeddings; called by one thread only.
        waiting: images that may wait; more are refused at once.
        batch: images that are embedded together.
        patience: seconds that a caller waits at most.
    """

    def __init__(
        self, embed: Embed, waiting: int = 64, batch: int = 32, patience: float = 30.0
    ) -> None:
        self._embed = embed
        self._most_waiting = waiting
        self._batch = batch
        self._patience = patience
        self._jobs: deque[_Job] = deque()
        self._waiting = 0
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="embedder", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Images waiting."""
        return self._waiting

    def __call__(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) embeddings of N images.

        Raises:
            Busy: too many images wait already, it took too long, or the service is stopping.
        """
        job = _Job(images)
        with self._changed:
            if self._closed:
                raise Busy("the service is stopping")
            # A job larger than all that may wait is served when nobody else waits.
            if self._waiting and self._waiting + len(images) > self._most_waiting:
                raise Busy(f"{self._waiting} images wait already to be looked at: try again")
            self._jobs.append(job)
            self._waiting += len(images)
            self._changed.notify()
        try:
            return job.result.result(self._patience)
        except (FutureTimeoutError, CancelledError):
            job.result.cancel()
            raise Busy("looking at the images takes too long just now: try again") from None

    def close(self) -> None:
        """Embed what waits, refuse what comes, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(self._patience)

    def _work(self) -> None:
        while jobs := self._next():
            images = [image for job in jobs for image in job.images]
            try:
                embeddings = self._embed(images)
            except BaseException as error:  # the callers raise it
                for job in jobs:
                    job.result.set_exception(error)
                continue
            ends = np.cumsum([len(job.images) for job in jobs])
            for job, rows in zip(jobs, np.split(embeddings, ends[:-1]), strict=True):
                job.result.set_result(rows)

    def _next(self) -> list[_Job]:
        """Wait for jobs and take as many as fit into a batch, at least one; none at the end."""
        with self._changed:
            while True:
                taken = self._take()
                if taken or self._closed:
                    return taken
                self._changed.wait()

    def _take(self) -> list[_Job]:
        taken: list[_Job] = []
        size = 0
        while self._jobs and (not taken or size + len(self._jobs[0].images) <= self._batch):
            job = self._jobs.popleft()
            self._waiting -= len(job.images)
            # Whoever gave up waiting cancelled; after this nobody can.
            if job.result.set_running_or_notify_cancel():
                taken.append(job)
                size += len(job.images)
        return taken
