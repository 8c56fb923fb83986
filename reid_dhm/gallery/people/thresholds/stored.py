"""The thresholds of a gallery, kept in the gallery itself: found without labels, valid there alone.

They go when anything is deleted, because they rest on everybody; and with another model.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.evaluation.calibration import Calibration, log_odds
from reid_dhm.gallery.people.evidence import read_appearances
from reid_dhm.gallery.people.thresholds.calibration import (
    PairCalibration,
    PeopleThresholds,
    calibrate,
)
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.database import translated_errors
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import checked
from reid_dhm.gallery.store.reader import GalleryReader


@dataclass(frozen=True, eq=False)
class StoredThresholds:
    """Thresholds of a gallery, and what they rest on.

    Attributes:
        thresholds: without the fits of all cameras, which only a new calibration shows.
        num_tracklets: that the gallery had.
        made: when they were found.
    """

    thresholds: PeopleThresholds
    num_tracklets: int
    made: datetime

    def probability(
        self, cosines: NDArray[np.floating], cameras: NDArray[np.int64], seen_by: Sequence[int] = ()
    ) -> NDArray[np.float64]:
        """Probability that a query and each of N tracklets show one person.

        Args:
            cosines: (N,) between the query and the tracklets' means.
            cameras: (N,) camera ids of the tracklets.
            seen_by: camera ids of the query; without any, the least favourable pair of cameras with
                each tracklet's camera counts.

        Returns:
            (N,), NaN where the gallery does not show it.
        """
        found = np.full(len(cosines), np.nan)
        for camera in np.unique(cameras).tolist():
            own = cameras == camera
            pairs = [pair for pair in self.thresholds.by_cameras if camera in pair]
            if seen_by:
                wanted = {(min(camera, other), max(camera, other)) for other in seen_by}
                pairs = [pair for pair in pairs if pair in wanted]
            values = [self.thresholds.probability(cosines[own], *pair) for pair in pairs]
            known = [value for value in values if value is not None]
            if known:
                found[own] = np.min(known, axis=0)
        return found


def calibrate_gallery(gallery: GalleryStore, actor: str | None = None) -> PeopleThresholds:
    """Find the thresholds of a gallery and keep them there, with an audit entry.

    Args:
        gallery: which.
        actor: for the audit log; the user of this process by default.
    """
    with gallery.snapshot():
        deletions, count = gallery.state()[1:3]
        appearances = read_appearances(gallery)
    found = calibrate(appearances)
    with gallery.writing():
        store_thresholds(gallery, found, count, deletions)
        audit.record(gallery, "calibrate", {"tracklets": count, "pairs": found.negatives}, actor)
    return found


def store_thresholds(
    gallery: GalleryStore, thresholds: PeopleThresholds, num_tracklets: int, deletions: int
) -> None:
    """Keep thresholds, unless something was deleted since they were computed.

    Args:
        gallery: which.
        thresholds: of its tracklets.
        num_tracklets: how many there were.
        deletions: of :meth:`.GalleryStore.state` then.
    """
    content = {
        "tracklets": num_tracklets,
        "made": datetime.now(timezone.utc).isoformat(),
        "model": gallery.fingerprint,
        "link": thresholds.link,
        "join": thresholds.join,
        "negatives": thresholds.negatives,
        "centres": {
            str(camera): base64.b64encode(np.asarray(centre, "<f4").tobytes()).decode()
            for camera, centre in thresholds.centres.items()
        },
        "cameras": [
            {
                "pair": list(pair),
                **vars(found.calibration),
                "negatives": found.negatives,
                "unlabelled": found.unlabelled,
            }
            for pair, found in thresholds.by_cameras.items()
        ],
    }
    with gallery.writing() as db:
        db.execute(
            "UPDATE gallery SET thresholds = ? WHERE deletions = ?",
            (json.dumps(content), deletions),
        )


def read_stored_thresholds(gallery: GalleryReader) -> StoredThresholds | None:
    """The thresholds of a gallery; None without, or if they are another model's.

    Raises:
        StorageError: they are damaged.
    """
    with translated_errors(gallery.path):
        return stored(gallery.thresholds_row())


@checked(str | None, int | None, str | None)
def stored(row: Sequence[Any]) -> StoredThresholds | None:
    """Fingerprint and dimension of the gallery's model, and the thresholds as JSON."""
    fingerprint, dim, text = row
    if text is None:
        return None
    try:
        content = json.loads(text)
        found = StoredThresholds(_thresholds(content, dim), *_made(content))
        return found if content["model"] == fingerprint else None
    except (KeyError, AttributeError, IndexError) as error:
        raise ValueError(f"thresholds that lack {error}") from error


def camera_rows(thresholds: PeopleThresholds, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """For every pair of cameras the cosines of even and of 90 % probability, as JSON-ready values.

    Args:
        thresholds: of the gallery.
        names: of its cameras, by id.
    """
    return [
        {
            "cameras": [names.get(camera, str(camera)) for camera in dict.fromkeys(pair)],
            "even": _cosine(found.calibration, 0.5),
            "sure": _cosine(found.calibration, 0.9),
            "negatives": found.negatives,
            "unlabelled": found.unlabelled,
        }
        for pair, found in sorted(thresholds.by_cameras.items())
    ]


def _cosine(calibration: Calibration, probability: float) -> float:
    """The cosine of a match probability; it may lie beyond 1, where no pair reaches it."""
    return (log_odds(probability) - calibration.intercept) / calibration.slope


def _made(content: dict[str, Any]) -> tuple[int, datetime]:
    return int(content["tracklets"]), datetime.fromisoformat(content["made"])


def _thresholds(content: dict[str, Any], dim: int | None) -> PeopleThresholds:
    return PeopleThresholds(
        centres={
            int(camera): np.frombuffer(base64.b64decode(text), "<f4").reshape(dim or 0)
            for camera, text in content["centres"].items()
        },
        link=_finite(content["link"]),
        join=_finite(content["join"]),
        negatives=int(content["negatives"]),
        by_cameras={
            (int(each["pair"][0]), int(each["pair"][1])): PairCalibration(
                Calibration(*(_finite(each[name]) for name in ("slope", "intercept", "prior"))),
                int(each["negatives"]),
                int(each["unlabelled"]),
            )
            for each in content["cameras"]
        },
    )


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"a threshold of {number}")
    return number
