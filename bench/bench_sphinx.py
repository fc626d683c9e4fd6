"""Sphinx packets created and processed per second, on the installed crypto provider.

One *created* packet is what a Nym client sends: a 2,048-byte message over 4 hops, together with the 4-hop
acknowledgement packet (21 bytes) that travels inside it. One *processed* packet is one regular packet at one
mix node, both steps. Run it with ``python bench/bench_sphinx.py``; inside Pyodide import it and call
:func:`measure`.
"""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable

from smolmix_web import crypto
from smolmix_web.sphinx import Hop, build_packet, open_header, payload_plaintext_capacity, prepare_header

REGULAR_PAYLOAD = 2065
ACK_PAYLOAD = 38
HOPS = 4
DELAYS = [50_000_000] * HOPS


def per_second(operation: Callable[[], object], seconds: float) -> float:
    """Calls per second: the best of five rounds which together last about ``seconds``."""
    operation()
    best = 0.0
    for _ in range(5):
        count, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < seconds / 5:
            operation()
            count += 1
        best = max(best, count / elapsed)
    return best


def measure(seconds: float = 2.0) -> dict[str, str | float]:
    """Rates by name; each number is measured for about ``seconds``."""
    provider = crypto.provider()
    node_secrets = [secrets.token_bytes(32) for _ in range(HOPS)]
    route = [Hop(secrets.token_bytes(32), provider.x25519_public(secret)) for secret in node_secrets]
    destination = secrets.token_bytes(32)
    message = secrets.token_bytes(payload_plaintext_capacity(REGULAR_PAYLOAD) - 19 - 386)
    first_hop = bytes(19)

    def create() -> bytes:
        content = secrets.token_bytes(payload_plaintext_capacity(ACK_PAYLOAD))
        ack = build_packet(route, DELAYS, destination, content, ACK_PAYLOAD)
        return build_packet(route, DELAYS, destination, first_hop + ack + message, REGULAR_PAYLOAD)

    packet = create()
    node_key = provider.x25519_key(node_secrets[0])
    prepared = prepare_header(route, DELAYS, destination)
    plaintext = secrets.token_bytes(payload_plaintext_capacity(REGULAR_PAYLOAD))
    own, peer = node_secrets[0], route[1].public_key
    return {
        "provider": provider.name,
        "python": sys.version.split()[0],
        "platform": sys.platform,
        "created_per_s": per_second(create, seconds),
        "processed_per_s": per_second(lambda: open_header(node_key, packet).finish(), seconds),
        "prepared_headers_per_s": per_second(lambda: prepare_header(route, DELAYS, destination), seconds),
        "sealed_per_s": per_second(lambda: prepared.seal(plaintext, REGULAR_PAYLOAD), seconds),
        "x25519_per_s": per_second(lambda: provider.x25519(own, peer), seconds),
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
