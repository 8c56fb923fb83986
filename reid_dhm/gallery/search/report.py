"""The report of a search: the candidates' images and clips, and a timeline per camera.

One folder that opens in a browser from disk; pages and styles come from :mod:`reid_dhm.report`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from reid_dhm.data.images import upright_size
from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.annotation import Drawn, still
from reid_dhm.gallery.search.candidates import Candidate, format_span, largest_drop
from reid_dhm.gallery.search.clips import WIDTH, write_clip_around
from reid_dhm.gallery.search.output import write_crops
from reid_dhm.gallery.search.query_image import QueryCrop
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.search.timeline import timelines
from reid_dhm.gallery.store.reader import GalleryReader
from reid_dhm.gallery.track.crops import encode_jpeg
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import environment


@dataclass(frozen=True, slots=True)
class ShownImage:
    """A file of the report, and its size in pixels."""

    href: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class _Clip:
    """Files of the report: a clip, and its best frame."""

    href: str
    poster: str


def write_search_report(
    folder: Path,
    searcher: Searcher,
    candidates: Sequence[Candidate],
    request: SearchRequest,
    images: Sequence[QueryCrop] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Path | None]:
    """Write the report; the folder appears complete or not at all.

    A clip whose footage is gone is left out, and the page names the reason.

    Args:
        folder: may hold an older report, which is replaced.
        searcher: that returned the candidates.
        candidates: the most similar first.
        request: what was searched for.
        images: the query images.
        progress: called with the number of clips done and in all.

    Returns:
        The file of each candidate's image; None for a tracklet that was deleted since the search.

    Raises:
        InputError: the folder holds something else.
    """
    gallery = searcher.gallery
    with report_folder(folder) as fresh:
        cards, faults = write_cards(gallery, candidates, fresh, progress)
        crops = [card["file"] for card in cards]
        files = [None if crop is None else folder / crop.relative_to(fresh) for crop in crops]
        facts = _facts(searcher, request)
        page = (
            environment()
            .get_template("search.html")
            .render(
                name=f"Search in {gallery.name}",
                root="",
                case=None,
                queries=_write_queries(gallery, request, images, fresh),
                cards=cards,
                folded=_folded(candidates, searcher.basis),
                basis=searcher.basis,
                drop=largest_drop(candidates) if searcher.basis is None else None,
                timelines=timelines(candidates),
                search_facts=facts,
                faults=faults,
            )
        )
        (fresh / "index.html").write_text(page, encoding="utf-8")
        found = [
            candidate.to_dict(None if crop is None else crop.relative_to(fresh))
            for candidate, crop in zip(candidates, crops, strict=True)
        ]
        write_results(fresh, "search", {"asked": facts, "hits": found})
    return files


def write_cards(
    gallery: GalleryReader,
    candidates: Sequence[Candidate],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[dict[str, Any]], list[str]]:
    """Write images and clips of candidates into the folder of a report.

    Returns:
        What the page's template shows of each, and why clips are missing.
    """
    crops = write_crops(gallery, candidates, folder / "crops")
    (folder / "clips").mkdir()
    cards: list[dict[str, Any]] = []
    faults = set()
    for rank, (candidate, crop) in enumerate(zip(candidates, crops, strict=True), 1):
        clip = None
        try:
            clip = _clip(gallery, candidate, folder, rank)
        except InputError as error:
            faults.add(str(error))
        cards.append(
            {
                "rank": rank,
                "candidate": candidate,
                "seen": format_span(candidate.tracklet),
                "file": crop,
                "crop": None if crop is None else shown_image(crop, folder),
                "clip": clip,
                "mark": None,
                "source": candidate.tracklet.source,
            }
        )
        if progress is not None:
            progress(rank, len(candidates))
    return cards, sorted(faults)


def _folded(candidates: Sequence[Candidate], basis: str | None) -> int:
    """How many candidates at the end are not likely, and shown on request only."""
    if basis is None:
        return 0
    return sum(1 for _ in takewhile(lambda each: not each.is_likely, reversed(candidates)))


def _clip(gallery: GalleryReader, candidate: Candidate, folder: Path, rank: int) -> _Clip | None:
    """Write the seconds around the best crop; None for a tracklet deleted since the search."""
    found = candidate.tracklet
    boxes = gallery.boxes(found.key)
    if not len(boxes):
        return None
    video = gallery.video(found.id.video)
    best = boxes["time"][np.searchsorted(boxes["frame"], found.frame)]
    clip = _Clip(f"clips/{rank:03d}.webm", f"clips/{rank:03d}.jpg")
    known = not np.isnan(candidate.similarity)
    label = f"{candidate.similarity:.2f}" if known else f"#{found.id.track}"
    drawn = [Drawn(label, boxes)]
    frame = still(video, drawn, found.frame, float(best), WIDTH)
    (folder / clip.poster).write_bytes(encode_jpeg(frame))
    write_clip_around(video, drawn, boxes, float(best), folder / clip.href)
    return clip


def _write_queries(
    gallery: GalleryReader, request: SearchRequest, images: Sequence[QueryCrop], folder: Path
) -> list[tuple[str, ShownImage | None]]:
    """Write the images that were searched for; each with its caption."""
    shown: list[tuple[str, ShownImage | None]] = []
    (folder / "query").mkdir()
    for number, image in enumerate(images, 1):
        path = folder / "query" / f"image_{number}.jpg"
        path.write_bytes(encode_jpeg(np.ascontiguousarray(image.pixels[:, :, ::-1])))
        shown.append((Path(image.name).name, shown_image(path, folder)))
    for kind, ids in (("tracklet", request.tracklets), ("not", request.rejected)):
        for id in ids:
            jpeg = gallery.thumbnail(gallery.tracklet(id).key)
            path = folder / "query" / f"{kind}_{id}.jpg"
            if jpeg is not None:
                path.write_bytes(jpeg)
                shown.append((f"{kind} {id}", shown_image(path, folder)))
    return shown


def shown_image(path: Path, folder: Path) -> ShownImage | None:
    """The file as a page shows it; None if it is not an image."""
    try:
        height, width = upright_size(path)
    except InputError:
        return None
    return ShownImage(path.relative_to(folder).as_posix(), width, height)


def _facts(searcher: Searcher, request: SearchRequest) -> dict[str, Any]:
    """The conditions of the search and the index that served it, as labels and values."""
    gallery, where = searcher.gallery, request.where
    index = searcher.index.opened(gallery)
    recall = "exact" if index.exact else "approximate"
    if index.recall is not None:
        recall = f"approximate, recall@10 {index.recall:.1%}"
    facts = {
        "gallery": str(gallery.folder),
        "tracklets searched": f"{gallery.count(where):,}",
        "cameras": ", ".join(where.cameras) or "all",
        "videos": ", ".join(where.videos) or "all",
        "person": where.person,
        "after": where.after,
        "before": where.before,
        "maximum candidates": request.top_k,
        "minimum similarity": request.min_similarity,
        "candidates per person": "best only" if request.by_person else None,
        "index": f"{index.kind} ({recall})",
        "model": gallery.fingerprint,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
