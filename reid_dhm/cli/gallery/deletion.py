"""``reid-dhm gallery delete``: deleting people permanently, after showing them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.options import BackboneOption, DeviceOption, InputOption, NeckOption, SizeOption
from reid_dhm.cli.options.query import (
    WHO,
    BoxOption,
    CheckpointOption,
    QueryOption,
    find_model,
    open_embedder,
    parse_boxes,
)
from reid_dhm.cli.options.query_images import crop_queries
from reid_dhm.cli.options.tracklets import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    PersonOption,
    TrackletOption,
    VideoOption,
    tracklet_row,
    warn_of_untimed,
)
from reid_dhm.cli.output import count_of, say
from reid_dhm.errors import InputError
from reid_dhm.text import printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reid_dhm.gallery.records import TrackletFilter, TrackletId
    from reid_dhm.gallery.search.candidates import Candidates
    from reid_dhm.gallery.search.searcher import Searcher
    from reid_dhm.gallery.store.deletion import Deletion
    from reid_dhm.gallery.store.reader import GalleryReader

_SHOWN = 20


def delete(
    folder: GalleryOption,
    tracklet: TrackletOption = None,
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    query: QueryOption = None,
    box: BoxOption = None,
    like: Annotated[
        list[str] | None,
        typer.Option(
            "--like",
            metavar="ID",
            rich_help_panel=WHO,
            help="A tracklet of the person; repeatable.",
        ),
    ] = None,
    min_similarity: Annotated[
        float | None,
        typer.Option(
            min=-1, max=1, rich_help_panel=WHO, help="Delete all that are at least this similar."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Permanently delete the tracklets that match every given condition, after showing them.

    Exactly what was shown is deleted, whatever is indexed meanwhile. A camera or video named alone
    is deleted with its tracklets; with other conditions only tracklets are. With images or
    tracklets of a person, all tracklets that are similar enough are deleted.

    Example: reid-dhm gallery delete --gallery galleries/site --camera gate
    --before 2026-03-01T00:00:00Z

    Example: reid-dhm gallery delete --gallery galleries/site --query person.jpg
    --min-similarity 0.6
    """
    boxes = parse_boxes(box, len(query or ()))
    if bool(query or like) != (min_similarity is not None):
        raise typer.BadParameter("--query or --like, and --min-similarity, need each other")

    from reid_dhm.gallery.opening import open_gallery
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.store.filters import parse_filter
    from reid_dhm.gallery.store.people import describe

    where = parse_filter(tracklet, camera, video, person, after, before)
    likes = [TrackletId.parse(text) for text in like or ()]
    with open_gallery(folder) as store:
        for id in where.tracklets:
            store.tracklet(id)
        warn_of_untimed(store, where)
        if min_similarity is None:
            done = _delete_matching(store, where, yes)
        else:
            from reid_dhm.gallery.index.opening import index_of
            from reid_dhm.gallery.search.searcher import Searcher

            vectors = owner = None
            if query:
                others = {"backbone": backbone, "size": size, "neck": neck, "input": input}
                embedder = open_embedder(store, find_model(checkpoint, **others), device)
                vectors = embedder([crop.pixels for crop in crop_queries(query, boxes)])
                owner = embedder.fingerprint
            asked = {"pictures": [str(path) for path in query or ()], "boxes": box, "like": like}
            detail: dict[str, Any] = {name: value for name, value in asked.items() if value}
            detail |= {"min_similarity": min_similarity, **describe(store, where)}
            searcher = Searcher(store, index_of(store, "Flat", exact=True), model=owner)
            candidates = _alike(searcher, vectors, likes, where, min_similarity)
            done = _delete_candidates(store, candidates, where, detail, yes)
    if done is not None:
        _report(done)


def _delete_matching(store: GalleryReader, where: TrackletFilter, yes: bool) -> Deletion | None:
    """Show and delete the matching tracklets, with a camera or video named alone; None if none."""
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery import opening
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.people import describe

    places = TrackletFilter(cameras=where.cameras), TrackletFilter(videos=where.videos)
    whole = bool(where) and where in places
    selected = opening.select(store, where, whole)
    rows = [tracklet_row(found) for found in store.tracklets_by_key(selected.tracklets[:_SHOWN])]
    print_rows(rows, "no matching tracklets")
    if len(selected.tracklets) > len(rows):
        say(f"… and {len(selected.tracklets) - len(rows)} more")
    if selected.unfinished:
        tracks = count_of(len(selected.unfinished), "unfinished track")
        say(f"and {tracks}: people in view where a video is indexed so far")
    if not len(selected) and not whole:
        if not isinstance(store, GalleryStore):  # completes a deletion that was killed
            _done(*opening.delete_logged(store, selected, describe(store, where)))
        return None
    along = ""
    if whole:
        names = [f"camera {name}" for name in where.cameras]
        names += [f"video {hash}" for hash in where.videos]
        along = f" with {', '.join(names)}"
    _confirm(f"Delete {count_of(len(selected), 'tracklet')}{along} permanently?", yes)
    return _done(*opening.delete_logged(store, selected, describe(store, where)))


def _alike(
    searcher: Searcher,
    vectors: NDArray[np.float32] | None,
    likes: Sequence[TrackletId],
    where: TrackletFilter,
    min_similarity: float,
) -> Candidates:
    """All tracklets that are similar enough; the index is exact, so none is missed."""
    if vectors is None or likes:
        vectors = searcher.refine(vectors, likes)
    return searcher.above(vectors, min_similarity, where)


def _delete_candidates(
    store: GalleryReader,
    candidates: Candidates,
    where: TrackletFilter,
    detail: dict[str, Any],
    yes: bool,
) -> Deletion | None:
    """Show and delete exactly these candidates; None if there are none."""
    from reid_dhm.cli.output.tables import print_rows
    from reid_dhm.gallery import opening
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store import audit

    audit.record(store, "search", {**detail, "hits": len(candidates)})
    rows = [
        {
            **tracklet_row(candidate.tracklet),
            "similarity": f"{candidate.similarity:.3f}",
            "probability": "" if candidate.probability is None else f"{candidate.probability:.1%}",
        }
        for candidate in candidates
    ]
    print_rows(rows, "no tracklet is that similar")
    anybody = replace(where, tracklets=(), person=None)
    if unfinished := len(opening.unfinished_tracks(store, anybody)):
        say(
            f"{count_of(unfinished, 'unfinished track')} cannot be searched yet: index the videos "
            "to their end and try again",
            err=True,
        )
    if not candidates:
        return None
    _confirm(f"Delete {count_of(len(candidates), 'tracklet')} permanently?", yes)
    ids = [candidate.tracklet.id for candidate in candidates]
    detail = {**detail, "tracklets": [str(id) for id in ids]}
    return _done(*opening.delete_logged(store, TrackletFilter(tracklets=ids), detail))


def _done(done: Deletion, clean: bool) -> Deletion:
    if not clean:
        say(
            "a video is being handed over at this moment, so files of removed versions stay until "
            "the next deletion, or until reid-dhm gallery compact is run",
            err=True,
        )
    return done


def _report(done: Deletion) -> None:
    say(f"{count_of(done.count, 'tracklet')} deleted")
    if done.videos:
        say(f"{count_of(done.videos, 'video')} deleted")
    for camera in done.cameras:
        say(f"camera {camera} deleted")
    for hash in done.kept:
        say(f"video {hash} stays: people were added to it after the confirmation")


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{question} No terminal to answer on: pass --yes")
    if not typer.confirm(printable(question)):
        raise typer.Exit(1)
