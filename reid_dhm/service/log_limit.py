"""Keeps a log from being flooded: each place that logs may do so only so often a minute."""

from __future__ import annotations

import logging
import time

_MINUTE = 60.0


class LogLimit(logging.Filter):
    """Drops records of a place in the code that logged too often in the last minute.

    The first record after a pause tells how many were dropped.

    Args:
        most: records of one place a minute.
    """

    def __init__(self, most: int = 20) -> None:
        super().__init__()
        self._most = most
        self._places: dict[tuple[str, int], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        place, now = (record.pathname, record.lineno), time.monotonic()
        begun, count = self._places.get(place, (now, 0))
        if now - begun >= _MINUTE:
            if count > self._most:
                dropped = count - self._most
                record.msg, record.args = f"{record.getMessage()} ({dropped} more like it)", ()
            begun, count = now, 0
        self._places[place] = (begun, count + 1)
        return count < self._most


def limit_logs() -> None:
    """Limit what clients can make the service and its server write."""
    places: list[logging.Filterer] = [
        logging.getLogger("asyncio"),
        logging.getLogger("uvicorn.error"),
    ]
    places += logging.getLogger("reid_dhm").handlers
    for place in places:
        if not any(isinstance(found, LogLimit) for found in place.filters):
            place.addFilter(LogLimit())
