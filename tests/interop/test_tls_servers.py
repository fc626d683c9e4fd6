"""Our client against servers that others wrote: OpenSSL, GnuTLS, NSS, nginx, Go and Python's ssl.

Versions, suites, groups, kinds of certificate, ALPN, forced retries, record sizes. A server that is not
installed is named and skipped; ``scripts/ensure_tls_servers.sh`` installs those that Debian packages.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, pkcs12

from smolmix_web.tls import ProtocolVersion, TicketStore, TlsConfig, TlsError, TlsStream, wrap
from smolmix_web.tls import errors as e
from smolmix_web.tls.registry import CipherSuite, NamedGroup
from tls_support.certificates import Authority, Issued
from tls_support.tcp import TcpStream, free_port, program, running

NAME = "server.example.com"
V12, V13 = ProtocolVersion.TLS_1_2, ProtocolVersion.TLS_1_3
NOW = datetime.now(UTC).replace(microsecond=0)
FILE_SIZE = 300_000
#: Suites of TLS 1.2 by OpenSSL's names.
SUITES_12 = {
    "ECDHE-ECDSA-AES128-GCM-SHA256": CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    "ECDHE-ECDSA-AES256-GCM-SHA384": CipherSuite.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    "ECDHE-ECDSA-CHACHA20-POLY1305": CipherSuite.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
    "ECDHE-RSA-AES128-GCM-SHA256": CipherSuite.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    "ECDHE-RSA-AES256-GCM-SHA384": CipherSuite.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    "ECDHE-RSA-CHACHA20-POLY1305": CipherSuite.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
}
SUITES_13 = [
    CipherSuite.TLS_AES_128_GCM_SHA256,
    CipherSuite.TLS_AES_256_GCM_SHA384,
    CipherSuite.TLS_CHACHA20_POLY1305_SHA256,
]
OPENSSL_GROUPS = {
    "X25519": NamedGroup.X25519,
    "P-256": NamedGroup.SECP256R1,
    "P-384": NamedGroup.SECP384R1,
}


@cache
def root() -> Authority:
    return Authority("Interop Root", not_before=NOW - timedelta(days=9), not_after=NOW + timedelta(days=99))


@cache
def server_certificate(key: str = "p256") -> Issued:
    middle = Authority(
        "Interop Intermediate",
        "rsa2048" if key.startswith("rsa") else "p256",
        issuer=root(),
        not_before=NOW - timedelta(days=9),
        not_after=NOW + timedelta(days=99),
    )
    dates = {"not_before": NOW - timedelta(days=8), "not_after": NOW + timedelta(days=80)}
    return middle.issue(NAME, key_kind=key, **dates)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tls")
    for key in ("p256", "p384", "rsa2048", "rsa3072", "ed25519"):
        server_certificate(key).write(made, key)
    (made / "big.bin").write_bytes(bytes(range(250)) * (FILE_SIZE // 250))
    return made


def config(**options: Any) -> TlsConfig:
    return TlsConfig(trust_anchors=root().pem, bundled_roots=False, **options)


async def connect(port: int, **options: Any) -> TlsStream:
    async with asyncio.timeout(15):
        return await wrap(await TcpStream.connect(port), NAME, config(**options))


async def read_all(stream: TlsStream, *, tolerate_truncation: bool = False) -> bytes:
    data = b""
    async with asyncio.timeout(20):
        try:
            while part := await stream.read():
                data += part
        except e.TlsTruncated:
            if not tolerate_truncation:
                raise
    return data


async def fetch(stream: TlsStream, path: str = "/", *, tolerate_truncation: bool = False) -> bytes:
    await stream.write(f"GET {path} HTTP/1.0\r\nHost: {NAME}\r\n\r\n".encode())
    data = await read_all(stream, tolerate_truncation=tolerate_truncation)
    await stream.close()
    return data


# -- OpenSSL -------------------------------------------------------------------------------------------


@contextmanager
def s_server(
    folder: Path, *arguments: str, key: str = "p256", mode: Sequence[str] = ("-WWW",), **options: Any
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    port = free_port()
    command = [program("openssl", "openssl"), "s_server", "-accept", f"127.0.0.1:{port}"]
    command += ["-cert", f"{key}.crt", "-key", f"{key}.key", "-cert_chain", f"{key}.crt", *mode, *arguments]
    with running(command, port, cwd=folder, **options) as process:
        yield port, process


@pytest.mark.parametrize("suite", SUITES_13)
@pytest.mark.parametrize("group", sorted(OPENSSL_GROUPS))
async def test_openssl_tls13(folder: Path, suite: CipherSuite, group: str) -> None:
    with s_server(folder, "-tls1_3", "-ciphersuites", suite.name, "-groups", group) as (port, _):
        stream = await connect(port)
        info = stream.info
        assert (info.version, info.cipher_suite, info.group) == (V13, suite, OPENSSL_GROUPS[group])
        assert info.retried == (group == "P-384"), "a retry only for the group whose share is not sent"
        body = (await fetch(stream, "/big.bin")).partition(b"\r\n\r\n")[2]
        assert body == (folder / "big.bin").read_bytes()


@pytest.mark.parametrize("name", sorted(SUITES_12))
@pytest.mark.parametrize("group", sorted(OPENSSL_GROUPS))
async def test_openssl_tls12(folder: Path, name: str, group: str) -> None:
    key = "rsa2048" if "-RSA-" in name else "p256"
    groups = group if group == "P-256" else f"{group}:P-256"  # the certificate's curve has to be there
    with s_server(folder, "-tls1_2", "-cipher", name, "-groups", groups, "-serverpref", key=key) as (port, _):
        stream = await connect(port)
        info = stream.info
        assert (info.version, info.cipher_suite, info.group) == (V12, SUITES_12[name], OPENSSL_GROUPS[group])
        assert info.extended_master_secret
        assert len(await fetch(stream, "/big.bin")) > FILE_SIZE


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "rsa3072", "ed25519"])
async def test_openssl_kinds_of_certificate(folder: Path, version: str, key: str) -> None:
    with s_server(folder, version, key=key) as (port, _):
        stream = await connect(port)
        assert stream.info.peer_certificates[0] == server_certificate(key).der
        assert len(await fetch(stream, "/big.bin")) > FILE_SIZE


async def test_openssl_alpn(folder: Path) -> None:
    with s_server(folder, "-alpn", "http/1.1,h2") as (port, _):
        stream = await connect(port, alpn=("h2", "http/1.1"))
        assert stream.info.alpn == "http/1.1"
        await stream.close()
        with pytest.raises(e.NoApplicationProtocol) as caught:
            await connect(port, alpn=("spdy/3",))
        assert caught.value.received


@pytest.mark.parametrize(
    "arguments",
    [("-tls1_1",), ("-tls1_2", "-cipher", "AES128-SHA"), ("-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA")],
)
async def test_openssl_with_nothing_acceptable(folder: Path, arguments: tuple[str, ...]) -> None:
    with s_server(folder, *arguments, "-cipher", "ALL:@SECLEVEL=0", key="rsa2048") as (port, _):
        if arguments == ("-tls1_1",):
            with pytest.raises(e.ProtocolVersionError):
                await connect(port)
    if len(arguments) > 1:
        with s_server(folder, *arguments, key="rsa2048") as (port, _):
            with pytest.raises(e.HandshakeFailure) as caught:
                await connect(port)
            assert caught.value.received


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("size", ["512", "16384"])
async def test_openssl_record_sizes(folder: Path, version: str, size: str) -> None:
    with s_server(folder, version, "-max_send_frag", size) as (port, _):
        stream = await connect(port)
        assert len(await fetch(stream, "/big.bin")) > FILE_SIZE


async def test_openssl_padding(folder: Path) -> None:
    with s_server(folder, "-tls1_3", "-record_padding", "4096") as (port, _):
        stream = await connect(port)
        assert len(await fetch(stream, "/big.bin")) > FILE_SIZE


async def test_openssl_key_update(folder: Path) -> None:
    """The server's console: K asks both sides for new keys, k changes its own; other lines are sent."""
    with s_server(folder, "-tls1_3", mode=(), stdin=subprocess.PIPE) as (port, process):
        assert process.stdin is not None
        stream = await connect(port)
        for line in (b"one\n", b"K\n", b"two\n", b"k\n", b"three\n"):
            process.stdin.write(line)
            process.stdin.flush()
            if len(line) > 2:
                async with asyncio.timeout(5):
                    assert await stream.read() == line
            else:
                await asyncio.sleep(0.1)
        for text in (b"client one\n", b"client two\n"):
            stream._client.update_keys(request_peer=True)
            await stream.write(text)
        process.stdin.write(b"done\n")
        process.stdin.flush()
        async with asyncio.timeout(5):
            assert await stream.read() == b"done\n"
        await stream.close()
        await asyncio.sleep(0.2)
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        output = process.stdout.read() or b""
        assert b"client one\n" in output
        assert b"client two\n" in output


@pytest.mark.parametrize("group", ["X25519", "P-384"])
async def test_openssl_resumption(folder: Path, group: str) -> None:
    with s_server(folder, "-tls1_3", "-groups", group) as (port, _):
        store = TicketStore()
        first = await connect(port, resumption=store)
        assert not first.info.resumed
        await fetch(first, "/big.bin")
        second = await connect(port, resumption=store)
        assert second.info.resumed
        assert second.info.peer_certificates == first.info.peer_certificates
        assert second.info.retried == (group == "P-384")
        assert len(await fetch(second, "/big.bin")) > FILE_SIZE
        for options in ({"resumption": store, "resumption_partition": "another origin"}, {}):
            apart = await connect(port, **options)
            assert not apart.info.resumed
            await apart.close()


async def test_openssl_asks_for_a_client_certificate(folder: Path) -> None:
    for version in ("-tls1_2", "-tls1_3"):
        with s_server(folder, version, "-verify", "1") as (port, _):
            stream = await connect(port)
            assert len(await fetch(stream, "/big.bin")) > FILE_SIZE
        wanted = e.CertificateRequired if version == "-tls1_3" else e.HandshakeFailure
        with s_server(folder, version, "-Verify", "1") as (port, _), pytest.raises(wanted):
            await fetch(await connect(port), "/big.bin")


async def test_openssl_with_the_wrong_name(folder: Path) -> None:
    with s_server(folder) as (port, _):
        with pytest.raises(e.CertificateWrongHost):
            await wrap(await TcpStream.connect(port), "other.example.com", config())
        with pytest.raises(e.UnknownCa):
            await wrap(await TcpStream.connect(port), NAME, TlsConfig())


# -- GnuTLS --------------------------------------------------------------------------------------------

GNUTLS_GROUPS = {
    "GROUP-X25519": NamedGroup.X25519,
    "GROUP-SECP256R1": NamedGroup.SECP256R1,
    "GROUP-SECP384R1": NamedGroup.SECP384R1,
}
GNUTLS_CIPHERS = {"AES-128-GCM": "AES_128", "AES-256-GCM": "AES_256", "CHACHA20-POLY1305": "CHACHA20"}


@contextmanager
def gnutls_serv(folder: Path, priority: str, *arguments: str, key: str = "p256") -> Iterator[int]:
    port = free_port()
    command = [program("gnutls-serv", "gnutls-bin"), "--port", str(port), "--quiet", "--priority", priority]
    command += ["--x509certfile", f"{key}.crt", "--x509keyfile", f"{key}.key", *arguments]
    with running(command, port, cwd=folder):
        yield port


@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3"])
@pytest.mark.parametrize("group", sorted(GNUTLS_GROUPS))
@pytest.mark.parametrize("cipher", sorted(GNUTLS_CIPHERS))
async def test_gnutls(folder: Path, version: str, group: str, cipher: str) -> None:
    priority = f"NORMAL:-VERS-ALL:+VERS-{version}:-GROUP-ALL:+{group}:-CIPHER-ALL:+{cipher}"
    with gnutls_serv(folder, priority, "--echo") as port:
        stream = await connect(port)
        assert stream.info.version == (V13 if version == "TLS1.3" else V12)
        assert stream.info.group == GNUTLS_GROUPS[group]
        assert GNUTLS_CIPHERS[cipher] in stream.info.cipher_suite.name
        await stream.write(b"hello there\n")
        async with asyncio.timeout(5):
            assert await stream.read() == b"hello there\n"
        await stream.close()


@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "rsa3072", "ed25519"])
@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3"])
async def test_gnutls_kinds_of_certificate(folder: Path, key: str, version: str) -> None:
    with gnutls_serv(folder, f"NORMAL:-VERS-ALL:+VERS-{version}", "--http", key=key) as port:
        stream = await connect(port)
        assert b"200" in await fetch(stream, tolerate_truncation=True)


async def test_gnutls_alpn_and_resumption(folder: Path) -> None:
    with gnutls_serv(folder, "NORMAL", "--echo", "--alpn", "echo", "--alpn-fatal") as port:
        store = TicketStore()
        first = await connect(port, alpn=("other", "echo"), resumption=store)
        assert first.info.alpn == "echo"
        await first.write(b"x\n")
        assert await first.read() == b"x\n"
        await first.close()
        second = await connect(port, alpn=("echo",), resumption=store)
        assert second.info.resumed
        await second.close()
        with pytest.raises(e.NoApplicationProtocol):
            await connect(port, alpn=("nothing",))


async def test_gnutls_small_records_both_ways(folder: Path) -> None:
    """RFC 8449: it tells us how long our records may be."""
    with gnutls_serv(folder, "NORMAL", "--echo", "--recordsize", "512") as port:
        stream = await connect(port)
        assert stream._client._core.records.max_fragment <= 512
        text = b"y" * 5000 + b"\n"
        await stream.write(text)
        received = b""
        async with asyncio.timeout(10):
            while len(received) < len(text):
                received += await stream.read()
        assert received == text
        await stream.close()


# -- NSS -----------------------------------------------------------------------------------------------


@contextmanager
def selfserv(database: Path, *arguments: str) -> Iterator[int]:
    selfserv_program = program("selfserv", "libnss3-tools")
    port = free_port()
    command = [selfserv_program, "-d", f"sql:{database}", "-p", str(port), *arguments]
    with running(command, port):
        yield port


@pytest.fixture(scope="module")
def nss_databases(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One for each kind of key: NSS tells certificates apart by their subject."""
    program("selfserv", "libnss3-tools")
    made = {}
    for key in ("p256", "rsa2048"):
        made[key] = database = tmp_path_factory.mktemp("nss")
        issued = server_certificate(key)
        blob = pkcs12.serialize_key_and_certificates(
            key.encode(),
            issued.key,  # type: ignore[arg-type]
            issued.certificate,
            [*issued.intermediates],
            BestAvailableEncryption(b"x"),
        )
        (database / "key.p12").write_bytes(blob)
        for command in (
            ("certutil", "-N", "-d", f"sql:{database}", "--empty-password"),
            ("pk12util", "-i", f"{database}/key.p12", "-d", f"sql:{database}", "-W", "x", "-K", ""),
        ):
            subprocess.run(command, check=True, capture_output=True)
    return made


@pytest.mark.parametrize("version", ["tls1.2", "tls1.3"])
@pytest.mark.parametrize(
    ("name", "group"),
    [("x25519", NamedGroup.X25519), ("P256", NamedGroup.SECP256R1), ("P384", NamedGroup.SECP384R1)],
)
@pytest.mark.parametrize("key", ["p256", "rsa2048"])
async def test_nss(
    nss_databases: dict[str, Path], version: str, name: str, group: NamedGroup, key: str
) -> None:
    option = "-e" if key == "p256" else "-n"
    if version == "tls1.2" and key == "p256":
        if name == "P384":
            pytest.skip("NSS wants the certificate's curve among the groups, and then prefers it")
        name += ",P256"
    arguments = (option, key, "-V", f"{version}:{version}", "-I", name, "-G")
    with selfserv(nss_databases[key], *arguments) as port:
        stream = await connect(port)
        assert stream.info.version == (V13 if version == "tls1.3" else V12)
        assert stream.info.group == group
        answer = await fetch(stream, tolerate_truncation=True)
        assert answer.startswith(b"HTTP/1.0 200")


async def test_nss_resumption_and_alpn(nss_databases: dict[str, Path]) -> None:
    with selfserv(nss_databases["p256"], "-e", "p256", "-V", "tls1.3:tls1.3", "-u", "-Q") as port:
        store = TicketStore()
        first = await connect(port, resumption=store, alpn=("http/1.1",))
        assert first.info.alpn == "http/1.1"
        await fetch(first, tolerate_truncation=True)
        second = await connect(port, resumption=store, alpn=("http/1.1",))
        assert second.info.resumed
        await fetch(second, tolerate_truncation=True)


# -- nginx ---------------------------------------------------------------------------------------------


@contextmanager
def nginx(folder: Path, work: Path, directives: str, *, key: str = "p256") -> Iterator[int]:
    command = program("nginx", "nginx-light")
    port = free_port()
    (work / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {work}/pid; error_log {work}/error.log;
        events {{}}
        http {{
          access_log off; client_body_temp_path {work}; proxy_temp_path {work}; fastcgi_temp_path {work};
          uwsgi_temp_path {work}; scgi_temp_path {work};
          server {{
            listen 127.0.0.1:{port} ssl; root {folder};
            ssl_certificate {folder}/{key}.crt; ssl_certificate_key {folder}/{key}.key;
            {directives}
          }}
        }}"""
    )
    with running([command, "-c", f"{work}/nginx.conf", "-p", str(work)], port):
        yield port


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize("key", ["p256", "rsa2048"])
@pytest.mark.parametrize("curve", ["X25519", "secp384r1"])
async def test_nginx(folder: Path, tmp_path: Path, version: str, key: str, curve: str) -> None:
    directives = f"ssl_protocols {version}; ssl_ecdh_curve {curve};"
    with nginx(folder, tmp_path, directives, key=key) as port:
        stream = await connect(port, alpn=("http/1.1",))
        assert stream.info.version.label == version
        assert stream.info.alpn == "http/1.1"
        body = (await fetch(stream, "/big.bin")).partition(b"\r\n\r\n")[2]
        assert body == (folder / "big.bin").read_bytes()


async def test_nginx_keeps_a_connection_and_resumes(folder: Path, tmp_path: Path) -> None:
    with nginx(folder, tmp_path, "ssl_protocols TLSv1.3; ssl_buffer_size 1k;") as port:
        store = TicketStore()
        stream = await connect(port, resumption=store)
        for _ in range(3):
            await stream.write(f"HEAD /big.bin HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            async with asyncio.timeout(5):
                assert (await stream.read()).startswith(b"HTTP/1.1 200")
        await fetch(stream, "/big.bin")
        again = await connect(port, resumption=store)
        assert again.info.resumed
        await again.close()


# -- Go ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def go_server(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = program("go", "golang-go, 1.24 or newer")
    binary = tmp_path_factory.mktemp("go") / "go_server"
    source = Path(__file__).parent / "go_server" / "main.go"
    environment = {
        **os.environ,
        "GOPROXY": "off",
        "GOFLAGS": "-p=1",
        "CGO_ENABLED": "0",
        "GO111MODULE": "off",
    }
    built = subprocess.run(
        [go, "build", "-o", str(binary), str(source)], env=environment, capture_output=True, check=False
    )
    if built.returncode != 0:
        pytest.skip(f"go cannot build the server: {built.stderr.decode()[:200]}")
    return binary


@pytest.mark.parametrize(
    ("version", "group"),
    [
        (V13, NamedGroup.X25519MLKEM768),
        (V13, NamedGroup.X25519),
        (V13, NamedGroup.SECP256R1),
        (V13, NamedGroup.SECP384R1),
        (V12, NamedGroup.X25519),
        (V12, NamedGroup.SECP384R1),
    ],
)
@pytest.mark.parametrize("key", ["p256", "rsa2048", "ed25519"])
async def test_go(
    folder: Path, go_server: Path, version: ProtocolVersion, group: NamedGroup, key: str
) -> None:
    with go_echo(folder, go_server, version, group, key) as port:
        stream = await connect(port, alpn=("echo",))
        assert (stream.info.version, stream.info.group, stream.info.alpn) == (version, group, "echo")
        text = bytes(range(256)) * 1000
        writing = asyncio.create_task(stream.write(text))
        received = b""
        async with asyncio.timeout(10):
            while len(received) < len(text):
                received += await stream.read()
            await writing
            assert received == text
            await stream.write_eof()
            assert await stream.read() == b"", "Go answers our close_notify with its own"
        await stream.close()


@contextmanager
def go_echo(
    folder: Path, binary: Path, version: ProtocolVersion, group: NamedGroup, key: str
) -> Iterator[int]:
    number = "1.2" if version == V12 else "1.3"
    command = [str(binary), f"{key}.crt", f"{key}.key", number, str(int(group))]
    environment = {**os.environ, "GODEBUG": "tlsmlkem=1"}  # without a go.mod, Go keeps old defaults
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, env=environment)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def test_all_errors_are_ours(folder: Path) -> None:
    """A server that speaks something else."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read(10)
        writer.close()

    server = await asyncio.start_server(speak, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(TlsError, match="does not speak TLS"):
        await connect(port)
    server.close()
