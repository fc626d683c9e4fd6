"""Our client and the tampering server, joined by nothing: bytes are carried by hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from smolmix_web.tls import HandshakeComplete, TlsClient, TlsConfig, TlsError
from tls_support.certificates import NOW, Authority, Issued
from tls_support.server import TamperingServer

NAME = "www.example.com"
TIME = NOW.timestamp()


@cache
def authority() -> Authority:
    return Authority("Pair Root")


@cache
def issued(key_kind: str = "p256") -> Issued:
    return authority().issue(NAME, "192.0.2.7", key_kind=key_kind)


def make_client(
    *, name: str = NAME, config: TlsConfig | None = None, unix_time: float = TIME, **options: object
) -> TlsClient:
    """A started client that trusts the test authority; ``options`` are fields of TlsConfig."""
    if config is None:
        options.setdefault("trust_anchors", authority().pem)
        options.setdefault("bundled_roots", False)
        config = TlsConfig(**options)  # type: ignore[arg-type]
    client = TlsClient(name, config, unix_time=lambda: unix_time)
    client.start()
    return client


def carry(client: TlsClient, server: TamperingServer, *, portion: int = 1 << 20) -> None:
    """Until nobody has anything to say. :raises TlsError: the client's; its alert has reached the server."""
    try:
        while True:
            up = client.data_to_send()
            if up:
                server.receive(up)
            down = server.take()
            if not up and not down:
                return
            for start in range(0, len(down), portion):
                client.receive_data(down[start : start + portion])
    except TlsError:
        server.receive(client.data_to_send())
        raise


@dataclass
class Connection:
    client: TlsClient
    server: TamperingServer
    info: HandshakeComplete


def connect(
    server: TamperingServer | None = None, client: TlsClient | None = None, **options: object
) -> Connection:
    """A finished handshake."""
    server = server or TamperingServer(issued())
    client = client or make_client(**options)  # type: ignore[arg-type]
    carry(client, server)
    event = client.next_event()
    assert isinstance(event, HandshakeComplete)
    assert server.connected
    return Connection(client, server, event)
