"""Pages in headless Chromium: no errors, no requests, tables that sort, pictures that open, any width, any scheme."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.browsing import chromium
from tests.evidence_runs import NASTY
from tests.test_page import every_page, written

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def visit(browser: "Browser", pages: Path) -> Iterator:
    """Opens a page from the disk; afterwards asserts that it said nothing and asked for nothing."""
    heard: list[str] = []
    contexts = []

    def opened(file: Path | None = None, viewport: dict[str, int] | None = None, **options: object) -> "Page":
        context = browser.new_context(viewport=viewport or DESKTOP, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: heard.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: heard.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: heard.append(f"request: {request.url}") if _outside(request.url) else None)
        page.goto((file or pages / "index.html").as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not heard


def _outside(url: str) -> bool:
    return not url.startswith(("file://", "data:", "blob:"))


def column(page: "Page", number: int) -> list[str]:
    """Texts of a column of the list of runs."""
    return page.locator(f"#runs tbody tr > :nth-child({number})").all_inner_texts()


def test_every_page_opens_without_errors_and_without_requests(visit, pages: Path) -> None:
    """The fixture asserts it; scripts have run: headers became buttons."""
    for file in every_page(pages):
        page = visit(file)
        if page.locator("main thead th").count():
            assert page.locator("main thead button.sort").count()
        assert "script" not in page.locator("h1").evaluate(
            "heading => heading.innerHTML.toLowerCase().split('&lt;')[0]"
        )


def test_a_blocked_script_is_noticed(browser: "Browser", pages: Path, tmp_path: Path) -> None:
    """The policy holds, and these tests would hear of it: a script slipped into the page is refused aloud."""
    text = (pages / "index.html").read_text(encoding="utf-8")
    file = tmp_path / "slipped.html"
    slipped = "<script>document.title = 'mine'</script><img src='https://example.org/x.png'>"
    file.write_text(text.replace("</main>", f"{slipped}</main>"), encoding="utf-8")
    page, heard = browser.new_page(), []
    page.on("console", lambda message: heard.append(message.text))
    page.goto(file.as_uri())
    assert page.title() != "mine"
    assert sum("Content Security Policy" in message for message in heard) == 2
    page.close()


def test_tables_sort_by_click_and_back(visit) -> None:
    page = visit()
    header = page.locator("#runs thead th", has_text="mAP")
    before = column(page, 9)
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "descending"
    numbers = [float(text) for text in column(page, 9) if text != "–"]
    assert len(numbers) == 6
    assert numbers == sorted(numbers, reverse=True)
    assert column(page, 9)[6:] == ["–"] * 3
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, 9)[:6] == [f"{number:.1f}" for number in sorted(numbers)]
    assert column(page, 9)[6:] == ["–"] * 3  # missing ones stay last
    header.locator("button").click()
    assert header.get_attribute("aria-sort") is None
    assert column(page, 9) == before


def test_tables_sort_from_the_keyboard_and_one_column_at_a_time(visit) -> None:
    page = visit()
    first = page.locator("#runs thead th", has_text="method").locator("button")
    first.focus()
    page.keyboard.press("Enter")
    assert column(page, 3) == sorted(column(page, 3), key=str.lower)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    sorts = page.locator("#runs thead th[aria-sort]")
    assert sorts.count() == 1
    assert sorts.inner_text().startswith("dataset")


def test_result_tables_with_two_rows_of_headings_sort_too(visit) -> None:
    """A heading that spans columns has no button; the one below it sorts its own column."""
    page = visit()
    table = page.locator("#results table").first
    assert table.locator("th.group button").count() == 0
    header = table.locator("thead th", has_text="R1").first
    place = [text.strip() for text in table.locator("thead tr").nth(1).locator("th").all_inner_texts()].index("R1")
    leading = table.locator("thead tr").first.locator("th[rowspan]").count()
    header.locator("button").click()
    values = table.locator(f"tbody tr > :nth-child({leading + place + 1})").evaluate_all(
        "cells => cells.map(cell => Number(cell.dataset.sort))"
    )
    assert values == sorted(values, reverse=True)
    assert len(values) >= 3  # ours, and published ones beside them


def test_pictures_open_at_full_size_and_close_with_escape(visit) -> None:
    page = visit()
    opener = page.locator("figure .open").first
    viewer = page.locator("#viewer")
    assert not viewer.is_visible()
    opener.click()
    assert viewer.is_visible()
    full = viewer.locator("img")
    assert full.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [600, 200]
    assert viewer.locator("h2").inner_text() == f"{NASTY} 0"
    page.keyboard.press("ArrowRight")
    assert viewer.locator("h2").inner_text() == f"{NASTY} 1"
    viewer.get_by_role("button", name="Actual size").click()
    assert full.evaluate("image => image.getBoundingClientRect().width") == 600
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    assert page.evaluate("document.activeElement.className") == "open"  # the focus is back where it was
    page.keyboard.press("Enter")
    assert viewer.is_visible()
    viewer.get_by_role("button", name="Close").click()
    assert not viewer.is_visible()


@pytest.mark.parametrize("viewport", [PHONE, DESKTOP, {"width": 320, "height": 600}], ids=["390", "1280", "320"])
def test_no_page_scrolls_sideways(visit, pages: Path, viewport: dict[str, int]) -> None:
    """Names of 300 characters and wide tables stay in their boxes."""
    for file in every_page(pages):
        page = visit(file, viewport)
        page.locator("details").evaluate_all("parts => parts.forEach(part => { part.open = true; })")
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], file.name


def test_light_and_dark_follow_the_reader_and_stay_legible(visit) -> None:
    """Contrast of text against the paper, after WCAG 2: at least 4.5 to 1."""
    papers = []
    for scheme in ("light", "dark"):
        page = visit(color_scheme=scheme)
        papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        for selector in ("p.lead", "td", "nav.contents a", "caption", "figcaption", ".state"):
            assert page.locator(selector).first.evaluate(CONTRAST) >= 4.5, (scheme, selector)
    assert papers[0] != papers[1]


CONTRAST = """element => {
  const light = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number)
    .map((part) => part / 255).map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const [one, other] = [getComputedStyle(element).color, getComputedStyle(document.body).backgroundColor].map(light);
  return (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
}"""


def test_the_keyboard_reaches_the_contents_first_and_sees_where_it_is(visit) -> None:
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('main').contains(document.activeElement)")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_the_command_can_be_copied(visit, pages: Path) -> None:
    file = next(file for file in every_page(pages) if b"baseline".hex() in file.name)
    page = visit(file, permissions=["clipboard-read", "clipboard-write"])
    block = page.locator(".copy").first
    block.get_by_role("button").click()
    block.get_by_role("button", name="Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == block.locator("pre").inner_text()


def test_paper_shows_the_text_and_no_buttons(visit) -> None:
    page = visit()
    page.emulate_media(media="print")
    assert not page.locator("nav.contents").is_visible()
    assert not page.locator(".copy .button").first.is_visible()
    assert page.locator("figure img").first.is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
