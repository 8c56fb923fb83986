"""The page of a model comparison: figures, plots, the hardest pairs, and where they mislead."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from reid_dhm.gallery.people.comparison.model_comparison import ModelComparison
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.report.folder import report_folder, write_results
from reid_dhm.report.pages import Pages
from reid_dhm.report.plots.evaluation import roc_curve
from reid_dhm.report.plots.tradeoff import Measured, accuracy_over_speed

_SHOWN = 12  # pairs of each kind


@dataclass(frozen=True, slots=True)
class _Pair:
    """Two images of the report, and their similarity."""

    left: str
    right: str
    similarity: float


def write_model_comparison(
    folder: Path, comparison: ModelComparison, gallery: GalleryStore
) -> None:
    """Write a folder that opens in a browser from disk; it appears complete or not at all.

    Args:
        folder: may hold an older report, which is replaced.
        comparison: of models on this gallery.
        gallery: whose images the models were compared on.

    Raises:
        InputError: the folder holds something else.
    """
    rates = list(comparison.results[0].separation.tpr)
    drawings = [
        accuracy_over_speed(
            [
                Measured(result.label, result.images_per_second, result.tpr.value, result.tpr.low,
                         result.tpr.high)
                for result in comparison.results
            ],
            f"true-positive rate at {rates[0]:.0%} false positives",
        ),
        roc_curve([(result.label, result.separation.pairs) for result in comparison.results]),
    ]  # fmt: skip
    with report_folder(folder) as fresh:
        pages = Pages(fresh, f"Models on {gallery.folder.resolve().name}", 1)
        pages.write_figures(drawings)
        pages.write(
            "index.html",
            "models.html",
            comparison=comparison,
            known=comparison.known,
            tracklets=int(comparison.known.tracklets.max()) + 1,
            rates=rates,
            drawings=drawings,
            hardest=_hardest(fresh, comparison),
            facts_of={
                "gallery": str(gallery.folder),
                "made": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            },
        )
        write_results(fresh, "models", comparison.to_dict())


def _hardest(folder: Path, comparison: ModelComparison) -> dict[str, list[_Pair]]:
    """The pairs that contradict the best model most, one of each pair of tracklets."""
    best, known = comparison.results[0].separation, comparison.known
    (folder / "crops").mkdir()
    found = {}
    for kind, pairs, scores in (
        ("One tracklet, least similar", known.same, best.same),
        ("Two people, most similar", known.different, -best.different),
    ):
        shown, seen = [], set()
        for at in scores.argsort():
            rows = pairs[:, at].tolist()
            owners = tuple(sorted(known.tracklets[rows].tolist()))
            if owners in seen:
                continue
            seen.add(owners)
            files = [f"crops/{row}.jpg" for row in rows]
            for row, file in zip(rows, files, strict=True):
                (folder / file).write_bytes(known.jpegs[row])
            shown.append(_Pair(files[0], files[1], abs(float(scores[at]))))
            if len(shown) == _SHOWN:
                break
        found[kind] = shown
    return found
