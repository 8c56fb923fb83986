"""Hashes of the content of files, by which videos, images and weights are recognised."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

_BLOCK = 2**20


def content_hash(paths: Sequence[Path]) -> str:
    """16 hexadecimal digits of BLAKE2b over the bytes of files, in order.

    The result is cached until the size or a timestamp of a file changes.
    """
    stats = [path.stat() for path in paths]
    return _content_hash(
        tuple(
            (path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for path, stat in zip(paths, stats, strict=True)
        )
    )


@lru_cache(maxsize=32)
def _content_hash(files: tuple[tuple[Path, int, int, int], ...]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for path, size, *_ in files:
        if len(files) > 1:  # so that image sequences with other boundaries differ
            digest.update(size.to_bytes(8, "little"))
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    return digest.hexdigest()
