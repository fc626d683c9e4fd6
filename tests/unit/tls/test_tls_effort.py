"""What a full handshake costs: public-key operations, of which a page feels each. Milliseconds are for
``make bench``."""

from __future__ import annotations

import pytest

from smolmix_web.crypto.pyca import PycaProvider
from support.counting import CountingProvider
from tls_support.record_replay import WithoutMlKem
from vectors_runner import tls_replay


@pytest.mark.parametrize("hybrid", [True, False])
def test_a_handshake_does_each_operation_once(hybrid: bool) -> None:
    provider = CountingProvider(PycaProvider() if hybrid else WithoutMlKem(), name="npm")
    tls_replay.handshake(provider, hybrid=hybrid)
    calls = provider.calls
    # The server's signature, and those in its chain: two certificates under a root.
    assert calls["ecdsa_verify"] == 3
    assert calls["rsa_pss_verify"] + calls["rsa_pkcs1_verify"] == 0
    # A key for each share that is offered (P-256 spares servers without X25519 a HelloRetryRequest), and one
    # agreement with what the server chose.
    assert (calls["x25519_key"], calls["ecdh"]) == (1, 1)
    assert calls["exchange"] + calls["x25519"] == 1
    assert calls["decapsulate"] == int(hybrid)
