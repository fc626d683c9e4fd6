"""The playground: what a newcomer sees after `make demo`."""

from __future__ import annotations

import pytest
from conftest import SETTINGS, watch
from playwright.async_api import BrowserContext, Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]


async def open_playground(context: BrowserContext, site: str) -> tuple[Page, list[str]]:
    page = await context.new_page()
    problems: list[str] = []
    watch(page, problems)
    await page.goto(site)
    return page, problems


async def set_up(page: Page) -> None:
    await page.get_by_role("button", name="Set up").click()
    await expect(page.locator("#state")).to_have_text("ready", timeout=SETTINGS.SETUP_TIMEOUT)


async def fetch(page: Page, url: str, method: str = "GET") -> None:
    await page.get_by_label("Method").select_option(method)
    await page.get_by_label("URL").fill(url)
    await page.get_by_role("button", name="Fetch").click()


async def test_set_up_and_fetch(context: BrowserContext, site: str) -> None:
    page, problems = await open_playground(context, site)
    await expect(page.get_by_role("button", name="Fetch")).to_be_disabled()
    await set_up(page)
    await expect(page.locator("#info")).to_contain_text("ws://")
    await expect(page.locator("#route li.lit")).to_have_count(8)
    await fetch(page, "http://web.test/")
    await expect(page.locator("#response-summary")).to_contain_text("200 OK")
    await expect(page.locator("#preview")).to_contain_text("Test internet")
    await expect(page.locator("#response-headers")).to_contain_text("text/html")
    # Counters come once a second; cover traffic alone makes them move.
    await expect(page.locator("#counters dd").first).not_to_have_text("0")
    await page.wait_for_timeout(2500)
    SETTINGS.RESULTS.mkdir(exist_ok=True)
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width in (1280, 820, 390):
            await page.set_viewport_size({"width": width, "height": 900})
            await page.screenshot(path=SETTINGS.RESULTS / f"playground-{scheme}-{width}.png", full_page=True)
            # Nothing sticks out sideways.
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
    assert problems == []


async def test_post_errors_and_abort(context: BrowserContext, site: str) -> None:
    page, problems = await open_playground(context, site)
    await set_up(page)
    await page.get_by_text("Headers and body").click()
    await page.get_by_label("Headers, one").fill("X-Colour: green\nContent-Type: text/plain")
    await page.get_by_label("Body", exact=True).fill("hello")
    await fetch(page, "http://web.test/echo", "POST")
    await expect(page.locator("#preview")).to_contain_text("green")
    await fetch(page, "http://closed.test/")
    await expect(page.locator("#fetch-error")).to_contain_text("REFUSED")
    await expect(page.locator("#response")).to_be_hidden()
    await fetch(page, "http://web.test/slow?seconds=60")
    await page.get_by_role("button", name="Abort").click()
    await expect(page.locator("#fetch-error")).to_contain_text("abort")
    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.locator("#state")).to_have_text("disconnected")
    await expect(page.get_by_role("button", name="Fetch")).to_be_disabled()
    assert problems == []


async def test_a_wrong_option_is_explained(context: BrowserContext, site: str) -> None:
    page, problems = await open_playground(context, site)
    await page.get_by_text("Options", exact=True).click()
    await page.get_by_label("First resolver").fill("nonsense")
    await page.get_by_role("button", name="Set up").click()
    await expect(page.locator("#setup-error")).to_contain_text("primaryDns", timeout=SETTINGS.SETUP_TIMEOUT)
    await page.get_by_label("First resolver").fill("")
    await set_up(page)
    await expect(page.locator("#setup-error")).to_be_hidden()
    assert problems == []
