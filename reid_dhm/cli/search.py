"""``reid-dhm search``: everywhere and every time that somebody was seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    DeviceOption,
    JsonOption,
    NeckOption,
    SizeOption,
    write_json,
)
from reid_dhm.cli.query_options import (
    WHO,
    BoxOption,
    CheckpointOption,
    DetectorOption,
    IndexOption,
    QueryOption,
    embed_queries,
    open_embedder,
    parse_boxes,
)
from reid_dhm.cli.tracklet_options import (
    AfterOption,
    BeforeOption,
    CameraOption,
    GalleryOption,
    PersonOption,
    VideoOption,
    as_words,
    parse_filter,
    print_table,
    warn_of_untimed,
)

if TYPE_CHECKING:
    from reid_dhm.gallery.index.faiss_index import FaissIndex
    from reid_dhm.gallery.search.search import Hit

OUTPUT = "What is written"


def search(
    folder: GalleryOption,
    query: QueryOption = None,
    box: BoxOption = None,
    tracklet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            rich_help_panel=WHO,
            help="A tracklet of the person that is in the gallery already; repeatable.",
        ),
    ] = None,
    rejected: Annotated[
        list[str] | None,
        typer.Option(
            "--not",
            metavar="ID",
            rich_help_panel=WHO,
            help="A tracklet of somebody else, to move away from; repeatable.",
        ),
    ] = None,
    detector: DetectorOption = None,
    top_k: Annotated[int, typer.Option(min=1, help="Hits at most.")] = 10,
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Leave out what is less similar.")
    ] = None,
    by_person: Annotated[
        bool, typer.Option("--by-person", help="Of tracklets with one name, only the best.")
    ] = False,
    camera: CameraOption = None,
    video: VideoOption = None,
    person: PersonOption = None,
    after: AfterOption = None,
    before: BeforeOption = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            rich_help_panel=OUTPUT,
            help="A page with thumbnails, a timeline and clips.",
        ),
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="The hits' best images."),
    ] = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--annotate",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="The best hit's whole video, with everybody's box and similarity: .webm or .mp4.",
        ),
    ] = None,
    json: JsonOption = None,
    checkpoint: CheckpointOption = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The model's thresholds.json, for match probabilities."),
    ] = None,
    index: IndexOption = "Flat",
    device: DeviceOption = "auto",
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
) -> None:
    """Find everywhere and every time that a person was seen, by images or by tracklets.

    Example: reid-dhm search --gallery galleries/site --query person.jpg --camera gate
    --after 2026-03-01T08:00:00+01:00 --report found
    """
    if not query and not tracklet:
        raise typer.BadParameter("nobody is named: give --query IMAGE or --tracklet ID")
    boxes = parse_boxes(box, len(query or ()))

    from reid_dhm.cli.progress import progress_bar
    from reid_dhm.gallery.footage.annotation import check_video_name
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.search.match_thresholds import open_thresholds
    from reid_dhm.gallery.search.search import Searcher
    from reid_dhm.gallery.search.search_output import annotate_video, as_json, write_crops
    from reid_dhm.gallery.search.search_report import Asked, write_search_report
    from reid_dhm.gallery.store import audit
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.report.folder import check_folder

    if report is not None:
        check_folder(report)
    if annotated is not None:
        check_video_name(annotated)
    where = parse_filter((), camera, video, person, after, before)
    right = [TrackletId.parse(text) for text in tracklet or ()]
    wrong = [TrackletId.parse(text) for text in rejected or ()]
    with GalleryStore(folder) as store:
        warn_of_untimed(store, where)
        asked = Asked(where, right, wrong, top_k, min_similarity, by_person)
        vectors = None
        if query:
            others = {"backbone": backbone, "size": size, "neck": neck}
            embedder = open_embedder(store, checkpoint, device, **others)
            asked.images, vectors = embed_queries(embedder, query, boxes, detector)
            asked.names = [str(path) for path in query]
        calibrated = open_thresholds(store.fingerprint or "", checkpoint, thresholds)
        searcher = Searcher(store, index, calibrated)
        if vectors is None or right or wrong:
            vectors = searcher.refined(vectors, right, wrong)
        hits = searcher.search(
            vectors,
            top_k,
            where,
            [*right, *wrong],
            by_person=by_person,
            min_similarity=min_similarity,
        )
        log = {"pictures": asked.names, "boxes": box, "tracklets": tracklet, "rejected": rejected}
        log = {name: value for name, value in log.items() if value}
        audit.record(store, "search", {**log, **as_words(where), "hits": len(hits)})
        _print(hits, searcher.index.opened(store))
        files: list[Path | None] = [None] * len(hits)
        if report is not None:
            with progress_bar("Report") as bar:
                files = write_search_report(report, searcher, hits, asked, bar)
            typer.echo(f"report: {report / 'index.html'}")
        if crops is not None:
            files = write_crops(store, hits, crops)
        if annotated is not None and not hits:
            typer.echo(f"nobody was found, so {annotated} was not written", err=True)
        elif annotated is not None:
            with progress_bar("Annotating") as bar:
                best = store.video(hits[0].tracklet.id.video)
                frames = annotate_video(searcher, vectors, hits, best, annotated, bar)
            typer.echo(f"{best.source}, {frames} frames: {annotated}")
    if json is not None:
        write_json(json, [as_json(hit, file) for hit, file in zip(hits, files, strict=True)])


def _print(hits: list[Hit], index: FaissIndex) -> None:
    from reid_dhm.gallery.search.search_output import when

    rows = [
        {
            "": rank,
            "tracklet": hit.tracklet.id,
            "camera": hit.tracklet.camera,
            "seen": when(hit.tracklet),
            "person": hit.tracklet.person or "",
            "similarity": f"{hit.similarity:.3f}",
            "probability": "" if hit.probability is None else f"{hit.probability:.1%}",
        }
        for rank, hit in enumerate(hits, 1)
    ]
    print_table(rows, "nobody that satisfies all that")
    if index.recall is not None:
        typer.echo(
            f"{index.kind} is approximate: it found {index.recall:.1%} of the ten nearest in "
            "searches for a sample of its own tracklets",
            err=True,
        )
