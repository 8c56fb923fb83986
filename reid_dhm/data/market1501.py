"""Market-1501 with its choice of query images."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from reid_dhm.data.layouts import MARKET1501, Split, Splits, load_layout, sample_of_name
from reid_dhm.data.listing import list_images
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError, NotFoundError

logger = logging.getLogger(__name__)

GT_BBOX = "gt_bbox"


def load_market1501(root: Path, required: Collection[Split], *, queries: str = "query") -> Splits:
    """Load Market-1501 with the query images of ``query/`` or of ``gt_bbox/``.

    ``gt_bbox/`` has hand-drawn boxes, several of each person in each camera, for evaluations that
    pool them (multi-query). Boxes of persons and cameras that are not in ``query/`` are left out.

    Raises:
        InputError: as :func:`.layouts.load_layout`, for other ``queries``, or if ``gt_bbox/`` is
            missing.
    """
    if queries not in ("query", GT_BBOX):
        raise InputError(f"queries={queries!r} is not in Market-1501; give query or {GT_BBOX}")
    splits = load_layout(MARKET1501, root, required)
    if queries == GT_BBOX and splits["query"]:
        splits["query"] = _hand_drawn(splits["query"])
    return splits


def _hand_drawn(queries: Sequence[Sample]) -> list[Sample]:
    folder = queries[0].path.parent.with_name(GT_BBOX)
    if not folder.is_dir():
        raise NotFoundError(
            f"{folder} does not exist; unpack Market-1501 again, or leave queries={GT_BBOX} out"
        )
    asked = {(sample.pid, sample.camid) for sample in queries}
    # Read like a gallery: junk and distractors are not errors, and are not asked for.
    boxes = [sample_of_name(path, "gallery", MARKET1501) for path in list_images(folder)]
    drawn = [sample for sample in boxes if (sample.pid, sample.camid) in asked]
    lacking = sorted(asked - {(sample.pid, sample.camid) for sample in drawn})
    if lacking:
        logger.warning(
            "%s has no image of %d persons and cameras of query, the first one person %d in "
            "camera %d; figures will not compare with others'",
            *(folder, len(lacking), *lacking[0]),
        )
    return drawn
