"""The cookie jar sends to whom RFC 6265bis says, and to nobody else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smolmix_web.fetch.cookies import MAX_PER_DOMAIN, CookieJar, site_of
from smolmix_web.fetch.request import parse_url


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jar(clock: Clock) -> CookieJar:
    return CookieJar(clock)


def store(jar: CookieJar, url: str, *lines: str) -> None:
    _, origin, target = parse_url(url)
    jar.store(list(lines), origin, target)


def sent(jar: CookieJar, url: str, *, other_site: bool = False, safe: bool = True) -> str | None:
    _, origin, target = parse_url(url)
    return jar.header(origin, target, from_other_site=other_site, safe_method=safe)


def test_a_host_only_cookie_goes_back_to_its_host_alone(jar: CookieJar) -> None:
    store(jar, "https://www.site.test/a/b", "id=1")
    assert sent(jar, "https://www.site.test/a/c") == "id=1"
    assert sent(jar, "https://www.site.test/other") is None  # default path is /a
    assert sent(jar, "https://site.test/a/c") is None
    assert sent(jar, "https://x.www.site.test/a/c") is None


def test_a_domain_cookie_reaches_subdomains(jar: CookieJar) -> None:
    store(jar, "https://www.site.test/", "id=1; Domain=.Site.Test; Path=/")
    for host in ("site.test", "www.site.test", "a.b.site.test"):
        assert sent(jar, f"https://{host}/x") == "id=1"
    assert sent(jar, "https://notsite.test/") is None


@pytest.mark.parametrize(
    "domain", ["other.test", "x.www.site.test", "test", "co.uk", "ite.test", "192.0.2.1"]
)
def test_foreign_and_public_domains_are_refused(jar: CookieJar, domain: str) -> None:
    store(jar, "https://www.site.test/", f"id=1; Domain={domain}")
    assert len(jar) == 0


def test_addresses_have_no_subdomains(jar: CookieJar) -> None:
    store(jar, "http://192.0.2.1/", "id=1; Domain=192.0.2.1")
    assert sent(jar, "http://192.0.2.1/") == "id=1"
    store(jar, "http://192.0.2.1/", "no=1; Domain=2.1")
    assert sent(jar, "http://192.0.2.1/") == "id=1"


@pytest.mark.parametrize(
    ("path", "reached", "missed"),
    [
        ("/docs", ["/docs", "/docs/", "/docs/x?y"], ["/", "/docsx", "/doc"]),
        ("/docs/", ["/docs/", "/docs/x"], ["/docs", "/docsx"]),
        ("/", ["/", "/any"], []),
    ],
)
def test_paths_match_by_segments(jar: CookieJar, path: str, reached: list[str], missed: list[str]) -> None:
    store(jar, "https://site.test/anything", f"id=1; Path={path}")
    for target in reached:
        assert sent(jar, f"https://site.test{target}") == "id=1"
    for target in missed:
        assert sent(jar, f"https://site.test{target}") is None


def test_secure_cookies_stay_within_tls(jar: CookieJar) -> None:
    store(jar, "https://site.test/", "id=1; Secure")
    assert sent(jar, "https://site.test/") == "id=1"
    assert sent(jar, "http://site.test/") is None
    store(jar, "http://site.test/", "bad=1; Secure")
    assert sent(jar, "https://site.test/") == "id=1"


def test_an_insecure_origin_cannot_cover_a_secure_cookie(jar: CookieJar) -> None:
    store(jar, "https://site.test/", "id=good; Secure")
    store(jar, "http://site.test/", "id=evil", "id=evil; Domain=site.test")
    assert sent(jar, "https://site.test/") == "id=good"


def test_same_site_counts_after_a_redirect_from_another_site(jar: CookieJar) -> None:
    lines = ("s=1; SameSite=Strict", "l=1; SameSite=Lax", "n=1; SameSite=None; Secure", "d=1")
    store(jar, "https://site.test/", *lines)
    assert sent(jar, "https://site.test/") == "s=1; l=1; n=1; d=1"
    assert sent(jar, "https://site.test/", other_site=True) == "l=1; n=1; d=1"
    assert sent(jar, "https://site.test/", other_site=True, safe=False) == "n=1"
    store(jar, "https://site.test/", "x=1; SameSite=None")
    assert "x=1" not in (sent(jar, "https://site.test/") or "")


def test_cookies_end_when_they_say(jar: CookieJar, clock: Clock) -> None:
    store(
        jar,
        "https://site.test/",
        "session=1",
        "age=1; Max-Age=10",
        "date=1; Expires=Mon, 12-Jan-70 13:47:00 GMT",
        "both=1; Max-Age=100; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
        "gone=1; Max-Age=0",
        "long=1; Max-Age=99999999999999999999",
        "odd=1; Max-Age=soon; Expires=whenever",
    )
    assert sent(jar, "https://site.test/") == "session=1; age=1; date=1; both=1; long=1; odd=1"
    clock.now += 11
    assert sent(jar, "https://site.test/") == "session=1; date=1; both=1; long=1; odd=1"
    clock.now += 90
    assert sent(jar, "https://site.test/") == "session=1; long=1; odd=1"
    clock.now += 401 * 86_400
    assert sent(jar, "https://site.test/") == "session=1; odd=1"


def test_a_new_value_replaces_and_an_old_date_deletes(jar: CookieJar) -> None:
    store(jar, "https://site.test/", "id=1", "id=2")
    assert sent(jar, "https://site.test/") == "id=2"
    store(jar, "https://site.test/", "id=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert sent(jar, "https://site.test/") is None


def test_longer_paths_go_first_then_older_ones(jar: CookieJar, clock: Clock) -> None:
    store(jar, "https://site.test/a/b", "first=1; Path=/")
    clock.now += 1
    store(jar, "https://site.test/a/b", "deep=1; Path=/a/b", "second=1; Path=/")
    clock.now += 1
    store(jar, "https://site.test/a/b", "first=2; Path=/")  # keeps its age
    assert sent(jar, "https://site.test/a/b") == "deep=1; first=2; second=1"


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("__Secure-a=1; Secure", True),
        ("__Secure-a=1", False),
        ("__Host-a=1; Secure; Path=/", True),
        ("__Host-a=1; Secure", False),
        ("__Host-a=1; Secure; Path=/; Domain=site.test", False),
        ("__hOsT-a=1; Path=/", False),
        ("novalue", True),
        ("=onlyvalue", True),
        ("=", False),
        ("", False),
        ("a=b\x01c", False),
        ("a=b\tc", True),
        ("a=" + "x" * 5000, False),
        ("a=1; Path=relative", True),
        ("a=1;;; ; HttpOnly", True),
    ],
)
def test_prefixes_and_odd_lines(jar: CookieJar, line: str, kept: bool) -> None:
    store(jar, "https://site.test/", line)
    assert len(jar) == kept


def test_the_jar_is_bounded(jar: CookieJar, clock: Clock) -> None:
    for number in range(MAX_PER_DOMAIN + 50):
        clock.now += 1
        store(jar, "https://site.test/", f"c{number}=1")
    assert len(jar) == MAX_PER_DOMAIN
    assert "c0=1" not in (sent(jar, "https://site.test/") or "")
    for number in range(4000):
        clock.now += 1
        store(jar, f"https://h{number}.test/", "a=1")
    assert 2700 <= len(jar) <= 3000


@given(line=st.text(max_size=200), url=st.sampled_from(["https://a.site.test/x/y", "http://192.0.2.1/"]))
def test_no_line_breaks_the_jar(line: str, url: str) -> None:
    jar = CookieJar(Clock())
    store(jar, url, line)
    header = sent(jar, url)
    assert header is None or ("\n" not in header and "\r" not in header)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.site.test/", "https://b.site.test/", True),
        ("https://site.test/", "http://site.test/", False),
        ("https://site.test/", "https://other.test/", False),
        ("https://a.co.uk/", "https://b.co.uk/", False),
        ("https://x.a.co.uk/", "https://y.a.co.uk/", True),
        ("http://192.0.2.1/", "http://192.0.2.2/", False),
    ],
)
def test_what_counts_as_one_site(one: str, other: str, same: bool) -> None:
    assert (site_of(parse_url(one)[1]) == site_of(parse_url(other)[1])) is same
