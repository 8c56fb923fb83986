"""The page in a real browser as an investigator uses it: people, questions, cases, and roles."""

from __future__ import annotations

import io
import json
import re
import time
import zipfile
from pathlib import Path
from typing import ClassVar

import av
import numpy as np
import pytest
import supervision as sv

from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.people.thresholds.calibration import PairCalibration, PeopleThresholds
from reid_dhm.gallery.people.thresholds.stored import store_thresholds
from reid_dhm.gallery.records import TrackletId
from reid_dhm.gallery.store import cases, statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import find_person, people
from reid_dhm.service.auth import Role

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
TOKENS = {name: f"the-very-own-token-of-{name}" for name in ("vera", "ines", "ada")}
ROLES = {"vera": Role.VIEWER, "ines": Role.INVESTIGATOR}


def expect(locator):
    return playwright.expect(locator)


@pytest.fixture
def linked(site):
    """The site after its people were found, Anna linked by hand, and thresholds calibrated."""
    pairs = dict.fromkeys(
        ((1, 1), (1, 2), (2, 2)), PairCalibration(Calibration(40, -38, 0.1), 9, 9)
    )
    with GalleryStore(site.folder) as gallery:
        link_gallery(gallery)
        anna = [TrackletId.parse(site.ids[camera, "anna"]) for camera in ("gate", "yard")]
        statements.link(gallery, anna, "setup")
        found = PeopleThresholds({}, negatives=9, by_cameras=pairs)
        store_thresholds(gallery, found, 5, gallery.state().deletions)
    return site


def sign_in(page, who: str) -> None:
    page.get_by_label("Token").fill(TOKENS[who])
    page.get_by_role("button", name="Sign in").click()


def card(page, tracklet: str):
    return page.locator(f'.candidate[data-tracklet="{tracklet}"]')


def person(page, number: int):
    return page.locator(f'[data-person="{number}"]')


def test_a_whole_case(visit, linked, image_of, tmp_path):
    ids = linked.ids
    page = visit.open(tokens=TOKENS, roles=ROLES)
    sign_in(page, "ines")
    # By image; what is likely is set apart from the rest, which is folded away.
    visit.upload(tmp_path, image_of("anna"))
    expect(page.locator("#heading")).to_have_text("5 candidates")
    expect(page.locator("#about")).to_contain_text("2 likely: 50 % or more, calibrated on this")
    anna = [ids["gate", "anna"], ids["yard", "anna"]]
    assert {c.get_attribute("data-tracklet") for c in page.locator("#cards .candidate").all()} == {
        *anna
    }
    expect(card(page, ids["yard", "dora"])).to_be_hidden()
    page.locator("#rest > summary").click()
    for tracklet in (*anna, ids["yard", "dora"]):
        card(page, tracklet).locator(".mark-confirmed").click()
    card(page, ids["yard", "cleo"]).locator(".mark-rejected").click()
    page.locator("#only").click()
    expect(page.locator(".candidate")).to_have_count(3)
    # Name, then split the one that was wrong, and take that back.
    page.locator("#name-confirmed").click()
    page.locator("#asking-value").fill("Red shirt")
    page.keyboard.press("Enter")
    expect(page.locator("#toast-words")).to_have_text("3 tracklets: Red shirt")
    page.locator(".candidate a", has_text="Red shirt").first.click()
    expect(page.locator("#person-title")).to_have_text("Red shirt")
    expect(page.locator("#appearances .candidate")).to_have_count(3)
    expect(page.locator("#person-timeline .lane")).to_have_count(2)
    card(page, ids["yard", "dora"]).get_by_role("checkbox").check()
    page.locator("#split").click()
    expect(page.locator("#appearances .candidate")).to_have_count(2)
    page.locator("#toast-undo").click()
    expect(page.locator("#appearances .candidate")).to_have_count(3)
    page.keyboard.press("Control+Shift+z")
    expect(page.locator("#appearances .candidate")).to_have_count(2)
    # Back in the search everything is as it was; the wrong mark is taken away, and a case made.
    page.go_back()
    expect(page.locator("#marks")).to_have_text("3 confirmed, 1 rejected")
    card(page, ids["yard", "dora"]).locator(".mark-confirmed").click()
    page.locator("#save-case").click()
    page.locator("#asking-value").fill("Theft of a bicycle")
    page.keyboard.press("Enter")
    expect(page.locator("#case-state")).to_contain_text("2 confirmed appearances")
    page.locator("#case-notes").fill("The bicycle is blue.")
    expect(page.locator("#case-state")).to_contain_text("Saved")
    page.reload()
    expect(page.locator("#case-title")).to_have_value("Theft of a bicycle")
    expect(page.locator("#case-notes")).to_have_value("The bicycle is blue.")
    expect(page.locator("#marks")).to_have_text("2 confirmed, 1 rejected")
    expect(page.locator("#queries canvas")).to_have_count(1)
    with page.expect_download() as download:
        page.locator("#case-report").click()
    with zipfile.ZipFile(download.value.path()) as archive:
        results = json.loads(archive.read("case-1/results.json"))
    assert [found["tracklet"] for found in results["appearances"]] == anna
    assert {found["confirmed_by"] for found in results["appearances"]} == {"ines"}
    assert results["notes"] == "The bicycle is blue."
    page.locator('.views a[data-view="cases"]').click()
    expect(page.locator(".case")).to_contain_text("2 confirmed appearances, 1 rejected; ines")


class TwoPeople:
    """Finds the two people of an image side by side."""

    stateful = False
    settings: ClassVar = {"detector": "two"}

    def detect(self, frame: Frame) -> sv.Detections:
        height, width = frame.image.shape[:2]
        boxes = [(1, 1, width / 2 - 1, height - 1), (width / 2 + 1, 1, width - 1, height - 1)]
        return sv.Detections(np.array(boxes, np.float32), confidence=np.ones(2, np.float32))


def test_of_several_people_in_an_image_one_is_chosen(visit, site, person_beside, tmp_path):
    page = visit.open(detector=TwoPeople())
    visit.upload(tmp_path, person_beside("anna", "bert"))
    expect(page.locator("#cutter-title")).to_have_text("Which person?")
    page.get_by_role("button", name="Person 2").click()
    page.locator("#cutter-use").click()
    expect(page.locator("#heading")).to_have_text("5 candidates")
    best = page.locator(".candidate").first
    expect(best).to_have_attribute("data-tracklet", site.ids["gate", "bert"])
    assert "422" in visit.faults.pop()  # the browser says so as well


def test_people_are_merged_named_and_hidden_by_key_and_all_is_undone(visit, linked):
    page = visit.open()
    page.locator('.views a[data-view="people"]').click()
    expect(page.locator("#people-about")).to_have_text("4 people, by last seen")
    numbers = [int(p.get_attribute("data-person")) for p in page.locator(".person").all()]
    assert numbers == [2, 1, 5, 3]
    page.locator(".person a").first.focus()
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Space")
    page.keyboard.press("m")
    expect(page.locator("#toast-words")).to_have_text("Person 2 and Person 5 are one person")
    expect(page.locator(".person")).to_have_count(3)
    person(page, 2).locator("a").focus()
    page.keyboard.press("n")
    page.locator("#asking-value").fill("Two of them")
    page.keyboard.press("Enter")
    expect(person(page, 2)).to_contain_text("Two of them")
    person(page, 2).locator("a").focus()
    page.keyboard.press("h")
    expect(person(page, 2)).to_have_count(0)
    page.locator("#people-hidden").check()
    expect(person(page, 2)).to_contain_text("hidden")
    assert page.url.endswith("/people?hidden=true")
    page.locator("h1:visible").click()
    for left in (3, 3, 4):
        page.keyboard.press("Control+z")
        expect(page.locator("#toast-words")).to_contain_text("Undone")
        expect(page.locator(".person")).to_have_count(left)
        page.locator("#toast-close").click()
    page.keyboard.press("Control+z")
    expect(page.locator("#toast-words")).to_have_text("Nothing to undo.")
    with GalleryStore(linked.folder) as gallery:
        assert [(p.id, p.name, p.hidden) for p in people(gallery)] == [
            (number, None, False) for number in (1, 2, 3, 5)
        ]


def test_people_are_filtered_and_the_address_keeps_it(visit, linked):
    page = visit.open()
    page.goto(f"{page.url}people?camera=gate&cameras=2")
    expect(page.locator("#people-about")).to_have_text("0 people, by last seen")
    page.locator("#people-camera").select_option("")
    expect(page.locator("#people-about")).to_have_text("1 person, by last seen")
    page.locator("#people-from").fill("2026-03-01T08:31:00")
    page.locator("#people-to").fill("2026-03-01T08:30:00")
    page.locator("#people-to").blur()
    expect(page.locator("#people-problem")).to_contain_text("From is later than To")
    page.go_back()
    expect(page.locator("#people-problem")).to_be_hidden()
    page.reload()
    expect(page.locator("#people-cameras")).to_have_value("2")


def test_answers_to_questions_are_used(visit, linked):
    with GalleryStore(linked.folder) as gallery:
        yard = TrackletId.parse(linked.ids["yard", "anna"])
        other = statements.split(gallery, find_person(gallery, 1), [yard], "setup")
        statements.merge(gallery, [find_person(gallery, n) for n in (1, other)], actor="setup")
        statements.split(gallery, find_person(gallery, 1), [yard], "setup")
    page = visit.open()
    page.goto(f"{page.url}people")
    page.locator("#ask").click()
    expect(page.locator("#question-title")).to_have_text("The same person?")
    before = page.locator(".half h3 a").all_inner_texts()
    page.keyboard.press("n")
    expect(page.locator("#toast-words")).to_have_text(f"{before[0]} and {before[1]} are two people")
    expect(page.locator(".question-head p")).to_contain_text("1 answer so far")
    assert page.locator(".half h3 a").all_inner_texts() != before
    first, second = page.locator(".half h3 a").all_inner_texts()
    page.keyboard.press("u")
    expect(page.locator(".half h3 a")).not_to_have_text([first, second])
    page.keyboard.press("y")
    expect(page.locator("#toast-words")).to_contain_text("are one person")
    expect(page.locator(".person")).to_have_count(4)
    page.keyboard.press("Escape")
    expect(page.locator("#question")).to_be_hidden()
    expect(page.locator("#ask")).to_be_focused()


def test_the_address_keeps_query_marks_and_filter(visit, linked, image_of, tmp_path):
    ids = linked.ids
    page = visit.open()
    card(page, ids["gate", "bert"]).get_by_role("button", name="Find this person").click()
    expect(page.locator("#heading")).to_have_text("4 candidates")
    page.get_by_role("checkbox", name="yard").check()
    expect(page.locator("#heading")).to_have_text("3 candidates")
    page.locator("#rest[open]").wait_for()
    card(page, ids["yard", "cleo"]).locator(".mark-rejected").click()
    address = page.url
    assert re.search(r"\?tracklet=[^&]+&rejected=[^&]+&camera=yard$", address)
    page.reload()
    expect(page.locator("#marks")).to_have_text("1 rejected")
    expect(page.get_by_role("checkbox", name="yard")).to_be_checked()
    page.go_back()
    expect(page.locator("#heading")).to_have_text("4 candidates")
    page.go_back()
    expect(page.locator("#heading")).to_have_text("In this gallery")
    # Images are kept by the tab, so that a reload finds them.
    visit.upload(tmp_path, image_of("anna"))
    expect(page.locator("#heading")).to_have_text("5 candidates")
    best = page.locator(".candidate").first.get_attribute("data-tracklet")
    page.reload()
    expect(page.locator("#heading")).to_have_text("5 candidates")
    assert page.locator(".candidate").first.get_attribute("data-tracklet") == best
    expect(page.locator("#queries canvas")).to_have_count(1)


def test_a_viewer_is_told_what_it_may_not_do(visit, linked):
    page = visit.open(tokens=TOKENS, roles=ROLES)
    sign_in(page, "vera")
    page.locator(".candidate .open").first.click()
    expect(page.locator("#viewer-side")).to_contain_text("Find this person")
    expect(page.locator("#viewer-side summary")).to_have_count(0)
    page.keyboard.press("Escape")
    page.locator("#menu summary").click()
    expect(page.locator("#who-am-i")).to_contain_text(
        "Signed in as vera, viewer. You may look and search. Saying who is who and keeping cases "
        "take a token of an investigator, deleting one of an administrator."
    )
    absent = ("#delete-open", "#delete-confirmed", "#name-confirmed", "#ask", ".views a >> nth=2")
    for part in absent:
        expect(page.locator(part)).to_be_hidden()
    page.goto(page.url.rstrip("/") + "/people/1")
    expect(page.locator("#person-title")).to_have_text("Person 1")
    expect(page.locator("#view-person input")).to_have_count(0)
    expect(page.locator(".head-tools button")).to_have_text(["Search for this person"])
    refused = page.request.delete(f"{page.url.split('/people')[0]}/api/people/1")
    assert refused.status == 403
    page.goto(page.url.split("/people")[0] + "/cases")
    expect(page.locator("#fault")).to_have_text("Cases take a token of an investigator.")


def test_a_tracklet_is_played_from_entering_to_leaving(visit, linked):
    page = visit.open()
    card(page, linked.ids["gate", "bert"]).locator(".open").click()
    expect(page.locator("#people button")).to_have_count(2)
    page.locator("#all-boxes").uncheck()
    expect(page.locator("#people button:visible")).to_have_count(1)
    page.locator("#first").click()
    expect(page.locator("#moment")).to_contain_text("Frame 10 ·")
    page.locator("#play").click()
    expect(page.locator("#play")).to_have_text("Pause")
    expect(page.locator("#moment")).to_contain_text("Frame 39 ·")
    expect(page.locator("#play")).to_have_text("Play")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#moment")).to_contain_text("Frame 38 ·")
    with page.expect_download() as download:
        page.locator("#clip").click()
    with av.open(io.BytesIO(Path(download.value.path()).read_bytes())) as clip:
        assert sum(1 for _ in clip.decode(video=0)) == 30


def test_a_deleted_person_takes_the_case_along(visit, linked):
    with GalleryStore(linked.folder) as gallery:
        marks = [cases.Mark(TrackletId.parse(linked.ids["gate", "anna"]), True)]
        cases.create(gallery, cases.Content("Anna", "", {}, marks), [], "ines")
    page = visit.open()
    page.goto(f"{page.url}people/1")
    page.locator(".head-tools summary").click()
    page.locator("#person-delete").click()
    expect(page.locator("#confirm-text")).to_contain_text("Person 1 for good: 2 tracklets")
    page.locator("#confirm-yes").click()
    expect(page.locator("#people-about")).to_have_text("3 people, by last seen")
    page.locator('.views a[data-view="cases"]').click()
    expect(page.locator(".cases .empty")).to_be_visible()


FRAMES = re.compile(r"/api/videos/[^/]+/frames/\d+$")


def stored_marks(folder: Path) -> dict[str, bool]:
    with GalleryStore(folder) as gallery:
        return {str(m.tracklet): m.confirmed for m in cases.find_case(gallery, 1).marks}


def wait_for(holds) -> None:
    for _ in range(100):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError("did not come true within 5 seconds")


@pytest.fixture
def framed(linked):
    """The site with a case of a box in a frame, and its marks by tracklet."""
    confirmed, rejected = (linked.ids[key] for key in (("yard", "anna"), ("yard", "cleo")))
    with GalleryStore(linked.folder) as gallery:
        marks = [
            cases.Mark(TrackletId.parse(t), t == confirmed, 0.9, 0.8) for t in (confirmed, rejected)
        ]
        video = linked.ids["gate", "anna"][:16]
        search = {"video": video, "frame": 20, "box": [80, 120, 112, 200]}
        cases.create(gallery, cases.Content("Bert", "", search, marks), [], "local")
    return linked, {confirmed: True, rejected: False}


def test_a_case_that_cannot_be_shown_keeps_its_marks(visit, framed):
    site, marks = framed
    page = visit.open()
    page.route(FRAMES, lambda route: route.fulfill(status=404, json={"detail": "the video moved"}))
    page.locator('.views a[data-view="cases"]').click()
    page.get_by_role("link", name="Bert").click()
    expect(page.locator("#fault")).to_have_text("The video moved")
    expect(page.locator("#case-bar")).to_be_hidden()
    # What is searched for instead is no part of the case.
    page.locator('.views a[data-view="search"]').click()
    expect(page.locator("#heading")).to_have_text("In this gallery")
    page.get_by_role("checkbox", name="yard").check()
    expect(page.locator(".candidate")).to_have_count(3)
    page.wait_for_timeout(700)  # longer than a change takes to be saved
    assert stored_marks(site.folder) == marks
    page.unroute(FRAMES)
    page.goto(re.sub(r"(:\d+)/.*", r"\1/cases/1", page.url))
    expect(page.locator("#marks")).to_have_text("1 confirmed, 1 rejected")
    page.locator("#case-close").click()
    expect(page.locator("#case-bar")).to_be_hidden()
    assert stored_marks(site.folder) == marks
    assert "404" in visit.faults.pop()  # the browser says so as well


def test_an_open_case_keeps_its_marks_and_tells_what_is_not_saved(visit, framed):
    site, marks = framed
    page = visit.open()
    page.goto(f"{page.url}cases/1")
    expect(page.locator("#case-title")).to_have_value("Bert")
    page.locator("#kind").select_option("seconds")
    for end, seconds in (("after", "3"), ("before", "1")):
        page.locator(f"#{end}-seconds").fill(seconds)
        page.locator(f"#{end}-seconds").blur()
    expect(page.locator(".empty")).to_have_text("Nothing was searched: correct the filter.")
    page.locator("#before-seconds").fill("")
    page.locator("#before-seconds").blur()
    expect(page.locator("#marks")).to_have_text("1 confirmed, 1 rejected")
    # The service fails: the case stays open, and the note is saved afterwards.
    failing = re.compile("/api/cases/1$")
    page.route(failing, lambda route: route.fulfill(status=500, json={"detail": "disk is full"}))
    page.locator("#case-notes").fill("By the gate.")
    page.locator("#case-close").click()
    expect(page.locator("#problem")).to_have_text("Disk is full")
    page.locator('.views a[data-view="search"]').click()
    expect(page.locator("#fault")).to_have_text("Disk is full")
    expect(page.locator("#case-notes")).to_have_value("By the gate.")
    assert page.url.endswith("/cases/1")
    page.unroute(failing)
    page.locator("#case-close").click()
    expect(page.locator("#case-bar")).to_be_hidden()
    assert stored_marks(site.folder) == marks
    with GalleryStore(site.folder) as gallery:
        assert cases.find_case(gallery, 1).notes == "By the gate."
    assert all("500" in fault for fault in visit.faults)
    visit.faults.clear()


def test_images_added_to_a_case_are_saved(visit, linked, image_of, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, image_of("anna"), image_of("anna", 90, 36))
    expect(page.locator("#heading")).to_have_text("5 candidates")
    card(page, linked.ids["gate", "anna"]).locator(".mark-confirmed").click()
    address = page.url
    page.reload()  # the address keeps both
    expect(page.locator("#queries canvas")).to_have_count(2)
    expect(page.locator("#marks")).to_have_text("1 confirmed")
    assert page.url == address
    page.locator("#save-case").click()
    page.locator("#asking-value").fill("Anna")
    page.keyboard.press("Enter")
    expect(page.locator("#case-state")).to_contain_text("Saved")

    def images() -> int:
        with GalleryStore(linked.folder) as gallery:
            return len(cases.find_case(gallery, 1).images)

    wait_for(lambda: images() == 2)
    visit.upload(tmp_path, image_of("anna", 100, 40))
    wait_for(lambda: images() == 3)
    page.reload()
    expect(page.locator("#queries canvas")).to_have_count(3)
    expect(page.locator("#marks")).to_have_text("1 confirmed")
