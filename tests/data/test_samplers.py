from __future__ import annotations

from collections import Counter

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from reid_dhm.data.samplers import IdentitySampler, ShuffleSampler
from reid_dhm.errors import InputError


@st.composite
def identity_sets(draw: st.DrawFn) -> tuple[list[int], int, int]:
    """Labels in any order with 1 to 30 images each, P ≤ identities, K."""
    counts = draw(st.lists(st.integers(1, 30), min_size=2, max_size=12))
    labels = [7 * identity for identity, count in enumerate(counts) for _ in range(count)]
    labels = draw(st.permutations(labels))
    return labels, draw(st.integers(1, len(counts))), draw(st.integers(1, 5))


@given(identity_sets(), st.integers(0, 3))
@settings(max_examples=80, deadline=None)
def test_batches_hold_p_identities_with_k_images_each(
    case: tuple[list[int], int, int], epoch: int
) -> None:
    labels, p, k = case
    sampler = IdentitySampler(labels, p, k, seed=1)
    sizes = Counter(labels)
    batches = sampler.epoch(epoch)

    # An epoch is as many batches as give each group of K images a place.
    groups = sum(max(1, size // k) for size in sizes.values())
    assert len(batches) == len(sampler) == (groups + p - 1) // p
    for batch in batches:
        assert batch.dtype == torch.int64
        rows = batch.view(p, k).tolist()
        assert all(len({labels[row] for row in group}) == 1 for group in rows)
        identities = [labels[group[0]] for group in rows]
        assert len(set(identities)) == p
        for identity, group in zip(identities, rows, strict=True):
            assert len(set(group)) == min(k, sizes[identity])
    assert {labels[row] for batch in batches for row in batch.tolist()} == set(labels)


@given(identity_sets(), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_ranks_concatenate_to_the_batch_of_one_process(
    case: tuple[list[int], int, int], world_size: int
) -> None:
    labels, p, k = case
    p = p - p % world_size or world_size
    assume(p <= len(set(labels)))
    whole = IdentitySampler(labels, p, k, seed=5)
    ranks = [IdentitySampler(labels, p, k, 5, rank, world_size) for rank in range(world_size)]
    assert {len(rank) for rank in ranks} == {len(whole)}
    for batch, *parts in zip(whole.epoch(2), *(rank.epoch(2) for rank in ranks), strict=True):
        assert torch.equal(torch.cat(parts), batch)
        assert {len(part) for part in parts} == {len(batch) // world_size}


def test_every_image_is_drawn_once_when_groups_fill_the_batches() -> None:
    labels = [0] * 4 + [1] * 8 + [2] * 4 + [3] * 8
    drawn = torch.cat(IdentitySampler(labels, 2, 4, seed=0).epoch(0))
    assert sorted(drawn.tolist()) == list(range(len(labels)))


def test_images_left_over_in_one_epoch_come_in_another() -> None:
    sampler = IdentitySampler([0] * 7 + [1] * 7, 2, 4, seed=0)
    seen = {row for epoch in range(20) for batch in sampler.epoch(epoch) for row in batch.tolist()}
    assert seen == set(range(14))


def test_an_identity_with_most_images_is_once_in_every_batch() -> None:
    labels = [0] * 400 + [identity for identity in range(1, 8) for _ in range(4)]
    sampler = IdentitySampler(labels, 4, 4, seed=0)
    assert len(sampler) == (100 + 7 + 3) // 4
    for batch in sampler.epoch(0):
        assert sum(labels[row] == 0 for row in batch.tolist()) == 4


def test_large_identities_spread_over_the_epoch() -> None:
    """One identity with half as many groups as batches is not left to the end."""
    labels = [0] * 40 + [identity for identity in range(1, 71) for _ in range(4)]
    sampler = IdentitySampler(labels, 4, 4, seed=0)
    assert len(sampler) == 20
    first_half = [
        sum(any(labels[row] == 0 for row in batch.tolist()) for batch in sampler.epoch(epoch)[:10])
        for epoch in range(40)
    ]
    assert 3.5 < sum(first_half) / 40 < 6.5  # of 10 turns


def turns_of(sampler: IdentitySampler, labels: list[int], epochs: int) -> Counter[int]:
    """How often each identity is drawn over many epochs."""
    k = sum(labels[row] == labels[0] for row in range(len(labels)))
    drawn = Counter(
        labels[row] for epoch in range(epochs) for b in sampler.epoch(epoch) for row in b.tolist()
    )
    return Counter({identity: count // k for identity, count in drawn.items()})


def test_free_places_go_to_every_identity_alike() -> None:
    """Seven identities of one group each leave one of eight places free."""
    labels = [identity for identity in range(7) for _ in range(4)]
    turns = turns_of(IdentitySampler(labels, 4, 4, seed=0), labels, epochs=420)
    extra = [turns[identity] - 420 for identity in range(7)]
    assert sum(extra) == 420
    # five standard deviations of a binomial of 420 draws of one in seven
    assert all(abs(count - 60) < 5 * (420 * 1 / 7 * 6 / 7) ** 0.5 for count in extra)


def test_free_places_go_to_identities_that_are_not_in_every_batch() -> None:
    """Two batches: the identity of two groups is in both, so others take the free place."""
    labels = [0] * 8 + [1] * 4 + [2] * 4 + [3] * 4
    sampler = IdentitySampler(labels, 3, 4, seed=0)
    assert len(sampler) == 2
    for epoch in range(30):
        rows = [labels[row] for batch in sampler.epoch(epoch) for row in batch.tolist()]
        assert Counter(rows)[0] == 8
        assert sorted(Counter(rows).values()) == [4, 4, 8, 8]


def test_the_batches_of_an_identity_are_drawn_alike() -> None:
    """In which of three batches an identity of one group comes is uniform."""
    labels = [identity for identity in range(6) for _ in range(2)]
    sampler = IdentitySampler(labels, 2, 2, seed=0)
    places = Counter(
        (labels[int(batch[0])], number)
        for epoch in range(600)
        for number, batch in enumerate(sampler.epoch(epoch))
        for batch in batch.view(2, 2)
    )
    assert len(places) == 18
    # five standard deviations of a binomial of 600 draws of one in three
    assert all(abs(count - 200) < 5 * (600 * 2 / 9) ** 0.5 for count in places.values())


def test_partners_in_a_batch_are_drawn_alike() -> None:
    labels = [identity for identity in range(6) for _ in range(2)]
    sampler = IdentitySampler(labels, 2, 2, seed=1)
    pairs = Counter(
        tuple(sorted({labels[row] for row in batch.tolist()}))
        for epoch in range(500)
        for batch in sampler.epoch(epoch)
    )
    assert len(pairs) == 15
    assert all(abs(count - 100) < 50 for count in pairs.values())


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: IdentitySampler([i // 6 for i in range(120)], 4, 4, seed),
        lambda seed: ShuffleSampler([0] * 120, 16, seed),
    ],
)
def test_draws_follow_from_seed_and_epoch_alone(make) -> None:
    first, again, other = make(3), make(3), make(4)
    first.epoch(0)  # leaves no trace
    expected = torch.stack(first.epoch(7))
    torch.manual_seed(0)
    assert torch.equal(expected, torch.stack(again.epoch(7)))
    assert not torch.equal(expected, torch.stack(again.epoch(8)))
    assert not torch.equal(expected, torch.stack(other.epoch(7)))


@given(st.integers(1, 50), st.integers(1, 10), st.integers(1, 4))
@settings(deadline=None)
def test_shuffle_draws_each_image_at_most_once(count: int, share: int, world_size: int) -> None:
    labels = [0] * max(count, world_size)
    batch_size = share * world_size
    whole = ShuffleSampler(labels, batch_size, seed=0).epoch(1)
    ranks = [
        ShuffleSampler(labels, batch_size, 0, rank, world_size).epoch(1)
        for rank in range(world_size)
    ]
    drawn = torch.cat(whole).tolist()
    assert len(set(drawn)) == len(drawn)
    if len(labels) >= batch_size:
        assert [len(batch) for batch in whole] == [batch_size] * (len(labels) // batch_size)
        for batch, *parts in zip(whole, *ranks, strict=True):
            assert torch.equal(torch.cat(parts), batch)
    else:
        assert sorted(drawn) == list(range(len(labels)))
        assert [[len(batch) for batch in rank] for rank in ranks] == [
            [len(labels) // world_size]
        ] * world_size


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: IdentitySampler([0, 0, 1, 1], 3, 2, 0), "num_identities=3 .* the 2 "),
        (lambda: IdentitySampler([0, 1, 2], 3, 2, 0, 0, 2), "num_identities=3 .* 2 processes"),
        (lambda: IdentitySampler([0, 1], 2, 0, 0), "num_instances=0"),
        (lambda: ShuffleSampler([0] * 9, 9, 0, 0, 2), "batch_size=9 .* 2 processes"),
        (lambda: ShuffleSampler([0], 2, 0, 0, 2), "1 images for 2 processes"),
    ],
)
def test_what_cannot_be_sampled_is_refused(make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()
