"""Makes tests/vectors/tls/replay.json: what a server said to our client under fixed randomness.

A client whose random numbers are fixed says the same thing each time, so one server's recorded flight
completes its handshake again and again: under another provider, in Pyodide, in a benchmark, without a server.

    PYTHONPATH=tests python -m tls_support.record_replay

The hello depends on the platform (order of suites) and the build (ML-KEM), hence four variants. Signatures
are fresh with each run of this file, so its output differs each time; commit it only when the hello changed.
"""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from smolmix_web.crypto.provider import Provider
from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.tls import TlsClient
from smolmix_web.tls import hello as hello_module
from smolmix_web.tls.hello import preferred_suites
from smolmix_web.tls.registry import CipherSuite, NamedGroup
from tls_support.certificates import NOW, Authority
from tls_support.server import TamperingServer
from vectors_runner import tls_replay


class WithoutMlKem(PycaProvider):
    def mlkem768(self, seed: bytes | None = None) -> None:
        return None


def record_one(root: str, server: TamperingServer, *, chacha_first: bool, hybrid: bool) -> dict[str, Any]:
    provider: Provider = PycaProvider() if hybrid else WithoutMlKem()
    suites = preferred_suites("emscripten" if chacha_first else "linux")
    server.suite = (
        CipherSuite.TLS_CHACHA20_POLY1305_SHA256 if chacha_first else CipherSuite.TLS_AES_128_GCM_SHA256
    )
    server.group = NamedGroup.X25519MLKEM768 if hybrid else NamedGroup.X25519
    with mock.patch.object(hello_module, "preferred_suites", return_value=suites):
        client: TlsClient = tls_replay.start_client(root, provider)
    hello = client.data_to_send()
    server.receive(hello)
    flight = server.take()
    client.receive_data(flight)
    finished = client.data_to_send()
    server.receive(finished)
    server.send(tls_replay.GREETING)
    return {
        "chacha_first": chacha_first,
        "hybrid": hybrid,
        "client_hello": hello.hex(),
        "server_flight": flight.hex(),
        "client_finished": finished.hex(),
        "server_data": server.take().hex(),
    }


def main() -> None:
    root = Authority("Replay Root", not_before=NOW)
    leaf = Authority("Replay Intermediate", issuer=root).issue(tls_replay.NAME)
    variants = [
        record_one(root.pem, TamperingServer(leaf), chacha_first=chacha_first, hybrid=hybrid)
        for chacha_first in (False, True)
        for hybrid in (False, True)
    ]
    tls_replay.FILE.write_text(json.dumps({"root": root.pem, "variants": variants}, indent=1) + "\n")


if __name__ == "__main__":
    main()
