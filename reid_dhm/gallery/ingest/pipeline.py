"""Stages that run in parallel through bounded queues, each measured on its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.1  # seconds between checks whether the other side has ended
_JOIN = 5.0  # seconds to wait for a thread that may be blocked on the network


class Stage:
    """How much a stage did, and how long it was busy.

    Attributes:
        name: shown to users.
        unit: what it counts.
        count: how many it did.
        seconds: busy time over all its workers, without waiting for other stages.
        workers: how many run at once.
    """

    def __init__(self, name: str, unit: str, workers: int = 1) -> None:
        self.name, self.unit, self.workers = name, unit, workers
        self.count, self.seconds = 0, 0.0
        self._lock = Lock()

    @property
    def rate(self) -> float:
        """Units per second if it never waited."""
        return self.count * self.workers / self.seconds if self.seconds else 0.0

    @contextmanager
    def busy(self, count: int = 1) -> Iterator[None]:
        """Measure a piece of work."""
        begin = time.perf_counter()
        yield
        spent = time.perf_counter() - begin
        with self._lock:
            self.count += count
            self.seconds += spent


@dataclass(frozen=True, slots=True)
class Stages:
    """What each stage did."""

    decode: Stage
    detect: Stage
    track: Stage
    embed: Stage
    store: Stage

    @classmethod
    def new(cls, detectors: int) -> Stages:
        """Stages that did nothing yet, ``detectors`` of them detecting at once."""
        return cls(
            Stage("decode", "frames"),
            Stage("detect", "frames", detectors),
            Stage("track and crop", "frames"),
            Stage("embed", "crops"),
            Stage("store", "frames"),
        )

    def all(self) -> tuple[Stage, ...]:
        """In the order of the flow."""
        return self.decode, self.detect, self.track, self.embed, self.store


def measured(items: Iterable[T], stage: Stage) -> Generator[T, None, None]:
    """The same items; producing them is the stage's work."""
    iterator = iter(items)
    try:
        while True:
            begin = time.perf_counter()
            try:
                item = next(iterator)
            except StopIteration:
                return
            stage.seconds += time.perf_counter() - begin
            stage.count += 1
            yield item
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


class Prefetched(Generic[T]):
    """Items that a thread produces up to ``size`` ahead; a context manager.

    Iterating gives None whenever there is no item for a moment, so that the consumer can look at
    other things meanwhile. An error while producing is raised where the item would be taken.

    Args:
        items: closed by the thread when the consumer leaves.
        size: of the queue.
        drop: leave items out while the queue is full, for producers that cannot wait.
        stop: called when the consumer leaves, to end a producer that waits.
    """

    def __init__(
        self,
        items: Generator[T, None, None],
        size: int,
        drop: bool = False,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._items, self._drop, self._stop = items, drop, stop
        self._queue: Queue[tuple[T] | BaseException | None] = Queue(size)
        self._left, self._ended = Event(), Event()
        self._worker = Thread(target=self._work, name="prefetch", daemon=True)

    @property
    def ended(self) -> bool:
        """Whether all items were produced."""
        return self._ended.is_set()

    def __enter__(self) -> Prefetched[T]:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._stop()
        self._worker.join(_JOIN)

    def __iter__(self) -> Iterator[T | None]:
        while True:
            try:
                entry = self._queue.get(timeout=_POLL)
            except Empty:
                yield None
                continue
            if entry is None:
                return
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]

    def _work(self) -> None:
        end: BaseException | None = None
        try:
            with closing(self._items) as items:
                for item in items:
                    if self._left.is_set():
                        return
                    if not (self._drop and self._queue.full()):
                        self._put((item,))
        except BaseException as error:  # raised where the item would be taken
            end = error
        self._ended.set()
        self._put(end)

    def _put(self, entry: tuple[T] | BaseException | None) -> None:
        while not self._left.is_set():
            with suppress(Full):
                self._queue.put(entry, timeout=_POLL)
                return


def in_order(
    pool: Executor, function: Callable[[T], R], items: Iterable[T | None], size: int
) -> Iterator[tuple[T, R]]:
    """Every item with its result, in order, computed by a pool up to ``size`` ahead.

    None among the items gives nothing; results and errors that are ready are handed on.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        if item is not None:
            waiting.append((item, pool.submit(function, item)))
        while waiting and (len(waiting) > size or waiting[0][1].done()):
            first, result = waiting.popleft()
            yield first, result.result()
    while waiting:
        first, result = waiting.popleft()
        yield first, result.result()
