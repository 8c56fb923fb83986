"""Training the index of a shared gallery: when, and with what search effort.

The effort is raised until a sample of searches finds enough.
"""

from __future__ import annotations

from dataclasses import asdict
from operator import methodcaller

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.index.recall import NEIGHBOURS, recall_by_depth
from reid_dhm.gallery.shared import schema
from reid_dhm.gallery.shared.gallery import SharedGallery
from reid_dhm.gallery.shared.index_facts import IndexFacts
from reid_dhm.gallery.shared.upkeep import clean, compact, retried, train

LEAST_ROWS = 50_000
"""Fewer tracklets are scanned, which is exact."""
_ROWS_PER_PARTITION = 4096
_SEARCHES = 64
_ENOUGH_RECALL = 0.985
_DEPTHS = (1, 2, 4, 8)
_EF = 8  # candidates of a graph per proposal


def maintain(gallery: SharedGallery) -> str:
    """Merge small files, bring the indexes up to date, and remove what no version needs.

    To be run now and then by one process, such as once an hour; readers and writers go on.

    Returns:
        What was done, in one line.
    """
    compact(gallery)
    facts = None if gallery.dim is None else update_index(gallery)
    alone = clean(gallery)
    how = "scanned" if facts is None else f"{facts.kind}, recall@10 {facts.recall:.1%}"
    left = "" if alone else "; files of writers at work stay"
    return f"{gallery.folder}: {gallery.count()} tracklets, {how}{left}"


def update_index(gallery: SharedGallery, kind: str = "IVF_HNSW_SQ") -> IndexFacts | None:
    """Add new tracklets to the indexes; train them anew once the gallery has doubled.

    Below :data:`LEAST_ROWS` there is none: after a large deletion it is dropped.
    """
    rows, facts = gallery.count(), gallery.index_facts()
    if rows < LEAST_ROWS:
        if facts is not None:
            _drop(gallery)
        return None
    if facts is not None and rows < 2 * facts.rows and facts.kind == kind:
        retried(gallery.tables, "tracklets", lambda table: table.optimize.optimize_indices())
        return facts
    return build_index(gallery, kind)


def _drop(gallery: SharedGallery) -> None:
    gallery.tables.delete("facts", "name = 'index'")  # first, so that no search asks for it
    indexes = gallery.tables.table("tracklets").describe_indices()
    for name in [index.name for index in indexes if index.field_names == ["mean"]]:
        retried(gallery.tables, "tracklets", methodcaller("drop_index", name))


def build_index(gallery: SharedGallery, kind: str) -> IndexFacts:
    """Train all indexes of the tracklets and measure the recall of searches."""
    rows = gallery.count()
    partitions = max(1, rows // _ROWS_PER_PARTITION)
    train(gallery.tables, kind, partitions, gallery.dim or 1)
    facts = tuned(gallery, kind, partitions, rows)
    gallery.set_facts(index=asdict(facts))
    return facts


def tuned(gallery: SharedGallery, kind: str, partitions: int, rows: int) -> IndexFacts:
    """The least effort of enough recall, measured in searches for a sample of the tracklets.

    Args:
        gallery: with the index.
        kind, partitions, rows: of it.
    """
    dim = gallery.dim or 1
    sample = gallery.tables.table("tracklets").sample(min(_SEARCHES, rows), ["mean"])
    queries = schema.vectors(sample["mean"], dim).astype(np.float32)
    nearest = _search(gallery, queries, NEIGHBOURS + 1, {"use_index": False})[:, 1:]
    deepest = _DEPTHS[-1] * (NEIGHBOURS + 1)
    facts = IndexFacts(kind, partitions, 1, 0, _DEPTHS[-1], 0.0, rows)
    nprobes = 1
    while True:
        ef = _EF * deepest if "HNSW" in kind else 0
        effort = {"nprobes": nprobes} | ({"ef": ef} if ef else {})
        found = _search(gallery, queries, deepest, effort)
        recalls = recall_by_depth(found, nearest, _DEPTHS)
        depth, recall = next(
            ((d, r) for d, r in zip(_DEPTHS, recalls, strict=True) if r >= _ENOUGH_RECALL),
            (_DEPTHS[-1], recalls[-1]),
        )
        facts = IndexFacts(kind, partitions, nprobes, ef, depth, recall, rows)
        if recall >= _ENOUGH_RECALL or nprobes >= partitions:
            return facts
        nprobes = min(2 * nprobes, partitions)


def _search(
    gallery: SharedGallery, queries: NDArray[np.float32], k: int, effort: dict[str, int]
) -> NDArray[np.int64]:
    """(S, k) keys that are proposed, best first, -1 where there are fewer."""
    found = np.full((len(queries), k), -1, np.int64)
    for row, query in zip(found, queries, strict=True):
        keys = gallery.nearest(query, k, effort=effort)[1]
        row[: len(keys)] = keys
    return found
