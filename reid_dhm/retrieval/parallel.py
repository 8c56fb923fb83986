"""Independent tasks on threads, instead of threads inside each tensor operation.

Small parallel operations spend their time at barriers, and on a busy machine each barrier waits
for the slowest thread. Independent tasks have no barriers.
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
    """``[function(item) for item in items]`` on threads, each with single-threaded PyTorch.

    On a GPU the items run one after the other. There are as many threads as PyTorch uses; that
    setting is restored afterwards. ``function`` must not call this function.
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
