"""``reid-dhm search``: find where and when a person was seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reid_dhm.cli.options import (
    BackboneOption,
    DeviceOption,
    InputOption,
    JsonOption,
    NeckOption,
    SizeOption,
    write_json,
)
from reid_dhm.cli.options.query import (
    WHO,
    BoxOption,
    CheckpointOption,
    DetectorOption,
    IndexOption,
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
    VideoOption,
    warn_of_untimed,
)
from reid_dhm.cli.output import command_line, say, suggest
from reid_dhm.cli.output.candidates import print_candidates
from reid_dhm.cli.output.hints import suggest_better_model

if TYPE_CHECKING:
    from reid_dhm.gallery.index.opening import IndexState

OUTPUT = "Output"


def search(
    folder: GalleryOption,
    query: QueryOption = None,
    box: BoxOption = None,
    tracklet: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            rich_help_panel=WHO,
            help="A tracklet of the person that is already in the gallery; repeatable.",
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
    top_k: Annotated[int, typer.Option(min=1, help="Maximum number of candidates.")] = 10,
    min_similarity: Annotated[
        float | None, typer.Option(min=-1, max=1, help="Lowest similarity of a candidate.")
    ] = None,
    by_person: Annotated[
        bool, typer.Option("--by-person", help="Show only the best tracklet of every person.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Also print candidates that are not likely.")
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
            help="Write a page with thumbnails, a timeline and clips.",
        ),
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", rich_help_panel=OUTPUT, help="Write the best image of every candidate."
        ),
    ] = None,
    annotated: Annotated[
        Path | None,
        typer.Option(
            "--annotate",
            metavar="FILE",
            rich_help_panel=OUTPUT,
            help="Write the best candidate's whole video with boxes: .webm or .mp4.",
        ),
    ] = None,
    json: JsonOption = None,
    checkpoint: CheckpointOption = None,
    thresholds: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A thresholds.json instead of the gallery's own."),
    ] = None,
    index: IndexOption = "Flat",
    device: DeviceOption = "auto",
    backbone: BackboneOption = None,
    size: SizeOption = None,
    neck: NeckOption = None,
    input: InputOption = None,
) -> None:
    """Find where and when a person was seen, by images or by tracklets.

    Example: reid-dhm search --gallery galleries/site --query person.jpg --camera gate
    --after 2026-03-01T08:00:00+01:00 --report found
    """
    if not query and not tracklet:
        raise typer.BadParameter("nothing to search for: give --query IMAGE or --tracklet ID")
    boxes = parse_boxes(box, len(query or ()))

    # Every check that needs neither the model nor the index comes before both are loaded.
    from reid_dhm.gallery.opening import open_gallery
    from reid_dhm.gallery.records import TrackletId
    from reid_dhm.gallery.search.request import SearchRequest
    from reid_dhm.gallery.store.filters import parse_filter
    from reid_dhm.gallery.store.people import describe

    _check_outputs(report, annotated)
    request = SearchRequest(
        where=parse_filter((), camera, video, person, after, before),
        tracklets=[TrackletId.parse(text) for text in tracklet or ()],
        rejected=[TrackletId.parse(text) for text in rejected or ()],
        top_k=top_k,
        min_similarity=min_similarity,
        by_person=by_person,
    )
    with open_gallery(folder) as store:
        store.check_filter(request.where)
        for id in (*request.tracklets, *request.rejected):
            store.tracklet(id)
        warn_of_untimed(store, request.where)
        if query:
            others = {"backbone": backbone, "size": size, "neck": neck, "input": input}
            model = find_model(checkpoint, **others)
        crops_of_query = crop_queries(query or (), boxes, detector)

        from reid_dhm.cli.output.progress import progress_bar
        from reid_dhm.gallery.search.match_thresholds import open_thresholds
        from reid_dhm.gallery.search.output import annotate_video, write_crops
        from reid_dhm.gallery.search.searcher import Searcher
        from reid_dhm.gallery.store import audit

        calibrated = open_thresholds(store.fingerprint or "", thresholds)
        vectors = owner = None
        if crops_of_query:
            embedder = open_embedder(store, model, device)
            vectors = embedder([crop.pixels for crop in crops_of_query])
            owner = embedder.fingerprint
        searcher = Searcher(store, index, calibrated, owner)
        candidates = searcher.run(request, vectors)
        names = [crop.name for crop in crops_of_query]
        log = {"pictures": names, "boxes": box, "tracklets": tracklet, "rejected": rejected}
        log = {name: value for name, value in log.items() if value}
        audit.record(
            store, "search", {**log, **describe(store, request.where), "hits": len(candidates)}
        )
        print_candidates(candidates, searcher.basis, everything)
        _say_recall(searcher.index.opened(store))
        files: list[Path | None] = [None] * len(candidates)
        if report is not None:
            from reid_dhm.gallery.search.report import write_search_report

            with progress_bar("Report") as bar:
                files = write_search_report(
                    report, searcher, candidates, request, crops_of_query, bar
                )
            say(f"report: {report / 'index.html'}")
        if crops is not None:
            files = write_crops(store, candidates, crops)
            say(f"crops: {crops}")
        if annotated is not None and not candidates:
            say(f"no candidates, so {annotated} was not written", err=True)
        elif annotated is not None:
            query_vector = searcher.refine(vectors, request.tracklets, request.rejected)
            with progress_bar("Annotating") as bar:
                best = store.video(candidates[0].tracklet.id.video)
                frames = annotate_video(searcher, query_vector, candidates, best, annotated, bar)
            say(f"annotated video: {annotated} ({frames} frames of {best.source})")
    if json is not None:
        found = zip(candidates, files, strict=True)
        write_json(json, [candidate.to_dict(file) for candidate, file in found])
        say(f"json: {json}")
    if crops_of_query:
        suggest_better_model(checkpoint, json, folder)
    if not candidates:
        return
    model_options = {
        "--checkpoint": checkpoint,
        "--thresholds": thresholds,
        "--index": None if index == "Flat" else index,
        "--device": None if device == "auto" else device,
        "--backbone": backbone,
        "--size": size,
        "--neck": neck,
        "--input": input,
    }
    if report is not None:
        served = command_line("serve", {"--gallery": folder, **model_options})
        suggest(served, "search in the browser")
        return
    asked = {
        "--query": query,
        "--box": box,
        "--tracklet": tracklet,
        "--not": rejected,
        "--detector": detector,
        "--top-k": None if top_k == 10 else top_k,
        "--min-similarity": min_similarity,
        "--by-person": by_person,
        "--camera": camera,
        "--video": video,
        "--person": person,
        "--after": after,
        "--before": before,
    }
    again = command_line(
        "search", {"--gallery": folder, **asked, **model_options, "--report": "found"}
    )
    suggest(again, "a page with images and clips")


def _check_outputs(report: Path | None, annotated: Path | None) -> None:
    if report is not None:
        from reid_dhm.report.folder import check_folder

        check_folder(report)
    if annotated is not None:
        from reid_dhm.gallery.footage.annotation import check_video_name

        check_video_name(annotated)


def _say_recall(index: IndexState) -> None:
    if index.recall is not None:
        say(
            f"{index.kind} is approximate: recall@10 is {index.recall:.1%} in searches for a "
            "sample of its own tracklets",
            err=True,
        )
