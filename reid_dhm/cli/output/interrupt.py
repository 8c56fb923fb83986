"""Ctrl+C while a live stream is indexed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from reid_dhm.gallery.footage.frames import Source


@contextmanager
def stopped_by_interrupt(source: Source) -> Iterator[None]:
    """Let Ctrl+C end a live stream and keep what was seen; a second one ends the process at once.

    A file is interrupted as usual: its indexing continues in the next run.
    """
    if not source.info.live:
        yield
        return

    def stop(*_: object) -> None:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))  # what is committed stays
        source.stop()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
