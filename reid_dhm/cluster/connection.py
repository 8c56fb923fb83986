"""Connecting to a Ray cluster."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from reid_dhm.errors import InputError


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """A connection to a cluster, which ends with the context.

    Args:
        address: ``HOST:6379``, ``ray://HOST:10001``, or ``local`` to start one on this machine.

    Raises:
        InputError: it cannot be reached.
    """
    import ray

    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise InputError(
            f"the Ray cluster {address!r} cannot be used ({reason}): start one with "
            "`ray start --head`, or give --ray local"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
