from itertools import product

import torch

from reid_dhm.training.randomness import (
    AUGMENTATION,
    GLOBAL,
    MODEL,
    STRUCTURE,
    derived_seed,
    generator,
)


def test_a_place_always_draws_the_same():
    first, second = (torch.rand(8, generator=generator(3, STRUCTURE, 1, 2)) for _ in range(2))
    assert torch.equal(first, second)


def test_no_two_places_of_a_training_share_a_seed():
    places = [(MODEL,)]
    places += [(GLOBAL, *place) for place in product(range(20), range(4))]
    places += [(STRUCTURE, *place) for place in product(range(20), range(20))]
    places += [(AUGMENTATION, *place) for place in product(range(20), range(20), range(4))]
    seeds = {derived_seed(seed, *place) for seed in (0, 1) for place in places}
    assert len(seeds) == 2 * len(places)


def test_seeds_are_what_pytorch_takes():
    assert all(0 <= derived_seed(seed, MODEL) < 2**63 for seed in range(100))


def test_neighbouring_places_are_uncorrelated():
    draws = torch.stack(
        [torch.rand(1000, generator=generator(0, AUGMENTATION, 0, step, 0)) for step in range(8)]
    )
    correlations = torch.corrcoef(draws)[~torch.eye(8, dtype=torch.bool)]
    assert float(correlations.abs().max()) < 0.15


def test_drawing_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    torch.rand(8, generator=generator(0, STRUCTURE, 0, 0))
    assert torch.equal(torch.get_rng_state(), before)
