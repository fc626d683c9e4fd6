"""The shared tables of cases (tests/cases/*.json), and what it means for one to hold.

A case says what to do and what must be seen. Two runners do it and tell what they saw in the same words: one
with Python's own ``Tunnel`` (case_native.py), one in a page (tests/browser/case_runner.js), which can also
use the browser's own ``fetch`` and ``WebSocket`` for comparison. Keys that all tables have:

* ``name``, and ``expect``: see the ``check_*`` functions
* ``times``: so many at once, all must hold
* ``tunnel``: which one; "cookies" keeps cookies, and its primary name server is dead
* ``page``, ``native``: true runs it there alone, false never there
* ``heavy``: nothing else runs beside it in a page
* ``bulk``: takes minutes; runs with SMOLMIX_BULK=1 in the environment only
* ``direct``: false is not compared with the browser's own
* ``differs``: what differs from the browser's own, each with the name of its reason in docs/differences.md
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

Case = dict[str, Any]
Seen = dict[str, Any]

CASES = Path(__file__).parents[1] / "cases"
MAIN, COOKIES = "main", "cookies"
DEAD_RESOLVER = "192.0.2.43:53"


BULK = os.environ.get("SMOLMIX_BULK") == "1"


def load(name: str) -> list[Case]:
    """The cases of one table; those that take minutes only where they are asked for."""
    cases: list[Case] = json.loads((CASES / f"{name}.json").read_text())
    return [case for case in cases if BULK or not case.get("bulk")]


def pattern(size: int) -> bytes:
    """What ``{"bytes": size}`` stands for, in bodies and messages."""
    return bytes((index * 31 + (index >> 8) * 7) & 255 for index in range(size))


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def body_bytes(body: dict[str, Any]) -> bytes:
    """What of a request body arrives, for the kinds whose bytes are fixed."""
    kind = body["kind"]
    if kind in ("stream", "requestStream"):
        return b"".join(bytes([number & 255]) * size for number, size in enumerate(body["chunks"]))
    if kind in ("bytes", "dataview"):
        return pattern(body["bytes"])
    if kind == "view":
        return pattern(body["bytes"])[body["from"] : body["to"]]
    return str(body["text"]).encode()


class Problems(list[str]):
    """What does not hold."""

    def want(self, what: str, seen: object, wanted: object) -> None:
        if seen != wanted:
            self.append(f"{what}: saw {seen!r}, wanted {wanted!r}")

    def match(self, what: str, seen: object, wanted: str) -> None:
        if not isinstance(seen, str) or not re.search(wanted, seen):
            self.append(f"{what}: saw {seen!r}, wanted something like {wanted!r}")

    def error(self, seen: Seen, wanted: dict[str, Any]) -> None:
        """``misuse`` accepts both a TypeError of the page and BAD_OPTION; ``field`` is named in either."""
        error = seen.get("error")
        if error is None:
            self.append(f"no error; wanted {wanted}")
            return
        for key, value in wanted.items():
            if key == "misuse":
                if error.get("code") not in ("BAD_OPTION", None) or error.get("name") == "AbortError":
                    self.append(f"error is not about an argument: {error}")
            elif key == "field":
                if not str(error.get("message")).startswith(f"{value}:"):
                    self.append(f"error does not name {value}: {error.get('message')}")
            elif error.get(key) != value:
                self.append(f"error.{key}: saw {error.get(key)!r}, wanted {value!r} ({error.get('message')})")


def check_fetch(case: Case, seen: Seen) -> Problems:
    """``expect``: fields of the response by name, or ``error``; ``header``, ``sent`` (headers as the server
    saw them) and their ``…Match``; ``json``: fields of a JSON body; ``sha``: the body has the announced hash.
    """
    problems, expect = Problems(), case["expect"]
    if "error" in expect:
        problems.error(seen, expect["error"])
        return problems
    if seen.get("error") is not None:
        problems.append(f"failed: {seen['error']}")
        return problems
    headers: dict[str, str] = {}
    for name, value in seen["headers"]:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    body = _json(seen.get("text"))
    sent = _joined(body.get("headers", [])) if isinstance(body, dict) else {}
    for key, wanted in expect.items():
        match key:
            case "header":
                for name, value in wanted.items():
                    problems.want(name, headers.get(name), value)
            case "sent":
                for name, value in wanted.items():
                    problems.want(f"sent {name}", sent.get(name), value)
            case "sentMatch":
                for name, value in wanted.items():
                    problems.match(f"sent {name}", sent.get(name), value)
            case "json":
                assert isinstance(body, dict)
                if not wanted:
                    problems.want("JSON", body, {})
                for name, value in wanted.items():
                    problems.want(f"JSON {name}", body.get(name), value)
            case "jsonHas":
                problems.want("JSON", {name: (body or {}).get(name) for name in wanted}, wanted)
            case "jsonLacks":
                problems.want("JSON", [name for name in wanted if name in (body or {})], [])
            case "sha":
                problems.want("SHA-256", seen["sha256"], headers.get("x-content-sha256"))
            case "bodySha":
                assert isinstance(body, dict)
                problems.want("SHA-256 of the body", body.get("sha256"), sha256(body_bytes(case["body"])))
            case "bodyEcho":
                problems.want("SHA-256 of the echo", seen["sha256"], sha256(body_bytes(case["body"])))
            case "textMatch":
                problems.match("text", seen["text"], wanted)
            case "setCookieCount":
                problems.want("cookies", len(seen["setCookie"]), wanted)
            case "minChunks":
                problems.want("number of pieces is enough", seen["chunks"] >= wanted, True)
            case _:
                problems.want(key, seen.get(key), wanted)
    return problems


def _joined(pairs: list[list[str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _json(text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except ValueError:
        return None


def describe_message(message: object) -> object:
    """A message in the words of the tables, and of what the runners see."""
    if isinstance(message, str):
        return message if len(message) <= 200 else {"text": len(message), "sha256": sha256(message.encode())}
    assert isinstance(message, bytes | dict)
    if isinstance(message, dict):
        if "chars" in message:
            return describe_message("x" * message["chars"])
        return describe_message(
            bytes.fromhex(message["hex"]) if "hex" in message else pattern(message["bytes"])
        )
    return {"bytes": len(message), "sha256": sha256(message)}


def check_socket(case: Case, seen: Seen) -> Problems:
    """``expect``: ``opened`` (default true), ``messages``, ``close`` (the event), ``error`` (an error event
    came before it; default false), ``code`` of the rejection of ``opened()``, ``throws``: the
    constructor does.
    """
    problems, expect = Problems(), case["expect"]
    if "throws" in expect or seen.get("throws"):
        problems.want("throws", seen.get("throws"), expect.get("throws"))
        return problems
    expect = {"opened": True, "error": False, **expect}
    for key, wanted in expect.items():
        match key:
            case "messages":
                problems.want("messages", seen["messages"], [describe_message(one) for one in wanted])
            case "count":
                problems.want("number of messages", len(seen["messages"]), wanted)
            case "first":
                problems.want("first message", seen["messages"][:1], [wanted])
            case "last":
                problems.want("last message", seen["messages"][-1:], [wanted])
            case "maxMs":
                problems.want("soon enough", seen["ms"] <= wanted, True)
            case "minMs":
                problems.want("not too soon", seen["ms"] >= wanted, True)
            case _:
                problems.want(key, seen.get(key), wanted)
    if seen.get("order"):
        problems.want("order of events", seen["order"], sorted(seen["order"], key=_ORDER.index))
    return problems


_ORDER = ("open", "message", "error", "close")


def check_dns(case: Case, seen: Seen) -> Problems:
    """``expect``: ``value`` (one address), ``all`` (addresses with families, in order), ``count`` of them,
    ``ttl`` (bounds, or null), or ``error``.
    """
    problems, expect = Problems(), case["expect"]
    if "error" in expect:
        problems.error(seen, expect["error"])
        return problems
    if seen.get("error") is not None:
        problems.append(f"failed: {seen['error']}")
        return problems
    value = seen["value"]
    for key, wanted in expect.items():
        match key:
            case "all":
                problems.want("addresses", [[one["address"], one["family"]] for one in value], wanted)
            case "count":
                problems.want("number of addresses", len(value), wanted)
            case "ttl" if wanted is None:
                problems.want("ttl", {one["ttl"] for one in value}, {None})
            case "ttl":
                low, high = wanted
                problems.want("ttl in bounds", all(low <= one["ttl"] <= high for one in value), True)
            case "maxMs":
                problems.want("soon enough", seen["ms"] <= wanted, True)
            case _:
                problems.want(key, value, wanted)
    return problems
