"""Work split over threads that each keep to themselves, instead of threads inside every operation.

Many small parallel operations spend their time at barriers, and on a busy machine a barrier lasts
as long as the slowest thread is kept waiting. Independent pieces have no barriers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], device: torch.device
) -> list[Result]:
    """``[function(item) for item in items]``, one piece per thread with torch on one thread inside.

    On a GPU the pieces run one after the other. The number of threads is torch's own, which is
    as it was afterwards; ``function`` must not call this again.
    """
    pieces = list(items)
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        return [function(piece) for piece in pieces]
    # set_num_threads acts on the calling thread and on threads that start later.
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            return list(pool.map(function, pieces))
        finally:
            torch.set_num_threads(threads)
