"""``reid-dhm people list|show|count``: who was where when, and how many."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.options import JsonOption, write_json
from reid_dhm.cli.options.tracklets import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    VideoOption,
    warn_of_untimed,
)
from reid_dhm.cli.output import count_of, say
from reid_dhm.cli.people.statements import PersonArgument

if TYPE_CHECKING:
    from datetime import datetime

    from reid_dhm.gallery.people.answers.counts import Dwell, Flows, HourCount
    from reid_dhm.gallery.people.answers.presence import PersonSummary
    from reid_dhm.gallery.store.gallery import GalleryStore

GapOption = Annotated[
    float,
    typer.Option(metavar="SECONDS", min=0, help="Out of view for longer, a return is a new visit."),
]
_NO_PEOPLE = "no people: reid-dhm people link finds them"


def list_(
    folder: GalleryOption,
    camera: CameraOption = None,
    video: VideoOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    min_cameras: Annotated[
        int, typer.Option(min=1, metavar="N", help="Seen there by at least so many cameras.")
    ] = 1,
    named: Annotated[bool, typer.Option("--named", help="Only people with a name.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Most people to print.")] = 1000,
    json: JsonOption = None,
) -> None:
    """List people: how often, by which cameras, when and for how long they were seen.

    With filters, the figures are of the tracklets that match.

    Example: reid-dhm people list --gallery galleries/site --camera gate --min-cameras 2
    """
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery.people.answers.presence import summarise
    from reid_dhm.gallery.store.filters import parse_filter
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import people

    with GalleryStore(folder) as store:
        where = parse_filter((), camera, video, None, after, before)
        warn_of_untimed(store, where)
        found = summarise(store, where, min_cameras)
        nobody = not found and not people(store)
    if named:
        found = [each for each in found if each.person.name is not None]
    some_named = any(each.person.name is not None for each in found[:limit])
    print_rows(
        [_row(each, some_named) for each in found[:limit]],
        _NO_PEOPLE if nobody else "no matching people",
    )
    if len(found) > limit:
        say(f"the first {limit} of {len(found)}: pass a higher --limit for more", err=True)
    if json is not None:
        write_json(json, [each.to_dict() for each in found])


def show(
    folder: GalleryOption,
    person: PersonArgument,
    gap: GapOption = 60.0,
    crops: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the best image of every tracklet.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Show a person's way over all cameras, and how each tracklet came to the person.

    Example: reid-dhm people show --gallery galleries/site 7
    """
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.cli.people.timeline import draw_timeline
    from reid_dhm.gallery.people.answers.route import read_route
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import find_person

    with GalleryStore(folder) as store:
        found = find_person(store, person)
        route = read_route(store, found, gap)
        files = _write_crops(store, route.keys, crops) if crops is not None else {}
    head = (
        f"{found.title}: {count_of(found.num_tracklets, 'tracklet')}, "
        f"{found.num_confirmed} confirmed; {count_of(len(route.cameras), 'camera')}, "
        f"{count_of(len(route.visits), 'visit')}, in view {route.seconds:.1f} s"
    )
    say(head)
    for line in draw_timeline(route):
        say(line)
    print_rows(
        [
            {
                "seen": _span(a.tracklet.start_time, a.tracklet.end_time, a.tracklet.start,
                              a.tracklet.end),
                "camera": a.tracklet.camera,
                "tracklet": a.tracklet.id,
                "came in": a.origin,
            }
            for a in route.appearances
        ],
        "deleted meanwhile",
    )  # fmt: skip
    if crops is not None:
        say(f"images: {crops}")
    if json is not None:
        write_json(json, route.to_dict(files))


def count(
    folder: GalleryOption,
    camera: CameraOption = None,
    video: VideoOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    gap: GapOption = 60.0,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE.svg", help="Draw the ways between cameras to this file."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Count different people per camera and hour, their ways between cameras, and their stays.

    Example: reid-dhm people count --gallery galleries/site --after 2026-03-01T08:00:00+01:00
    --figure ways.svg
    """
    from reid_dhm.files import write_text
    from reid_dhm.gallery.people.answers import counts
    from reid_dhm.gallery.people.answers.presence import read_presence
    from reid_dhm.gallery.store.filters import parse_filter
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import people

    if figure is not None and figure.suffix != ".svg":
        raise typer.BadParameter(f"{figure} is not an .svg file: give one", param_hint="--figure")
    with GalleryStore(folder) as store:
        where = parse_filter((), camera, video, None, after, before)
        warn_of_untimed(store, where)
        presence = read_presence(store, where)
        nobody = not len(presence) and not people(store)
    visits = presence.visits(gap)
    hours, flows = counts.hour_counts(presence), counts.flows(visits)
    stays = counts.dwell_times(visits)
    if len(presence):
        _print_counts(hours, flows, stays)
    else:
        say(_NO_PEOPLE if nobody else "no matching people")
    if figure is not None:
        write_text(figure, counts.draw_flows(flows).file)
        say(f"figure: {figure}")
    if json is not None:
        figures = {
            "hours": [asdict(each) for each in hours],
            "flows": flows.to_rows(),
            "stays": [asdict(each) for each in stays],
        }
        write_json(json, figures)


def _print_counts(hours: list[HourCount], flows: Flows, stays: list[Dwell]) -> None:
    from reid_dhm.cli.output.tables import print_rows

    by_hour: dict[str, dict[str | None, int]] = {}
    for each in hours:
        by_hour.setdefault(each.hour, {})[each.camera] = each.people
    cameras = flows.places[:-1]
    say("different people, by hour")
    print_rows(
        [
            {"hour": _hour(hour)}
            | {name: of.get(name, 0) for name in cameras}
            | {"all": of[None]}
            for hour, of in by_hour.items()
        ],
        "",
    )  # fmt: skip
    say("\nhow often from one camera (row) to the next (column)")
    table = zip(flows.places, flows.counts.tolist(), strict=True)
    print_rows([{"": name} | dict(zip(flows.places, row, strict=True)) for name, row in table], "")
    say("\nstay in view")
    print_rows(
        [
            {
                "camera": stay.camera,
                "people": stay.people,
                "visits": stay.visits,
                "median": f"{stay.median:.1f} s",
                "longest": f"{stay.longest:.1f} s",
            }
            for stay in stays
        ],
        "",
    )


def _row(each: PersonSummary, some_named: bool) -> dict[str, Any]:
    cameras = each.cameras[:2]
    more = f" +{len(each.cameras) - 2}" if len(each.cameras) > 2 else ""
    row: dict[str, Any] = {"person": each.person.id}
    if some_named:
        row["name"] = each.person.name or ""
    return row | {
        "tracklets": each.num_tracklets,
        "cameras": ", ".join(cameras) + more,
        "seen": _span(each.first_seen, each.last_seen, each.start, each.end),
        "in view": f"{each.seconds:.1f} s",
    }


def _span(
    first: datetime | None, last: datetime | None, start: float | None, end: float | None
) -> str:
    """From when to when: wall-clock time, or seconds of one video; empty for several videos."""
    if first is not None and last is not None:
        until = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M:%S}"
        return f"{first:%Y-%m-%d %H:%M:%S} to {until}"
    return "" if start is None else f"{start:.1f} to {end:.1f} s"


def _hour(text: str) -> str:
    """``2026-03-01 08:00`` instead of ISO 8601 with seconds and offset."""
    return text[:16].replace("T", " ")


def _write_crops(store: GalleryStore, keys: list[int], folder: Path) -> dict[int, str]:
    from reid_dhm.files import atomic_path

    files = {}
    for tracklet in store.tracklets_by_key(keys):
        jpeg = store.thumbnail(tracklet.key)
        if jpeg is not None:
            path = folder / f"{tracklet.id}.jpg"
            with atomic_path(path) as temporary:
                temporary.write_bytes(jpeg)
            files[tracklet.key] = str(path)
    return files
