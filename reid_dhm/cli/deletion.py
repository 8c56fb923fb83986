"""``reid-dhm gallery delete``: forgetting people for good, after showing who goes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reid_dhm.cli.options import BackboneOption, DeviceOption, NeckOption, SizeOption
from reid_dhm.cli.query_options import (
    WHO,
    BoxOption,
    CheckpointOption,
    QueryOption,
    crop_queries,
    open_embedder,
    parse_boxes,
)
from reid_dhm.cli.tracklet_options import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    PersonOption,
    TrackletOption,
    VideoOption,
    as_words,
    brief,
    parse_filter,
    print_table,
    warn_of_untimed,
)
from reid_dhm.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reid_dhm.gallery.records import TrackletFilter, TrackletId
    from reid_dhm.gallery.search.candidates import Candidates
    from reid_dhm.gallery.search.searcher import Searcher
    from reid_dhm.gallery.store.gallery import GalleryStore

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
            min=-1, max=1, rich_help_panel=WHO, help="Everybody at least so similar goes."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    checkpoint: CheckpointOption = None,
    device: DeviceOption = "auto",
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
) -> None:
    """Delete for good what satisfies every condition given, after showing it.

    A camera or video by itself goes with all that belongs to it; with other conditions it stays,
    and only tracklets go. With images or tracklets of a person, whoever is similar enough goes.

    Example: reid-dhm gallery delete --gallery galleries/site --camera gate
    --before 2026-03-01T00:00:00Z

    Example: reid-dhm gallery delete --gallery galleries/site --query person.jpg
    --min-similarity 0.6
    """
    boxes = parse_boxes(box, len(query or ()))
    if bool(query or like) != (min_similarity is not None):
        raise typer.BadParameter("--query or --like, and --min-similarity, need each other")

    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.search.match_thresholds import open_thresholds
    from reid_dhm.gallery.search.searcher import Searcher
    from reid_dhm.gallery.store.gallery import GalleryStore

    where = parse_filter(tracklet, camera, video, person, after, before)
    likes = [TrackletId.parse(text) for text in like or ()]
    with GalleryStore(folder) as store:
        for id in where.tracklets:
            store.tracklet(id)
        warn_of_untimed(store, where)
        if min_similarity is None:
            count = _delete_all(store, where, yes)
        else:
            vectors = None
            if query:
                others = {"backbone": backbone, "size": size, "neck": neck}
                embedder = open_embedder(store, checkpoint, device, **others)
                vectors = embedder([crop.pixels for crop in crop_queries(query, boxes)])
            asked = {"pictures": [str(path) for path in query or ()], "boxes": box, "like": like}
            detail: dict[str, Any] = {name: value for name, value in asked.items() if value}
            detail |= {"min_similarity": min_similarity, **as_words(where)}
            calibrated = open_thresholds(store.fingerprint or "", checkpoint)
            searcher = Searcher(store, thresholds=calibrated)
            candidates = _alike(searcher, vectors, likes, where, min_similarity)
            count = _delete_candidates(store, candidates, where, detail, yes)
    if count is not None:
        typer.echo(f"{count} tracklets deleted")


def _delete_all(store: GalleryStore, where: TrackletFilter, yes: bool) -> int | None:
    """Delete all that satisfies the conditions; returns how many, None where there was nobody."""
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store import audit, editing

    if not where:
        raise InputError("nothing says what to delete: name tracklets, a camera, a time …")
    keys, in_view = store.keys(where), editing.unfinished(store, where)
    rows = [brief(found) for found in store.tracklets(where, limit=_SHOWN)]
    print_table(rows, "no tracklets satisfy all that")
    if len(keys) > len(rows):
        typer.echo(f"… and {len(keys) - len(rows)} more")
    if in_view:
        typer.echo(f"and {in_view} people in view where indexing a video was stopped")
    along = _along_with(where)
    if not (len(keys) or in_view or along):
        return None
    _confirm(f"Delete {len(keys) + in_view} tracklets{along} for good?", yes)

    def delete() -> int:
        if where == TrackletFilter(cameras=where.cameras):
            return sum(editing.delete_camera(store, name) for name in where.cameras)
        if where == TrackletFilter(videos=where.videos):
            return sum(editing.delete_video(store, hash) for hash in where.videos)
        return editing.delete(store, where, keys.tolist())

    return audit.deletion(store, as_words(where), delete)


def _alike(
    searcher: Searcher,
    vectors: NDArray[np.float32] | None,
    likes: Sequence[TrackletId],
    where: TrackletFilter,
    min_similarity: float,
) -> Candidates:
    """Everybody who is similar enough; the index is exact, so that nobody is overlooked."""
    if vectors is None or likes:
        vectors = searcher.refine(vectors, likes)
    return searcher.above(vectors, min_similarity, where)


def _delete_candidates(
    store: GalleryStore,
    candidates: Candidates,
    where: TrackletFilter,
    detail: dict[str, Any],
    yes: bool,
) -> int | None:
    """Delete exactly who was found; returns how many, None where there was nobody."""
    from reid_dhm.gallery.records import TrackletFilter
    from reid_dhm.gallery.store import audit, editing

    audit.record(store, "search", {**detail, "hits": len(candidates)})
    rows = [
        {
            **brief(candidate.tracklet),
            "similarity": f"{candidate.similarity:.3f}",
            "probability": "" if candidate.probability is None else f"{candidate.probability:.1%}",
        }
        for candidate in candidates
    ]
    print_table(rows, "nobody is so similar")
    if in_view := editing.unfinished(store, replace(where, tracklets=(), person=None)):
        typer.echo(
            f"{in_view} people in view where indexing a video was stopped cannot be searched yet: "
            "index those videos to their end and ask again",
            err=True,
        )
    if not candidates:
        return None
    _confirm(f"Delete these {len(candidates)} tracklets for good?", yes)
    ids = [candidate.tracklet.id for candidate in candidates]
    detail = {**detail, "tracklets": [str(id) for id in ids]}
    return audit.deletion(
        store, detail, lambda: editing.delete(store, TrackletFilter(tracklets=ids))
    )


def _along_with(where: TrackletFilter) -> str:
    from reid_dhm.gallery.records import TrackletFilter

    if where == TrackletFilter(cameras=where.cameras):
        return f", and with them camera {', '.join(where.cameras)} and its videos,"
    if where == TrackletFilter(videos=where.videos):
        return f", and with them video {', '.join(where.videos)},"
    return ""


def _confirm(question: str, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(f"{question} Nobody is here to answer: pass --yes")
    if not typer.confirm(question):
        raise typer.Exit(1)
