"""TLS client without a server: full handshakes against a recording, and bulk decryption of our own records.

Runs wherever a provider does, Pyodide in a browser included: ``bench_tls_replay.measure()``; in a shell
``python bench/bench_tls_replay.py``. The handshake is TLS 1.3 with a chain of two P-256 certificates under a
root; hybrid where the provider has ML-KEM. For figures beside other implementations see ``bench_tls.py``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

try:
    from vectors_runner import tls_replay
except ImportError:  # run as a script
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from vectors_runner import tls_replay

from smolmix_web import crypto
from smolmix_web.crypto.provider import Provider
from smolmix_web.tls.record import RecordLayer
from smolmix_web.tls.registry import CipherSuite, ContentType
from smolmix_web.tls.schedule import SUITES_13

RECORD = 16384
RECORDS = 16


def best_time(operation: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest call."""
    operation()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        operation()
        best = min(best, time.perf_counter() - start)
    return best


def decryption_rate(provider: Provider, suite: CipherSuite, seconds: float) -> float:
    """Decimal megabytes of plaintext per second, full records."""
    parameters = SUITES_13[suite]
    secret = bytes(48 if parameters.digest == "sha384" else 32)
    sender, receiver = RecordLayer(provider), RecordLayer(provider)
    sender.owes_change_cipher_spec = False
    sender.install_13("write", parameters, secret)
    receiver.install_13("read", parameters, secret)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        sender.push(ContentType.APPLICATION_DATA, bytes(RECORD * RECORDS))
        data, parts = sender.take_output(), list[bytes]()
        start = time.perf_counter()
        receiver.feed(data)
        receiver.pull(parts)
        b"".join(parts)
        best = min(best, time.perf_counter() - start)
    return RECORD * RECORDS / best / 1e6


def raw_rate(provider: Provider, suite: CipherSuite, seconds: float) -> float:
    """The provider's AEAD alone, on one full record again and again."""
    parameters = SUITES_13[suite]
    aead = provider.aead(parameters.aead, bytes(parameters.key_length))
    header = b"\x17\x03\x03\x40\x11"
    sealed = aead.seal(bytes(12), bytes(RECORD + 1), header)
    return RECORD / best_time(lambda: aead.open(bytes(12), sealed, header), seconds) / 1e6


def measure(seconds: float = 1.0) -> dict[str, Any]:
    """Figures by name; each is measured for about ``seconds``."""
    provider = crypto.provider()
    results: dict[str, Any] = {"provider": provider.name}
    has_mlkem = provider.mlkem768(bytes(64)) is not None
    took = best_time(lambda: tls_replay.handshake(provider, hybrid=has_mlkem), seconds)
    label = "X25519MLKEM768" if has_mlkem else "X25519"
    results[f"full handshake, ms ({label})"] = round(took * 1000, 2)
    for suite in SUITES_13:
        name = SUITES_13[suite].aead
        bulk = decryption_rate(provider, CipherSuite(suite), seconds)
        raw = raw_rate(provider, CipherSuite(suite), seconds)
        results[f"bulk MB/s, {name}"] = round(bulk, 1)
        results[f"bulk / raw, {name}"] = round(bulk / raw, 3)
    return results


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=2))
