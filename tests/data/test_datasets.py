import logging
from pathlib import Path

import pytest

from reid_dhm.data.datasets import LOADERS, load_dataset
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError

MARKET = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg", "0007_c3s3_077419_01.jpg"],
    "query": ["0001_c1s1_001051_00.jpg"],
    "bounding_box_test": [
        "-1_c4s6_022316_11.jpg.jpg",
        "0000_c1s6_023071_04.jpg.jpg",
        "0001_c2s1_000301_00.jpg",
    ],
}
DUKE = {
    "bounding_box_train": ["0001_c2_f0046182.jpg"],
    "query": ["0005_c2_f0046985.jpg"],
    "bounding_box_test": ["0005_c5_f0051781.jpg", "7140_c8_f0000123.jpg"],
}
CUHK03 = {
    "bounding_box_train": ["0003_c1_21.png"],
    "query": ["0001_c1_1.png"],
    "bounding_box_test": ["0001_c2_6.png"],
}
MSMT17_LISTS = {
    "list_train.txt": "0000/0000_000_01_0303morning_0008_0.jpg 0\n",
    "list_val.txt": "0000/0000_009_05_0303noon_0015_1.jpg 0\n",
    "list_query.txt": "0000/0000_001_14_0302afternoon_1190_0.jpg 0\n",
    "list_gallery.txt": (
        "0000/0000_002_02_0303noon_0100_0_ex.jpg 0\n0001/0001_000_15_0303evening_0007_1.jpg 1\n"
    ),
}
MSMT17_FOLDER = {"list_train.txt": 0, "list_val.txt": 0, "list_query.txt": 1, "list_gallery.txt": 1}


def write(home: Path, names: dict[str, list[str]]) -> Path:
    """Empty files: loading reads names and lists, never pixels."""
    for folder, files in names.items():
        (home / folder).mkdir(parents=True)
        for file in files:
            (home / folder / file).touch()
    return home


def write_msmt17(home: Path, folders: tuple[str, str] = ("train", "test")) -> Path:
    home.mkdir(parents=True)
    for name, text in MSMT17_LISTS.items():
        (home / name).write_text(text)
        for line in text.splitlines():
            path = home / folders[MSMT17_FOLDER[name]] / line.split()[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    return home


def labels(samples: tuple[Sample, ...]) -> list[tuple[int, int, int | None]]:
    return [(sample.pid, sample.camid, sample.frame) for sample in samples]


@pytest.mark.parametrize("name", ["market1501", "synthetic"])
def test_market_names_are_read_and_junk_is_dropped(tmp_path, name):
    dataset = load_dataset(name, write(tmp_path / "set", MARKET))
    assert dataset.name == name
    assert labels(dataset.train) == [(2, 1, 451), (7, 3, 77419)]
    assert labels(dataset.query) == [(1, 1, 1051)]
    assert labels(dataset.gallery) == [(0, 1, 23071), (1, 2, 301)]
    assert dataset.train[0].path == tmp_path / "set/bounding_box_train/0002_c1s1_000451_03.jpg"


@pytest.mark.parametrize("name", ["dukemtmcreid", "occludedduke"])
def test_duke_names_are_read(tmp_path, name):
    dataset = load_dataset(name, write(tmp_path / "set", DUKE))
    assert labels(dataset.train) == [(1, 2, 46182)]
    assert labels(dataset.query) == [(5, 2, 46985)]
    assert labels(dataset.gallery) == [(5, 5, 51781), (7140, 8, 123)]


@pytest.mark.parametrize(
    ("name", "home", "names"),
    [
        ("market1501", "Market-1501-v15.09.15", MARKET),
        ("market1501", "market1501/Market-1501-v15.09.15", MARKET),
        ("market1501", "market1501", MARKET),
        ("dukemtmcreid", "DukeMTMC-reID", DUKE),
        ("dukemtmcreid", "dukemtmc-reid/DukeMTMC-reID", DUKE),
        ("occludedduke", "Occluded_Duke", DUKE),
        ("cuhk03np", "CUHK03-NP/detected", CUHK03),
        ("synthetic", "synthetic", MARKET),
    ],
)
def test_a_set_is_found_under_the_data_root_and_by_its_own_folder(tmp_path, name, home, names):
    own = write(tmp_path / home, names)
    dataset = load_dataset(name, tmp_path)
    assert dataset.train[0].path.parent == own / "bounding_box_train"
    if name != "cuhk03np":
        assert load_dataset(name, str(own)) == dataset


@pytest.mark.parametrize("home", ["MSMT17_V1", "msmt17/MSMT17_V2"])
def test_msmt17_is_found_under_the_data_root_and_by_its_own_folder(tmp_path, home):
    own = write_msmt17(tmp_path / home)
    assert load_dataset("msmt17", tmp_path) == load_dataset("msmt17", own)


def test_cuhk03np_reads_detected_or_labeled_boxes(tmp_path):
    write(tmp_path / "cuhk03-np/detected", CUHK03)
    write(tmp_path / "cuhk03-np/labeled", {**CUHK03, "query": ["0009_c2_1.png"]})
    assert labels(load_dataset("cuhk03np", tmp_path / "cuhk03-np").query) == [(1, 1, None)]
    labeled = load_dataset("cuhk03np", tmp_path, boxes="labeled")
    assert labels(labeled.query) == [(9, 2, None)]
    with pytest.raises(InputError, match=r"boxes='drawn' .* detected or labeled"):
        load_dataset("cuhk03np", tmp_path, boxes="drawn")


@pytest.mark.parametrize("folders", [("train", "test"), ("mask_train_v2", "mask_test_v2")])
def test_msmt17_lists_are_read_in_both_versions(tmp_path, folders):
    home = write_msmt17(tmp_path / "MSMT17", folders)
    dataset = load_dataset("msmt17", tmp_path)
    assert labels(dataset.train) == [(0, 1, None)]
    assert labels(dataset.query) == [(0, 14, None)]
    assert labels(dataset.gallery) == [(0, 2, None), (1, 15, None)]
    assert dataset.gallery[0].path.is_relative_to(home / folders[1])
    with_val = load_dataset("msmt17", tmp_path, with_val=True)
    assert labels(with_val.train) == [(0, 1, None), (0, 5, None)]
    with pytest.raises(InputError, match="with_val='flase' is neither true nor false"):
        load_dataset("msmt17", tmp_path, with_val="flase")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0000/0000_000_01_0303morning_0008_0.jpg", r"line 2: .* is not like"),
        ("0000/0000_000_01_0303morning_0008_0.jpg one", r"line 2: .* is not like"),
        ("0000/someone.jpg 0", r"line 2: .* is not like"),
        ("0000/0000_000_01_0303morning_0008_0.jpg 0", r"line 2: .* is listed twice"),
        ("0000/0000_000_01_0303morning_9999_0.jpg 0", r"line 2: .*9999_0\.jpg does not exist"),
    ],
)
def test_msmt17_list_line_that_cannot_be_used_is_named(tmp_path, line, message):
    home = write_msmt17(tmp_path / "MSMT17_V1")
    with (home / "list_train.txt").open("a") as stream:
        stream.write(f"{line}\n")
    with pytest.raises(InputError, match=rf"list_train\.txt, {message}"):
        load_dataset("msmt17", tmp_path)


def test_msmt17_without_a_list_or_its_images_is_refused(tmp_path):
    home = write_msmt17(tmp_path / "MSMT17_V1")
    (home / "list_query.txt").unlink()
    with pytest.raises(InputError, match=r"list_query\.txt does not exist; unpack"):
        load_dataset("msmt17", tmp_path)
    assert load_dataset("msmt17", tmp_path, ["train"]).query == ()
    (home / "train").rename(home / "pictures")
    with pytest.raises(InputError, match=r"MSMT17_V1 has no folder train or mask_train_v2"):
        load_dataset("msmt17", tmp_path)


def test_what_is_no_image_is_skipped(tmp_path):
    own = write(tmp_path / "set", MARKET)
    for name in ["Thumbs.db", "._0002_c1s1_000451_03.jpg", ".DS_Store", "readme.txt"]:
        (own / "bounding_box_train" / name).touch()
    assert len(load_dataset("market1501", own).train) == 2


def test_samples_are_sorted_by_path_whatever_the_folder_order(tmp_path):
    names = [f"{pid:04}_c{camid}s1_000001_00.jpg" for pid in (9, 3, 7, 1) for camid in (2, 1)]
    own = write(tmp_path / "set", {**MARKET, "bounding_box_train": names})
    paths = [sample.path.name for sample in load_dataset("market1501", own).train]
    assert paths == sorted(names)


@pytest.mark.parametrize("name", ["holiday.jpg", "0002_c1_1.jpg", "x0002_c1s1_000451_03.jpg"])
def test_unparsable_name_is_refused_with_file_and_mend(tmp_path, name):
    own = write(tmp_path / "set", {**MARKET, "query": [name]})
    with pytest.raises(InputError, match=rf"query/{name} is not named like .*; rename it"):
        load_dataset("market1501", own)


@pytest.mark.parametrize(
    ("folder", "name", "message"),
    [
        ("query", "-1_c1s1_000451_03.jpg", "pid -1 marks junk"),
        ("query", "0000_c1s1_000451_03.jpg", "pid 0 marks distractors"),
        ("bounding_box_train", "0000_c1s1_000451_03.jpg", "pid 0 marks distractors"),
    ],
)
def test_junk_and_distractors_are_refused_where_senseless(tmp_path, folder, name, message):
    own = write(tmp_path / "set", {**MARKET, folder: [name]})
    with pytest.raises(InputError, match=f"{folder}/{name} cannot be used: {message}"):
        load_dataset("market1501", own)


def test_missing_set_is_refused_with_the_places_looked_at(tmp_path):
    with pytest.raises(InputError) as caught:
        load_dataset("market1501", tmp_path)
    assert str(tmp_path / "Market-1501-v15.09.15") in str(caught.value)
    assert str(tmp_path / "market1501/Market-1501-v15.09.15") in str(caught.value)
    assert "datasets/README.md" in str(caught.value)
    with pytest.raises(InputError, match=r"data root .*nowhere does not exist"):
        load_dataset("market1501", tmp_path / "nowhere")


def test_set_that_is_there_twice_is_refused(tmp_path):
    write(tmp_path / "Market-1501-v15.09.15", MARKET)
    write(tmp_path / "market1501", MARKET)
    with pytest.raises(InputError, match=r"several times: .*v15\.09\.15, .*market1501; give"):
        load_dataset("market1501", tmp_path)


def test_same_set_by_two_names_is_one(tmp_path):
    write(tmp_path / "Market-1501-v15.09.15", MARKET)
    (tmp_path / "market1501").symlink_to(tmp_path / "Market-1501-v15.09.15")
    assert len(load_dataset("market1501", tmp_path).train) == 2


def test_missing_and_empty_splits_are_refused_only_where_required(tmp_path):
    missing = write(tmp_path / "a", {k: v for k, v in MARKET.items() if k != "query"})
    with pytest.raises(InputError, match=r"has no folder query; unpack it again"):
        load_dataset("market1501", missing)
    assert load_dataset("market1501", missing, ["train"]).query == ()

    empty = write(tmp_path / "b", {**MARKET, "bounding_box_train": []})
    with pytest.raises(InputError, match=r"market1501 in .*b has no train images"):
        load_dataset("market1501", empty)
    tested = load_dataset("market1501", empty, ["query", "gallery"])
    assert (len(tested.train), len(tested.query)) == (0, 1)


def test_counts_other_than_published_are_warned_of(tmp_path, caplog):
    load_dataset("market1501", write(tmp_path / "set", MARKET))
    assert "train has 2 images of 2 people, published are 12936 of 751" in caplog.text
    assert "gallery has 2 images of 2 people, published are 15913 of 751" in caplog.text
    caplog.clear()
    load_dataset("synthetic", tmp_path / "set")
    assert not caplog.records


def test_published_counts_are_not_warned_of(tmp_path, caplog):
    queries = [f"{pid:04}_c{camid}_1.png" for pid in range(1, 701) for camid in (1, 2)]
    write(tmp_path / "detected", {**CUHK03, "query": queries})
    with caplog.at_level(logging.WARNING):
        load_dataset("cuhk03np", tmp_path)
    assert "train has" in caplog.text
    assert "query has" not in caplog.text


def test_unknown_name_and_option_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'market' is unknown; give one of market1501, .*, csv"):
        load_dataset("market", tmp_path)
    for name in LOADERS:
        with pytest.raises(InputError, match=rf"dataset {name} cannot be loaded: .*'colour'"):
            load_dataset(name, tmp_path, colour="red")


@pytest.mark.parametrize("word", ["name", "root", "required"])
def test_no_option_takes_the_place_of_an_argument(tmp_path, word):
    with pytest.raises(InputError, match=f"market1501 cannot be loaded: .*'{word}'; leave it out"):
        load_dataset("market1501", tmp_path, **{word: "x"})


@pytest.mark.parametrize(
    ("list_name", "content", "message"),
    [
        ("list_train.txt", b"0000/0000_000_01_a_0_0.jpg " + b"9" * 30, "line 1: .* is not like"),
        ("list_train.txt", b"0000/0000_000_" + b"9" * 30 + b"_a_0_0.jpg 1", "line 1: .* is not li"),
        ("list_query.txt", b"caf\xe9 1", r"list_query\.txt cannot be read \(not UTF-8 text\)"),
        ("list_gallery.txt", b"0000/0000_000_01_a\0_0_0.jpg 1", "line 1"),
    ],
)
def test_hostile_lists_are_refused_by_file_and_line(tmp_path, list_name, content, message):
    home = write_msmt17(tmp_path / "MSMT17_V1")
    (home / list_name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_dataset("msmt17", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_name_with_a_number_beyond_64_bits_is_refused(tmp_path):
    name = f"0002_c{'9' * 30}s1_000451_03.jpg"
    own = write(tmp_path / "set", {**MARKET, "query": [name]})
    with pytest.raises(InputError, match="a number in its name has over 18 digits; rename"):
        load_dataset("market1501", own)


def test_cameras_with_numbers_beyond_64_bits_are_numbered_in_order(tmp_path):
    for camera in ("9" * 30, "8" * 30):
        (tmp_path / "train" / "anna").mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / "anna" / f"c{camera}_1.jpg").touch()
    samples = load_dataset("folder", tmp_path, ["train"]).train
    assert [sample.camid for sample in samples] == [1, 2]
