"""One query and the top of its ranked list as a Matplotlib figure."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reid_dhm.data.images import read_image
from reid_dhm.evaluation.run import EvaluationRun
from reid_dhm.retrieval.embeddings import EmbeddingSet

_RIGHT, _WRONG, _QUERY = "#128a70", "#d4552a", "#7d8590"
_WIDTH, _HEIGHT = 1.1, 2.6  # inches per image


def draw_ranked_list(run: EvaluationRun, query: int, top_k: int) -> Figure:
    """Query on the left, then the gallery images in order, framed by whether they are correct.

    Args:
        run: with image paths, or without: then person and camera are written instead.
        query: row of the query.
        top_k: images to show at most.

    Raises:
        InputError: an image that cannot be read.
    """
    result, pid = run.final, run.query.pids[query]
    listed = [
        (int(row), float(score))
        for row, score in zip(
            result.topk_indices[query, :top_k], result.topk_scores[query, :top_k], strict=True
        )
        if row >= 0
    ]
    figure = Figure((_WIDTH * (len(listed) + 1), _HEIGHT), layout="constrained")
    axes = figure.subplots(1, len(listed) + 1, squeeze=False)[0]
    _draw(axes[0], run.query, query, "query", _QUERY)
    for rank, (row, score) in enumerate(listed, 1):
        right = run.gallery.pids[row] == pid
        color = _RIGHT if right else _WRONG
        _draw(axes[rank], run.gallery, row, f"{rank}: {score:.2f}", color)
    return figure


def _draw(axes: Axes, images: EmbeddingSet, row: int, title: str, color: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(color)
        spine.set_linewidth(3)
    axes.set_title(title, fontsize=9, color=color)
    axes.set_xlabel(f"person {images.pids[row]}\ncamera {images.camids[row]}", fontsize=8)
    if images.paths is None:
        axes.set_box_aspect(2)
    else:
        axes.imshow(read_image(images.paths[row]))
