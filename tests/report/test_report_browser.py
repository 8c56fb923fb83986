"""Reports in a real browser, opened from disk: nothing fails, and what can be used works."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.evaluation.comparison import Comparison
from reid_dhm.report.comparison_report import write_comparison
from reid_dhm.report.evaluation_report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def folder(make, change, tmp_path_factory) -> Path:
    """Reports with everything that a report can have."""

    def activation(paths):
        return [np.linspace(0, 1, 8, dtype=np.float32).reshape(4, 2) for _ in paths]

    root = tmp_path_factory.mktemp("browser")
    first, second = make(noise=1.1), make(noise=0.7, name="another")
    reranked = replace(second.result, topk_scores=second.result.topk_scores - 1)
    evaluation = change(first, reranked=reranked, reranked_intervals=second.intervals)
    write_report(root / "one", evaluation, map_people=4, activation=activation)
    write_comparison(root / "two", Comparison([first, second], {}))
    return root


class Visit:
    """A page under watch: every complaint of the browser is kept."""

    def __init__(self, page: playwright.Page) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("requestfailed", self._on_failure)
        page.on("request", self._on_request)

    def _on_console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _on_failure(self, request) -> None:
        if request.failure != "net::ERR_ABORTED":  # leaving a page aborts what is on its way
            self.faults.append(f"{request.url} {request.failure}")

    def _on_request(self, request) -> None:
        if not request.url.startswith(("file:", "data:")):
            self.faults.append(f"asked the network for {request.url}")

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())

    def load_images(self) -> int:
        """Open what is folded, let every image load, and count them."""
        self.page.evaluate(
            """async () => {
                document.querySelectorAll('details').forEach((each) => { each.open = true; });
                const images = [...document.images];
                images.forEach((each) => { each.loading = 'eager'; });
                await Promise.all(images.map((each) => each.decode().catch(() => null)));
            }"""
        )
        broken = self.page.evaluate(
            "[...document.images].filter((each) => !each.naturalWidth).map((each) => each.src)"
        )
        self.faults += broken
        return self.page.evaluate("document.images.length")


@pytest.fixture(params=[("desktop", "light"), ("phone", "dark")], ids="-".join)
def visit(request, browser) -> Iterator[Visit]:
    """A visitor of each kind; the test fails on any complaint of the browser."""
    size, scheme = request.param
    width, height = SIZES[size]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    watched = Visit(context.new_page())
    yield watched
    context.close()
    assert watched.faults == []


def assert_fits(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


def test_the_overview_shows_every_image_and_fits_its_window(visit, folder):
    visit.open(folder / "one" / "index.html")
    assert_fits(visit.page)
    assert visit.load_images() > 300
    assert_fits(visit.page)
    assert visit.page.locator(".drawing svg").count() == 5


def test_the_three_questions_are_answered_without_scrolling_twice(visit, folder):
    visit.open(folder / "one" / "index.html")
    height = visit.page.viewport_size["height"]
    screens = 1 if visit.page.viewport_size["width"] > 1000 else 2
    for heading in ("How good is it?", "Where does it fail?", "Which threshold do I use?"):
        block = visit.page.locator(".card", has=visit.page.get_by_role("heading", name=heading))
        box = block.bounding_box()
        assert box["y"] + box["height"] <= screens * height, heading


def test_light_and_dark_differ_and_text_stands_out(visit, folder):
    visit.open(folder / "one" / "index.html")
    dark = visit.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")

    def luminance(selector: str, what: str) -> float:
        colour = visit.page.evaluate(
            f"getComputedStyle(document.querySelector({selector!r})).{what}"
        )
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ground = luminance("html", "backgroundColor")
    assert (ground < 0.1) == dark
    for selector in ("h1", ".about", "main a", ".wrong b", ".correct b", ".drawing svg text"):
        text = luminance(selector, "fill" if "svg" in selector else "color")
        low, high = sorted((ground, text))
        assert (high + 0.05) / (low + 0.05) > 4.5, selector
    low, high = sorted((ground, luminance(".find input", "borderTopColor")))
    assert (high + 0.05) / (low + 0.05) > 3


def test_the_search_box_finds_by_number_person_and_file(visit, folder, make):
    evaluation = make()
    visit.open(folder / "one" / "index.html")
    box = visit.page.get_by_role("searchbox", name="Find a query")
    hits = visit.page.locator(".found a")
    box.fill("7")
    pids = evaluation.query.pids
    assert hits.first.inner_text().startswith("Query 7 ")
    people = [text for text in hits.all_inner_texts() if "person 7," in text]
    assert len(people) >= (pids == 7).sum() - (pids[7] == 7)
    box.fill("QUERY 012")
    assert hits.count() == 1
    assert hits.first.inner_text().startswith("Query 12 ")
    box.fill("nothing of the kind")
    assert visit.page.get_by_role("status").inner_text() == "No matching query"
    assert hits.count() == 0
    box.press("Escape")
    assert not visit.page.locator(".found").is_visible()


def test_the_search_box_works_by_keyboard_alone(visit, folder):
    visit.open(folder / "one" / "index.html")
    visit.page.keyboard.press("/")
    visit.page.keyboard.type("query 01")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/queries/0011.html")
    assert visit.page.get_by_role("heading", level=1).inner_text() == "Query 11"
    assert visit.load_images() == 21 + visit.page.locator("img.activation").count()
    # From a query's page the box leads on to others.
    visit.page.get_by_role("searchbox").fill("3")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/queries/0003.html")


def test_a_ranked_list_leads_to_its_query_and_on_to_its_neighbours(visit, folder, make):
    visit.open(folder / "one" / "index.html")
    link = visit.page.locator("section[aria-labelledby=random] article h3 a").first
    row = int(link.inner_text().removeprefix("Query "))
    link.click()
    assert visit.page.get_by_role("heading", level=1).inner_text() == f"Query {row}"
    assert_fits(visit.page)
    titles = visit.page.locator(".standing strong").all_inner_texts()
    assert titles == ["before re-ranking", "after re-ranking"]
    evaluation = make()
    first = visit.page.locator("ol.answers").first.locator("li")
    assert first.count() == 10
    top = evaluation.result.topk_indices[row, 0]
    right = evaluation.gallery.pids[top] == evaluation.query.pids[row]
    assert first.first.inner_text().startswith("✓ correct" if right else "✗ wrong")
    ahead = row < len(evaluation.query) - 1
    visit.page.locator("a[rel=next]" if ahead else "a[rel=prev]").click()
    other = row + 1 if ahead else row - 1
    assert visit.page.get_by_role("heading", level=1).inner_text() == f"Query {other}"
    visit.page.get_by_role("link", name="Overview").click()
    assert visit.page.get_by_role("heading", level=1).inner_text() == "dhm"


def test_activation_maps_are_switched_on_and_off(visit, folder):
    visit.open(folder / "one" / "index.html")
    button = visit.page.get_by_role("button", name="Activation maps")
    overlay = visit.page.locator("section[aria-labelledby=worst] .activation").first
    assert not overlay.is_visible()
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    assert overlay.is_visible()
    visit.load_images()
    shot, image = overlay.bounding_box(), overlay.locator("xpath=../img[1]").bounding_box()
    border = 3
    assert shot["width"] == pytest.approx(image["width"] - 2 * border, abs=1)
    assert shot["height"] == pytest.approx(image["height"] - 2 * border, abs=1)
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert not overlay.is_visible()


def test_more_queries_are_folded_away_until_asked_for(visit, folder):
    visit.open(folder / "one" / "index.html")
    section = visit.page.locator("section[aria-labelledby=best]")
    assert section.locator("article:visible").count() == 6
    section.locator("summary").click()
    assert section.locator("article:visible").count() == 9


@pytest.mark.parametrize("name", ["one", "two"])
def test_a_screen_reader_finds_its_way(visit, folder, name):
    visit.open(folder / name / "index.html")
    page = visit.page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    levels = page.evaluate(
        "[...document.querySelectorAll('h1,h2,h3,h4')].map((each) => Number(each.tagName[1]))"
    )
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert page.locator("img:not([alt])").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    assert page.locator("table:not(:has(caption)):not(.points)").count() == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    twice = page.evaluate(
        """[...document.querySelectorAll('[id]')].map((each) => each.id)
             .filter((id, place, all) => all.indexOf(id) !== place)"""
    )
    assert twice == []


def test_a_comparison_opens_and_its_queries_show_both_models(visit, folder):
    visit.open(folder / "two" / "index.html")
    assert_fits(visit.page)
    assert visit.load_images() > 20
    visit.page.get_by_role("searchbox").fill("5")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_url("**/queries/0005.html")
    titles = visit.page.locator(".standing strong").all_inner_texts()
    assert titles == ["dhm", "another"]
    assert visit.load_images() == 21


def test_a_comparison_shows_every_figure_without_scrolling_sideways(visit, folder):
    visit.open(folder / "two" / "index.html")
    inside = visit.page.evaluate(
        """[...document.querySelectorAll('.models data')].map((each) => {
             const box = each.getBoundingClientRect();
             return box.width > 0 && box.left >= 0 && box.right <= innerWidth;
           })"""
    )
    assert len(inside) > 20
    assert all(inside)


def test_the_switch_of_activation_maps_covers_no_figure(visit, folder):
    visit.open(folder / "one" / "index.html")
    button = visit.page.locator(".tools").bounding_box()
    for name in (".points", ".matrices", ".drawings"):
        box = visit.page.locator(name).bounding_box()
        assert box["y"] + box["height"] <= button["y"], name
