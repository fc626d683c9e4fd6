"""A whole TLS 1.3 handshake against a recorded server (tests/tls_support/record_replay.py), on any provider.

No pytest and no ``ssl`` here, so that it also runs inside Pyodide, where it is a benchmark's workload too.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from smolmix_web.crypto.provider import Provider
from smolmix_web.tls import DataReceived, HandshakeComplete, TlsClient, TlsConfig

FILE = Path(__file__).parent.parent / "vectors" / "tls" / "replay.json"
NAME = "replay.example.com"
GREETING = b"220 replay.example.com ready"
#: 1 March 2026; within the recorded certificates' time.
TIME = 1_772_323_200.0


def seeded(seed: str) -> Callable[[int], bytes]:
    """Repeatable "random" bytes."""
    drawn = 0

    def random_bytes(length: int) -> bytes:
        nonlocal drawn
        drawn += 1
        return hashlib.shake_256(f"{seed} {drawn}".encode()).digest(length)

    return random_bytes


def start_client(root: str, provider: Provider) -> TlsClient:
    config = TlsConfig(trust_anchors=root, bundled_roots=False)
    client = TlsClient(NAME, config, unix_time=lambda: TIME, random_bytes=seeded("replay"), provider=provider)
    client.start()
    return client


@cache
def _recording() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FILE.read_text())
    return found


@cache
def variant(hybrid: bool) -> tuple[str, dict[str, bytes]]:
    """(root, octets by field) for this platform and a build with or without ML-KEM."""
    recording = _recording()
    for found in recording["variants"]:
        if found["hybrid"] == hybrid and found["chacha_first"] == (sys.platform == "emscripten"):
            octets = {k: bytes.fromhex(v) for k, v in found.items() if isinstance(v, str)}
            return recording["root"], octets
    raise LookupError("no recording for this platform")


def handshake(provider: Provider, *, hybrid: bool) -> tuple[TlsClient, dict[str, bytes]]:
    """A connected client, and what was recorded for it."""
    root, octets = variant(hybrid)
    client = start_client(root, provider)
    client.data_to_send()
    client.receive_data(octets["server_flight"])
    return client, octets


def replay(provider: Provider) -> None:
    """:raises AssertionError: a single byte differs from the recording."""
    root, octets = variant(provider.mlkem768(bytes(64)) is not None)
    client = start_client(root, provider)
    assert client.data_to_send() == octets["client_hello"], "another hello than recorded"
    client.receive_data(octets["server_flight"])
    assert client.data_to_send() == octets["client_finished"]
    assert isinstance(client.next_event(), HandshakeComplete)
    client.receive_data(octets["server_data"])
    assert client.next_event() == DataReceived(GREETING)
