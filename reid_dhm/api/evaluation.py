"""Exact evaluation of arrays: CMC, mAP and mINP with intervals, and ranked lists to look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reid_dhm.api.html import table
from reid_dhm.api.ranked_list import draw_ranked_list
from reid_dhm.errors import InputError, first_line
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.inputs import QueryGallery
from reid_dhm.evaluation.run import EvaluationRun, run
from reid_dhm.evaluation.settings import Settings
from reid_dhm.retrieval.checks import check_top_k
from reid_dhm.retrieval.embeddings import EmbeddingSet, drop_junk
from reid_dhm.retrieval.protocol import Reranking
from reid_dhm.retrieval.results import RetrievalResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Paths = Sequence["str | PathLike[str]"]


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """How well queries were answered; shows itself as a table in a notebook.

    Attributes:
        run: everything that was computed.
    """

    run: EvaluationRun

    @property
    def retrieval(self) -> RetrievalResult:
        """Figures per query and ranked lists, after re-ranking where it was asked for."""
        return self.run.final

    @property
    def mAP(self) -> float:
        """Mean average precision, 0 to 1."""
        return self.retrieval.mAP

    @property
    def mINP(self) -> float:
        """Mean inverse negative penalty, 0 to 1."""
        return self.retrieval.mINP

    @property
    def cmc(self) -> dict[int, float]:
        """CMC@k by k, 0 to 1: ``cmc[1]`` is rank-1."""
        return self.retrieval.cmc

    @property
    def intervals(self) -> Mapping[str, Estimate]:
        """95 % confidence intervals over people of ``mAP``, ``mINP`` and ``rank1``."""
        return self.run.final_intervals

    def plot(self, query: int = 0, top_k: int = 10) -> Figure:
        """Draw a query and the top of its ranked list: correct images green, wrong ones red.

        Images are shown where :func:`evaluate` was given their paths, otherwise person and camera.

        Args:
            query: row of the query, from 0.
            top_k: gallery images to show, at most those that were listed.

        Raises:
            InputError: no such query, or an image that cannot be read.
        """
        count = len(self.run.query)
        if not 0 <= query < count:
            raise InputError(f"query is {query}: give a row from 0 to {count - 1}")
        check_top_k(top_k)
        return draw_ranked_list(self.run, query, top_k)

    def __repr__(self) -> str:
        ranks = ", ".join(f"rank-{k} {value:.2%}" for k, value in self.cmc.items())
        return f"EvaluationResult(mAP {self.mAP:.2%}, mINP {self.mINP:.2%}, {ranks})"

    def _repr_html_(self) -> str:
        spans = {name: f"{e.low:.1%} to {e.high:.1%}" for name, e in self.intervals.items()}
        rows = [("mAP", f"{self.mAP:.2%}", spans["mAP"])]
        for k, value in self.cmc.items():
            rows.append((f"rank-{k}", f"{value:.2%}", spans.get(f"rank{k}", "")))
        rows.append(("mINP", f"{self.mINP:.2%}", spans["mINP"]))
        return table(("", "value", "95 % interval over people"), rows)


def evaluate(
    query: ArrayLike,
    query_pids: ArrayLike,
    query_camids: ArrayLike,
    gallery: ArrayLike,
    gallery_pids: ArrayLike,
    gallery_camids: ArrayLike,
    *,
    query_paths: Paths | None = None,
    gallery_paths: Paths | None = None,
    metric: str = "cosine",
    camera_rule: bool = True,
    ap: str = "standard",
    rerank: bool = False,
    top_k: int = 10,
    device: str = "auto",
) -> EvaluationResult:
    """Rank the gallery for every query under Market-1501's protocol, exactly.

    Args:
        query: (Q, D) embeddings.
        query_pids, query_camids: (Q,) integers: person and camera of each query.
        gallery: (G, D) embeddings of the same model.
        gallery_pids, gallery_camids: (G,) integers; rows with a negative person id are left out.
        query_paths, gallery_paths: Q and G image files, for ``EvaluationResult.plot``.
        metric: ``cosine``, or ``euclidean`` for embeddings as they are.
        camera_rule: leave out gallery images of the query's person from the query's camera.
        ap: ``standard`` or ``trapezoid`` (the MATLAB code of Market-1501).
        rerank: apply k-reciprocal re-ranking (Zhong et al. 2017).
        top_k: length of the ranked lists.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        InputError: arrays that cannot be ranked, or no query with a correct gallery image.
    """
    check_top_k(top_k)
    asked = _embeddings("query", query, query_pids, query_camids, query_paths)
    given = _embeddings("gallery", gallery, gallery_pids, gallery_camids, gallery_paths)
    searched = drop_junk(asked, given)
    settings = Settings(
        metric=metric,
        camera_rule=camera_rule,
        ap=ap,
        rerank=Reranking() if rerank else None,
        top_k=top_k,
        device=device,
    )
    dropped = len(given) - len(searched)
    return EvaluationResult(run(QueryGallery(asked, searched, num_dropped=dropped), settings))


def _embeddings(
    name: str, embeddings: ArrayLike, pids: ArrayLike, camids: ArrayLike, paths: Paths | None
) -> EmbeddingSet:
    arrays = (
        _array(embeddings, name),
        _array(pids, f"{name}_pids"),
        _array(camids, f"{name}_camids"),
    )
    try:
        return EmbeddingSet(*arrays, _texts(paths))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def _array(values: ArrayLike, name: str) -> NDArray:
    try:
        return np.asarray(values)
    except (
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:  # ragged lists; tensors of a GPU or graph
        raise InputError(
            f"{name} cannot be read as an array ({first_line(error)}): give rows of equal length, "
            "and a tensor as tensor.detach().cpu()"
        ) from error


def _texts(paths: Paths | None) -> tuple[str, ...] | None:
    return None if paths is None else tuple(str(path) for path in paths)
