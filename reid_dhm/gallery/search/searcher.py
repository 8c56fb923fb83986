"""Ranks the tracklets of a gallery by similarity to a person, with a match probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError, StorageError
from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.index.live_index import empty_gallery
from reid_dhm.gallery.index.opening import GalleryIndex, index_of
from reid_dhm.gallery.people.thresholds.stored import read_stored_thresholds
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.search.candidates import Candidate, Candidates
from reid_dhm.gallery.search.match_thresholds import check_thresholds
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.store.reader import GalleryReader

# Weights of Rocchio's rule. With the package's model on Market-1501 (tracklets of four images of
# 120 people), confirming or rejecting five candidates raised the mAP of all others from 0.59 to
# 0.85 with these, and to 0.84 with the 0.75 and 0.15 that text retrieval settled on.
_QUERY, _CONFIRMED, _REJECTED = 1.0, 1.5, 0.3


class Searcher:
    """Searches one gallery; for one thread, as the gallery is.

    Args:
        gallery: the gallery; it is not closed.
        index: a kind (``Flat`` is exact; others are FAISS factory strings), or an index that
            several searchers of the same gallery share between threads.
        thresholds: of a file, for match probabilities; by default those that were found in the
            gallery itself count, if there are any.
        model: fingerprint of the model that embeds queries; the gallery's of now by default. Once
            the gallery holds another model's embeddings, searches raise
            :class:`.ModelMismatchError`.

    Raises:
        InputError: an unknown kind of index, or thresholds of another metric.
        ModelMismatchError: thresholds of another model.
    """

    def __init__(
        self,
        gallery: GalleryReader,
        index: str | GalleryIndex = "Flat",
        thresholds: Thresholds | None = None,
        model: str | None = None,
    ) -> None:
        self.gallery = gallery
        self.index = index_of(gallery, index) if isinstance(index, str) else index
        self._thresholds = thresholds
        self._model = gallery.fingerprint if model is None else model
        if thresholds is not None and self._model is not None:
            check_thresholds(thresholds, self._model)

    def run(
        self,
        request: SearchRequest,
        embeddings: NDArray[np.floating] | None = None,
        *,
        details: bool = False,
    ) -> Candidates:
        """The candidates of a request.

        Args:
            request: what is searched for.
            embeddings: (n, D) of n query images of the person; None to search by tracklets alone.
            details: also load each candidate's boxes and image.

        Raises:
            InputError: as :meth:`search`, or a request without anything to search for.
        """
        shown = [*request.tracklets, *request.confirmed]
        cameras = [self.gallery.tracklet(id).camera for id in shown] if embeddings is None else []
        query = embeddings
        if query is None or shown or request.rejected:
            query = self.refine(embeddings, shown, request.rejected)
        found = self.search(
            query,
            request.top_k,
            request.where,
            [*request.tracklets, *request.rejected],
            by_person=request.by_person,
            min_similarity=request.min_similarity,
            seen_by=cameras,
        )
        return self._with_details(found) if details else found

    def search(
        self,
        queries: NDArray[np.floating],
        top_k: int,
        where: TrackletFilter | None = None,
        exclude: Sequence[TrackletId] = (),
        *,
        by_person: bool = False,
        min_similarity: float | None = None,
        seen_by: Sequence[str] = (),
    ) -> Candidates:
        """The tracklets most similar to a person.

        Args:
            queries: (n, D) embeddings of n images of one person; the mean of their unit vectors is
                searched for.
            top_k: maximum number of candidates, 1 or more.
            where: which tracklets may be returned.
            exclude: tracklets to leave out.
            by_person: return only the best tracklet of every person.
            min_similarity: lowest similarity of a candidate, -1 to 1.
            seen_by: names of the cameras that took the queries, if they are the gallery's.

        Returns:
            Candidates, the most similar first; equal ones in the order they were stored.

        Raises:
            InputError: an empty gallery, embeddings of another dimension, or a zero or non-finite
                embedding.
            NotFoundError: a camera or video that is not in the gallery.
        """
        query = self._mean_direction(queries)
        wanted = replace(where or TrackletFilter(), exclude=exclude)
        count = top_k
        while True:
            similarities, keys = self.index.search(self.gallery, query, count, wanted, self._model)
            candidates = self._candidates(similarities[0], keys[0], min_similarity, seen_by)
            exhausted = len(candidates) < count
            if by_person:
                candidates = _best_of_each_person(candidates)
            if exhausted or not by_person or len(candidates) >= top_k:
                return Candidates(candidates[:top_k])
            count *= 4

    def above(
        self,
        queries: NDArray[np.floating],
        min_similarity: float,
        where: TrackletFilter | None = None,
    ) -> Candidates:
        """Every tracklet of at least this similarity, the most similar first.

        Complete with an exact index only.

        Args:
            queries, where: as for :meth:`search`.
            min_similarity: lowest similarity, -1 to 1.

        Raises:
            InputError: as :meth:`search`.
        """
        top_k = 64
        while True:
            found = self.search(queries, top_k, where, min_similarity=min_similarity)
            if len(found) < top_k:
                return found
            top_k *= 4

    def refine(
        self,
        queries: NDArray[np.floating] | None,
        confirmed: Sequence[TrackletId],
        rejected: Sequence[TrackletId] = (),
    ) -> NDArray[np.float32]:
        """A query moved towards tracklets of the person and away from tracklets of others.

        Rocchio's rule (1971): q + 1.5 · mean(confirmed) - 0.3 · mean(rejected), of unit vectors.

        Args:
            queries: (n, D) as for :meth:`search`; None to start from the confirmed tracklets.
            confirmed: tracklets of the person.
            rejected: tracklets of others.

        Returns:
            (1, D) float32 unit row.

        Raises:
            InputError: neither queries nor confirmed tracklets, or unusable queries.
            NotFoundError: a tracklet that is not in the gallery.
        """
        if queries is None and not confirmed:
            raise InputError("nothing to search for: give an image or a tracklet")
        total = np.zeros((1, self._dim()), np.float32)
        if queries is not None:
            total += _QUERY * self._mean_direction(queries)
        for weight, tracklets in ((_CONFIRMED, confirmed), (-_REJECTED, rejected)):
            if tracklets:
                total += weight * self._mean_direction(self._means(tracklets))
        return self._mean_direction(total)

    def _means(self, tracklets: Sequence[TrackletId]) -> NDArray[np.float32]:
        for tracklet in tracklets:
            self.gallery.tracklet(tracklet)  # raises where there is none
        pages = [
            page.embeddings for page in self.gallery.pages(TrackletFilter(tracklets=tracklets))
        ]
        if not pages:
            raise StorageError(f"{self.gallery.path}: damaged (tracklets without embeddings)")
        return np.concatenate(pages).astype(np.float32)

    def _dim(self) -> int:
        dim = self.gallery.dim
        if dim is None:
            raise empty_gallery(self.gallery)
        if self._model is not None:
            self.gallery.check_model(self._model, dim)
        return dim

    def _mean_direction(self, queries: NDArray[np.floating]) -> NDArray[np.float32]:
        """(1, D) unit vector along the mean of the unit vectors of (n, D) queries."""
        rows, dim = np.asarray(queries, np.float64), self._dim()
        if rows.ndim != 2 or not len(rows) or rows.shape[1] != dim:
            raise InputError(
                f"the query has shape {rows.shape} and {self.gallery.folder} holds embeddings of "
                f"{dim} dimensions: embed the query with the gallery's model"
            )
        return _unit(_unit(rows).mean(0, keepdims=True)).astype(np.float32)

    def _candidates(
        self,
        similarities: NDArray[np.float64],
        keys: NDArray[np.int64],
        min_similarity: float | None,
        seen_by: Sequence[str],
    ) -> list[Candidate]:
        found = keys >= 0
        if min_similarity is not None:
            found &= similarities >= min_similarity
        similarity = dict(zip(keys[found].tolist(), similarities[found].tolist(), strict=True))
        tracklets = self.gallery.tracklets_by_key(similarity)
        # Stored vectors are of unit length to float16's precision only.
        cosines = np.clip([similarity[tracklet.key] for tracklet in tracklets], -1.0, 1.0)
        probabilities = self._probabilities(cosines, [t.camera for t in tracklets], seen_by)
        return [
            Candidate(tracklet, cosine, None if np.isnan(probability) else probability)
            for tracklet, cosine, probability in zip(
                tracklets, cosines.tolist(), probabilities.tolist(), strict=True
            )
        ]

    def _with_details(self, found: Candidates) -> Candidates:
        return Candidates(
            [
                replace(
                    candidate,
                    boxes=self.gallery.boxes(candidate.tracklet.key),
                    jpeg=self.gallery.thumbnail(candidate.tracklet.key),
                )
                for candidate in found
            ]
        )

    @property
    def basis(self) -> str | None:
        """What match probabilities rest on; None without any."""
        if self._thresholds is not None:
            return f"fitted on {self._thresholds.dataset}, not on this gallery: may be far too sure"
        own = read_stored_thresholds(self.gallery)
        if own is None or not own.thresholds.by_cameras:
            return None
        pairs = own.thresholds.negatives
        return f"calibrated on this gallery's {pairs} pairs of people seen at once"

    def _probabilities(
        self, cosines: NDArray[np.float64], cameras: Sequence[str], seen_by: Sequence[str]
    ) -> NDArray[np.float64]:
        """(N,) match probabilities of tracklets of these cameras; NaN where they are unknown."""
        if self._thresholds is not None:
            prior = match_prior(len(self.index.opened(self.gallery)))
            return self._thresholds.calibration.with_prior(prior).probability(cosines)
        own = read_stored_thresholds(self.gallery)
        if own is None:
            return np.full(len(cosines), np.nan)
        ids = {camera.name: camera.id for camera in self.gallery.cameras()}
        taken = np.array([ids.get(name, -1) for name in cameras], np.int64)
        return own.probability(cosines, taken, [ids[name] for name in seen_by if name in ids])


def match_prior(num_tracklets: int) -> float:
    """Probability that a tracklet shows the person before anything is compared.

    As if one of the gallery's tracklets did: the more there are, the more of them look alike by
    chance, so the same similarity says less.
    """
    return 1 / (1 + num_tracklets)


def _best_of_each_person(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Candidates without further ones of a person; those of nobody are all kept."""
    best: dict[object, Candidate] = {}
    for candidate in candidates:
        best.setdefault(candidate.tracklet.person_id or candidate.tracklet.id, candidate)
    return list(best.values())


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise InputError("the query's embedding is zero or not finite: use another image")
    return rows / lengths
