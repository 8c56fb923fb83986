"""Batches of images: P×K identity sampling, and plain shuffling.

Every draw follows from (seed, epoch) alone, so a resumed run needs no state of the sampler.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from reid_dhm.errors import InputError


class Sampler(Protocol):
    """Draws the batches of every epoch."""

    def __len__(self) -> int: ...

    def epoch(self, epoch: int) -> list[Tensor]:
        """The batches of one epoch, each (B,) int64 rows in the samples."""


class IdentitySampler:
    """P×K batches: P different identities, K images of each.

    The images of every identity are shuffled and cut into groups of K that repeat no image;
    the remainder waits for the shuffle of another epoch. An identity with fewer than K images
    gives one group, which repeats them in turn.

    An epoch has the fewest batches with room for every group once: ``ceil(groups / P)``. This
    depends on the labels alone, so it is exact and the same in every epoch. Every identity is
    visited. A batch holds an identity at most once, so an identity with more groups than there
    are batches leaves its surplus out; places left free by this or by rounding up go to other
    identities, drawn in each epoch, one more turn each. (The usual implementation stops as soon
    as fewer than P identities have groups left, at a batch that differs from epoch to epoch.)

    Under several processes the identities of each batch are split over the ranks in order, so the
    ranks' batches, concatenated, are exactly the batch of a single process.

    Args:
        labels: identity of each image, N integers in the order of the samples.
        num_identities: P, identities in a batch over all processes.
        num_instances: K ≥ 1, images of each identity in a batch (2 or more for triplets).
        seed: ≥ 0, the same on every rank.
        rank: this process, 0 … world_size - 1.
        world_size: number of processes; divides P.

    Raises:
        InputError: if P does not divide by the processes, or the set has fewer than P identities.
    """

    def __init__(
        self,
        labels: Sequence[int],
        num_identities: int,
        num_instances: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_split("num_identities", num_identities, world_size)
        if num_instances < 1:
            raise InputError(f"num_instances={num_instances} must be at least 1")
        values, identity = np.unique(np.asarray(labels, dtype=np.int64), return_inverse=True)
        if len(values) < num_identities:
            raise InputError(
                f"num_identities={num_identities} asks for more identities in a batch than the "
                f"{len(values)} of the training set: lower it or add people"
            )
        order = np.argsort(identity, kind="stable")
        self._images = np.split(order, np.cumsum(np.bincount(identity))[:-1])
        groups = [max(1, len(images) // num_instances) for images in self._images]
        self._length = -(-sum(groups) // num_identities)
        self._turns = np.minimum(groups, self._length)
        self._num_identities = num_identities
        self._num_instances = num_instances
        self._seed = seed
        share = num_identities // world_size * num_instances
        self._share = slice(rank * share, (rank + 1) * share)

    def __len__(self) -> int:
        """Batches per epoch, the same on every rank and in every epoch."""
        return self._length

    def epoch(self, epoch: int) -> list[Tensor]:
        """Batches of this rank, each (P / world_size · K,) int64 rows, an identity's K together."""
        rng = np.random.default_rng((self._seed, epoch))
        turns = self._fill_up(rng)
        groups = [_groups(images, self._num_instances, rng) for images in self._images]
        batches = []
        for chosen in _schedule(turns, self._num_identities, self._length, rng):
            # Every rank draws the whole batch, so that all stay in step with one process.
            batch = np.concatenate([next(groups[identity]) for identity in chosen])
            batches.append(torch.from_numpy(batch[self._share]))
        return batches

    def _fill_up(self, rng: np.random.Generator) -> np.ndarray:
        """Turns of each identity in one epoch: P times the number of batches in all."""
        turns = self._turns.copy()
        while missing := self._length * self._num_identities - turns.sum():
            free = np.flatnonzero(turns < self._length)
            turns[rng.permutation(free)[:missing]] += 1
        return turns


class ShuffleSampler:
    """Shuffled batches for classification and training on the ID loss alone.

    Every image is drawn once an epoch. The last, incomplete batch is dropped unless it is the
    only one. Under several processes each batch is split over the ranks in order; an only,
    incomplete batch drops the images that do not divide.

    Args:
        labels: one label for each of the N images; only their number is used.
        batch_size: images in a batch over all processes.
        seed: ≥ 0, the same on every rank.
        rank: this process, 0 … world_size - 1.
        world_size: number of processes; divides the batch size.

    Raises:
        InputError: if the batch does not divide by the processes, or they outnumber the images.
    """

    def __init__(
        self,
        labels: Sequence[int],
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        _check_split("batch_size", batch_size, world_size)
        if len(labels) < world_size:
            raise InputError(
                f"the training set has {len(labels)} images for {world_size} processes: "
                "add images or run fewer processes"
            )
        self._count = len(labels)
        self._length = max(1, self._count // batch_size)
        self._share = min(batch_size, self._count) // world_size
        self._seed = seed
        self._rank = rank
        self._world_size = world_size

    def __len__(self) -> int:
        """Batches per epoch, the same on every rank and in every epoch."""
        return self._length

    def epoch(self, epoch: int) -> list[Tensor]:
        """Index batches of this rank, each (batch_size / world_size,) int64."""
        order = np.random.default_rng((self._seed, epoch)).permutation(self._count)
        used = self._length * self._world_size * self._share
        split = torch.from_numpy(order[:used]).view(self._length, self._world_size, self._share)
        return list(split[:, self._rank])


def _check_split(name: str, value: int, world_size: int) -> None:
    if value < 1 or value % world_size:
        raise InputError(
            f"{name}={value} must be a positive multiple of the {world_size} processes "
            "that share a batch"
        )


def _groups(images: np.ndarray, size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Endless groups of ``size`` images of one identity, reshuffled when they run out."""
    while True:
        order = rng.permutation(images)
        if len(order) < size:
            order = np.resize(order, size)  # repeats from the start
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]


def _schedule(
    turns: np.ndarray, per_batch: int, length: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """Draw the identities of each batch, all different, until every turn is used up.

    ``turns`` must sum to ``length * per_batch`` with none above ``length``. Choosing every identity
    with as many turns as batches are left keeps both true of the rest; the other places are drawn
    weighted by turns left (exponential keys, Efraimidis & Spirakis 2006), so that identities with
    many images spread over the whole epoch.
    """
    turns = turns.copy()
    for left in range(length, 0, -1):
        with np.errstate(divide="ignore"):
            keys = rng.standard_exponential(len(turns)) / turns
        keys[turns == left] = -1
        chosen = np.argsort(keys)[:per_batch]
        turns[chosen] -= 1
        yield chosen
