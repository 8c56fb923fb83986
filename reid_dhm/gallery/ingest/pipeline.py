"""Stages that work beside each other through bounded queues, each measured on its own."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager, suppress
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_POLL = 0.1  # seconds between looks at whether the other side is gone


class Stage:
    """How much a stage did, and how long it was busy with it.

    Attributes:
        name: what people call it.
        unit: what it counts.
        count: how many it did.
        seconds: busy, over all its workers; waiting for other stages is left out.
        workers: how many work at once.
    """

    def __init__(self, name: str, unit: str, workers: int = 1) -> None:
        self.name, self.unit, self.workers = name, unit, workers
        self.count, self.seconds = 0, 0.0
        self._lock = Lock()

    @property
    def rate(self) -> float:
        """Units a second that it would do if it never waited."""
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


def measured(items: Iterable[T], stage: Stage) -> Iterator[T]:
    """The items as they are; making them is the stage's work."""
    iterator = iter(items)
    while True:
        begin = time.perf_counter()
        try:
            item = next(iterator)
        except StopIteration:
            return
        stage.seconds += time.perf_counter() - begin
        stage.count += 1
        yield item


@contextmanager
def ahead(items: Iterable[T], size: int, drop: bool = False) -> Iterator[Iterator[T]]:
    """The items, made by a thread of their own up to ``size`` ahead of who takes them.

    Args:
        items: an error while making them is raised where they are taken.
        size: of the queue.
        drop: leave items out while the queue is full, as who makes them cannot wait.
    """
    queue: Queue[tuple[T] | BaseException | None] = Queue(size)
    stopped = Event()

    def put(entry: tuple[T] | BaseException | None) -> None:
        while not stopped.is_set():
            with suppress(Full):
                queue.put(entry, timeout=_POLL)
                return

    def work() -> None:
        try:
            for item in items:
                if stopped.is_set():
                    return
                if not (drop and queue.full()):
                    put((item,))
            put(None)
        except BaseException as error:  # whoever takes the items deals with it
            put(error)

    def taken() -> Iterator[T]:
        while True:
            try:
                entry = queue.get(timeout=_POLL)
            except Empty:
                continue
            if entry is None:
                return
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]

    worker = Thread(target=work, name="ahead", daemon=True)
    worker.start()
    try:
        yield taken()
    finally:
        stopped.set()
        worker.join()


def in_order(
    pool: Executor, function: Callable[[T], R], items: Iterable[T], size: int
) -> Iterator[tuple[T, R]]:
    """Every item with its result, in order, computed by a pool up to ``size`` ahead."""
    waiting: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        waiting.append((item, pool.submit(function, item)))
        if len(waiting) > size:
            first, result = waiting.popleft()
            yield first, result.result()
    while waiting:
        first, result = waiting.popleft()
        yield first, result.result()
