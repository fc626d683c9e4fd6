"""Cookies of one tunnel (RFC 6265bis), as far as they mean something without a page's own origin.

There is no document that asks: the caller stands where a user agent's address bar would. So every request
counts as same-site, except one that was reached by a redirect from another site; HttpOnly is kept but hides
nothing, because no script reads the jar. Nothing is written to disk.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from smolmix_web.fetch.request import Origin

MAX_PER_DOMAIN = 180
MAX_TOTAL = 3000
MAX_PAIR = 4096  # bytes of name and value together
MAX_ATTRIBUTE = 1024  # bytes; a longer attribute is ignored
MAX_AGE = 400 * 86_400  # seconds: RFC 6265bis section 5.5

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# Second-level labels under which countries sell names. Stands for the public suffix list, which is large and
# changes weekly: a cookie for all of co.uk is refused, one for all of a rarer suffix is not.
_REGISTRY_LABELS = frozenset(
    {
        "ac",
        "co",
        "com",
        "edu",
        "gob",
        "gov",
        "go",
        "gv",
        "info",
        "mil",
        "ne",
        "net",
        "nom",
        "or",
        "org",
        "sch",
    }
)


@dataclass(slots=True, eq=False)
class Cookie:
    """One cookie. Times are Unix seconds; ``expires`` None ends with the tunnel."""

    name: str
    value: str
    domain: str
    path: str
    host_only: bool
    secure: bool
    http_only: bool
    same_site: str  # "none", "lax", "strict" or "default"
    expires: float | None
    created: float
    used: float

    def __repr__(self) -> str:
        return f"<Cookie {self.name} of {self.domain}{self.path}>"


class CookieJar:
    """:param unix_time: the clock, seconds since 1970-01-01 UTC."""

    def __init__(self, unix_time: Callable[[], float]) -> None:
        self._unix_time = unix_time
        self._domains: dict[str, dict[tuple[str, str], Cookie]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._domains.values()))

    def clear(self) -> None:
        """Forget everything."""
        self._domains.clear()

    def store(self, lines: list[str], origin: Origin, target: str) -> None:
        """Take the Set-Cookie values of a response to a request for ``target`` (path and query)."""
        now = self._unix_time()
        for line in lines:
            cookie = parse_set_cookie(line, origin, target, now)
            if cookie is not None:
                self._put(cookie, origin.scheme == "https", now)

    def header(self, origin: Origin, target: str, *, from_other_site: bool, safe_method: bool) -> str | None:
        """Value of the Cookie header for a request, or None (RFC 6265bis section 5.8.3).

        :param from_other_site: a redirect from another site led here.
        :param safe_method: GET, HEAD, OPTIONS or TRACE.
        """
        now = self._unix_time()
        path = _path_of(target)
        chosen = []
        for domain in _with_parents(origin.host):
            for cookie in self._alive(domain, now):
                if (cookie.host_only and origin.host != domain) or not _path_matches(path, cookie.path):
                    continue
                if cookie.secure and origin.scheme != "https":
                    continue
                if from_other_site and (
                    cookie.same_site == "strict" or (cookie.same_site != "none" and not safe_method)
                ):
                    continue
                chosen.append(cookie)
        chosen.sort(key=lambda cookie: (-len(cookie.path), cookie.created))
        for cookie in chosen:
            cookie.used = now
        return "; ".join(f"{one.name}={one.value}" if one.name else one.value for one in chosen) or None

    def _put(self, cookie: Cookie, from_secure: bool, now: float) -> None:
        if not from_secure and self._covers_secure(cookie):
            return
        of_domain = self._domains.setdefault(cookie.domain, {})
        old = of_domain.pop((cookie.name, cookie.path), None)
        if old is not None:
            cookie.created = old.created
        of_domain[cookie.name, cookie.path] = cookie
        if len(self._alive(cookie.domain, now)) > MAX_PER_DOMAIN:
            # Insecure ones go first (RFC 6265bis section 5.7), then the least recently used.
            del of_domain[min(of_domain.items(), key=lambda item: (item[1].secure, item[1].used))[0]]
        if len(self) > MAX_TOTAL:
            oldest = sorted((one for domain in self._domains.values() for one in domain.values()), key=_age)
            for one in oldest[: MAX_TOTAL // 10]:
                self._drop(one)

    def _covers_secure(self, cookie: Cookie) -> bool:
        """An insecure origin must leave secure cookies alone (RFC 6265bis section 5.7)."""
        return any(
            other.secure
            and other.name == cookie.name
            and (_matches(cookie.domain, domain) or _matches(domain, cookie.domain))
            and _path_matches(cookie.path, other.path)
            for domain, cookies in self._domains.items()
            for other in cookies.values()
        )

    def _alive(self, domain: str, now: float) -> list[Cookie]:
        """Cookies of exactly this domain; those whose time is over are dropped."""
        cookies = list(self._domains.get(domain, {}).values())
        over = [one for one in cookies if one.expires is not None and one.expires <= now]
        for one in over:
            self._drop(one)
        return [one for one in cookies if one not in over] if over else cookies

    def _drop(self, cookie: Cookie) -> None:
        of_domain = self._domains[cookie.domain]
        del of_domain[cookie.name, cookie.path]
        if not of_domain:
            del self._domains[cookie.domain]


def parse_set_cookie(line: str, origin: Origin, target: str, now: float) -> Cookie | None:
    """The cookie of one Set-Cookie value, or None where it is to be ignored (RFC 6265bis 5.6, 5.7)."""
    if _CONTROL.search(line):
        return None
    pair, _, rest = line.partition(";")
    name, equals, value = pair.partition("=")
    if not equals:
        name, value = "", pair
    name, value = name.strip(" \t"), value.strip(" \t")
    if (not name and not value) or len((name + value).encode()) > MAX_PAIR:
        return None
    attributes = _attributes(rest)
    secure, http_only = "secure" in attributes, "httponly" in attributes
    same_site = attributes.get("samesite", "").lower()
    if same_site not in ("none", "lax", "strict"):
        same_site = "default"
    if (secure and origin.scheme != "https") or (same_site == "none" and not secure):
        return None
    domain, host_only = _domain(attributes.get("domain", ""), origin.host)
    if domain is None:
        return None
    path = attributes.get("path", "")
    if not path.startswith("/"):
        path = _default_path(target)
    lower = (name or value).lower()
    if lower.startswith("__secure-") and not secure:
        return None
    if lower.startswith("__host-") and not (secure and host_only and attributes.get("path") == "/"):
        return None
    expires = _expiry(attributes, now)
    return Cookie(name, value, domain, path, host_only, secure, http_only, same_site, expires, now, now)


def _attributes(text: str) -> dict[str, str]:
    """Names in lower case; of a repeated one the last counts."""
    found = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")
        value = value.strip(" \t")
        if len(value.encode()) <= MAX_ATTRIBUTE:
            found[name.strip(" \t").lower()] = value
    return found


def _domain(attribute: str, host: str) -> tuple[str | None, bool]:
    """Domain of a cookie and whether it is for that host alone; None where the cookie is refused."""
    wanted = attribute.removeprefix(".").lower()
    if not wanted or wanted == host:
        return host, not wanted or _is_address(host) or _is_public_suffix(host)
    if _is_public_suffix(wanted) or not _matches(host, wanted):
        return None, False
    return wanted, False


def _expiry(attributes: dict[str, str], now: float) -> float | None:
    max_age = attributes.get("max-age", "")
    if re.fullmatch(r"-?[0-9]+", max_age, re.ASCII):
        seconds = int(max_age) if len(max_age) < 12 else MAX_AGE
        return now + min(seconds, MAX_AGE) if seconds > 0 else now
    when = _parse_date(attributes.get("expires", ""))
    return None if when is None else min(when, now + MAX_AGE)


_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = re.compile(r"([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?![0-9])", re.ASCII)


def _parse_date(text: str) -> float | None:
    """The lenient date of RFC 6265bis section 5.1.1: tokens in any order."""
    time = day = month = year = None
    for token in re.split(r"[^0-9A-Za-z:]+", text):
        if time is None and (match := _TIME.match(token)):
            time = (int(match[1]), int(match[2]), int(match[3]))
        elif day is None and (match := re.match(r"([0-9]{1,2})(?![0-9])", token)):
            day = int(match[1])
        elif month is None and token[:3].lower() in _MONTHS:
            month = _MONTHS.index(token[:3].lower()) + 1
        elif year is None and (match := re.match(r"([0-9]{2,4})(?![0-9])", token)):
            year = int(match[1])
            year += 1900 if 70 <= year <= 99 else 2000 if year < 70 else 0
    if time is None or day is None or month is None or year is None or year < 1601:
        return None
    try:
        return datetime(year, month, day, *time, tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _matches(host: str, domain: str) -> bool:
    """RFC 6265bis section 5.1.3."""
    return host == domain or (host.endswith("." + domain) and not _is_address(host))


def _with_parents(host: str) -> list[str]:
    """``a.b.c`` -> ``a.b.c``, ``b.c``, ``c``; an address has no parents."""
    if _is_address(host):
        return [host]
    labels = host.split(".")
    return [".".join(labels[count:]) for count in range(len(labels))]


def _age(cookie: Cookie) -> float:
    return cookie.used


def _path_of(target: str) -> str:
    return target.partition("?")[0]


def _default_path(target: str) -> str:
    """RFC 6265bis section 5.1.4."""
    directory = _path_of(target).rpartition("/")[0]
    return directory if directory.startswith("/") else "/"


def _path_matches(path: str, cookie_path: str) -> bool:
    return path == cookie_path or (
        path.startswith(cookie_path) and (cookie_path.endswith("/") or path[len(cookie_path)] == "/")
    )


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_public_suffix(domain: str) -> bool:
    labels = domain.split(".")
    return len(labels) == 1 or (len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _REGISTRY_LABELS)


def site_of(origin: Origin) -> tuple[str, str]:
    """Scheme and registrable domain, as far as it can be told without the public suffix list."""
    if _is_address(origin.host):
        return origin.scheme, origin.host
    labels = origin.host.split(".")
    count = 3 if len(labels) > 2 and _is_public_suffix(".".join(labels[-2:])) else 2
    return origin.scheme, ".".join(labels[-count:])
