"""The playground's server: what a browser insists on, under the policy that the README promises."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from smolmix_web.cli.demo import has_screen, playground_of
from smolmix_web.cli.main import build_parser
from smolmix_web.cli.playground import Playground, content_security_policy, origin_of

NETWORK = {
    "directory": "http://127.0.0.1:4000/api/",
    "trustAnchors": "PEM",
    "nodes": {"entry": {"websocket": "ws://127.0.0.1:4001/"}, "mix1": {}},
}


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "worker.mjs").write_text("export {}")
    (tmp_path / "module.wasm").write_bytes(b"\0asm")
    return tmp_path


@pytest.fixture
async def url(assets: Path) -> AsyncIterator[str]:
    playground = playground_of(NETWORK, assets)
    yield (await playground.start()).removesuffix("/demo/")
    await playground.stop()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_root_leads_to_the_page(http, url):
    async with http.get(url) as response:
        assert response.url.path == "/demo/"
        assert "<title>smolmix-web playground</title>" in await response.text()


async def test_the_page_gets_the_options_of_the_network(http, url):
    async with http.get(f"{url}/demo/config.json") as response:
        config = await response.json()
    assert config["options"]["network"] == NETWORK["directory"]
    assert config["options"]["forceTls"] is False
    assert config["options"]["trustAnchors"] == "PEM"
    assert config["sites"]


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/demo/", "text/html"),
        ("/demo/main.js", "text/javascript"),
        ("/demo/style.css", "text/css"),
        ("/demo/icon.svg", "image/svg+xml"),
        ("/worker/worker.mjs", "text/javascript"),
        ("/worker/module.wasm", "application/wasm"),
    ],
)
async def test_content_types(http, url, path, content_type):
    async with http.get(url + path) as response:
        assert response.status == 200
        assert response.content_type == content_type


@pytest.mark.parametrize("path", ["/demo/", "/worker/worker.mjs", "/demo/nothing-here"])
async def test_every_answer_carries_the_headers(http, url, path):
    async with http.get(url + path) as response:
        headers = response.headers
    assert (
        "connect-src 'self' http://127.0.0.1:4000 ws://127.0.0.1:4001;" in headers["Content-Security-Policy"]
    )
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Embedder-Policy"] == "require-corp"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/worker/../secret", "/demo/%2e%2e/secret", "/etc/passwd"])
async def test_nothing_else_is_served(http, url, assets, path):
    (assets.parent / "secret").write_text("secret")
    async with http.get(url + path) as response:
        assert response.status in (403, 404)


async def test_a_port_that_is_taken_gives_way(assets):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        playground = Playground(assets=assets, demo=assets, config={}, connect=[])
        url = await playground.start(port=taken)
        await playground.stop()
    assert f":{taken}/" not in url


def test_policy_lets_nothing_else_in():
    policy = content_security_policy(["https://directory.test", "wss://gateway.test:9001"])
    directives = dict(directive.split(" ", 1) for directive in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["connect-src"] == "'self' https://directory.test wss://gateway.test:9001"
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy


def test_origin_of_a_url():
    assert origin_of("https://directory.test/api/v1") == "https://directory.test"
    assert origin_of("ws://[::1]:9000/") == "ws://[::1]:9000"


@pytest.mark.parametrize(
    ("platform", "environment", "expected"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, True),
        ("darwin", {}, True),
        ("win32", {}, True),
    ],
)
def test_a_browser_is_opened_where_there_is_a_screen(platform, environment, expected):
    assert has_screen(platform, environment) is expected


def test_command_lines():
    parser = build_parser()
    chosen = parser.parse_args(["demo", "--port", "0", "--no-open", "--pyodide-dist", "none"])
    assert (chosen.port, chosen.no_open, chosen.pyodide_dist) == (0, True, "none")
    with pytest.raises(SystemExit):
        parser.parse_args(["assets"])  # --out is needed
