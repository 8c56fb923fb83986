"""A page that shows what a search found: images, a timeline per camera, and clips of each hit.

It is one folder that opens in a browser from disk; pages and styles are those of the reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.annotation import Drawn, annotate, still
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.search.search import Hit, Searcher
from reid_dhm.gallery.search.search_output import as_json, when, write_crops
from reid_dhm.gallery.search.timeline import timelines
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.crops import decode, encode
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import environment

_SECONDS = 8.0  # of a clip, around the best image
_FPS = 12.5  # of a clip, at most about so many
_WIDTH = 640  # pixels of a clip


@dataclass
class Asked:
    """What was searched for.

    Attributes:
        where: which tracklets could be found.
        tracklets: that showed the person.
        rejected: that showed others.
        top_k: hits that were wanted at most.
        min_similarity: below which there are none.
        by_person: whether each person has one hit.
        images: (H, W, 3) uint8 RGB, what was embedded.
        names: of the images' files.
    """

    where: TrackletFilter = field(default_factory=TrackletFilter)
    tracklets: Sequence[TrackletId] = ()
    rejected: Sequence[TrackletId] = ()
    top_k: int | None = None
    min_similarity: float | None = None
    by_person: bool = False
    images: Sequence[NDArray[np.uint8]] = ()
    names: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Shown:
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
    hits: Sequence[Hit],
    asked: Asked,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path | None]:
    """Write the report; the folder appears whole or not at all.

    A clip that cannot be cut, because its footage is gone, is left out and the page says why.

    Args:
        folder: may hold an older report, which is replaced.
        searcher: that found the hits.
        hits: best first.
        asked: what was searched for.
        progress: told the clips done and all of them.

    Returns:
        The file of each hit's image; None for what was deleted meanwhile.

    Raises:
        InputError: the folder holds something else.
    """
    gallery = searcher.gallery
    with report_folder(folder) as fresh:
        crops = write_crops(gallery, hits, fresh / "crops")
        (fresh / "clips").mkdir()
        cards, faults = [], set()
        for rank, (hit, crop) in enumerate(zip(hits, crops, strict=True), 1):
            clip = None
            try:
                clip = _clip(gallery, hit, fresh, rank)
            except InputError as error:
                faults.add(str(error))
            cards.append(_card(hit, rank, fresh, crop, clip))
            if progress is not None:
                progress(rank, len(hits))
        files = [None if crop is None else folder / crop.relative_to(fresh) for crop in crops]
        facts = _facts(searcher, asked)
        page = (
            environment()
            .get_template("search.html")
            .render(
                name=f"Search in {gallery.folder.resolve().name}",
                root="",
                asked=_write_asked(gallery, asked, fresh),
                cards=cards,
                timelines=timelines(hits),
                search_facts=facts,
                faults=sorted(faults),
            )
        )
        (fresh / "index.html").write_text(page, encoding="utf-8")
        found = [
            as_json(hit, None if crop is None else crop.relative_to(fresh))
            for hit, crop in zip(hits, crops, strict=True)
        ]
        write_results(fresh, "search", {"asked": facts, "hits": found})
    return files


def _clip(gallery: GalleryStore, hit: Hit, folder: Path, rank: int) -> _Clip | None:
    """Cut what surrounds the best image; None for what was deleted meanwhile."""
    found = hit.tracklet
    boxes = gallery.boxes(found.key)
    if not len(boxes):
        return None
    video = gallery.video(found.id.video)
    best = boxes["time"][np.searchsorted(boxes["frame"], found.frame)]
    # The footage is entered by a frame whose time is known.
    near = boxes[np.abs(boxes["time"] - best) <= _SECONDS / 2]
    lead = near["time"][0] - best + _SECONDS / 2
    trail = best + _SECONDS / 2 - near["time"][-1]
    clip = _Clip(f"clips/{rank:03d}.webm", f"clips/{rank:03d}.jpg")
    drawn = [Drawn(f"{hit.similarity:.2f}", boxes)]
    frame = still(video, drawn, found.frame, float(best), _WIDTH)
    (folder / clip.poster).write_bytes(encode(frame))
    annotate(
        video,
        drawn,
        folder / clip.href,
        int(near["frame"][0]),
        int(near["frame"][-1]) + round(trail * video.fps),
        float(near["time"][0]),
        float(lead),
        step=max(1, round(video.fps / _FPS)),
        width=_WIDTH,
    )
    return clip


def _card(
    hit: Hit, rank: int, folder: Path, crop: Path | None, clip: _Clip | None
) -> dict[str, Any]:
    return {
        "rank": rank,
        "hit": hit,
        "when": when(hit.tracklet),
        "crop": None if crop is None else _shown(crop, folder),
        "clip": clip,
    }


def _write_asked(gallery: GalleryStore, asked: Asked, folder: Path) -> list[tuple[str, _Shown]]:
    """Write the images that were searched for; each with what it is called."""
    shown = []
    (folder / "query").mkdir()
    for number, (image, name) in enumerate(zip(asked.images, asked.names, strict=True), 1):
        path = folder / "query" / f"image_{number}.jpg"
        path.write_bytes(encode(np.ascontiguousarray(image[:, :, ::-1])))
        shown.append((Path(name).name, _shown(path, folder)))
    for kind, ids in (("tracklet", asked.tracklets), ("not", asked.rejected)):
        for id in ids:
            jpeg = gallery.thumbnail(gallery.tracklet(id).key)
            path = folder / "query" / f"{kind}_{id}.jpg"
            if jpeg is not None:
                path.write_bytes(jpeg)
                shown.append((f"{kind} {id}", _shown(path, folder)))
    return shown


def _shown(path: Path, folder: Path) -> _Shown:
    height, width = decode(path.read_bytes()).shape[:2]
    return _Shown(path.relative_to(folder).as_posix(), width, height)


def _facts(searcher: Searcher, asked: Asked) -> dict[str, Any]:
    """What was asked and what answered, under names for people."""
    gallery, where = searcher.gallery, asked.where
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
        "hits at most": asked.top_k,
        "similarity at least": asked.min_similarity,
        "hits of a person": "the best alone" if asked.by_person else None,
        "index": f"{index.kind} ({recall})",
        "model": gallery.fingerprint,
        "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
