"""The report on one model says what its results say, in pages and in files."""

from __future__ import annotations

import csv
import html
import json
import math
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import Calibration, OperatingPoint
from reid_dhm.evaluation.cameras import CameraPairs
from reid_dhm.report import pages
from reid_dhm.report.evaluation_report import write_report
from reid_dhm.text import printable


def section(page: str, identity: str) -> str:
    """The markup of the section that a heading of this id begins."""
    found = re.search(rf'<section[^>]*aria-labelledby="{identity}".*?</section>', page, re.DOTALL)
    assert found is not None, identity
    return found[0]


def exact(markup: str) -> list[float]:
    """The values behind shown numbers, in order."""
    return [float(value) for value in re.findall(r'<data value="([^"]+)"', markup)]


def text_of(markup: str) -> str:
    """What a reader sees of it."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "per_query.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def written(make, tmp_path_factory):
    """A report with images, and what it was made from."""
    evaluation, folder = make(), tmp_path_factory.mktemp("reports") / "report"
    assert write_report(folder, evaluation, num_lists=8, map_people=3) == []
    results = json.loads((folder / "results.json").read_text())
    return evaluation, folder, (folder / "index.html").read_text(), results


def test_headline_figures_are_those_of_results_json(written):
    _, _, page, results = written
    bounds = results["intervals"]
    expected = []
    for name, key in (("mAP", "mAP"), ("rank1", "cmc"), ("mINP", "mINP")):
        value = results["cmc"]["1"] if key == "cmc" else results[key]
        expected += [value, *bounds[name]]
    expected += [results["cmc"][k] for k in ("5", "10", "20")]
    assert exact(section(page, "good")) == [*expected, 0.95]
    assert results["mAP"] == written[0].result.mAP
    assert f"mAP {results['mAP']:.1%}" in text_of(section(page, "good"))


def test_failures_and_thresholds_are_those_of_results_json(written):
    evaluation, _, page, results = written
    wrong = 1 - results["cmc"]["1"]
    assert exact(section(page, "fails"))[0] == pytest.approx(wrong)
    count = round(wrong * results["num_valid_queries"])
    assert f"wrong at rank 1 ({count} of 18)" in text_of(section(page, "fails"))

    first = results["confusions"][0]
    assert "persons {} and {}".format(*first["people"]) in text_of(section(page, "fails"))
    rank1 = np.array(results["cameras"]["rank1"], dtype=float)
    assert np.nanmin(rank1) in exact(section(page, "fails"))

    block = section(page, "threshold")
    points = results["operating_points"]
    assert exact(block) == [
        value for point in points for value in (point["threshold"], point["true_positive_rate"])
    ]
    assert "1 in 10 " in text_of(block)
    half = -results["calibration"]["intercept"] / results["calibration"]["slope"]
    assert f"50% at similarity {half:.3f}" in text_of(block)
    for point in points:
        assert f"{point['false_positive_rate'] * len(evaluation.gallery):.2g}" in text_of(block)


def test_camera_tables_hold_every_pair(written):
    _, _, page, results = written
    tables = re.findall(r'<table class="matrix">.*?</table>', section(page, "cameras"), re.DOTALL)
    for table, name in zip(tables, ("rank1", "mAP"), strict=True):
        values = [value for row in results["cameras"][name] for value in row]
        assert exact(table) == [value for value in values if value is not None]
        assert table.count('aria-label="no query"') == values.count(None) == 2
        assert table.count('<th scope="row">') == 2
        assert table.count('<th scope="col">') == 1 + 3
        assert table.count(" the worst pair") == 1


def test_camera_pairs_without_queries_are_shown_as_such(make, tmp_path, change):
    evaluation = make(with_images=False)
    nothing = np.full((1, 1), np.nan)
    camera = np.array([4])
    cameras = CameraPairs(camera, camera, nothing, nothing, np.zeros((1, 1), np.int64))
    write_report(tmp_path / "report", change(evaluation, cameras=cameras))
    page = (tmp_path / "report" / "index.html").read_text()
    assert section(page, "cameras").count('aria-label="no query"') == 2
    assert "Worst camera pair" not in page
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["cameras"]["rank1"] == [[None]]


def test_worst_queries_come_first_with_their_lists(written):
    evaluation, _, page, _ = written
    result, gallery = evaluation.result, evaluation.gallery
    articles = re.findall(r"<article.*?</article>", section(page, "worst"), re.DOTALL)
    assert len(articles) == 8
    worst = int(np.nanargmin(result.average_precision))
    assert f">Query {worst}<" in articles[0]
    for article in articles:
        row = int(re.search(r"Query (\d+)<", article)[1])
        assert exact(article)[0] == result.average_precision[row]
        cards = re.findall(r'<li class="(\w+)">(.*?)(?=<li|</ol>)', article, re.DOTALL)
        assert len(cards) == 10
        for (verdict, card), index, score in zip(
            cards, result.topk_indices[row], result.topk_scores[row], strict=True
        ):
            pid = gallery.pids[index]
            right = pid == evaluation.query.pids[row]
            assert verdict == ("correct" if right else "wrong" if pid else "distractor")
            shown = text_of(card)
            assert shown.startswith(f"{'✓ correct' if right else '✗ wrong'} {score:.3f}")
            assert (f"person {pid}" if pid else "distractor") in shown
            assert f"camera {gallery.camids[index]}" in shown


def test_every_query_has_a_page_with_its_neighbours(written):
    evaluation, folder, _, _ = written
    names = sorted(path.name for path in (folder / "queries").iterdir())
    assert names == [f"{row:04d}.html" for row in range(18)]
    page = (folder / "queries" / "0007.html").read_text()
    assert 'rel="prev" href="0006.html"' in page
    assert 'rel="next" href="0008.html"' in page
    assert 'rel="prev"' not in (folder / "queries" / "0000.html").read_text()
    assert 'rel="next"' not in (folder / "queries" / "0017.html").read_text()
    files = re.findall(r"<li>(.*)", page)
    top = evaluation.result.topk_indices[7]
    expected = [Path(evaluation.gallery.paths[index]).name for index in top]
    assert [html.unescape(name) for name in files] == expected


def test_every_link_and_image_is_in_the_folder(written):
    _, folder, _, _ = written
    checked = set()
    for path in folder.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"]+)"', path.read_text()):
            if link.startswith(("data:", "#")):
                continue
            assert "//" not in link
            target = (path.parent / html.unescape(link)).resolve()
            assert target.is_file(), f"{path.name}: {link}"
            checked.add(target)
    thumbnails = set((folder / "thumbs").iterdir())
    assert thumbnails <= {target for target in checked if target.suffix == ".jpg"}


def test_a_image_is_stored_once_and_says_its_size(written):
    evaluation, folder, page, _ = written
    listed = {evaluation.gallery.paths[i] for i in np.unique(evaluation.result.topk_indices)}
    assert len(list((folder / "thumbs").iterdir())) == len(evaluation.query) + len(listed)
    images = re.findall(r"<img [^>]*>", page)
    assert len(images) > 50
    for image in images:
        assert 'width="32" height="64" loading="lazy"' in image
        assert re.search(r'alt="[^"]+"', image)


def test_per_query_csv_holds_known_answers(known, tmp_path):
    write_report(tmp_path / "report", known)
    rows = rows_of(tmp_path / "report")
    wanted = ("query", "pid", "camid", "first_rank", "average_precision", "top1_row", "top1_pid")
    assert [tuple(row[name] for name in wanted) for row in rows] == [
        ("0", "1", "1", "1", "1.0", "0", "1"),
        ("1", "2", "1", "2", "0.5", "2", "0"),
        ("2", "3", "1", "", "", "1", "2"),
    ]
    angles = (10, 10, 14)
    for row, angle in zip(rows, angles, strict=True):
        assert float(row["top1_similarity"]) == pytest.approx(np.cos(np.radians(angle)), abs=1e-6)
    page = (tmp_path / "report" / "queries" / "0002.html").read_text()
    assert "not counted: no correct image in the gallery" in page
    assert "(2 counted" in (tmp_path / "report" / "index.html").read_text()


def test_per_query_csv_holds_nothing_that_a_spreadsheet_takes_for_a_formula(
    known, tmp_path, change
):
    paths = ("=HYPERLINK(1)", "@SUM(A1)", "plain.jpg")
    write_report(tmp_path / "report", change(known, query=replace(known.query, paths=paths)))
    shown = [row["path"] for row in rows_of(tmp_path / "report")]
    assert shown == ["'=HYPERLINK(1)", "'@SUM(A1)", "plain.jpg"]


def test_distances_are_written_as_distances(make, tmp_path):
    evaluation = make(metric="euclidean", with_images=False)
    write_report(tmp_path / "report", evaluation)
    for row, score in zip(
        rows_of(tmp_path / "report"), evaluation.result.topk_scores[:, 0], strict=True
    ):
        assert float(row["top1_distance"]) == -score > 0
    block = section((tmp_path / "report" / "index.html").read_text(), "threshold")
    assert f"≤ {math.floor(-evaluation.pairs.points[0].threshold * 10**4) / 10**4:.4f}" in text_of(
        block
    )


def test_without_images_rows_are_named_by_number(make, tmp_path):
    evaluation = make(with_images=False)
    assert write_report(tmp_path / "report", evaluation) == []
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<img" not in page
    assert f"row {evaluation.result.topk_indices[0, 0]}" in text_of(
        (tmp_path / "report" / "queries" / "0000.html").read_text()
    )
    assert list((tmp_path / "report" / "thumbs").iterdir()) == []


def test_unreadable_pictures_are_told_once_and_shown_as_boxes(make, tmp_path, change):
    evaluation = make()
    gone = str(tmp_path / "gone & lost.jpg")
    paths = (gone, *evaluation.query.paths[1:])
    evaluation = change(evaluation, query=replace(evaluation.query, paths=paths))
    (fault,) = write_report(tmp_path / "report", evaluation)
    assert fault.startswith(f"{gone} does not exist")
    page = (tmp_path / "report" / "index.html").read_text()
    assert text_of(page).count("1 image could not be read") == 1
    assert "image cannot be read" in (tmp_path / "report" / "queries" / "0000.html").read_text()
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["unreadable_pictures"] == 1


def test_before_and_after_reranking_stand_side_by_side(reranked, tmp_path):
    write_report(tmp_path / "report", reranked)
    page = (tmp_path / "report" / "index.html").read_text()
    after, before = reranked.reranked, reranked.result
    shown = exact(section(page, "good"))
    assert (shown[0], shown[12]) == (after.mAP, before.mAP)
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert (results["mAP"], results["before_rerank"]["mAP"]) == (after.mAP, before.mAP)

    lists = (tmp_path / "report" / "queries" / "0003.html").read_text()
    assert [
        text_of(title) for title in re.findall(r"standing\"><strong>(.*?)</strong>", lists)
    ] == [
        "before re-ranking",
        "after re-ranking",
    ]
    scores = [float(score) for score in re.findall(r"</b><strong>([^<]+)<", lists)]
    assert scores[:10] == [round(score, 3) for score in before.topk_scores[3]]
    assert scores[10:] == [round(-score, 3) for score in after.topk_scores[3]]
    row = rows_of(tmp_path / "report")[3]
    assert float(row["average_precision"]) == before.average_precision[3]
    assert float(row["reranked_average_precision"]) == after.average_precision[3]
    assert float(row["reranked_top1_distance"]) == -after.topk_scores[3, 0]


def test_activation_maps_are_asked_for_the_images_of_the_overview_only(make, tmp_path):
    asked: list[str] = []

    def activation(paths):
        asked.extend(paths)
        return [np.full((4, 2), 0.5, np.float32) for _ in paths]

    evaluation = make()
    write_report(tmp_path / "report", evaluation, num_lists=2, activation=activation)
    pages_by_name = {
        path.relative_to(tmp_path / "report").as_posix(): path.read_text()
        for path in (tmp_path / "report").rglob("*.html")
    }
    page = pages_by_name["index.html"]
    overlaid = re.findall(r'class="activation" src="([^"]+)"', "".join(pages_by_name.values()))
    assert {Path(name).stem for name in overlaid} == {
        path.stem for path in (tmp_path / "report" / "activation").iterdir()
    }
    assert len(asked) == len(set(asked)) == len({Path(name).stem for name in overlaid})
    assert 0 < len(asked) < len(list((tmp_path / "report" / "thumbs").iterdir()))
    assert page.count('class="activation"') == page.count("<img ") / 2
    assert page.count('data-toggle="activation"') == 1
    worst = int(np.nanargmin(evaluation.result.average_precision))
    assert "data-toggle" in (tmp_path / "report" / "queries" / f"{worst:04d}.html").read_text()


def test_a_report_is_the_same_bytes_for_the_same_input(make, tmp_path):
    evaluation = make()
    for name in ("first", "second"):
        write_report(tmp_path / name, evaluation, map_people=3)
    first, second = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in paths if path.is_file()}
        for name in ("first", "second")
        for paths in [(tmp_path / name).rglob("*")]
    )
    assert first == second


def test_progress_ends_at_its_total(make, tmp_path):
    told: list[tuple[int, int]] = []
    write_report(tmp_path / "report", make(), on_progress=lambda *counts: told.append(counts))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert len({total for _, total in told}) == 1


@pytest.mark.parametrize(("people", "fault"), [([404], "person 404"), (0, "a map of 0 people")])
def test_an_impossible_map_writes_nothing(make, tmp_path, people, fault):
    with pytest.raises(InputError, match=fault):
        write_report(tmp_path / "report", make(), map_people=people)
    assert list(tmp_path.iterdir()) == []


def test_no_thresholds_and_no_calibration_are_said_to_be_missing(make, tmp_path, change):
    evaluation = make(with_images=False)
    opposite = Calibration(slope=-1.0, intercept=0.0, prior=0.5)
    pairs = replace(evaluation.pairs, points=(), calibration=opposite)
    evaluation = change(evaluation, pairs=pairs)
    write_report(tmp_path / "report", evaluation)
    block = section((tmp_path / "report" / "index.html").read_text(), "threshold")
    assert "too few pairs of different people" in text_of(block)
    assert "probability" not in text_of(block)


def test_a_threshold_that_nothing_wrong_passes_lets_nothing_through(make, tmp_path, change):
    strict = OperatingPoint(1e-5, 0.9, 0.0, 0.25)
    evaluation = make(with_images=False)
    evaluation = change(evaluation, pairs=replace(evaluation.pairs, points=(strict,)))
    write_report(tmp_path / "report", evaluation)
    block = section((tmp_path / "report" / "index.html").read_text(), "threshold")
    assert "1 in 100,000 ≥ 0.9000 25.0% 0" in text_of(block)


MACROS = pages.environment().get_template("macros.html").module
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1)


@settings(deadline=None)
@given(names, names)
def test_names_are_shown_as_they_are_and_never_as_markup(name, file):
    shown = str(MACROS.facts({name: {file: name}}))
    assert html.unescape(re.search(r"<h3>(.*?)</h3>", shown, re.DOTALL)[1]) == printable(name)
    assert html.unescape(re.search(r"<dt>(.*?)</dt>", shown, re.DOTALL)[1]) == printable(file)
    assert html.unescape(re.search(r"<dd>(.*?)</dd>", shown, re.DOTALL)[1]) == printable(name)


def test_the_model_and_its_images_may_be_called_anything(make, tmp_path, change):
    evil = "</title><script>alert(1)</script>"
    evaluation = change(make(name=evil), facts={evil: {evil: evil}})
    write_report(tmp_path / "report", evaluation)
    for path in (tmp_path / "report").rglob("*.html"):
        page = path.read_text()
        assert "alert(1)</script>" not in page
        assert "<i>" not in page
    data = (tmp_path / "report" / "queries.js").read_text()
    content = json.loads(data.removeprefix("var reportQueries=").rstrip(";\n"))
    assert content["names"] == [Path(path).name for path in evaluation.query.paths]
    assert content["pids"] == evaluation.query.pids.tolist()


def test_a_file_whose_name_is_no_text_is_shown_as_far_as_it_is(make, tmp_path, change):
    evaluation = make()
    odd = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    shutil.copyfile(evaluation.query.paths[0], odd)
    paths = (str(odd), *evaluation.query.paths[1:])
    evaluation = change(evaluation, query=replace(evaluation.query, paths=paths))
    assert write_report(tmp_path / "report", evaluation) == []
    page = (tmp_path / "report" / "queries" / "0000.html").read_text(encoding="utf-8")
    assert r"caf\xe9.jpg" in page
    assert rows_of(tmp_path / "report")[0]["path"].endswith(r"caf\xe9.jpg")


def test_a_hostile_name_is_one_line_of_limited_length(make, change, tmp_path):
    name = "=cmd()\x1b]0;owned\x07\nsecond line\u202e" + "x" * 100_000
    write_report(tmp_path / "report", change(make(name=name), facts={name: {name: name}}))
    page = (tmp_path / "report" / "index.html").read_text()
    assert len(page) < 1_000_000
    for character in "\x1b\x07\u202e":
        assert character not in page
    assert r"\x1b]0;owned\x07\nsecond line\u202exxx" in page


def test_no_cell_of_the_table_of_queries_is_a_formula(make, change, tmp_path):
    evaluation = make()
    gallery = evaluation.gallery
    evil = tuple(f"=cmd|{number}" for number in range(len(gallery)))
    evaluation = change(evaluation, gallery=replace(gallery, paths=evil))
    write_report(tmp_path / "report", evaluation)
    for row in rows_of(tmp_path / "report"):
        assert row["top1_path"].startswith("'=cmd|")
