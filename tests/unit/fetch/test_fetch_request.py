"""URL, method and header rules of a request."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.errors import OptionError
from smolmix_web.fetch.request import FetchRequest, parse_url


@pytest.mark.parametrize(
    ("url", "authority", "target"),
    [
        ("http://a.test", "a.test", "/"),
        ("HTTP://A.Test:80/x?y=1&z#frag", "a.test", "/x?y=1&z"),
        ("https://a.test:443/", "a.test", "/"),
        ("http://a.test:8080/%20 ü", "a.test:8080", "/%20%20%C3%BC"),
        ("http://[2001:DB8::1]:81/", "[2001:db8::1]:81", "/"),
        ("  http://a.test/\n", "a.test", "/"),
        ("http://a.test?q", "a.test", "/?q"),
    ],
)
def test_urls_become_authority_and_target(url: str, authority: str, target: str) -> None:
    _, origin, got = parse_url(url)
    assert (origin.authority, got) == (authority, target)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.test",
        "//a.test/",
        "/path",
        "ftp://a.test/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://",
        "http:///x",
        "http://a.test:0/",
        "http://a.test:99999/",
        "http://a.test:x/",
        "http://user@a.test/",
        "http://:pw@a.test/",
        "http://a b/",
        "http://[::1/",
        7,
    ],
)
def test_urls_that_cannot_be_fetched_are_refused_by_name(url: str) -> None:
    with pytest.raises(OptionError, match="url"):
        FetchRequest.create(url)


@pytest.mark.parametrize("method", ["", "G E T", "GET\r\n", "CONNECT", "trace", "TRACK", "é", None])
def test_bad_methods_are_refused_by_name(method: str) -> None:
    with pytest.raises(OptionError, match="method"):
        FetchRequest.create("http://a.test/", method=method)


def test_known_methods_are_normalized_and_others_kept() -> None:
    assert FetchRequest.create("http://a.test/", method="post").method == "POST"
    assert FetchRequest.create("http://a.test/", method="patch").method == "patch"


@pytest.mark.parametrize(
    "header",
    [
        ("bad name", "x"),
        ("", "x"),
        ("x", "a\r\nEvil: 1"),
        ("x", "\0"),
        ("x", "ł"),
        ("x", 1),
        ("Transfer-Encoding", "chunked"),
        ("content-length", "5"),
        ("Connection", "close"),
    ],
)
def test_headers_that_would_break_the_request_are_refused_by_name(header: tuple[str, str]) -> None:
    with pytest.raises(OptionError, match="headers"):
        FetchRequest.create("http://a.test/", headers=[header])


@pytest.mark.parametrize(("method", "body"), [("GET", b"x"), ("HEAD", b"x"), ("POST", "text"), ("POST", 5)])
def test_bodies_that_do_not_fit_are_refused_by_name(method: str, body: bytes) -> None:
    with pytest.raises(OptionError, match="body"):
        FetchRequest.create("http://a.test/", method=method, body=body)


@given(st.text(max_size=80))
def test_any_text_as_url_is_parsed_or_refused(text: str) -> None:
    try:
        clean, origin, target = parse_url("http://" + text)
    except OptionError:
        return
    again = parse_url(clean)
    assert again[1:] == (origin, target)
    assert target.startswith("/")
    assert target.isascii()
    assert not set(target) & set(" \r\n\t#")


@pytest.mark.parametrize(
    ("path", "clean"),
    [
        ("/a/./b/../../c", "/c"),
        ("/..", "/"),
        ("/../../x", "/x"),
        ("/a/b/..", "/a/"),
        ("/a/.", "/a/"),
        ("/a/%2e%2E/b", "/b"),
        ("/a//b/../c", "/a//c"),
        ("/...", "/..."),
        ("", "/"),
    ],
)
def test_dot_segments_are_resolved(path: str, clean: str) -> None:
    assert FetchRequest.create(f"http://site.test{path}").target == clean


def test_a_location_beyond_ascii_keeps_its_bytes() -> None:
    request = FetchRequest.create("http://site.test/")
    assert request.redirected(302, "/caf\xc3\xa9").target == "/caf%C3%A9"
