"""``reid-dhm gallery``: list, show, label and export what a gallery holds; check its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reid_dhm.cli.options import JsonOption, leave_stdout, write_json
from reid_dhm.cli.options.tracklets import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    PersonOption,
    VideoOption,
    tracklet_row,
    warn_of_untimed,
)
from reid_dhm.cli.output import count_of, say
from reid_dhm.errors import InputError, StorageError

if TYPE_CHECKING:
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store.reader import GalleryReader


def list_(
    folder: GalleryOption,
    what: Annotated[
        Literal["videos", "cameras", "people", "tracklets", "audit"],
        typer.Argument(help="What to list."),
    ] = "videos",
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    limit: Annotated[
        int, typer.Option(min=1, help="Most lines of tracklets and of the audit log.")
    ] = 1000,
    json: JsonOption = None,
) -> None:
    """List the content; tracklets can be filtered by camera, video, person and time.

    The audit log comes newest first, and can be filtered by time.

    Example: reid-dhm gallery list tracklets --gallery galleries/site --camera gate
    """
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery.opening import open_gallery
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store.filters import parse_filter

    with open_gallery(folder) as store:
        where = parse_filter((), camera, video, person, after, before)
        narrowed = where != TrackletFilter(after=where.after, before=where.before)
        if (narrowed and what != "tracklets") or (where and what not in ("tracklets", "audit")):
            raise InputError(f"these options filter tracklets, not {what}: list tracklets")
        if what == "tracklets":
            warn_of_untimed(store, where)
        rows = _rows(store, what, where, limit)
        if what == "tracklets" and (count := store.count(where)) > len(rows):
            say(f"the first {len(rows)} of {count}: pass a higher --limit for more", err=True)
        if what == "audit" and len(rows) == limit:
            say(f"the newest {limit}: pass a higher --limit, or --before, for others", err=True)
    filtered = where and what == "tracklets"
    print_rows(rows, "no matching tracklets" if filtered else f"{folder} has no {what}")
    if json is not None:
        write_json(json, rows)


def show(
    folder: GalleryOption,
    tracklet: Annotated[str, typer.Argument(metavar="ID", help="As `list tracklets` prints it.")],
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write its images to this folder.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Show a tracklet: place, time, number of boxes, and its best images.

    Example: reid-dhm gallery show 9f86d081884c7d65-12 --gallery galleries/site --crops images
    """
    from reid_dhm.files import atomic_path
    from reid_dhm.gallery.opening import open_gallery
    from reid_dhm.gallery.store.export import as_row

    with open_gallery(folder) as store:
        found = store.tracklet(tracklet)
        images = store.crops(found.key)
    facts = as_row(found)
    facts["crops"] = [
        {"frame": c.frame, "time": c.time, "box": list(c.box), "quality": c.quality} for c in images
    ]
    for name, value in as_row(found).items():
        say(f"{name:12} {'' if value is None else value}")
    for rank, crop in enumerate(images):
        line = f"image {rank}: frame {crop.frame}, {crop.time:.1f} s, quality {crop.quality:.2f}"
        if crops is not None:
            path = crops / f"{found.id}_{rank}.jpg"
            with atomic_path(path) as temporary:
                temporary.write_bytes(crop.jpeg)
            line += f": {path}"
        say(line)
    if json is not None:
        write_json(json, facts)


def merge(
    folder: GalleryOption,
    tracklets: Annotated[list[str], typer.Argument(metavar="ID...", help="As `list` prints them.")],
    person: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Name of the person; by default the name that one of them has, or a number.",
        ),
    ] = None,
    unname: Annotated[bool, typer.Option("--unname", help="Remove their names.")] = False,
) -> None:
    """Give tracklets the name of one person, or remove their names.

    Example: reid-dhm gallery merge 9f86d081884c7d65-12 9f86d081884c7d65-31
    --gallery galleries/site --person "blue jacket"
    """
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.store import statements
    from reid_dhm.gallery.store.gallery import GalleryStore

    if unname and person is not None:
        raise typer.BadParameter("--unname and --person exclude each other: drop one")
    ids = [TrackletId.parse(text) for text in tracklets]
    with GalleryStore(folder) as store:
        if person is None and not unname:
            person = statements.common_name(store, ids)
        changed = statements.label(store, ids, person)
    label = "no name" if person is None else f"the name {person}"
    say(f"{changed} of {count_of(len(ids), 'tracklet')} changed: {label}")


def export(
    folder: GalleryOption,
    output: Annotated[
        Path,
        typer.Option(
            metavar="FILE", callback=leave_stdout, help=".csv, or .parquet (with the embeddings)."
        ),
    ],
    format: Annotated[
        Literal["table", "mot"],
        typer.Option(help="mot: the boxes of one video as MOTChallenge lines, in any file."),
    ] = "table",
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
) -> None:
    """Write tracklets as a table, or the boxes of one video for tracking tools.

    Example: reid-dhm gallery export --gallery galleries/site --output site.csv
    """
    from reid_dhm.gallery.store.export import export, export_mot
    from reid_dhm.gallery.store.filters import parse_filter
    from reid_dhm.gallery.store.gallery import GalleryStore

    with GalleryStore(folder) as store:
        where = parse_filter((), camera, video, person, after, before)
        warn_of_untimed(store, where)
        if format == "mot":
            line = count_of(export_mot(store, output, where), "box", "boxes")
        else:
            line = count_of(export(store, output, where), "tracklet")
    say(f"{line}: {output}")


def verify(folder: GalleryOption) -> None:
    """Check the file, its rows, that images decode and that embeddings are unit vectors.

    Example: reid-dhm gallery verify --gallery galleries/site
    """
    from reid_dhm.cli.output.progress import progress_bar
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.integrity import check_integrity

    with GalleryStore(folder) as store, progress_bar("Verifying") as bar:
        found = list(check_integrity(store, bar))
        count = 0 if found else store.count()
    for line in found:
        say(line)
    if found:
        raise StorageError(
            f"{folder} is damaged ({count_of(len(found), 'fault')}): restore it from a copy, or "
            "index the videos again"
        )
    say(f"{folder} is intact: {count_of(count, 'tracklet')}")


def compact(folder: GalleryOption) -> None:
    """Rewrite the file without the free space that deletions left.

    Of a shared gallery: join small files, index new tracklets, and remove old versions. Run it
    about once an hour while videos are indexed; readers and writers go on meanwhile.

    Example: reid-dhm gallery compact --gallery galleries/site
    """
    from reid_dhm.gallery.opening import as_shared, open_gallery
    from reid_dhm.gallery.store.compaction import compact as compact_file
    from reid_dhm.gallery.store.gallery import GalleryStore

    with open_gallery(folder) as store:
        if not isinstance(store, GalleryStore):
            from reid_dhm.gallery.index.shared_training import maintain

            say(maintain(as_shared(store)))
            return
        before = store.path.stat().st_size
        compact_file(store)
        after = store.path.stat().st_size
    say(f"{store.path}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after")


def _rows(
    store: GalleryReader, what: str, where: TrackletFilter, limit: int
) -> list[dict[str, Any]]:
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import people

    part = None if isinstance(store, GalleryStore) else "in part"
    if what == "tracklets":
        return [tracklet_row(found) for found in store.tracklets(where, limit=limit)]
    if what == "people":
        return [{"person": p.label, "tracklets": p.num_tracklets} for p in people(store)]
    if what == "audit":
        return _entries(store, where, limit)
    counts, videos = store.counts(), store.videos()
    if what == "cameras":
        of = {c.name: [v for v in videos if v.camera == c.name] for c in store.cameras()}
        return [
            {
                "camera": name,
                "videos": len(own),
                "tracklets": sum(counts.get(video.id, 0) for video in own),
            }
            for name, own in of.items()
        ]
    return [
        {
            "video": video.hash,
            "camera": video.camera,
            "start": video.start_time.isoformat() if video.start_time else "",
            "frames": video.num_frames,
            "tracklets": counts.get(video.id, 0),
            "indexed": "whole" if video.complete else part or f"to frame {video.position}",
            "source": video.source,
        }
        for video in videos
    ]


def _entries(store: GalleryReader, where: TrackletFilter, limit: int) -> list[dict[str, Any]]:
    """The newest entries of the audit log, newest first."""
    from reid_dhm.gallery.store import audit

    bounds = [bound for bound in (where.after, where.before) if not isinstance(bound, float)]
    if len(bounds) < 2:
        raise InputError("audit entries have wall-clock times: give ISO 8601 times, not seconds")
    return [
        {
            "time": entry.time.isoformat(timespec="seconds"),
            "actor": entry.actor,
            "action": entry.action,
            "detail": entry.detail,
        }
        for entry in audit.latest(store, limit, *bounds)
    ]
