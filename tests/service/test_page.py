"""The page in a real browser, at a desk and on a phone: it searches, shows, refines and deletes."""

from __future__ import annotations

import json
import re

import pytest

from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import audit, deletion
from reid_dhm.gallery.store.gallery import GalleryStore

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
TOKEN = "annas-very-own-token"


def expect(locator):
    return playwright.expect(locator)


def candidates(page) -> list[str]:
    """Tracklets of the cards that are shown."""
    return [card.get_attribute("data-tracklet") for card in page.locator(".candidate").all()]


def wait_for_candidates(page, heading: str) -> list[str]:
    expect(page.locator("#heading")).to_have_text(heading)
    expect(page.locator("#results")).to_have_attribute("aria-busy", "false")
    return candidates(page)


def frame_is(page, number: int) -> None:
    """Wait until a frame is shown, with its image."""
    expect(page.locator("#moment")).to_contain_text(f"Frame {number} ·")
    expect(page.locator("#frame")).to_have_attribute("alt", re.compile(f"Frame {number} "))
    assert page.locator("#frame").evaluate("image => image.naturalWidth") == 320


def drag(page, stage: str, box: tuple[int, int, int, int], size: tuple[int, int]) -> None:
    """Draw a box, given in pixels of the image, with the mouse."""
    area = page.locator(stage).bounding_box()
    x, y = area["width"] / size[0], area["height"] / size[1]
    page.mouse.move(area["x"] + box[0] * x, area["y"] + box[1] * y)
    page.mouse.down()
    page.mouse.move(area["x"] + box[2] * x, area["y"] + box[3] * y, steps=4)
    page.mouse.up()


def open_deletion(page) -> None:
    """The dialog that deletes, from the page's menu."""
    page.locator("#menu summary").click()
    page.locator("#delete-open").click()


def choose_more(page, item: str) -> None:
    """An item of the menu beside what follows a confirmation."""
    page.locator("#feedback summary").click()
    page.locator(item).click()


def test_it_begins_with_who_is_there(visit, site):
    page = visit.open()
    assert set(wait_for_candidates(page, "In this gallery")) == set(site.ids.values())
    expect(page.locator("#counts")).to_have_text("5 tracklets · 2 cameras · 2 videos")
    expect(page.locator("#name")).to_have_text("site")
    page.wait_for_load_state("networkidle")
    # Lazily loaded images below the window may still be missing, but none may be broken.
    broken = "[...document.images].filter((i) => i.complete && i.src && !i.naturalWidth).length"
    assert page.evaluate(broken) == 0


def test_a_search_by_upload(visit, site, image_of, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, image_of("anna"))
    found = wait_for_candidates(page, "5 candidates")
    assert set(found[:2]) == {site.ids["gate", "anna"], site.ids["yard", "anna"]}
    best = page.locator(".candidate").first
    expect(best.locator(".likeness")).to_contain_text("1.000 similarity")
    expect(page.locator("#status")).to_contain_text("5 candidates. Best: camera")
    rows = page.locator(".lane h4")
    expect(rows).to_have_count(2)  # the gate has a clock, the yard has none
    expect(rows.first).to_have_text("gate")
    expect(page.locator(".lane button")).to_have_count(5)


def test_a_image_may_be_dropped(visit, site, image_of):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    data = page.evaluate_handle(
        """(bytes) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], "p.jpg", { type: "image/jpeg" }));
            return data;
        }""",
        list(image_of("bert")),
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})
    assert wait_for_candidates(page, "5 candidates")[0] == site.ids["gate", "bert"]


def test_a_box_on_an_uploaded_image(visit, site, person_beside, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, person_beside("anna", "bert"))
    expect(page.locator("#cutter")).to_be_visible()  # more than one person may be on it
    drag(page, "#cutter-image", (34, 1, 63, 79), (64, 80))
    page.locator("#cutter-use").click()
    expect(page.locator("#cutter")).to_be_hidden()
    assert wait_for_candidates(page, "5 candidates")[0] == site.ids["gate", "bert"]
    page.get_by_role("button", name="Change box").click()
    drag(page, "#cutter-image", (1, 1, 31, 79), (64, 80))
    page.locator("#cutter-use").click()
    expect(page.locator(".candidate").first).not_to_have_attribute(
        "data-tracklet", site.ids["gate", "bert"]
    )
    assert wait_for_candidates(page, "5 candidates")[0] in (
        site.ids["gate", "anna"],
        site.ids["yard", "anna"],
    )


def test_the_person_is_found_in_an_uploaded_image(visit, site, detector, scene_of, tmp_path):
    page = visit.open(detector=detector)
    wait_for_candidates(page, "In this gallery")
    visit.upload(tmp_path, scene_of("bert", (200, 100)))
    assert wait_for_candidates(page, "5 candidates")[0] == site.ids["gate", "bert"]
    expect(page.locator("#cutter")).to_be_hidden()
    expect(page.get_by_role("button", name="Change box")).to_be_visible()


def test_images_that_cannot_be_used_are_named(visit, image_of, tmp_path):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    visit.upload(tmp_path, b"no image")
    expect(page.locator("#problem")).to_have_text(
        "0.jpg is damaged or not an image: choose JPEG, PNG or WebP"
    )
    visit.upload(tmp_path, *[image_of("anna")] * 9)
    expect(page.locator("#problem")).to_have_text("The limit is 8 images")


def test_a_box_on_a_frame(visit, site):
    page = visit.open()
    page.locator("#from-video").click()
    frame_is(page, 5)  # where the first person is seen best
    page.locator("#seek").fill("20")
    frame_is(page, 20)
    page.locator("#draw").click()
    drag(page, "#frame", (80, 120, 112, 200), (320, 240))  # Bert
    page.locator("#use-box").click()
    expect(page.locator("#viewer")).to_be_hidden()
    assert wait_for_candidates(page, "5 candidates")[0] == site.ids["gate", "bert"]
    expect(page.locator("#queries p")).to_have_text("gate, frame 20")


def test_a_box_on_a_frame_by_keyboard(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    page.locator("#from-video").focus()
    page.keyboard.press("Enter")
    frame_is(page, 5)
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    frame_is(page, 20)
    page.locator("#draw").focus()
    page.keyboard.press("Enter")
    box = page.locator(".cut")
    expect(box).to_be_focused()
    # The box begins in the middle, 60 pixels tall; steps are four pixels.
    for key, times in {"ArrowLeft": 16, "ArrowDown": 9, "Shift+ArrowDown": 4}.items():
        for _ in range(times):
            page.keyboard.press(key)
    expect(box).to_have_attribute(
        "aria-label", re.compile(r"25 wide and 76 tall, 84 from the left, 126 from the top")
    )
    page.keyboard.press("Enter")
    assert wait_for_candidates(page, "5 candidates")[0] == site.ids["gate", "bert"]


def test_somebody_known_in_a_frame(visit, site):
    page = visit.open()
    page.locator("#from-video").click()
    frame_is(page, 5)
    page.locator("#viewer-camera").select_option("yard")
    expect(page.locator("#moment")).to_contain_text("in the video")
    page.locator("#seek").fill("15")
    frame_is(page, 15)
    expect(page.locator("#people button")).to_have_count(2)  # Cleo and Anna
    page.get_by_role("button", name="Person 2").click()
    expect(page.locator("#viewer-side")).to_contain_text(site.ids["yard", "anna"])
    page.locator("#find-person").click()
    assert wait_for_candidates(page, "4 candidates")[0] == site.ids["gate", "anna"]


def test_cameras_and_times_narrow_the_candidates(visit, site, image_of, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, image_of("anna"))
    wait_for_candidates(page, "5 candidates")
    page.get_by_role("checkbox", name="gate").check()
    assert set(wait_for_candidates(page, "2 candidates")) == {
        site.ids["gate", "anna"],
        site.ids["gate", "bert"],
    }
    page.locator("#after-clock").fill("2026-03-01T08:30:03")
    page.locator("#after-clock").dispatch_event("change")
    assert wait_for_candidates(page, "1 candidate") == [site.ids["gate", "bert"]]
    page.get_by_role("checkbox", name="gate").uncheck()
    page.locator("#kind").select_option("seconds")
    page.locator("#before-seconds").fill("0.5")
    page.locator("#before-seconds").dispatch_event("change")
    assert set(wait_for_candidates(page, "2 candidates")) == {
        site.ids["gate", "anna"],
        site.ids["yard", "cleo"],
    }
    page.locator("#clear").click()
    assert len(wait_for_candidates(page, "In this gallery")) == 5


def test_the_gallery_is_filtered_before_any_search(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    page.get_by_role("checkbox", name="gate").check()
    expect(page.locator(".candidate")).to_have_count(2)
    page.locator("#after-clock").fill("2026-03-02T00:00:00")
    page.locator("#after-clock").dispatch_event("change")
    expect(page.locator(".empty")).to_contain_text("No matching tracklets")


def test_a_span_that_ends_before_it_begins_is_refused_at_once(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#kind").select_option("seconds")
    page.locator("#after-seconds").fill("5")
    page.locator("#after-seconds").blur()
    expect(page.locator(".candidate")).to_have_count(0)
    asked.clear()
    page.locator("#before-seconds").fill("3")
    page.locator("#before-seconds").blur()
    expect(page.locator("#span-problem")).to_have_text("From is later than To: change one of them.")
    expect(page.locator("#after-seconds")).to_have_attribute("aria-invalid", "true")
    expect(page.locator(".empty")).to_have_text("Nothing was searched: correct the filter.")
    assert not [url for url in asked if "/api/" in url]
    page.locator("#after-seconds").fill("1")
    page.locator("#after-seconds").blur()
    expect(page.locator("#span-problem")).to_be_hidden()
    assert wait_for_candidates(page, "In this gallery")


def test_a_changed_filter_searches_once(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    page.locator(".find").first.click()
    wait_for_candidates(page, "4 candidates")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.locator("#min-similarity").fill("0.99")
    page.locator("#min-similarity").press("Enter")  # a change, and a submission
    expect(page.locator("#heading")).not_to_have_text("4 candidates")
    assert len([url for url in asked if "/api/search/" in url]) == 1


def test_the_range_of_the_recordings_is_shown(visit, site):
    page = visit.open()
    expect(page.locator("#range")).to_have_text(
        "Recordings: 1 Mar 2026, 08:30:00 to 08:30:04. Videos without clock time: up to 0:04.0 long"
    )


def test_escape_closes_one_thing_at_a_time(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    page.locator(".candidate .open").first.click()
    page.locator("#draw").click()
    expect(page.locator("#use-box")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#use-box")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_borders_of_controls_have_a_contrast_of_three(visit, site, scheme):
    page = visit.open()
    page.emulate_media(color_scheme=scheme)
    wait_for_candidates(page, "In this gallery")

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for control in ("#min-similarity", "#top-k", "#choose", "#menu > summary"):
        border, outside = page.locator(control).evaluate(
            """node => {
              const back = (place) => getComputedStyle(place).backgroundColor;
              let place = node.parentElement;
              while (back(place) === "rgba(0, 0, 0, 0)") place = place.parentElement;
              return [getComputedStyle(node).borderTopColor, back(place)];
            }"""
        )
        low, high = sorted([luminance(border), luminance(outside)])
        assert (high + 0.05) / (low + 0.05) >= 3, control


def test_confirmed_and_rejected_candidates_refine_the_search(visit, site):
    page = visit.open()
    cards = page.locator(f'[data-tracklet="{site.ids["gate", "bert"]}"]')
    cards.get_by_role("button", name="Find this person").click()
    before = wait_for_candidates(page, "4 candidates")
    card = {t: page.locator(f'.candidate[data-tracklet="{t}"]') for t in before}
    dora, cleo = card[site.ids["yard", "dora"]], card[site.ids["yard", "cleo"]]
    likeness = float(dora.locator(".likeness strong").inner_text())
    dora.locator(".mark-confirmed").click()
    expect(dora.locator(".mark-confirmed")).to_have_attribute("aria-pressed", "true")
    expect(dora.locator(".mark-confirmed")).to_be_focused()
    cleo.locator(".mark-rejected").click()
    expect(page.locator("#marks")).to_have_text("1 confirmed, 1 rejected")
    page.locator("#refine").click()
    after = wait_for_candidates(page, "3 candidates")
    assert after[0] == site.ids["yard", "dora"]
    assert site.ids["yard", "cleo"] not in after
    assert float(dora.locator(".likeness strong").inner_text()) > likeness
    choose_more(page, "#unmark")
    expect(page.locator("#feedback")).to_be_hidden()


def test_a_candidate_is_opened_and_stepped_through(visit, site, image_of, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, image_of("bert"))
    wait_for_candidates(page, "5 candidates")
    page.locator(".candidate .open").first.click()
    frame_is(page, 15)  # Bert's best image
    expect(page.locator("#viewer-title")).to_have_text("gate · 1 Mar 2026")
    expect(page.locator("#moment")).to_have_text("Frame 15 · 1 Mar 2026, 08:30:01")
    own = page.locator('#people button[aria-current="true"]')
    expect(own).to_have_attribute("data-tracklet", site.ids["gate", "bert"])

    def assert_box(number: int) -> None:
        frame, box = page.locator("#frame").bounding_box(), own.bounding_box()
        scale = frame["width"] / 320
        assert (box["x"] - frame["x"]) / scale == pytest.approx(10 + 7 * (number - 10), abs=2)
        assert (box["y"] - frame["y"]) / scale == pytest.approx(120, abs=2)

    assert_box(15)
    page.locator("#next").click()
    frame_is(page, 16)
    assert_box(16)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    frame_is(page, 14)
    page.locator("#last").click()
    frame_is(page, 39)
    expect(page.locator("#next")).to_be_disabled()
    page.locator(".crops button").first.click()
    frame_is(page, 15)
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).to_be_hidden()
    page.locator(".lane button", has_text=re.compile("^1$")).click()  # the same from the timeline
    frame_is(page, 15)


def test_a_video_that_is_gone_leaves_its_images(visit, site):
    (site.folder.parent / "gate.avi").unlink()
    page = visit.open()
    page.locator(f'.candidate[data-tracklet="{site.ids["gate", "anna"]}"] .open').click()
    expect(page.locator("#viewer-problem")).to_contain_text("The video is not available")
    expect(page.locator("#stage")).to_be_hidden()
    expect(page.locator(".crops img")).to_have_count(2)


def test_one_tracklet_is_deleted_after_asking(visit, site):
    page = visit.open()
    page.locator(f'.candidate[data-tracklet="{site.ids["gate", "anna"]}"] .open').click()
    page.locator("#viewer-side summary").click()
    page.keyboard.press("Escape")  # the menu alone
    expect(page.locator("#delete-tracklet")).to_be_hidden()
    expect(page.locator("#viewer")).to_be_visible()
    page.locator("#viewer-side summary").click()
    page.locator("#delete-tracklet").click()
    expect(page.locator("#confirm-text")).to_contain_text("camera gate, 1 Mar 2026, 08:30:00")
    page.get_by_role("button", name="Keep").click()
    expect(page.locator(".candidate")).to_have_count(5)
    page.locator("#viewer-side summary").click()
    page.locator("#delete-tracklet").click()
    page.locator("#confirm-yes").click()
    expect(page.locator(".candidate")).to_have_count(4)
    expect(page.locator("#counts")).to_contain_text("4 tracklets")
    expect(page.locator("#status")).to_have_text("1 tracklet deleted.")
    with GalleryStore(site.folder) as gallery:
        assert gallery.count() == 4
        assert [entry.action for entry in audit.entries(gallery)] == ["delete", "delete"]


def test_all_confirmed_candidates_are_deleted_together(visit, site, image_of, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, image_of("anna"))
    wait_for_candidates(page, "5 candidates")
    page.locator(".mark-confirmed").nth(0).click()
    page.locator(".mark-confirmed").nth(1).click()
    choose_more(page, "#delete-confirmed")
    expect(page.locator("#confirm-text")).to_contain_text("The 2 tracklets")
    page.locator("#confirm-yes").click()
    left = wait_for_candidates(page, "3 candidates")
    assert not {site.ids["gate", "anna"], site.ids["yard", "anna"]} & set(left)


def test_cameras_videos_and_spans_are_deleted(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    page.get_by_role("checkbox", name="yard").check()
    page.locator("#kind").select_option("seconds")
    page.locator("#after-seconds").fill("3")
    page.locator("#after-seconds").dispatch_event("change")
    expect(page.locator(".candidate")).to_have_count(2)
    open_deletion(page)
    page.locator("#delete-what").select_option("span")
    expect(page.locator("#delete-count")).to_have_text(
        "2 tracklets: yard, from second 3. The videos stay in the list."
    )
    page.locator("#delete-next").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#counts")).to_contain_text("3 tracklets")

    open_deletion(page)
    page.locator("#delete-what").select_option("video")
    page.locator("#delete-camera").select_option(label="yard")
    expect(page.locator("#delete-count")).to_have_text(
        "The video yard.avi of camera yard, with 1 tracklet."
    )
    page.locator("#delete-next").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#counts")).to_have_text("2 tracklets · 2 cameras · 1 video")

    open_deletion(page)
    page.locator("#delete-what").select_option("camera")
    page.locator("#delete-camera").select_option(label="gate")
    page.locator("#delete-next").click()
    page.locator("#confirm-yes").click()
    expect(page.locator("#counts")).to_have_text("0 tracklets · 1 camera · 0 videos")
    page.locator("#clear").evaluate("button => button.click()")
    expect(page.locator(".empty")).to_contain_text("No tracklets yet")


def test_a_late_answer_about_another_camera_changes_no_deletion(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    held = []
    page.route("**/api/videos?camera=gate*", lambda route: held.append(route))
    open_deletion(page)
    page.locator("#delete-what").select_option("video")
    page.locator("#delete-camera").select_option(label="yard")
    shown = re.compile("^The video yard.avi of camera yard")
    expect(page.locator("#delete-count")).to_have_text(shown)
    with page.expect_response("**/api/videos?camera=gate*"):
        held[0].continue_()
    page.wait_for_timeout(200)
    expect(page.locator("#delete-count")).to_have_text(shown)


def test_all_candidates_of_a_similarity_are_deleted_after_being_shown(
    visit, site, image_of, tmp_path
):
    page = visit.open()
    visit.upload(tmp_path, image_of("anna"))
    wait_for_candidates(page, "5 candidates")
    page.locator("#min-similarity").fill("0.95")
    page.locator("#min-similarity").dispatch_event("change")
    both = {site.ids["gate", "anna"], site.ids["yard", "anna"]}
    assert set(wait_for_candidates(page, "2 candidates")) == both
    page.get_by_role("button", name="Confirm all").click()
    expect(page.locator("#marks")).to_have_text("2 confirmed")
    expect(page.locator("#mark-all")).to_be_hidden()
    choose_more(page, "#delete-confirmed")
    page.locator("#confirm-yes").click()
    assert wait_for_candidates(page, "0 candidates") == []
    with GalleryStore(site.folder) as gallery:
        assert {str(tracklet.id) for tracklet in gallery.tracklets()} == {*site.ids.values()} - both


def test_after_a_camera_was_deleted_the_page_goes_on(visit, site):
    page = visit.open()
    anna = page.locator(f'.candidate[data-tracklet="{site.ids["gate", "anna"]}"]')
    anna.get_by_role("button", name="Find this person").click()
    wait_for_candidates(page, "4 candidates")
    page.locator(".mark-confirmed").first.click()
    open_deletion(page)
    page.locator("#delete-camera").select_option(label="gate")
    page.locator("#delete-next").click()
    page.locator("#confirm-yes").click()
    left = {site.ids["yard", person] for person in ("anna", "cleo", "dora")}
    assert set(wait_for_candidates(page, "In this gallery")) == left
    expect(page.locator("#problem")).to_be_hidden()
    page.locator("#from-video").click()  # the camera that is left is offered
    frame_is(page, 5)
    expect(page.locator("#viewer-camera option")).to_have_text(["yard"])


def test_whom_somebody_else_deleted_is_shown_no_more(visit, site, image_of, tmp_path):
    page = visit.open()
    visit.upload(tmp_path, image_of("anna"))
    wait_for_candidates(page, "5 candidates")
    page.locator(".mark-confirmed").first.click()
    with GalleryStore(site.folder) as gallery:
        deletion.delete(gallery, TrackletFilter(cameras=["gate"]), whole=True)
        deletion.delete(gallery, TrackletFilter(cameras=["yard"]), whole=True)
    page.locator("#refine").click()
    expect(page.locator("#problem")).to_contain_text("The gallery has no tracklet")
    expect(page.locator(".candidate")).to_have_count(0)
    expect(page.locator("#timeline")).to_be_hidden()
    assert "404" in visit.faults.pop()  # the browser says so as well


def test_a_camera_without_a_video_is_not_offered_to_pick_from(visit, site):
    with GalleryStore(site.folder) as gallery:
        where = TrackletFilter(videos=[site.ids["gate", "anna"][:16]])
        deletion.delete(gallery, where, whole=True)
    page = visit.open()
    page.locator("#from-video").click()
    frame_is(page, 5)
    expect(page.locator("#viewer-camera option")).to_have_text(["yard"])


def test_every_wide_image_is_asked_about(visit, site, person_beside, tmp_path):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    visit.upload(tmp_path, person_beside("anna", "bert"), person_beside("bert", "cleo"))
    expect(page.locator("#cutter")).to_be_visible()
    drag(page, "#cutter-image", (34, 1, 63, 79), (64, 80))
    page.locator("#cutter-use").click()
    expect(page.locator("#heading")).to_have_text("In this gallery")  # nothing is searched yet
    expect(page.locator(".cut")).to_be_visible()
    drag(page, "#cutter-image", (1, 1, 31, 79), (64, 80))
    page.locator("#cutter-use").click()
    expect(page.locator("#cutter")).to_be_hidden()
    assert wait_for_candidates(page, "5 candidates")[0] == site.ids["gate", "bert"]
    expect(page.locator(".likeness").first).to_contain_text(re.compile(r"^(1\.000|0\.99)"))


def test_times_of_several_offsets_are_told_apart(visit, site):
    with GalleryStore(site.folder) as gallery, gallery.writing() as db:
        # The yard was recorded at the same instant, but by a clock an hour ahead.
        db.execute(
            "UPDATE videos SET utc_offset = 7200, start_time = "
            "(SELECT start_time FROM videos WHERE start_time IS NOT NULL)"
            " WHERE start_time IS NULL"
        )
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    expect(page.locator("#zone-of option")).to_have_text(["UTC+01:00", "UTC+02:00"])
    page.locator("#after-clock").fill("2026-03-01T09:30:00")
    page.locator("#after-clock").dispatch_event("change")
    expect(page.locator(".candidate")).to_have_count(0)
    page.locator("#zone-of").select_option("+02:00")
    expect(page.locator(".candidate")).to_have_count(5)


def test_what_goes_wrong_in_the_viewer_is_said_there(visit, site):
    page = visit.open()
    page.locator("#from-video").click()
    frame_is(page, 5)
    page.route("**/api/tracklets/*", lambda route: route.fulfill(status=404, body="no"))
    page.locator("#people button").first.click()
    expect(page.locator("#viewer-problem")).to_have_text("The service failed")
    assert "404" in visit.faults.pop()  # the browser says so as well


def test_a_token_is_asked_for_and_stays_out_of_addresses(visit, site):
    page = visit.open(tokens={"anna": TOKEN})
    expect(page.locator("#sign-in")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#sign-in")).to_be_visible()
    page.get_by_label("Token").fill("a-token-of-nobody-here")
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#sign-in-problem")).to_have_text("Unknown token")
    assert "401" in visit.faults.pop()  # the browser says so as well
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    wait_for_candidates(page, "In this gallery")
    page.reload()
    wait_for_candidates(page, "In this gallery")
    assert not [address for address in visit.addresses if TOKEN in address]
    kept = "JSON.stringify([localStorage, sessionStorage, document.cookie])"
    assert TOKEN not in page.evaluate(kept)
    page.locator("#menu summary").click()
    page.locator("#sign-out").click()
    expect(page.locator("#sign-in")).to_be_visible()


UNNAMED = """() => {
    const named = (e) => (e.getAttribute("aria-label") || e.textContent || "").trim()
        || (e.labels && e.labels.length) || e.getAttribute("aria-labelledby");
    const shown = (e) => e.checkVisibility();
    const faults = [];
    for (const e of document.querySelectorAll("button, input, select, dialog, a")) {
        if (shown(e) && !named(e)) faults.push(e.outerHTML.slice(0, 120));
    }
    for (const e of document.images) if (!e.hasAttribute("alt")) faults.push(e.outerHTML);
    const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
    faults.push(...ids.filter((id, place) => ids.indexOf(id) !== place));
    let level = 0;
    for (const e of document.querySelectorAll("h1, h2, h3, h4")) {
        if (!shown(e)) continue;
        if (Number(e.tagName[1]) > level + 1) faults.push(`${e.tagName} behind h${level}`);
        level = Number(e.tagName[1]);
    }
    return faults;
}"""


def test_everything_has_a_name_for_those_who_hear_the_page(visit, site, image_of, tmp_path):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    assert page.evaluate(UNNAMED) == []
    visit.upload(tmp_path, image_of("anna"))
    wait_for_candidates(page, "5 candidates")
    assert page.evaluate(UNNAMED) == []
    page.locator(".candidate .open").first.click()
    expect(page.locator("#people button").first).to_be_visible()
    assert page.evaluate(UNNAMED) == []


def test_what_the_page_uses_is_described(visit, site):
    page = visit.open()
    wait_for_candidates(page, "In this gallery")
    described = json.loads(page.request.get(f"{page.url}openapi.json").text())
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path) + "$") for path in described["paths"]]
    asked = {re.sub(r"^https?://[^/]+|\?.*", "", address) for address in visit.addresses}
    for path in asked:
        if path.startswith("/api/"):
            assert any(pattern.match(path) for pattern in patterns), path
