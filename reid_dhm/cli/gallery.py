"""``reid-dhm gallery``: what is in a gallery, who is who, forgetting, and care of the file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from reid_dhm.cli.conditions import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    PersonOption,
    TrackletOption,
    VideoOption,
    as_words,
    brief,
    print_table,
    which,
)
from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.errors import InputError

if TYPE_CHECKING:
    from reid_dhm.gallery.records import Where
    from reid_dhm.gallery.store import Gallery

gallery = typer.Typer(
    help="What is in a gallery, who is who, forgetting, and care of the file.",
    no_args_is_help=True,
)

_SHOWN = 20


@gallery.command("list")
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
    limit: Annotated[int, typer.Option(min=1, help="Lines at most, of tracklets.")] = 1000,
    json: JsonOption = None,
) -> None:
    """List what is there; tracklets can be narrowed down by camera, video, person and time.

    Example: reid-dhm gallery list tracklets --gallery galleries/site --camera gate
    """
    from reid_dhm.gallery.store import Gallery

    with Gallery(folder) as store:
        where = which((), camera, video, person, after, before)
        if where and what != "tracklets":
            raise InputError(f"conditions narrow down tracklets, not {what}: list tracklets")
        rows = _rows(store, what, where, limit)
        if what == "tracklets" and (count := store.count(where)) > len(rows):
            typer.echo(f"the first {len(rows)} of {count}: --limit shows more", err=True)
    print_table(rows, f"{folder} has no {what}")
    if json is not None:
        write_json(json, rows)


@gallery.command()
def show(
    folder: GalleryOption,
    tracklet: Annotated[str, typer.Argument(metavar="ID", help="As list prints it.")],
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write its pictures here.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Show a tracklet: where and when, how often, and its best pictures.

    Example: reid-dhm gallery show 9f86d081884c7d65-12 --gallery galleries/site --crops pictures
    """
    from reid_dhm.gallery.export import as_row
    from reid_dhm.gallery.store import Gallery

    with Gallery(folder) as store:
        found = store.tracklet(tracklet)
        pictures = store.crops(found.key)
    facts = as_row(found)
    facts["crops"] = [
        {"frame": c.frame, "time": c.time, "box": list(c.box), "quality": c.quality}
        for c in pictures
    ]
    for name, value in as_row(found).items():
        typer.echo(f"{name:12} {'' if value is None else value}")
    for rank, crop in enumerate(pictures):
        line = f"picture {rank}: frame {crop.frame}, {crop.time:.1f} s, quality {crop.quality:.2f}"
        if crops is not None:
            crops.mkdir(parents=True, exist_ok=True)
            path = crops / f"{found.id}_{rank}.jpg"
            path.write_bytes(crop.jpeg)
            line += f": {path}"
        typer.echo(line)
    if json is not None:
        write_json(json, facts)


@gallery.command()
def merge(
    folder: GalleryOption,
    tracklets: Annotated[list[str], typer.Argument(metavar="ID...", help="As list prints them.")],
    person: Annotated[
        str | None, typer.Option(metavar="NAME", help="Who it is; without it, nobody known.")
    ] = None,
) -> None:
    """Say that tracklets show one person, or take their name away.

    Example: reid-dhm gallery merge 9f86d081884c7d65-12 9f86d081884c7d65-31
    --gallery galleries/site --person "blue jacket"
    """
    from reid_dhm.gallery import audit, editing
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.store import Gallery

    ids = [TrackletId.parse(text) for text in tracklets]
    with Gallery(folder) as store:
        changed = editing.label(store, ids, person)
        audit.record(store, "merge", {"tracklets": tracklets, "person": person})
    typer.echo(f"{changed} of {len(ids)} tracklets changed")


@gallery.command()
def export(
    folder: GalleryOption,
    output: Annotated[
        Path, typer.Option(metavar="FILE", help=".csv, or .parquet (with the embeddings).")
    ],
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
) -> None:
    """Write tracklets as a table.

    Example: reid-dhm gallery export --gallery galleries/site --output site.csv
    """
    from reid_dhm.gallery import audit
    from reid_dhm.gallery.export import export
    from reid_dhm.gallery.store import Gallery

    with Gallery(folder) as store:
        where = which((), camera, video, person, after, before)
        count = export(store, output, where)
        audit.record(store, "export", {"file": str(output), "tracklets": count})
    typer.echo(f"{count} tracklets: {output}")


@gallery.command()
def delete(
    folder: GalleryOption,
    tracklet: TrackletOption = None,
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete for good what satisfies every condition given, after showing it.

    A camera or video by itself goes with all that belongs to it; with other conditions it stays,
    and only tracklets go.

    Example: reid-dhm gallery delete --gallery galleries/site --camera gate
    --before 2026-03-01T00:00:00Z
    """
    from reid_dhm.gallery import audit, editing
    from reid_dhm.gallery.records import Where
    from reid_dhm.gallery.store import Gallery

    with Gallery(folder) as store:
        where = which(tracklet, camera, video, person, after, before)
        if not where:
            raise InputError("nothing says what to delete: name tracklets, a camera, a time …")
        for id in where.tracklets:
            store.tracklet(id)
        count = store.count(where)
        rows = [brief(found) for found in store.tracklets(where, limit=_SHOWN)]
        print_table(rows, "no tracklets satisfy all that")
        if count > len(rows):
            typer.echo(f"… and {count - len(rows)} more")
        if not count and not _along_with(where):
            return
        _confirm(f"Delete {count} tracklets{_along_with(where)} for good?", yes)
        if where == Where(cameras=where.cameras):
            for name in where.cameras:
                editing.delete_camera(store, name)
        elif where == Where(videos=where.videos):
            for hash in where.videos:
                editing.delete_video(store, hash)
        else:
            editing.delete(store, where)
        audit.record(store, "delete", {**as_words(where), "deleted": count})
    typer.echo(f"{count} tracklets deleted")


@gallery.command()
def verify(folder: GalleryOption) -> None:
    """Check everything: the file, its rows, that pictures decode and embeddings are whole.

    Example: reid-dhm gallery verify --gallery galleries/site
    """
    from reid_dhm.cli.progress import progress_bar
    from reid_dhm.gallery.store import Gallery
    from reid_dhm.gallery.verify import problems

    with Gallery(folder) as store, progress_bar("Verifying") as bar:
        found = list(problems(store, bar))
        count = store.state().tracklets
    for line in found:
        typer.echo(line)
    if found:
        raise InputError(f"{folder} has {len(found)} problems: restore it from a copy")
    typer.echo(f"{folder} is whole: {count} tracklets")


@gallery.command()
def compact(folder: GalleryOption) -> None:
    """Rewrite the file without the room that deletions left.

    Example: reid-dhm gallery compact --gallery galleries/site
    """
    from reid_dhm.gallery import editing
    from reid_dhm.gallery.store import Gallery

    with Gallery(folder) as store:
        before = store.path.stat().st_size
        editing.compact(store)
        after = store.path.stat().st_size
    typer.echo(f"{store.path}: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")


def _rows(store: Gallery, what: str, where: Where, limit: int) -> list[dict[str, Any]]:
    from reid_dhm.gallery import audit, editing

    if what == "tracklets":
        return [brief(found) for found in store.tracklets(where, limit=limit)]
    if what == "people":
        people = editing.people(store)
        return [{"person": name, "tracklets": count} for name, count in people.items()]
    if what == "audit":
        return [
            {
                "time": entry.time.isoformat(timespec="seconds"),
                "actor": entry.actor,
                "action": entry.action,
                "detail": entry.detail,
            }
            for entry in audit.entries(store)
        ]
    counts = store.counts()
    if what == "cameras":
        return [
            {
                "camera": camera.name,
                "videos": sum(video.camera == camera.name for video in store.videos()),
                "tracklets": sum(
                    counts.get(v.id, 0) for v in store.videos() if v.camera == camera.name
                ),
            }
            for camera in store.cameras()
        ]
    return [
        {
            "video": video.hash,
            "camera": video.camera,
            "start": video.start_time.isoformat() if video.start_time else "",
            "frames": video.num_frames,
            "tracklets": counts.get(video.id, 0),
            "indexed": "whole" if video.complete else f"to frame {video.position}",
            "source": video.source,
        }
        for video in store.videos()
    ]


def _along_with(where: Where) -> str:
    from reid_dhm.gallery.records import Where

    if where == Where(cameras=where.cameras):
        return f", and with them camera {', '.join(where.cameras)} and its videos,"
    if where == Where(videos=where.videos):
        return f", and with them video {', '.join(where.videos)},"
    return ""


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is here to answer: pass --yes")
    if not typer.confirm(question):
        raise typer.Exit(1)
