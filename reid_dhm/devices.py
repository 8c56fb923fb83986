"""Devices of PyTorch by name, and computing in full float32 on them.

PyTorch is imported when a device is opened, so that names can be checked without it.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reid_dhm.errors import InputError, UnsupportedError

if TYPE_CHECKING:
    import torch


def check_device_name(name: str) -> str:
    """The name of a device, or an error; whether the device exists is not looked at.

    Raises:
        InputError: a name other than ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
    """
    if not re.fullmatch(r"auto|cpu(:[0-9]{1,4})?|cuda(:[0-9]{1,4})?", name):
        raise InputError(f"device is {name!r:.60}: choose auto, cpu, cuda or cuda:N")
    return name


def parse_device(name: str) -> torch.device:
    """The device called ``name``; ``auto`` is the first GPU if there is one, else the CPU.

    Raises:
        InputError: a name other than ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        UnsupportedError: a GPU that PyTorch does not see.
    """
    import torch

    check_device_name(name)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, number = name.partition(":")
    count = torch.cuda.device_count()
    if kind == "cuda" and int(number or 0) >= count:
        raise UnsupportedError(
            f"device is {name!r}, but PyTorch sees {count or 'no'} GPUs: use auto or cpu"
        )
    return torch.device(name if kind == "cuda" else "cpu")  # cpu:0 is the only CPU


def runs_on_cpu(name: str) -> bool:
    """Whether a device is known to be the CPU; without a GPU driver PyTorch is not asked."""
    kind = name.partition(":")[0]
    return kind == "cpu" or (kind == "auto" and not _has_gpu_driver())


@cache
def _has_gpu_driver() -> bool:
    for library in ("libcuda.so.1", "nvcuda.dll"):
        with suppress(OSError):
            ctypes.CDLL(library)
            return True
    return Path("/dev/kfd").exists()  # AMD's


def cpu_threads() -> int:
    """Threads for computing: as PyTorch was told, or ``OMP_NUM_THREADS``, or one per core."""
    if count := getattr(sys.modules.get("torch"), "get_num_threads", None):
        return count()
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return int(asked) if re.fullmatch("[1-9][0-9]{0,3}", asked) else _count_cores()


def _count_cores() -> int:
    """Physical cores that this process may use."""
    if sys.platform != "linux":
        return os.cpu_count() or 1
    cpus = os.sched_getaffinity(0)
    siblings = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    try:
        return len({Path(siblings.format(cpu)).read_text() for cpu in cpus})
    except OSError:
        return len(cpus)


class _FullPrecision:
    """The process-wide settings, in force while any thread needs them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._before = (True, "highest")

    def enter(self) -> None:
        """Turn reduced precision off for the first user."""
        import torch

        with self._lock:
            if self._users == 0:
                allowed = torch.backends.cudnn.allow_tf32
                self._before = allowed, torch.get_float32_matmul_precision()
                torch.backends.cudnn.allow_tf32 = False
                torch.set_float32_matmul_precision("highest")
            self._users += 1

    def leave(self) -> None:
        """Restore the settings after the last user."""
        import torch

        with self._lock:
            self._users -= 1
            if self._users == 0:
                torch.backends.cudnn.allow_tf32 = self._before[0]
                torch.set_float32_matmul_precision(self._before[1])


_full_precision = _FullPrecision()


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Matrix products and convolutions in IEEE float32, despite TF32, bfloat16 or autocast."""
    import torch

    _full_precision.enter()
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        _full_precision.leave()
