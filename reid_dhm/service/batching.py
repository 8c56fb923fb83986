"""One network for many requests: images that wait at the same time are embedded together."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import Embed
from reid_dhm.service.errors import Busy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Job:
    images: Sequence[NDArray[np.uint8]]
    abandoned: Callable[[], bool]
    result: Future[NDArray[np.float32]] = field(default_factory=Future)


class Batcher:
    """Runs an embedder in its own thread, for any number of calling threads.

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
        self._max_waiting = waiting
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
        """Number of images waiting."""
        return self._waiting

    def __call__(
        self,
        images: Sequence[NDArray[np.uint8]],
        abandoned: Callable[[], bool] = lambda: False,
    ) -> NDArray[np.float32]:
        """(N, D) embeddings of N images.

        Args:
            images: N images, (H, W, 3) uint8 RGB.
            abandoned: whether nobody waits for the result any more; such images are not embedded.

        Raises:
            Busy: the queue is full, it took too long, or the service is stopping.
            Exception: what the embedder raised for these images.
        """
        job = _Job(images, abandoned)
        with self._changed:
            if self._closed:
                raise Busy("the service is stopping")
            # A job larger than the queue is accepted when the queue is empty.
            if self._waiting and self._waiting + len(images) > self._max_waiting:
                raise Busy("embedding queue is full: try again in a moment")
            self._jobs.append(job)
            self._waiting += len(images)
            self._changed.notify()
        try:
            return job.result.result(self._patience)
        except (FutureTimeoutError, CancelledError):
            job.result.cancel()
            raise Busy("embedding takes too long: try again in a moment") from None

    def close(self) -> None:
        """Embed what waits, refuse new images, and end the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(self._patience)

    def _work(self) -> None:
        while jobs := self._next():
            try:
                self._run(jobs)
            except BaseException as error:  # the callers raise it, and this thread goes on
                if len(jobs) == 1:
                    jobs[0].result.set_exception(error)
                    continue
                logger.warning("a batch of %d requests failed (%s): trying each", len(jobs), error)
                for job in jobs:
                    self._run_alone(job)

    def _run_alone(self, job: _Job) -> None:
        try:
            self._run([job])
        except BaseException as error:  # the caller raises it
            job.result.set_exception(error)

    def _run(self, jobs: Sequence[_Job]) -> None:
        images = [image for job in jobs for image in job.images]
        embeddings = self._embed(images)
        if len(embeddings) != len(images):
            raise RuntimeError(f"{len(embeddings)} embeddings for {len(images)} images")
        ends = np.cumsum([len(job.images) for job in jobs])
        for job, rows in zip(jobs, np.split(embeddings, ends[:-1]), strict=True):
            job.result.set_result(rows)

    def _next(self) -> list[_Job]:
        """Wait for jobs and take as many as fit in a batch, at least one; none at the end."""
        with self._changed:
            while True:
                taken = self._take()
                if taken or (self._closed and not self._jobs):
                    return taken
                if not self._jobs:
                    self._changed.wait()

    def _take(self) -> list[_Job]:
        taken: list[_Job] = []
        size = 0
        while self._jobs and (not taken or size + len(self._jobs[0].images) <= self._batch):
            job = self._jobs.popleft()
            self._waiting -= len(job.images)
            if job.abandoned():
                job.result.cancel()
            # A caller that stopped waiting has cancelled; after this nobody can.
            if job.result.set_running_or_notify_cancel():
                taken.append(job)
                size += len(job.images)
        return taken
