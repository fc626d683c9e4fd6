"""TLS client: full handshakes per second and bulk decryption, beside ``ssl`` and ``tlslite-ng``.

All three clients talk to the same kind of server, Python's ``ssl`` on memory BIOs, with the same ECDSA P-256
certificate under the same root; only the time that the *client* spends is counted. Bulk is 16 KiB records.
The raw rate is what the provider's AEAD does with such records and nothing around it.

Run with ``python bench/bench_tls.py [seconds per figure]``.
"""

from __future__ import annotations

import json
import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from smolmix_web import crypto
from smolmix_web.tls import DataReceived, TlsClient, TlsConfig
from tls_support.certificates import Authority

RECORD = 16384
NAME = "bench.example"


class Stopwatch:
    """Adds up the time spent inside ``with`` blocks, seconds."""

    def __init__(self) -> None:
        self.total = 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.total += time.perf_counter() - self._start


class Server:
    """Python's ``ssl`` as a server on memory BIOs."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.ssl = context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        self.done = False

    def feed(self, data: bytes) -> bytes:
        if data:
            self.incoming.write(data)
        if not self.done:
            try:
                self.ssl.do_handshake()
                self.done = True
            except ssl.SSLWantReadError:
                pass
        return self.outgoing.read()


class OurClient:
    name = "smolmix-web"
    bulk_records = 64

    def __init__(self, root: str) -> None:
        self._config = TlsConfig(trust_anchors=root, bundled_roots=False)

    def handshake(self, server: Server, watch: Stopwatch) -> Callable[[bytes], int]:
        with watch:
            client = TlsClient(NAME, self._config, unix_time=time.time)
            client.start()
            out = client.data_to_send()
        while not client.connected or out:
            answer = server.feed(out)
            with watch:
                client.receive_data(answer)
                out = client.data_to_send()
        with watch:
            client.next_event()

        def decrypt(data: bytes) -> int:
            size = 0
            client.receive_data(data)
            while isinstance(event := client.next_event(), DataReceived):
                size += len(event.data)
            return size

        return decrypt


class StandardClient:
    name = "ssl.MemoryBIO"
    bulk_records = 64

    def __init__(self, root: str) -> None:
        self._context = ssl.create_default_context(cadata=root)

    def handshake(self, server: Server, watch: Stopwatch) -> Callable[[bytes], int]:
        with watch:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            client = self._context.wrap_bio(incoming, outgoing, server_hostname=NAME)
        done = False
        while not done or outgoing.pending:
            with watch:
                try:
                    client.do_handshake()
                    done = True
                except ssl.SSLWantReadError:
                    pass
                out = outgoing.read()
            incoming.write(server.feed(out))

        def decrypt(data: bytes) -> int:
            size = 0
            incoming.write(data)
            try:
                while chunk := client.read(65536):
                    size += len(chunk)
            except ssl.SSLWantReadError:
                pass
            return size

        return decrypt


class _FakeSocket:
    def __init__(self) -> None:
        self.incoming, self.outgoing = bytearray(), bytearray()

    def recv(self, size: int) -> bytes:
        if not self.incoming:
            raise BlockingIOError(11, "nothing yet")
        data = bytes(self.incoming[:size])
        del self.incoming[:size]
        return data

    def send(self, data: bytes) -> int:
        self.outgoing += data
        return len(data)

    def sendall(self, data: bytes) -> None:
        self.outgoing += data

    def close(self) -> None:
        pass


class TlsliteClient:
    """tlslite-ng checks no certificate chain, which spares it some work."""

    name = "tlslite-ng"
    bulk_records = 4

    def __init__(self, root: str) -> None:
        pass

    def handshake(self, server: Server, watch: Stopwatch) -> Callable[[bytes], int]:
        from tlslite.api import HandshakeSettings, TLSConnection

        settings = HandshakeSettings()
        settings.keyShares = ["x25519"]
        sock = _FakeSocket()
        with watch:
            client: Any = TLSConnection(sock)
            steps = client.handshakeClientCert(settings=settings, serverName=NAME, async_=True)
        running = True
        while running or sock.outgoing:
            with watch:
                for state in steps:
                    if state == 0:
                        break
                else:
                    running = False
            out = bytes(sock.outgoing)
            sock.outgoing.clear()
            sock.incoming += server.feed(out)

        def decrypt(data: bytes) -> int:
            sock.incoming += data
            size = 0
            while True:
                for part in client.readAsync(65536, 1):
                    if isinstance(part, int):
                        return size
                    size += len(part)
            return size

        return decrypt


def server_context(folder: Path) -> tuple[ssl.SSLContext, str]:
    """(context, root as PEM)."""
    import datetime

    now = datetime.datetime.now(datetime.UTC)
    root = Authority("Bench Root", not_before=now - datetime.timedelta(days=9))
    leaf = root.issue(NAME, not_before=now - datetime.timedelta(days=9))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*leaf.write(folder))
    context.num_tickets = 0
    return context, root.pem


def handshakes_per_second(client: Any, context: ssl.SSLContext, seconds: float) -> float:
    client.handshake(Server(context), Stopwatch())
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        watch = Stopwatch()
        for _ in range(10):
            client.handshake(Server(context), watch)
        best = max(best, 10 / watch.total)
    return best


def bulk_megabytes_per_second(client: Any, context: ssl.SSLContext, seconds: float) -> float:
    """Decimal megabytes of plaintext."""
    server = Server(context)
    decrypt = client.handshake(server, Stopwatch())
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        # About 64 KiB at a time, cut where records end: tlslite-ng cannot be interrupted elsewhere.
        pieces = []
        for _ in range(client.bulk_records // 4):
            for _ in range(4):
                server.ssl.write(bytes(RECORD))
            pieces.append(server.outgoing.read())
        watch, size = Stopwatch(), 0
        with watch:
            for piece in pieces:
                size += decrypt(piece)
        assert size == client.bulk_records * RECORD, size
        best = max(best, size / watch.total / 1e6)
    return best


def raw_megabytes_per_second(name: Any, key_length: int, seconds: float, *, fresh: bool) -> float:
    """The provider's AEAD alone. ``fresh``: on records that were just made, as in a download; otherwise on
    one record again and again, which stays in the processor's nearest cache.
    """
    aead = crypto.provider().aead(name, bytes(key_length))
    header, count = b"\x17\x03\x03\x40\x11", OurClient.bulk_records
    nonces = [number.to_bytes(12, "big") for number in range(count)]
    best, end = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        if fresh:
            work = [(nonce, aead.seal(nonce, bytes(RECORD + 1), header)) for nonce in nonces]
        else:
            work = [(nonces[0], aead.seal(nonces[0], bytes(RECORD + 1), header))] * count
        start = time.perf_counter()
        for nonce, sealed in work:
            aead.open(nonce, sealed, header)
        best = max(best, count * RECORD / (time.perf_counter() - start) / 1e6)
    return best


def measure(seconds: float = 1.0) -> dict[str, Any]:
    results: dict[str, Any] = {"provider": crypto.provider().name}
    with tempfile.TemporaryDirectory() as folder:
        context, root = server_context(Path(folder))
        for client in (OurClient(root), StandardClient(root), TlsliteClient(root)):
            rate = handshakes_per_second(client, context, seconds)
            bulk = bulk_megabytes_per_second(client, context, seconds)
            results[client.name] = {
                "handshakes per second": round(rate),
                "ms of client CPU per handshake": round(1000 / rate, 2),
                "bulk MB/s (AES-256-GCM)": round(bulk, 1),
            }
    bulk = results["smolmix-web"]["bulk MB/s (AES-256-GCM)"]
    for label, fresh in (("fresh records", True), ("one record in cache", False)):
        raw = raw_megabytes_per_second("aes-256-gcm", 32, seconds, fresh=fresh)
        results[f"raw AEAD MB/s, {label}"] = round(raw)
        results[f"bulk / raw, {label}"] = round(bulk / raw, 3)
    return results


if __name__ == "__main__":
    print(json.dumps(measure(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0), indent=2))
