from pathlib import Path

import pytest

from reid_dhm.data.datasets import join_datasets
from reid_dhm.data.samples import ReIDDataset, Sample
from reid_dhm.errors import InputError


def dataset_of(name: str, **splits: list[tuple[int, int]]) -> ReIDDataset:
    """A dataset of (pid, camid) pairs."""
    return ReIDDataset(
        name,
        **{
            split: tuple(
                Sample(Path(f"{name}/{split}/{number:02}.jpg"), pid, camid)
                for number, (pid, camid) in enumerate(splits.get(split, []))
            )
            for split in ("train", "query", "gallery")
        },
    )


def pairs(samples: tuple[Sample, ...]) -> list[tuple[int, int]]:
    return [(sample.pid, sample.camid) for sample in samples]


def test_join_moves_people_and_cameras_past_each_other():
    first = dataset_of("a", train=[(2, 1), (7, 6)], query=[(1, 1)], gallery=[(1, 2)])
    second = dataset_of("b", train=[(1, 1), (4, 8)], query=[(3, 2)], gallery=[(3, 1)])
    joined = join_datasets([first, second])
    assert joined.name == "a+b"
    assert pairs(joined.train) == [(2, 1), (7, 6), (8, 7), (11, 14)]
    assert pairs(joined.query) == [(1, 1), (10, 8)]
    assert pairs(joined.gallery) == [(1, 2), (10, 7)]


def test_distractors_stay_nobodys_in_a_join():
    msmt17 = dataset_of("msmt17", train=[(0, 1)], query=[(0, 1)], gallery=[(0, 2), (5, 2)])
    market = dataset_of("market", train=[(1, 1)], query=[(2, 1)], gallery=[(0, 1), (2, 3)])
    for order in ([msmt17, market], [market, msmt17], [market, dataset_of("c"), msmt17]):
        joined = join_datasets(order)
        of = {sample.path: sample for sample in (*joined.train, *joined.query, *joined.gallery)}
        distractor = of[Path("market/gallery/00.jpg")]
        assert distractor.pid == 0
        assert all(sample.pid > 0 for path, sample in of.items() if path != distractor.path)
        person_zero = {of[Path(f"msmt17/{split}/00.jpg")].pid for split in ("train", "query")}
        assert person_zero == {of[Path("msmt17/gallery/00.jpg")].pid}
        people = {
            name: {s.pid for p, s in of.items() if p.parts[0] == name} - {0}
            for name in ("msmt17", "market")
        }
        cameras = {
            name: {s.camid for p, s in of.items() if p.parts[0] == name}
            for name in ("msmt17", "market")
        }
        assert not people["msmt17"] & people["market"]
        assert not cameras["msmt17"] & cameras["market"]
        assert (len(people["msmt17"]), len(people["market"])) == (2, 2)


def test_join_is_sorted_by_path():
    joined = join_datasets([dataset_of("b", train=[(1, 1)]), dataset_of("a", train=[(1, 1)])])
    assert [sample.path.as_posix() for sample in joined.train] == [
        "a/train/00.jpg",
        "b/train/00.jpg",
    ]


def test_join_of_one_changes_nothing_and_of_none_is_refused():
    single = dataset_of("a", train=[(2, 1)], query=[(1, 1)], gallery=[(0, 0), (1, 2)])
    assert join_datasets([single]) == single
    with pytest.raises(InputError, match="no dataset"):
        join_datasets([])


def test_joining_the_same_images_twice_is_refused():
    single = dataset_of("a", train=[(2, 1)])
    with pytest.raises(InputError, match=r"a/train/00\.jpg is in two of the joined datasets"):
        join_datasets([single, single])
