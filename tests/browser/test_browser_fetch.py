"""mixFetch carries what fetch carries, byte by byte, and gives up when told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from browser_support import open_mix_page
from mix_page import MixPage, pattern, sha256
from playwright.async_api import Browser

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

NOTHING_LEFT = {"requests": 0, "exchanges": 0, "sockets": 0, "closing": 0}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def ready(browser: Browser, world: LocalWorld, site: str) -> AsyncIterator[MixPage]:
    """One tunnel for the module."""
    context = await browser.new_context()
    async with open_mix_page(context, world, site) as mix:
        assert await mix.setup() == {"value": None}
        yield mix
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def mix(ready: MixPage) -> AsyncIterator[MixPage]:
    """The tunnel of the module; after each test the worker holds nothing of it."""
    yield ready
    for _ in range(50):
        held = await ready.held()
        if held == NOTHING_LEFT:
            break
        await ready.page.wait_for_timeout(50)
    assert held == NOTHING_LEFT


def header(answer: dict, name: str) -> str | None:
    return dict(answer["headers"]).get(name)


async def test_get_is_byte_exact(mix: MixPage) -> None:
    answer = await mix.fetch("http://web.test/bytes/100000")
    assert (answer["status"], answer["statusText"], answer["size"]) == (200, "OK", 100_000)
    assert answer["sha256"] == header(answer, "x-content-sha256")
    assert answer["url"] == "http://web.test/bytes/100000"
    assert answer["redirected"] is False


async def test_post_is_byte_exact(mix: MixPage) -> None:
    answer = await mix.fetch("http://web.test/echo?raw=1", method="POST", body_size=50_000)
    assert answer["status"] == 200
    assert answer["sha256"] == sha256(pattern(50_000))


async def test_https_with_the_networks_own_authority(mix: MixPage) -> None:
    answer = await mix.fetch("https://web.test/bytes/20000")
    assert (answer["status"], answer["size"]) == (200, 20_000)
    assert answer["sha256"] == header(answer, "x-content-sha256")


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("expired.test", "TLS_CERT_EXPIRED"),
        ("notyetvalid.test", "TLS_CERT_NOT_YET_VALID"),
        ("wronghost.test", "TLS_CERT_WRONG_HOST"),
        ("lookalike.test", "TLS_CERT_WRONG_HOST"),
        ("selfsigned.test", "TLS_CERT_SELF_SIGNED"),
        ("unknownroot.test", "TLS_CERT_UNKNOWN_AUTHORITY"),
        ("nointermediate.test", "TLS_CERT_UNKNOWN_AUTHORITY"),
        ("weakkey.test", "TLS_CERT_WEAK_KEY"),
        ("clientonly.test", "TLS_CERT_WRONG_USAGE"),
    ],
)
async def test_bad_certificates_are_refused_with_their_code(mix: MixPage, host: str, code: str) -> None:
    answer = await mix.fetch(f"https://{host}/")
    assert (answer["error"], answer["code"]) == ("TypeError", code)
    assert host in answer["message"]


@pytest.mark.parametrize(
    ("script", "content_type", "body"),
    [
        ("'text €'", "text/plain;charset=UTF-8", "text €"),
        ("new URLSearchParams({a: '1 2'})", "application/x-www-form-urlencoded;charset=UTF-8", "a=1+2"),
        ("new Blob(['blob'], {type: 'text/x-blob'})", "text/x-blob", "blob"),
        ("new TextEncoder().encode('xviewx').subarray(1, 5)", None, "view"),
        ("new TextEncoder().encode('buffer').buffer", None, "buffer"),
        ("new Blob(['stre', 'am']).stream()", None, "stream"),
    ],
)
async def test_every_kind_of_body(mix: MixPage, script: str, content_type: str | None, body: str) -> None:
    seen = await mix.run(
        f"""async () => {{
          const send = (url) => window.mix.mixFetch(url, {{method: 'PUT', body: {script}}});
          const response = await send('http://web.test/echo');
          const raw = await send('http://web.test/echo?raw=1');
          return {{echo: await response.json(), text: await raw.text()}};
        }}"""
    )
    headers = {name.lower(): value for name, value in seen["echo"]["headers"]}
    assert seen["text"] == body
    assert headers.get("content-type") == content_type
    assert seen["echo"]["method"] == "PUT"


async def test_form_data_arrives_as_multipart(mix: MixPage) -> None:
    text = await mix.run(
        """async () => {
          const body = new FormData();
          body.set('name', 'value');
          const response = await window.mix.mixFetch('http://web.test/echo?raw=1', {method: 'POST', body});
          return response.text();
        }"""
    )
    assert 'name="name"\r\n\r\nvalue' in text


async def test_request_objects_and_headers(mix: MixPage) -> None:
    echo = await mix.run(
        """async () => {
          const init = {method: 'POST', body: 'abc', headers: {'x-a': 'one'}};
          const request = new Request('http://web.test/echo', init);
          const headers = new Headers([['x-b', 'two'], ['cookie', 'c=d']]);
          return (await window.mix.mixFetch(request, {headers})).json();
        }"""
    )
    headers = {name.lower(): value for name, value in echo["headers"]}
    assert echo["method"] == "POST"
    assert headers["x-b"] == "two"
    assert headers["cookie"] == "c=d"
    assert "x-a" not in headers  # as with fetch, headers of init replace those of the request


async def test_response_is_a_real_one(mix: MixPage) -> None:
    seen = await mix.run(
        """async () => {
          const response = await window.mix.mixFetch('http://web.test/bytes/10');
          const copy = response.clone();
          const [a, b] = await Promise.all([response.blob(), copy.arrayBuffer()]);
          return {
            real: response instanceof Response,
            stream: copy.body instanceof ReadableStream,
            url: copy.url,
            a: a.size,
            b: b.byteLength,
            used: response.bodyUsed,
          };
        }"""
    )
    assert seen == {
        "real": True,
        "stream": True,
        "url": "http://web.test/bytes/10",
        "a": 10,
        "b": 10,
        "used": True,
    }


@pytest.mark.parametrize("code", [204, 205, 304])
async def test_null_body_statuses(mix: MixPage, code: int) -> None:
    body_is_null = await mix.run(
        """async (url) => {
          const response = await window.mix.mixFetch(url);
          return [response.status, response.body === null];
        }""",
        f"http://web.test/status/{code}",
    )
    assert body_is_null == [code, True]


@pytest.mark.parametrize("code", [400, 404, 500, 503])
async def test_error_statuses_are_results(mix: MixPage, code: int) -> None:
    assert (await mix.fetch(f"http://web.test/status/{code}"))["status"] == code


async def test_head_has_no_body(mix: MixPage) -> None:
    answer = await mix.fetch("http://web.test/bytes/1000", method="HEAD")
    assert (answer["status"], answer["size"]) == (200, 0)
    assert header(answer, "content-length") == "1000"


async def test_redirects(mix: MixPage) -> None:
    followed = await mix.fetch("http://web.test/redirect-chain/2")
    assert followed["status"] == 200
    assert followed["redirected"] is True
    assert followed["url"] != "http://web.test/redirect-chain/2"
    manual = await mix.fetch("http://web.test/redirect-chain/2", redirect="manual")
    assert manual["status"] in (301, 302)
    assert header(manual, "location")
    refused = await mix.fetch("http://web.test/redirect-chain/2", redirect="error")
    assert refused["error"] == "TypeError"
    too_many = await mix.fetch("http://web.test/redirect-chain/3", maxRedirects=2)
    assert too_many["code"] == "HTTP_REDIRECT"


async def test_a_body_streams_while_it_arrives(mix: MixPage) -> None:
    times = await mix.run(
        """async () => {
          const response = await window.mix.mixFetch('http://web.test/chunked?chunks=4&size=500&pause=0.4');
          const start = performance.now();
          const times = [];
          for await (const chunk of response.body) times.push([chunk.byteLength, performance.now() - start]);
          return times;
        }"""
    )
    assert sum(size for size, _ in times) == 2000
    assert len(times) > 1
    assert times[-1][1] - times[0][1] > 700


async def test_an_upload_streams_from_the_page(mix: MixPage) -> None:
    seen = await mix.run(
        """async () => {
          let sent = 0;
          const body = new ReadableStream({
            async pull(controller) {
              await new Promise((resolve) => setTimeout(resolve, 20));
              if (sent === 20) return controller.close();
              controller.enqueue(new Uint8Array(1000).fill(sent++));
            },
          });
          const response = await window.mix.mixFetch('http://web.test/echo?raw=1', {method: 'POST', body});
          return [...new Uint8Array(await response.arrayBuffer())];
        }"""
    )
    assert bytes(seen) == b"".join(bytes([n]) * 1000 for n in range(20))


async def test_an_upload_that_breaks_rejects(mix: MixPage) -> None:
    answer = await mix.run(
        """async () => {
          let count = 0;
          const body = new ReadableStream({
            pull(controller) {
              if (count++ === 2) controller.error(new Error('the disk is gone'));
              else controller.enqueue(new Uint8Array(100));
            },
          });
          try {
            await window.mix.mixFetch('http://web.test/echo', {method: 'POST', body});
          } catch (error) {
            return [error.name, error.message];
          }
        }"""
    )
    assert answer[0] == "TypeError"
    assert "the disk is gone" in answer[1]


async def test_abort_before_the_head(mix: MixPage) -> None:
    answer = await mix.run(
        """async () => {
          const controller = new AbortController();
          const start = performance.now();
          setTimeout(() => controller.abort(), 300);
          try {
            await window.mix.mixFetch('http://web.test/slow?seconds=60', {signal: controller.signal});
          } catch (error) {
            return [error.name, performance.now() - start];
          }
        }"""
    )
    assert answer[0] == "AbortError"
    assert answer[1] < 5000


async def test_abort_within_the_body(mix: MixPage) -> None:
    answer = await mix.run(
        """async () => {
          const controller = new AbortController();
          const url = 'http://web.test/chunked?chunks=100&size=500&pause=0.2';
          const response = await window.mix.mixFetch(url, {signal: controller.signal});
          const reader = response.body.getReader();
          const first = await reader.read();
          controller.abort('enough');
          try {
            for (;;) if ((await reader.read()).done) return 'ended';
          } catch (error) {
            return [first.done, error];
          }
        }"""
    )
    assert answer == [False, "enough"]


async def test_a_signal_that_has_fired_already(mix: MixPage) -> None:
    name = await mix.run(
        """async () => {
          try {
            await window.mix.mixFetch('http://web.test/', {signal: AbortSignal.abort()});
          } catch (error) {
            return error.name;
          }
        }"""
    )
    assert name == "AbortError"


async def test_cancelling_the_body_frees_the_connection(mix: MixPage) -> None:
    await mix.run(
        """async () => {
          const response = await window.mix.mixFetch('http://web.test/chunked?chunks=100&size=500&pause=0.2');
          await response.body.cancel();
        }"""
    )
    assert (await mix.fetch("http://web.test/bytes/10"))["status"] == 200


async def test_a_response_that_is_forgotten_frees_the_connection(mix: MixPage) -> None:
    await mix.run("async () => { await window.mix.mixFetch('http://web.test/bytes/400000'); }")
    assert (await mix.held())["exchanges"] == 1
    # Browsers clear up when they please, even after gc().
    async with asyncio.timeout(60):
        while (await mix.held())["exchanges"] > 0:
            await mix.run("async () => gc()")
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("how", ["arrayBuffer", "text", "blob"])
async def test_garbage_collection_does_not_disturb_reading(mix: MixPage, how: str) -> None:
    size = await mix.run(
        """async (how) => {
          const collecting = setInterval(() => gc(), 10);
          const reading = (await window.mix.mixFetch('http://web.test/bytes/300000'))[how]();
          const body = await reading;
          clearInterval(collecting);
          return body.byteLength ?? body.size ?? new TextEncoder().encode(body).length;
        }""",
        how,
    )
    assert size >= 300_000


async def test_a_timeout_is_a_timeout_error(mix: MixPage) -> None:
    answer = await mix.fetch("http://web.test/slow?seconds=60", timeout=700)
    assert (answer["error"], answer["code"]) == ("TimeoutError", "TIMEOUT")
    assert answer["retriable"] is True


@pytest.mark.parametrize(
    ("input_", "init", "field"),
    [
        ("http://", {}, "url"),
        ("ftp://web.test/", {}, "url"),
        ("ws://web.test/", {}, "url"),
        ("http://user:password@web.test/", {}, "url"),
        ("http://web.test/", {"method": "SPA CE"}, "method"),
        ("http://web.test/", {"method": "CONNECT"}, "method"),
        ("http://web.test/", {"body": "x"}, "body"),
        ("http://web.test/", {"redirect": "maybe"}, "redirect"),
        ("http://web.test/", {"timeout": -1}, "timeout"),
        ("http://web.test/", {"maxRedirects": 1.5}, "maxRedirects"),
    ],
)
async def test_bad_arguments_name_themselves(mix: MixPage, input_: str, init: dict, field: str) -> None:
    answer = await mix.fetch(input_, **init)
    assert answer["error"] == "TypeError"
    assert answer["message"].startswith(f"{field}:")


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://closed.test/", "REFUSED"),
        ("http://no-such-name.test/", None),
        ("http://malformed.test/garbage", None),
    ],
)
async def test_failures_are_type_errors_with_a_cause(mix: MixPage, url: str, code: str | None) -> None:
    answer = await mix.fetch(url)
    assert answer["error"] == "TypeError"
    assert answer["code"]
    assert code is None or answer["code"] == code


async def test_private_addresses_are_not_reached(mix: MixPage) -> None:
    answer = await mix.fetch("http://127.0.0.1/", timeout=20_000)
    assert answer.get("error")


async def test_mix_resolve(mix: MixPage, world: LocalWorld) -> None:
    answer = await mix.call("mixResolve", "v4only.test")
    assert answer == {"value": world.internet.hosts["v4only.test"]}
    assert (await mix.call("mixResolve", "192.0.2.99")) == {"value": "192.0.2.99"}
    assert (await mix.call("mixResolve", "no-such-name.test"))["error"] == "MixError"


async def test_many_at_once(mix: MixPage) -> None:
    sizes = await mix.run(
        """async () => Promise.all(Array.from({length: 12}, async (_, index) => {
          const response = await window.mix.mixFetch(`http://web.test/bytes/${1000 + index}`);
          return (await response.arrayBuffer()).byteLength;
        }))"""
    )
    assert sizes == [1000 + index for index in range(12)]
