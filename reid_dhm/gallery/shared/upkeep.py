"""Indexes, compaction and clean-up of a shared gallery: what makes searches fast and deletion real.

Lance marks rows as deleted and keeps files and versions. Purging rewrites every file that holds a
deleted row, trains the indexes anew, and removes all that the newest version does not name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from reid_dhm.errors import StorageError
from reid_dhm.extras import require
from reid_dhm.gallery.address import SharedAddress
from reid_dhm.gallery.shared import leases, schema
from reid_dhm.gallery.shared.gallery import SharedGallery
from reid_dhm.gallery.shared.tables import Tables, storage_errors, storage_options

_TRIES = 5
_LEASED = ("tracklets", "videos", "different")
"""Tables whose files are written by those who announce themselves."""
_DONE = "reid-dhm compacted"
_SCALARS = {
    "key": "BTREE",
    "id": "BTREE",
    "video": "BTREE",
    "camera": "BITMAP",
    "begins_at": "BTREE",
    "ends_at": "BTREE",
    "person_id": "BTREE",
}


def compact(gallery: SharedGallery) -> None:
    """Rewrite every file that holds a deleted row, and join small files."""
    with leases.writing(gallery.tables, "compaction"):
        for name in _tables(gallery):
            retried(
                gallery.tables,
                name,
                lambda table: table.optimize.compact_files(
                    materialize_deletions=True, materialize_deletions_threshold=0.0
                ),
            )
            # The newest version may hold the condition of a deletion.
            retried(gallery.tables, name, lambda table: table.update_config({_DONE: "yes"}))


def purge(gallery: SharedGallery) -> bool:
    """Remove the bytes of all deleted rows; False if a writer at work keeps some files for now."""
    compact(gallery)
    facts = gallery.index_facts()
    if facts is not None:  # codes of what was deleted stay in an index until it is trained anew
        train(gallery.tables, facts.kind, facts.partitions, gallery.dim or 1)
    return clean(gallery)


def clean(gallery: SharedGallery) -> bool:
    """Remove all files that the newest versions do not name; False if writers are at work.

    Files of killed writers of facts and the audit log, which hold nobody, go after a week.
    """
    with leases.cleaning(gallery.tables) as alone:
        for name in _tables(gallery):
            _clean_table(gallery.tables, name, alone and name in _LEASED)
    _clean_table(gallery.tables, "activity", False)
    remove_old_objects(gallery.folder)
    return alone


def train(tables: Tables, kind: str, partitions: int, dim: int) -> None:
    """Train all indexes of the tracklets on what is there."""

    def create(table: Any) -> None:
        for column, scalar in _SCALARS.items():
            table.create_scalar_index(column, scalar, replace=True)
        codes = {"num_sub_vectors": max(1, dim // 8)} if "PQ" in kind else {}
        table.create_index(
            "mean", kind, metric="dot", num_partitions=partitions, replace=True, **codes
        )

    with leases.writing(tables, "indexes"):
        retried(tables, "tracklets", create)


def _tables(gallery: SharedGallery) -> list[str]:
    return [*schema.TABLES, *(["tracklets"] if gallery.dim is not None else [])]


def _clean_table(tables: Tables, name: str, alone: bool) -> None:
    now = timedelta(0)
    retried(tables, name, lambda table: table.cleanup_old_versions(now, delete_unverified=alone))


def retried(tables: Tables, name: str, change: Callable[[Any], object]) -> None:
    """Change a table, again if a writer's commit came between."""
    for left in reversed(range(_TRIES)):
        try:
            change(tables.table(name))
            return
        except (OSError, ValueError, RuntimeError):
            if not left:
                with storage_errors(tables.address):
                    raise


def remove_old_objects(address: SharedAddress) -> None:
    """Remove what a bucket with versions keeps of removed objects.

    Raises:
        StorageError: the bucket keeps versions and does not allow to remove them.
    """
    if not address.uri.startswith("s3://"):
        return
    require("cluster", "deletion on S3", "boto3")
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix = address.uri.removeprefix("s3://").split("/", 1)
    options = storage_options(address)
    try:
        s3 = boto3.client(
            "s3", endpoint_url=options.get("endpoint"), region_name=options.get("region")
        )
        if "Status" not in s3.get_bucket_versioning(Bucket=bucket):
            return
        pages = s3.get_paginator("list_object_versions").paginate(
            Bucket=bucket, Prefix=prefix + "/"
        )
        for page in pages:
            old = [each for each in page.get("Versions", []) if not each["IsLatest"]]
            for each in [*old, *page.get("DeleteMarkers", [])]:
                s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
    except (BotoCoreError, ClientError) as error:
        raise StorageError(
            f"{address}: versions of removed objects cannot be removed ({error}): allow "
            "s3:DeleteObjectVersion, or switch the bucket's versioning off"
        ) from error
