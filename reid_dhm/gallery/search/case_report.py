"""The report of a case: what was confirmed, by whom and when, in the form of a search's report."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from reid_dhm.gallery.records import Tracklet
from reid_dhm.gallery.search.candidates import Candidate
from reid_dhm.gallery.search.report import ShownImage, shown_image, write_cards
from reid_dhm.gallery.search.timeline import timelines
from reid_dhm.gallery.store import cases
from reid_dhm.gallery.store.cases import Case
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import environment


def write_case_report(
    folder: Path,
    gallery: GalleryStore,
    case: Case,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write the confirmed appearances of a case, by time, with images and clips.

    Args:
        folder: may hold an older report, which is replaced.
        gallery: of the case.
        case: whose.
        progress: called with the number of clips done and in all.

    Returns:
        The number of appearances.

    Raises:
        InputError: the folder holds something else.
    """
    marks = {str(mark.tracklet): mark for mark in case.confirmed}
    found = [gallery.tracklet(mark.tracklet) for mark in marks.values()]
    candidates = [
        Candidate(
            tracklet,
            math.nan if mark.similarity is None else mark.similarity,
            mark.probability,
        )
        for tracklet in sorted(found, key=_when)
        for mark in (marks[str(tracklet.id)],)
    ]
    with report_folder(folder) as fresh:
        cards, faults = write_cards(gallery, candidates, fresh, progress)
        for card in cards:
            tracklet = card["candidate"].tracklet
            card |= {"mark": marks[str(tracklet.id)], "source": Path(tracklet.source).name}
            # A report that leaves the house names no folders of it.
            faults = [text.replace(tracklet.source, card["source"]) for text in faults]
        facts = _facts(gallery, case)
        page = (
            environment()
            .get_template("search.html")
            .render(
                name=case.title,
                root="",
                case=case,
                queries=_write_images(gallery, case, fresh),
                cards=cards,
                folded=0,
                timelines=timelines(candidates),
                search_facts=facts,
                faults=faults,
            )
        )
        (fresh / "index.html").write_text(page, encoding="utf-8")
        appearances = [
            {
                **candidate.tracklet.to_dict(),
                "source": card["source"],
                "similarity": (mark := card["mark"]).similarity,
                "probability": mark.probability,
                "confirmed_by": mark.by,
                "confirmed_at": mark.at.isoformat(),
                "note": mark.note,
                "crop": card["crop"].href if card["crop"] else None,
                "clip": card["clip"].href if card["clip"] else None,
            }
            for candidate, card in zip(candidates, cards, strict=True)
        ]
        content = {"case": facts, "notes": case.notes, "appearances": appearances}
        write_results(fresh, "case", content)
    return len(candidates)


def _when(tracklet: Tracklet) -> tuple[float, str, float]:
    """By the clock; those without one last, by video."""
    clock = tracklet.start_time.timestamp() if tracklet.start_time else math.inf
    return clock, str(tracklet.id.video), tracklet.start


def _write_images(
    gallery: GalleryStore, case: Case, folder: Path
) -> list[tuple[str, ShownImage | None]]:
    (folder / "query").mkdir()
    shown = []
    for number, image in enumerate(case.images, 1):
        path = folder / "query" / f"image_{number}.jpg"
        path.write_bytes(cases.image(gallery, case, image))
        shown.append((f"image {number}", shown_image(path, folder)))
    return shown


def _facts(gallery: GalleryStore, case: Case) -> dict[str, str]:
    """The case, and what was searched for, as labels and values."""
    facts: dict[str, Any] = {
        "gallery": gallery.folder.resolve().name,
        "case": case.id,
        "made by": case.owner,
        "made": _moment(case.made),
        "changed": _moment(case.changed),
        "rejected candidates": len(case.marks) - len(case.confirmed),
        **{
            name.replace("_", " "): ", ".join(map(str, value)) if isinstance(value, list) else value
            for name, value in case.search.items()
        },
        "model": gallery.fingerprint,
        "exported": _moment(datetime.now(timezone.utc)),
    }
    return {name: str(value) for name, value in facts.items() if value not in (None, "")}


def _moment(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC")
