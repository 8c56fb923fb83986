"""Opening, reading and merging the tables of a shared gallery; Lance's failures as errors."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar

from reid_dhm.errors import InputError, NotFoundError, ReidError, StorageError
from reid_dhm.extras import require
from reid_dhm.gallery.address import SharedAddress
from reid_dhm.text import shell_word

R = TypeVar("R")

_RETRIES = 100  # of a commit that met another writer's
_GLANCES, _GLANCE_SECONDS = 5, 0.2
_PATIENCE = timedelta(seconds=60)
_APPENDS = 256  # after which small files are joined
_KEPT = timedelta(minutes=10)  # versions that somebody may still be reading


def lance() -> Any:
    """Lance, which the extra ``cluster`` installs.

    Raises:
        UnsupportedError: it is not installed.
    """
    require("cluster", "a shared gallery", "lance")
    import lance

    return lance


@contextmanager
def storage_errors(address: SharedAddress) -> Iterator[None]:
    """Raise Lance's failures as :class:`.StorageError` with the address and the remedy."""
    try:
        yield
    except ReidError:
        raise
    except (OSError, ValueError, RuntimeError) as error:
        # Lance ends messages with places in its source, and S3 continues in XML.
        reason = " ".join(str(error).split("<?xml")[0].split(", /")[0].split())[:300]
        advice = "check that it is reachable and has free space"
        if address.uri.startswith("s3://"):
            advice += "; S3 is configured by AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and so on"
        raise StorageError(f"{address}: {reason}; {advice}") from error


def storage_options(address: SharedAddress) -> dict[str, str]:
    """What Lance has to know besides the variables ``AWS_…`` that it reads itself."""
    if not address.uri.startswith("s3://"):
        return {}
    options = {"client_max_retries": "4", "connect_timeout": "5s"}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options |= {"endpoint": endpoint, "region": os.environ.get("AWS_REGION") or "us-east-1"}
        options["allow_http"] = str(endpoint.startswith("http:")).lower()
    return options


@lru_cache(maxsize=16)
def _session(uri: str) -> Any:
    """Indexes and metadata that all threads of this process keep in memory together."""
    return lance().Session()


class Tables:
    """The tables below one address; for one thread at a time.

    Args:
        address: of the gallery.
    """

    def __init__(self, address: SharedAddress) -> None:
        self.address = address
        self._options = storage_options(address)
        self._open: dict[str, Any] = {}
        self._pinned: set[str] | None = None

    def exists(self, name: str) -> bool:
        """Whether there is such a table."""
        from lance.file import LanceFileSession

        with storage_errors(self.address):
            session = LanceFileSession(self._uri(name), storage_options=self._options)
            return bool(session.list("_versions"))

    def are_there(self) -> bool:
        """Whether there are tables of a gallery, or nothing at all.

        Raises:
            InputError: something else lies there.
        """
        from lance.file import LanceFileSession

        for _ in range(_GLANCES):  # another process may be making the first table
            if self.exists("facts"):
                return True
            with storage_errors(self.address):
                session = LanceFileSession(self.address.uri, storage_options=self._options)
                if not session.list():
                    return False
            time.sleep(_GLANCE_SECONDS)
        raise InputError(f"{self.address} is not a gallery: name another prefix or folder")

    def create(self, name: str, schema: Any) -> None:
        """Make a table, unless another process was quicker."""
        if self.exists(name):
            return
        try:
            lance().write_dataset(
                schema.empty_table(), self._uri(name), storage_options=self._options
            )
        except OSError:
            if not self.exists(name):
                with storage_errors(self.address):
                    raise

    def table(self, name: str) -> Any:
        """The Lance dataset of a table in its newest version, or in that of the snapshot."""
        if self._pinned is not None and name in self._pinned:
            return self._open[name]
        with storage_errors(self.address):
            if name in self._open:
                self._open[name].checkout_latest()
            else:
                self._open[name] = lance().dataset(
                    self._uri(name),
                    storage_options=self._options,
                    session=_session(self.address.uri),
                )
        if self._pinned is not None:
            self._pinned.add(name)
        return self._open[name]

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Every table is read in one version, that of its first query within."""
        if self._pinned is not None:
            yield
            return
        self._pinned = set()
        try:
            yield
        finally:
            self._pinned = None

    def read(self, name: str, query: Callable[[Any], R]) -> R:
        """What a query of a table finds; once more if a deletion removed the version it read.

        Raises:
            NotFoundError: the gallery was deleted.
        """
        try:
            return query(self.table(name))
        except (OSError, ValueError, RuntimeError, StorageError):
            self._open.pop(name, None)
            if self._pinned is not None:
                self._pinned.discard(name)
        if not self.exists(name):
            raise NotFoundError(nothing_there(self.address))
        with storage_errors(self.address):
            return query(self.table(name))

    def rows(self, name: str, columns: Sequence[str] | None = None, **scan: Any) -> Any:
        """Rows of a table as an Arrow table; ``scan`` as of Lance's ``scanner``."""
        columns = None if columns is None else list(columns)
        return self.read(name, lambda table: table.scanner(columns, **scan).to_table())

    def merge(
        self, name: str, rows: Any, on: str, whole: str | None = None, keep: bool = False
    ) -> None:
        """Insert rows or replace those with the same key: one commit, all or nothing.

        Args:
            name: of the table.
            rows: an Arrow table or reader.
            on: the key.
            keep: leave rows alone that are there already.
            whole: a condition; rows that satisfy it and are not among the new ones go.

        Raises:
            StorageError: also if other writers came between for a minute.
        """
        with storage_errors(self.address):
            merging = (
                lance()
                .dataset(self._uri(name), storage_options=self._options)
                .merge_insert(on)
                .when_not_matched_insert_all()
                .conflict_retries(_RETRIES)
                .retry_timeout(_PATIENCE)
            )
            if not keep:
                merging = merging.when_matched_update_all()
            if whole is not None:
                merging = merging.when_not_matched_by_source_delete(whole)
            merging.execute(rows)

    def append(self, name: str, rows: Any) -> None:
        """Add rows: one commit. Now and then the many small files of such commits are joined."""
        with storage_errors(self.address):
            table = lance().write_dataset(
                rows, self._uri(name), mode="append", storage_options=self._options
            )
            if table.version % _APPENDS == 0:
                with suppress(OSError):  # of two writers that do so at once, one succeeds
                    table.optimize.compact_files()
                    table.cleanup_old_versions(_KEPT)

    def delete(self, name: str, condition: str) -> int:
        """Delete rows for readers; returns how many. Their bytes stay until they are purged."""
        with storage_errors(self.address):
            table = lance().dataset(self._uri(name), storage_options=self._options)
            done = table.delete(condition, conflict_retries=_RETRIES, retry_timeout=_PATIENCE)
            return int(done["num_deleted_rows"])

    def _uri(self, name: str) -> str:
        return f"{self.address.uri}/{name}.lance"


def nothing_there(address: SharedAddress) -> str:
    """The message for an address without a gallery."""
    return (
        f"{address} holds no gallery: index a video into it first (reid-dhm index-video --gallery "
        f"{shell_word(address)} --camera NAME SOURCE)"
    )
