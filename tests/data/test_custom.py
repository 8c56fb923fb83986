from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.data.datasets import load_dataset
from reid_dhm.data.samples import ReIDDataset, Sample
from reid_dhm.errors import InputError, NotFoundError, ReidError

SHOP = [
    "train/anna/c1_0001.jpg",
    "train/anna/c3_0001.jpg",
    "train/person 17/c2_0001.png",
    "query/béla/shop_c1_0001.jpg",
    "gallery/béla/c2_0001.jpg",
    "gallery/10/c2_0007.jpg",
]
TABLE = """path,pid,camid,split
a.jpg,5,1,train
b.jpg,2,1,query
c.jpg,2,3,gallery
d.jpg,0,3,gallery
e.jpg,-1,3,gallery
"""


def write(root: Path, names: list[str]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def splits_of(dataset: ReIDDataset) -> tuple[tuple[Sample, ...], ...]:
    return dataset.train, dataset.query, dataset.gallery


def write_csv(folder: Path, text: str = TABLE, name: str = "people.csv") -> Path:
    write(folder, [f"{letter}.jpg" for letter in "abcde"])
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_folder_numbers_people_by_sorted_name_over_all_splits(tmp_path):
    dataset = load_dataset("folder", write(tmp_path, SHOP))
    found = {
        sample.path.relative_to(tmp_path).as_posix(): (sample.pid, sample.camid)
        for sample in (*dataset.train, *dataset.query, *dataset.gallery)
    }
    # sorted names: "10" 1, "anna" 2, "béla" 3, "person 17" 4
    assert found == {
        "train/anna/c1_0001.jpg": (2, 1),
        "train/anna/c3_0001.jpg": (2, 3),
        "train/person 17/c2_0001.png": (4, 2),
        "query/béla/shop_c1_0001.jpg": (3, 1),
        "gallery/béla/c2_0001.jpg": (3, 2),
        "gallery/10/c2_0007.jpg": (1, 2),
    }
    assert [len(s) for s in (dataset.train, dataset.query, dataset.gallery)] == [3, 1, 2]


def test_own_sets_are_named_after_their_paths(tmp_path):
    first, second = (write(tmp_path / name / "shop", SHOP) for name in ("a", "b"))
    assert load_dataset("folder", first).name == str(first.resolve())
    assert load_dataset("folder", second).name != load_dataset("folder", first).name
    file = write_csv(tmp_path)
    assert load_dataset("csv", file).name == load_dataset("csv", tmp_path).name == str(file)


def test_folder_counts_and_names_what_it_leaves_out(tmp_path, caplog):
    extra = ["train/notes.txt", "train/anna/c1_0002.heic", "query/béla/more/c1_0003.jpg"]
    write(tmp_path, [*SHOP, *extra])
    (tmp_path / "gallery" / "nobody").mkdir()
    assert len(load_dataset("folder", tmp_path).train) == 3
    (record,) = [r.message for r in caplog.records if "left out" in r.message]
    assert "4 entries left out, as they are not images: 2 folders, 1 .txt, 1 .heic" in record
    assert "(first: train/notes.txt)" in record


@pytest.mark.parametrize("dead", ["train/anna/c1_0009.jpg", "gallery/10", "query/béla/c1_0009.jpg"])
def test_a_dead_link_is_an_error(tmp_path, dead):
    write(tmp_path, SHOP)
    link = tmp_path / dead
    if link.is_dir():
        link.rename(tmp_path / "elsewhere")
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(NotFoundError, match=rf"{dead} is a dead link to .*gone: restore"):
        load_dataset("folder", tmp_path)


def test_a_linked_person_and_a_linked_image_are_read(tmp_path):
    write(tmp_path / "store", ["anna/c1_0001.jpg"])
    write(tmp_path / "set", [name for name in SHOP if "anna" not in name])
    (tmp_path / "set" / "train" / "anna").symlink_to(tmp_path / "store" / "anna")
    (tmp_path / "set" / "gallery" / "10" / "c3_1.jpg").symlink_to(
        tmp_path / "store" / "anna" / "c1_0001.jpg"
    )
    dataset = load_dataset("folder", tmp_path / "set")
    assert [len(split) for split in splits_of(dataset)] == [2, 1, 3]


@pytest.mark.parametrize("place", ["train/caf\udce9/c1_1.jpg", "train/anna/c1_caf\udce9.jpg"])
def test_names_that_are_not_utf_8_are_refused_with_their_bytes_escaped(tmp_path, place):
    write(tmp_path, [*SHOP, place])
    with pytest.raises(InputError, match=r"caf\\xe9\S* is not UTF-8: rename") as caught:
        load_dataset("folder", tmp_path)
    str(caught.value).encode("utf-8")


def test_a_root_that_is_not_utf_8_is_refused(tmp_path):
    root = write(tmp_path / "caf\udce9", SHOP)
    with pytest.raises(InputError, match=r"caf\\xe9 is not UTF-8: rename"):
        load_dataset("folder", root)


def test_folder_skips_hidden_and_other_files(tmp_path):
    write(tmp_path, [*SHOP, "train/.cache/x.jpg", "train/.DS_Store", "train/anna/Thumbs.db"])
    assert len(load_dataset("folder", tmp_path).train) == 3


@pytest.mark.parametrize("regex", [r"^[\d-]+_([a-z]+)_", r"^(\d+)-\d+-\d+_(?P<camid>[a-z]+)_"])
def test_cameras_with_names_are_numbered_in_sorted_order(tmp_path, regex):
    names = ["train/a/2024-05-01_till_1.jpg", "train/a/2024-05-01_entrance_2.jpg"]
    dataset = load_dataset("folder", write(tmp_path, names), ["train"], camera_regex=regex)
    assert [sample.camid for sample in dataset.train] == [1, 2]


@pytest.mark.parametrize(
    ("regex", "message"),
    [
        (r"c(\d", "is not a regular expression"),
        (1, "is not a regular expression"),
        (r"c\d", "has no group"),
        (r"cam(\d+)", r"finds no camera in the name of .*anna/c1_0001\.jpg"),
        (r"c\d(x)?", r"finds no camera in the name of .*anna/c1_0001\.jpg"),
    ],
)
def test_camera_regex_that_cannot_be_used_is_refused(tmp_path, regex, message):
    with pytest.raises(InputError, match=message):
        load_dataset("folder", write(tmp_path, SHOP), camera_regex=regex)


def test_folder_with_a_missing_or_empty_split_is_refused(tmp_path):
    write(tmp_path, SHOP[:4])
    with pytest.raises(InputError, match=r"gallery is not a folder; create it"):
        load_dataset("folder", tmp_path)
    assert load_dataset("folder", tmp_path, ["train", "query"]).gallery == ()
    (tmp_path / "gallery/empty person").mkdir(parents=True)
    with pytest.raises(InputError, match="has no gallery images"):
        load_dataset("folder", tmp_path)


def test_image_outside_a_persons_folder_is_refused(tmp_path):
    write(tmp_path, [*SHOP, "train/c1_0009.jpg"])
    with pytest.raises(InputError, match=r"train/c1_0009\.jpg is not in a person's folder"):
        load_dataset("folder", tmp_path)


def test_people_in_train_and_test_are_warned_of(tmp_path, caplog):
    load_dataset("folder", write(tmp_path / "apart", SHOP))
    assert not caplog.records
    load_dataset("folder", write(tmp_path / "mixed", [*SHOP, "gallery/anna/c2_0001.jpg"]))
    assert "1 people are in train and in query or gallery (first: pid 2)" in caplog.text


def test_csv_is_read_with_paths_relative_to_it_and_junk_dropped(tmp_path):
    file = write_csv(tmp_path)
    dataset = load_dataset("csv", file)
    read = [
        [(sample.path, sample.pid, sample.camid) for sample in split]
        for split in (dataset.train, dataset.query, dataset.gallery)
    ]
    assert read == [
        [(tmp_path / "a.jpg", 5, 1)],
        [(tmp_path / "b.jpg", 2, 1)],
        [(tmp_path / "c.jpg", 2, 3), (tmp_path / "d.jpg", 0, 3)],
    ]
    assert load_dataset("csv", tmp_path) == dataset


def test_csv_as_a_spreadsheet_writes_it_is_read(tmp_path):
    messy = (
        "\ufeffsplit, pid ,note,camid,path\r\n"
        'train,5,"a, b",1, a.jpg\r\n\r\nquery,2,,1,b.jpg\r\n'
        "gallery,2,,3,c.jpg\r\ngallery,0,,3,d.jpg\r\n"
    )
    spreadsheet = write_csv(tmp_path, messy, "spreadsheet.csv")
    assert splits_of(load_dataset("csv", spreadsheet)) == splits_of(
        load_dataset("csv", write_csv(tmp_path))
    )


def test_csv_samples_are_sorted_by_path_whatever_the_row_order(tmp_path):
    header, *rows = TABLE.splitlines()
    reverse = write_csv(tmp_path, "\n".join([header, *reversed(rows)]), "reverse.csv")
    assert splits_of(load_dataset("csv", reverse)) == splits_of(
        load_dataset("csv", write_csv(tmp_path))
    )


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a.jpg,five,1,train", r"line 2: pid is 'five'; give a whole number"),
        ("a.jpg,5,1.5,train", r"line 2: camid is '1\.5'; give a whole number"),
        ("a.jpg,5", r"line 2: split is ''; give one of train, query, gallery"),
        ("a.jpg,5,1,test", r"line 2: split is 'test'"),
        ("z.jpg,5,1,train", r"line 2: .*z\.jpg is not a file"),
        (",5,1,train", r"line 2: .* is not a file"),
        ("a.jpg,5,-1,train", r"line 2: camid is -1"),
        ("a.jpg,0,1,train", r"line 2: pid 0 marks distractors"),
        ("a.jpg,0,1,query", r"line 2: pid 0 marks distractors"),
        ("a.jpg,-1,1,query", r"line 2: pid -1 marks junk"),
        ("a.jpg,5,1,train\na.jpg,6,2,train", r"line 3: .*a\.jpg is in train already, line 2"),
    ],
)
def test_csv_row_that_cannot_be_used_is_named_by_line(tmp_path, row, message):
    file = write_csv(tmp_path, f"path,pid,camid,split\n{row}\n")
    with pytest.raises(InputError, match=rf"people\.csv, {message}"):
        load_dataset("csv", file)


def test_csv_without_a_column_or_any_line_is_refused(tmp_path):
    file = write_csv(tmp_path, "path;pid;camid;split\n")
    with pytest.raises(InputError, match=r"no column path, pid, camid, split \(found: path;pid"):
        load_dataset("csv", file)
    file.write_text("path,pid,split\n")
    with pytest.raises(InputError, match=r"people\.csv has no column camid"):
        load_dataset("csv", file)
    file.write_text("")
    with pytest.raises(InputError, match="has no column"):
        load_dataset("csv", file)


def test_csv_with_an_empty_split_is_refused_only_where_required(tmp_path):
    file = write_csv(tmp_path, "path,pid,camid,split\na.jpg,5,1,train\n")
    with pytest.raises(InputError, match=r"people\.csv has no query images"):
        load_dataset("csv", file)
    assert len(load_dataset("csv", file, ["train"]).train) == 1


def test_csv_that_is_not_utf8_is_refused(tmp_path):
    file = write_csv(tmp_path)
    file.write_bytes("path,pid,camid,split\nfüße.jpg,1,1,train\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"people\.csv is not UTF-8"):
        load_dataset("csv", file)


def test_folder_without_exactly_one_csv_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"exactly one \(found: none\)"):
        load_dataset("csv", tmp_path)
    write_csv(tmp_path)
    write_csv(tmp_path, name="old.csv")
    with pytest.raises(InputError, match=r"found: old\.csv, people\.csv"):
        load_dataset("csv", tmp_path)


def test_csv_people_in_train_and_test_are_warned_of(tmp_path, caplog):
    load_dataset("csv", write_csv(tmp_path, TABLE.replace("a.jpg,5", "a.jpg,2")))
    assert "1 people are in train and in query or gallery (first: pid 2)" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.jpg,123456789012345678901,1,train", "line 2: pid is '123456789012345678901'"),
        ("a.jpg,1,-99999999999999999999,train", "line 2: camid is '-99999999999999999999'"),
        ("a.jpg," + "9" * 5000 + ",1,train", "line 2: pid is '9{40}'; give a whole number"),
        ("a.jpg,1_000,1,train", "line 2: pid is '1_000'"),
        ("a.jpg,٣,1,train", "line 2: pid is '٣'"),
        ("x" * 200_000 + ",1,1,train", r"line 2: not CSV \(field larger than field limit"),
        ('"a".jpg,1,1,train', r"line 2: not CSV \(',' expected after '\"'\)"),
        ('"a.jpg,1,1,train\nb.jpg,2,1,train', r"line 2: not CSV \(unexpected end of data\)"),
        ("a" * 5000 + ".jpg,1,1,train", r"line 2: .*a{200}.* is not a file"),
        ("a\0.jpg,1,1,train", "line 2: "),
    ],
)
def test_a_hostile_table_is_refused_by_file_and_line(tmp_path, text, message):
    file = write_csv(tmp_path, f"path,pid,camid,split\n{text}\n")
    with pytest.raises(InputError, match=message) as caught:
        load_dataset("csv", file, ["train"])
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a.jpg", "b.jpg", '"a.jpg', "", "\0"]),
            st.one_of(st.integers().map(str), st.text(max_size=5)),
            st.one_of(st.integers(-(2**70), 2**70).map(str), st.text(max_size=5)),
            st.sampled_from(["train", "query", "gallery", "x"]),
        ),
        max_size=4,
    ),
    tail=st.binary(max_size=20),
)
def test_any_table_is_read_or_refused_in_one_line(rows, tail):
    with TemporaryDirectory() as folder:
        text = "path,pid,camid,split\n" + "".join(",".join(row) + "\n" for row in rows)
        file = write_csv(Path(folder))
        file.write_bytes(text.encode("utf-8", "surrogatepass") + tail)
        message = ""
        try:
            dataset = load_dataset("csv", file, ["train"])
        except ReidError as error:
            message = str(error)
        else:
            labels = [(s.pid, s.camid) for split in splits_of(dataset) for s in split]
            np.array(labels, np.int64)  # what evaluation makes of them
        assert "\n" not in message
