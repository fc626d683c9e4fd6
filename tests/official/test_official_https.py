"""https and wss of Nym's published browser client end at real TLS servers of the test internet.

The packages trust the Web's roots only, and there is no option for others. So with the packages as
published, what can be shown is that both first flights of a handshake travel: the server reads a ClientHello
with the name, and the client complains of the very certificate that the server has. In TLS 1.3 that
certificate is encrypted under keys that both have just agreed on. (The client then closes without an alert.)
That the bytes after a handshake travel too is shown in test_official_https_swapped.py.
"""

from __future__ import annotations

import re
import ssl

import pytest
from cryptography import x509
from official_page import OfficialError, OfficialPage

from smolmix_web.localnet.world import LocalWorld

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(120)]

_CLIENT_HELLO, _CERTIFICATE = 1, 11

_WSS_ERROR = """
async (url) => new Promise((resolve) => {
  new window.nym.MixWebSocket(url).addEventListener('error', (event) => resolve(event.message));
})
"""


class Handshakes:
    """Messages of handshakes at one server context, as OpenSSL sees them (decrypted)."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.read: list[tuple[int, bytes]] = []
        self.written: list[tuple[int, bytes]] = []
        # The ssl module has no public way to see them.
        context._msg_callback = self._record  # type: ignore[attr-defined]

    def _record(
        self, connection: object, direction: str, version: int, content_type: int, kind: int, data: bytes
    ) -> None:
        if content_type == 22:
            (self.read if direction == "read" else self.written).append((int(kind), data))


@pytest.mark.parametrize("host", ["web.test", "tls12.test"])
async def test_a_root_that_the_client_does_not_know(tunnel: OfficialPage, world: LocalWorld, host: str):
    seen = Handshakes(world.internet.tls_contexts[host])
    with pytest.raises(OfficialError, match="invalid peer certificate: UnknownIssuer"):
        await tunnel.fetch(f"https://{host}/echo")
    hellos = [data for kind, data in seen.read if kind == _CLIENT_HELLO]
    assert hellos
    assert all(host.encode() in hello and b"http/1.1" in hello for hello in hellos)
    assert _CERTIFICATE in [kind for kind, _ in seen.written]


async def test_the_certificate_that_the_client_got_is_the_servers(tunnel: OfficialPage, world: LocalWorld):
    """Its end of validity stands in the client's complaint, to the second."""
    seen = Handshakes(world.internet.tls_contexts["expired.test"])
    with pytest.raises(OfficialError, match="certificate expired") as refused:
        await tunnel.fetch("https://expired.test/")
    said = re.search(r"not valid after (\d+)", str(refused.value))
    assert said is not None
    sent = next(data for kind, data in seen.written if kind == _CERTIFICATE)
    assert int(said[1]) == _end_of_validity(sent)


def _end_of_validity(certificate_message: bytes) -> int:
    """Of the first certificate in a TLS 1.3 Certificate message (RFC 8446 section 4.4.2)."""
    length = int.from_bytes(certificate_message[8:11], "big")
    leaf = x509.load_der_x509_certificate(certificate_message[11 : 11 + length])
    return int(leaf.not_valid_after_utc.timestamp())


async def test_wss_is_refused_likewise(tunnel: OfficialPage):
    message = await tunnel.run(_WSS_ERROR, "wss://web.test/ws/echo")
    assert "invalid peer certificate: UnknownIssuer" in message
