"""A two-dimensional map of the embeddings of selected people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.extras import require
from reid_dhm.report.plots.svg import PALETTE, Drawing, figure

_MARKERS = "osD^v<>ph*"
_PERPLEXITY = 30.0  # usual for t-SNE; reduced for few points


def draw_map(evaluation: EvaluationRun, people: Sequence[int], seed: int) -> Drawing:
    """t-SNE (van der Maaten and Hinton 2008) of all query and gallery images of ``people``.

    It uses the metric of the evaluation; the seed fixes the result.

    Raises:
        InputError: if a person has no query, or the people have too few images for a map.
    """
    require("map", "--map", "sklearn", "threadpoolctl")
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    query, gallery = evaluation.query, evaluation.gallery
    for pid in people:
        if pid not in query.pids:
            raise InputError(f"person {pid} has no query image: give people of the query set")
    in_query, in_gallery = (np.isin(side.pids, people) for side in (query, gallery))
    vectors = np.concatenate([query.embeddings[in_query], gallery.embeddings[in_gallery]])
    if len(vectors) < 4:
        raise InputError(f"{len(vectors)} images are too few for a map: give more people")
    layout = TSNE(
        metric=evaluation.result.protocol.metric,
        init="pca" if vectors.shape[1] > 1 else "random",
        perplexity=min(_PERPLEXITY, (len(vectors) - 1) / 3),
        random_state=seed,
    )
    # With several threads the result depends on their number.
    with threadpool_limits(1):
        places = layout.fit_transform(vectors)
    pids = np.concatenate([query.pids[in_query], gallery.pids[in_gallery]])
    return _draw(places, pids, np.arange(len(pids)) < in_query.sum())


def _draw(
    places: NDArray[np.float64], pids: NDArray[np.int64], is_query: NDArray[np.bool_]
) -> Drawing:
    """Scatter plot with one marker and colour per person; queries are filled.

    Args:
        places: (N, 2) coordinates.
        pids: (N,) person of each point.
        is_query: (N,) bool; the others are gallery images.
    """
    people = np.unique(pids)
    with figure("map", (7.4, 4.6)) as (axes, svg):
        for number, pid in enumerate(people):
            colour = PALETTE[number % len(PALETTE)]
            marker = _MARKERS[number % len(_MARKERS)]
            for queries, face in ((False, "none"), (True, colour)):
                chosen = (pids == pid) & (is_query == queries)
                axes.plot(
                    *places[chosen].T,
                    color=colour,
                    linestyle="none",
                    marker=marker,
                    markersize=5 if queries else 4.5,
                    markerfacecolor=face,
                    markeredgewidth=0.9,
                    label=f"person {pid}" if queries else None,
                )
            centre = np.median(places[pids == pid], axis=0)
            axes.annotate(
                str(pid),
                centre,
                xytext=(0, 7),
                textcoords="offset points",
                ha="center",
                fontsize=9,
                fontweight="bold",
            )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_xlabel("t-SNE (filled: queries, hollow: gallery)")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)
    words = f"Map of {len(pids):,} embeddings of {len(people)} people in two dimensions."
    return Drawing("map", "Map of embeddings", words, svg[0])
