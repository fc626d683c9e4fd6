"""The playground: what a newcomer sees after `make demo`. Mostly one network, one page and one tunnel."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio
from browser_support import SETTINGS, watch
from playwright.async_api import Browser, Page, Route, expect

from smolmix_web.cli.demo import demo_network, playground_for, playground_of
from smolmix_web.localnet.loopback import NODE_ADDRESSES, can_listen
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.options import TunnelOptions
from smolmix_web.tunnel.mix_client import MixClient
from support.patience import patient

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

module_fixture = pytest_asyncio.fixture(scope="module", loop_scope="session")

WIDTHS = (1280, 820, 390)
AXE = Path(__file__).parents[2] / "node_modules" / "axe-core" / "axe.min.js"

# Through the map's own code: what moves there is counted.
_COUNTED = """
() => Object.fromEntries([...document.querySelectorAll('#link-rows tr')].map((row) =>
  [row.cells[0].textContent, Number(row.cells[2].textContent.replaceAll(',', ''))]))
"""
_INK = """
() => {
  const canvas = document.querySelector('#map canvas');
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.some((byte) => byte > 0);
}
"""
_AXE = """
async (part) => (await axe.run(part, { resultTypes: ['violations'] })).violations.map(({ id, nodes }) =>
  `${id}: ${nodes.map(({ target, any }) => `${target.join(' ')} ${any[0]?.message ?? ''}`).join('; ')}`)
"""


@dataclass
class Playground:
    """The page, the network behind it, and what went wrong in it."""

    page: Page
    world: LocalWorld
    problems: list[str] = field(default_factory=list)

    async def open(self, tab: str) -> None:
        await self.page.get_by_role("tab", name=tab).click()
        await expect(self.page.get_by_role("tabpanel", name=tab)).to_be_visible()

    async def open_request_details(self) -> None:
        await self.open("Fetch")
        if await self.page.locator("#request-more").get_attribute("open") is None:
            await self.page.get_by_text("Headers, body and limits").click()

    async def fetch(self, url: str, method: str = "GET") -> None:
        await self.page.get_by_label("Method").select_option(method)
        await self.page.get_by_label("URL", exact=True).fill(url)
        await self.page.get_by_role("button", name="Fetch", exact=True).click()


@module_fixture
async def world() -> AsyncIterator[LocalWorld]:
    """The network of the demo, not that of the other tests: its nodes have addresses of their own."""
    async with LocalWorld(patient(demo_network())) as world:
        yield world


@module_fixture
async def site(world: LocalWorld, assets: Path) -> AsyncIterator[str]:
    playground = playground_of(world.describe(), assets)
    yield await playground.start()
    await playground.stop()


@module_fixture
async def opened(browser: Browser, world: LocalWorld, site: str) -> AsyncIterator[Playground]:
    """The page; the first tests find it without a tunnel."""
    context = await browser.new_context(
        viewport=SETTINGS.VIEWPORT, permissions=["clipboard-read", "clipboard-write"]
    )
    context.set_default_timeout(SETTINGS.DEFAULT_TIMEOUT)
    page = await context.new_page()
    expect.set_options(timeout=SETTINGS.DEFAULT_TIMEOUT)
    own = Playground(page, world)
    watch(page, own.problems)
    await page.goto(site)
    yield own
    await context.close()
    assert own.problems == []


@pytest_asyncio.fixture(loop_scope="session")
async def playground(opened: Playground) -> Playground:
    """The page with its tunnel up."""
    if await opened.page.locator("#state").inner_text() != "ready":
        await set_up(opened.page)
    return opened


async def set_up(page: Page) -> None:
    await page.locator("#connect").click()
    await expect(page.locator("#state")).to_have_text("ready", timeout=SETTINGS.SETUP_TIMEOUT)


async def look_at(page: Page, name: str, part: str = "#tools") -> None:
    """Screenshots at three widths in both colour schemes; nothing sticks out, and axe finds nothing wrong."""
    SETTINGS.RESULTS.mkdir(exist_ok=True)
    await page.evaluate(AXE.read_text())
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 900})
            await page.wait_for_timeout(100)  # the map follows the new width
            path = SETTINGS.RESULTS / f"playground-{name}-{scheme}-{width}.png"
            await page.screenshot(path=path, full_page=True)
            assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(_AXE, part) == []
    await page.set_viewport_size(SETTINGS.VIEWPORT)


# ---- before there is a tunnel ----


async def test_without_a_tunnel_every_tool_says_so(opened: Playground) -> None:
    page = opened.page
    for tab, button in (
        ("WebSocket", "Connect"),
        ("DNS", "Resolve"),
        ("Messages", "Send"),
        ("Contrast", "Compare"),
        ("Fetch", "Fetch"),
    ):
        await opened.open(tab)
        panel = page.get_by_role("tabpanel", name=tab)
        await expect(panel).to_contain_text("there is none")
        await expect(panel.get_by_role("button", name=button, exact=True).first).to_be_disabled()
    await look_at(page, "empty", "html")


async def test_a_wrong_option_is_explained_and_can_be_set_right(opened: Playground) -> None:
    page = opened.page
    await page.locator("#options > summary").click()
    await page.get_by_label("First resolver").fill("nonsense")
    await page.get_by_role("button", name="Set up", exact=True).click()
    await expect(page.locator("#setup-error")).to_contain_text("primaryDns", timeout=SETTINGS.SETUP_TIMEOUT)
    await expect(page.locator("#state")).to_have_text("failed")
    await expect(page.get_by_role("tabpanel")).to_contain_text("The tunnel failed")
    await look_at(page, "failed", ".tunnel")
    await page.get_by_label("First resolver").fill("")
    await page.locator("#options > summary").click()
    # The other way in: the tool's own notice.
    await page.get_by_role("button", name="Set it up").click()
    await expect(page.locator("#state")).to_have_text("ready", timeout=SETTINGS.SETUP_TIMEOUT)
    await expect(page.locator("#setup-error")).to_be_hidden()
    await expect(page.get_by_role("button", name="Fetch", exact=True)).to_be_enabled()


async def test_what_is_clicked_while_the_page_loads_is_not_lost(browser: Browser, site: str) -> None:
    page = await browser.new_page()
    loaded = asyncio.Event()

    async def hold_back(route: Route) -> None:
        await loaded.wait()
        await route.continue_()

    await page.route("**/main.js", hold_back)
    await page.goto(site, wait_until="commit")
    tab = page.get_by_role("tab", name="DNS", include_hidden=True)
    await expect(tab).to_be_visible()
    click = asyncio.create_task(tab.click())
    await page.wait_for_timeout(300)
    assert not click.done()
    loaded.set()
    await click
    await expect(page.get_by_role("tabpanel", name="DNS")).to_be_visible()
    await page.close()


# ---- with one ----


async def test_set_up_tells_its_stages(playground: Playground) -> None:
    page = playground.page
    await expect(page.locator("#stage")).to_have_text(re.compile(r"Ready in \d"))
    await page.get_by_text("Stages", exact=True).click()
    await expect(page.locator("#stages li.done")).to_have_count(9)
    await expect(page.locator("#stages li").last).to_contain_text(re.compile(r"\d m?s"))
    await page.get_by_text("Stages", exact=True).click()
    await expect(page.locator("#info")).to_contain_text("ws://")
    await expect(page.locator(".node.lit")).to_have_count(7)


async def test_fetch_shows_head_body_and_phases(playground: Playground) -> None:
    page = playground.page
    await playground.open("Fetch")
    await playground.fetch("https://web.test/whoami")
    await expect(page.locator("#response-summary")).to_contain_text("complete after")
    await expect(page.locator("#response-summary")).to_contain_text("200 OK")
    phases = await page.locator("#phases dt").all_inner_texts()
    assert phases[:3] == ["Finding the address", "TCP handshake", "TLS handshake"]
    await page.get_by_text("Response headers").click()
    await expect(page.locator("#response-headers")).to_contain_text("application/json")
    assert json.loads(await page.locator("#preview pre").inner_text())["scheme"] == "https"
    # On the connection that is kept there is nothing to look up and no handshake.
    await playground.fetch("https://web.test/whoami")
    await expect(page.locator("#response-summary")).to_contain_text("complete after")
    assert "TLS handshake" not in await page.locator("#phases dt").all_inner_texts()
    await look_at(page, "fetch")


async def test_fetch_sends_what_the_form_says(playground: Playground) -> None:
    page = playground.page
    await playground.open_request_details()
    await page.get_by_label("Headers, one").fill("X-Colour: green\nContent-Type: text/plain")
    await page.get_by_label("Body", exact=True).fill("hello")
    await playground.fetch("http://web.test/echo?raw=1", "POST")
    await expect(page.locator("#preview")).to_have_text("hello")
    seen = playground.world.internet.site.requests[-1]
    assert (seen.method, dict(seen.headers)["x-colour"]) == ("POST", "green")
    async with page.expect_download() as download:
        await page.get_by_role("link", name="Save").click()
    assert Path(await (await download.value).path()).read_bytes() == b"hello"


async def test_a_body_is_shown_while_it_comes_and_a_fetch_can_be_aborted(playground: Playground) -> None:
    page = playground.page
    await playground.fetch("http://web.test/events?count=600&pause=0.3")
    await expect(page.locator("#preview")).to_contain_text("event 2")
    await expect(page.locator("#response-summary")).to_contain_text("so far")
    await page.get_by_role("button", name="Abort").click()
    await expect(page.locator("#fetch-error")).to_contain_text("abort")
    await expect(page.get_by_role("button", name="Fetch", exact=True)).to_be_visible()
    await playground.fetch("http://closed.test/")
    await expect(page.locator("#fetch-error")).to_contain_text("REFUSED")
    await expect(page.locator("#response")).to_be_hidden()


async def test_pictures_and_bytes(playground: Playground) -> None:
    page = playground.page
    await playground.fetch("http://web.test/image?size=64")
    await expect(page.get_by_role("img", name="The picture that was fetched")).to_be_visible()
    assert await page.locator("#preview img").evaluate("(image) => image.naturalWidth") == 64
    await playground.fetch("http://web.test/bytes/2000")
    await expect(page.locator("#preview pre.hex")).to_contain_text("000010")
    await expect(page.locator("#preview")).to_contain_text("1.5 kB more")


async def test_websocket_chat_with_an_echo(playground: Playground) -> None:
    page = playground.page
    await playground.open("WebSocket")
    panel = page.get_by_role("tabpanel", name="WebSocket")
    await panel.get_by_role("button", name="Connect").click()
    await expect(page.locator("#ws-state")).to_contain_text("Open after")
    await page.get_by_role("textbox", name="Message", exact=True).fill("hello, mixnet")
    await page.keyboard.press("Enter")
    await expect(page.locator("#ws-messages .in").first).to_contain_text("hello, mixnet")
    await expect(page.locator("#ws-messages .in").first).to_contain_text("came back after")
    await page.get_by_label("binary").check()
    await page.get_by_role("textbox", name="Message", exact=True).fill("bits")
    await panel.get_by_role("button", name="Send").click()
    await expect(page.locator("#ws-messages .in").last).to_contain_text("62 69 74 73")
    await look_at(page, "websocket")
    await page.get_by_label("binary").uncheck()
    await page.get_by_role("textbox", name="Message", exact=True).fill("close:4001:enough")
    await page.keyboard.press("Enter")
    await expect(page.locator("#ws-state")).to_contain_text("Closed with code 4001, “enough”")
    await page.get_by_label("WebSocket URL").fill("ws://web.test/ws/reject")
    await panel.get_by_role("button", name="Connect").click()
    await expect(page.locator("#ws-error")).to_contain_text("403")
    await expect(panel.get_by_role("button", name="Send")).to_be_disabled()


async def test_dns_gives_every_address(playground: Playground) -> None:
    page = playground.page
    await playground.open("DNS")
    await page.get_by_label("Name", exact=True).fill("www.web.test")
    await page.get_by_role("button", name="Resolve").click()
    rows = page.locator("#dns-answers tbody tr")
    await expect(rows).to_have_count(2)
    assert re.match(r"192\.0\.2\.12\s+IPv4\s+\d+ s", await rows.nth(0).inner_text())
    assert re.match(r"2001:db8::12\s+IPv6\s+\d+ s", await rows.nth(1).inner_text())
    await look_at(page, "dns", "html")
    await page.get_by_label("Name", exact=True).fill("missing.test")
    await page.get_by_role("button", name="Resolve").click()
    await expect(page.locator("#dns-error")).to_contain_text("missing.test")
    await expect(page.locator("#dns-answers")).to_be_hidden()


async def test_messages_from_a_stranger_and_back(playground: Playground) -> None:
    page = playground.page
    await playground.open("Messages")
    own = await page.locator("#own-address").inner_text()
    # The other side is a client in Python: two tabs with a tunnel each are much for a busy machine.
    options = TunnelOptions(network=playground.world.describe()["directory"], force_tls=False)
    async with await MixClient.connect(options) as stranger:
        await stranger.send_anonymous(own, b"hello from afar")
        await expect(page.locator("#msg-list")).to_contain_text("hello from afar")
        await page.get_by_role("button", name="Answer").click()
        await page.get_by_role("textbox", name="Message", exact=True).fill("hello yourself")
        await page.keyboard.press("Enter")
        async with asyncio.timeout(SETTINGS.DEFAULT_TIMEOUT / 1000):
            assert (await stranger.receive()).data == b"hello yourself"
    await look_at(page, "messages")
    await page.get_by_role("button", name="New message").click()
    await page.get_by_label("To", exact=True).fill("nobody")
    await page.get_by_role("textbox", name="Message", exact=True).fill("lost")
    await page.keyboard.press("Enter")
    await expect(page.locator("#msg-error")).to_contain_text("BAD_OPTION")


async def test_the_link_to_a_second_tab_is_ready_to_use(playground: Playground) -> None:
    page = playground.page
    await playground.open("Messages")
    own = await page.locator("#own-address").inner_text()
    link = page.get_by_role("link", name="Open a second tab")
    assert await link.get_attribute("target") == "_blank"
    other = await page.context.new_page()
    watch(other, playground.problems)
    await other.goto(await link.evaluate("(link) => link.href"))
    # The link fills in the address, and says what else it sets; it connects nothing.
    await expect(other.locator("#link-note")).to_contain_text("Client id")
    assert await other.locator("[name=clientId]").input_value() != "playground"
    await expect(other.locator("#state")).to_have_text("not connected")
    await expect(other.get_by_label("To", exact=True)).to_have_value(own)
    await other.close()


@pytest.mark.skipif(not can_listen(NODE_ADDRESSES["exit"]), reason="this system has one loopback address")
async def test_contrast_asks_everybody_what_they_saw(playground: Playground) -> None:
    page = playground.page
    await playground.open("Contrast")
    await page.get_by_role("button", name="Compare").click()
    result = page.locator("#contrast-result")
    await expect(result.locator(".side.clear .seen")).to_have_text("127.0.0.1")
    await expect(result.locator(".side.hidden-way .seen")).to_have_text(NODE_ADDRESSES["exit"])
    through = page.get_by_role("table", name="Who saw what through the mixnet")
    rows = {
        await row.locator("th").inner_text(): [
            text.strip() for text in await row.locator("td").all_inner_texts()
        ]
        for row in await through.locator("tbody tr").all()
    }
    knows = {party: [fact.startswith("Seen") for fact in facts] for party, facts in rows.items()}
    assert knows == {
        "Your network": [True, False, False],
        "Entry gateway": [True, False, False],
        "3 mix nodes": [False, False, False],
        "Exit": [False, True, True],
        "Destination": [False, True, True],
    }
    assert "192.0.2.10:80" in rows["Exit"][1]
    await look_at(page, "contrast")


async def test_the_map_moves_by_what_the_nodes_counted(playground: Playground) -> None:
    page = playground.page
    before = await page.evaluate(_COUNTED)
    await playground.open("Fetch")
    await playground.fetch("http://web.test/bytes/50000")
    await expect(page.locator("#response-summary")).to_contain_text("complete after")
    await page.wait_for_timeout(2500)
    after = await page.evaluate(_COUNTED)
    # 50 kB are more than 25 packets of 2 kB, and they come all the way from the exit.
    for link in ("Site to exit (IP packets)", "Exit back to mix 1", "Mix 3 to gateway", "Gateway to you"):
        assert after[link] - before[link] > 25, link
    links = playground.world.network.nodes["exit"].as_dict()["links"]
    assert after["Exit back to mix 1"] <= sum(link["sent"] for link in links)
    assert await page.locator(".links .rate").all_inner_texts() != [""] * 10
    await page.locator("[data-stop=exit]").click()
    await expect(page.locator("#node-detail")).to_contain_text("192.0.2.10:80")
    await expect(page.locator("[data-stop=exit]")).to_have_attribute("aria-expanded", "true")
    await page.locator("[data-stop=exit]").click()
    await expect(page.locator("#node-detail")).to_be_hidden()


async def test_charts_and_totals_follow_the_counters(playground: Playground) -> None:
    page = playground.page
    chart = page.get_by_role("img", name="Packets per second")
    await expect(chart).to_have_attribute("aria-label", re.compile(r"cover \d"))
    await chart.focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("ArrowLeft")
    await expect(chart).to_have_attribute("aria-label", re.compile("seconds ago"))
    for name in ("Round trip, ms", "Reply SURBs"):
        await expect(page.get_by_role("img", name=name)).to_have_attribute(
            "aria-label", re.compile(r": .* \d")
        )
    cover = page.locator("#counters div", has_text="cover sent").locator("dd")
    assert int((await cover.inner_text()).replace(",", "")) > 0


async def test_the_log_can_be_read_by_stage(playground: Playground) -> None:
    page = playground.page
    await playground.open("Fetch")
    await playground.fetch("http://closed.test/")
    await expect(page.locator("#fetch-error")).to_contain_text("REFUSED")
    await page.get_by_label("Stage").select_option("fetch")
    lines = await page.locator("#log > div:visible").all_inner_texts()
    assert lines
    assert all("fetch" in line for line in lines)
    await page.get_by_label("Stage").select_option("")
    await page.get_by_label("Level").select_option("error")
    await expect(page.locator("#log > div:visible").last).to_contain_text("REFUSED")
    await page.get_by_role("button", name="Clear").click()
    await expect(page.locator("#log")).to_contain_text("Nothing has happened")


async def test_the_address_holds_the_request_and_nothing_secret(playground: Playground) -> None:
    page = playground.page
    await playground.open_request_details()
    await page.get_by_label("Headers, one").fill("X-Colour: green\nAuthorization: Bearer of-secrets")
    await page.get_by_label("Body", exact=True).fill("a body")
    await page.get_by_label("URL", exact=True).fill("https://web.test/echo")
    await page.get_by_label("URL", exact=True).press("Tab")
    assert "url=https%3A%2F%2Fweb.test%2Fecho" in page.url
    assert "a+body" not in page.url
    await page.get_by_role("button", name="Copy link").click()
    link = await page.evaluate("navigator.clipboard.readText()")
    assert "secrets" not in link

    other = await page.context.new_page()
    watch(other, playground.problems)
    more = {"disablePoissonTraffic": "true", "trustAnchors": "evil", "storagePassphrase": "x"}
    await other.goto(link + "".join(f"&option.{name}={value}" for name, value in more.items()))
    await expect(other.get_by_label("URL", exact=True)).to_have_value("https://web.test/echo")
    await expect(other.get_by_label("Headers, one")).to_have_value("X-Colour: green")
    await expect(other.get_by_label("Body", exact=True)).to_have_value("a body")
    await expect(other.locator("#link-note")).to_contain_text("Poisson")
    await expect(other.locator("#link-note")).not_to_contain_text("authorities")
    anchors = playground.world.internet.trust_anchor_pem.strip()
    assert (await other.locator("[name=trustAnchors]").input_value()).strip() == anchors
    assert await other.locator("[name=storagePassphrase]").input_value() == ""
    await expect(other.locator("#state")).to_have_text("not connected")
    await other.close()


async def test_tabs_by_keyboard(playground: Playground) -> None:
    page = playground.page
    await page.get_by_role("tab", name="Fetch").focus()
    for key, tab in (
        ("ArrowRight", "WebSocket"),
        ("End", "Contrast"),
        ("ArrowRight", "Fetch"),
        ("ArrowLeft", "Contrast"),
        ("Home", "Fetch"),
    ):
        await page.keyboard.press(key)
        await expect(page.get_by_role("tab", name=tab)).to_be_focused()
        await expect(page.get_by_role("tab", name=tab)).to_have_attribute("aria-selected", "true")
        await expect(page.get_by_role("tabpanel", name=tab)).to_be_visible()


async def test_on_request_nothing_moves(playground: Playground) -> None:
    """With reduced motion the map shows numbers only."""
    page = playground.page
    while not await page.evaluate(_INK):
        await page.wait_for_timeout(50)
    await page.emulate_media(reduced_motion="reduce")
    await page.wait_for_timeout(2500)
    while await page.evaluate(_INK):  # what was under way arrives
        await page.wait_for_timeout(50)
    await page.wait_for_timeout(1500)
    assert not await page.evaluate(_INK)
    await page.emulate_media(reduced_motion="no-preference")


async def test_a_lost_gateway_shows(playground: Playground) -> None:
    page = playground.page
    entry = playground.world.network
    await entry.kill("entry")
    await expect(page.locator("#state")).to_have_text("reconnecting")
    await expect(page.get_by_role("tabpanel")).to_contain_text("looking for its way")
    await entry.restart("entry")
    await expect(page.locator("#state")).to_have_text("ready", timeout=SETTINGS.SETUP_TIMEOUT)
    await expect(page.locator(".node.lit")).to_have_count(7)


async def test_disconnecting_ends_everything(playground: Playground) -> None:
    page = playground.page
    await page.get_by_role("button", name="Disconnect").click()
    await expect(page.locator("#state")).to_have_text("disconnected")
    await expect(page.locator(".node.lit")).to_have_count(0)
    await expect(page.get_by_role("button", name="Fetch", exact=True)).to_be_disabled()
    await expect(page.locator("#info")).to_be_hidden()


async def test_other_networks_tell_less(browser: Browser, world: LocalWorld, assets: Path) -> None:
    """Without the nodes' counters and without a way around: only what the tunnel itself counts moves."""
    playground = playground_for(world.describe()["directory"], assets)
    site = await playground.start()
    context = await browser.new_context(viewport=SETTINGS.VIEWPORT)
    try:
        page = await context.new_page()
        await page.goto(site)
        await set_up(page)
        await expect(page.locator("#route-note")).to_contain_text("do not tell their counters")
        totals = page.locator("#link-rows td:last-child")
        await expect(totals.nth(0)).to_have_text(re.compile("[1-9]"))
        await expect(totals.nth(2)).not_to_have_text(re.compile("[0-9]"))
        await page.get_by_role("tab", name="Contrast").click()
        await expect(page.locator("#contrast-state")).to_contain_text("Not with this network")
    finally:
        await context.close()
        await playground.stop()
