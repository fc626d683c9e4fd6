"""Key schedules against published values, and against the ``cryptography`` package's own HKDF."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from smolmix_web.tls.registry import CipherSuite
from smolmix_web.tls.schedule import (
    SUITES_12,
    SUITES_13,
    Digest,
    KeySchedule,
    hkdf_expand,
    hkdf_expand_label,
    hkdf_extract,
    key_block,
    next_traffic_secret,
    prf,
    traffic_key_and_iv,
)

unhex = bytes.fromhex


def test_rfc5869_test_case_1() -> None:
    key = hkdf_extract("sha256", unhex("000102030405060708090a0b0c"), b"\x0b" * 22)
    assert key == unhex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5")
    expanded = hkdf_expand("sha256", key, unhex("f0f1f2f3f4f5f6f7f8f9"), 42)
    assert expanded == unhex(
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )


@pytest.mark.parametrize(("digest", "other"), [("sha256", hashes.SHA256()), ("sha384", hashes.SHA384())])
@pytest.mark.parametrize("length", [1, 12, 32, 48, 49, 200])
def test_hkdf_like_another_implementation(digest: Digest, other: hashes.HashAlgorithm, length: int) -> None:
    expand = HKDFExpand(other, length, b"info").derive(b"k" * 48)  # type: ignore[arg-type]
    assert hkdf_expand(digest, b"k" * 48, b"info", length) == expand
    whole = HKDF(other, length, b"salt", b"info").derive(b"secret")  # type: ignore[arg-type]
    assert hkdf_expand(digest, hkdf_extract(digest, b"salt", b"secret"), b"info", length) == whole


def test_rfc8448_secrets() -> None:
    """Section 3 of RFC 8448: early and handshake secrets, seen through what is derived from them."""
    schedule = KeySchedule("sha256")
    schedule.extract(None)
    empty = unhex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    assert schedule.derive(b"derived", empty) == unhex(
        "6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba"
    )
    schedule.extract(unhex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d"))
    assert schedule.derive(b"derived", empty) == unhex(
        "43de77e0c77713859a944db9db2590b53190a65b3ee2e4f12dd7a0bb7ce254b4"
    )
    assert "secret" not in repr(schedule)


def test_rfc9001_labels() -> None:
    """HKDF-Expand-Label with the initial secrets of QUIC, RFC 9001 appendix A.1."""
    secret = hkdf_extract(
        "sha256", unhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), unhex("8394c8f03e515708")
    )
    client = hkdf_expand_label("sha256", secret, b"client in", b"", 32)
    assert client == unhex("c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea")
    assert hkdf_expand_label("sha256", client, b"quic key", b"", 16) == unhex(
        "1f369613dd76d5467730efcbe3b1a22d"
    )


def test_prf_of_tls12() -> None:
    """The P_SHA256 and P_SHA384 test vectors published on the TLS working group's list."""
    assert prf(
        "sha256",
        unhex("9bbe436ba940f017b17652849a71db35"),
        b"test label",
        unhex("a0ba9f936cda311827a6f796ffd5198c"),
        100,
    ) == unhex(
        "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791e90d35c9c9a46b4e14baf9af"
        "0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
        "87347b66"
    )
    assert prf(
        "sha384",
        unhex("b80b733d6ceefcdc71566ea48e5567df"),
        b"test label",
        unhex("cd665cf6a8447dd6ff8b27555edb7465"),
        148,
    ) == unhex(
        "7b0c18e9ced410ed1804f2cfa34a336a1c14dffb4900bb5fd7942107e81c83cde9ca0faa60be9fe34f82b1233c9146a0"
        "e534cb400fed2700884f9dc236f80edd8bfa961144c9e8d792eca722a7b32fc3d416d473ebc2c5fd4abfdad05d918425"
        "9b5bf8cd4d90fa0d31e2dec479e4f1a26066f2eea9a69236a3e52655c9e9aee691c8f3a26854308d5eaa3be85e0990703"
        "d73e56f"
    )


@pytest.mark.parametrize("suite", list(SUITES_13))
def test_traffic_keys_have_the_suite_s_lengths(suite: CipherSuite) -> None:
    parameters = SUITES_13[suite]
    secret = bytes(48 if parameters.digest == "sha384" else 32)
    key, iv = traffic_key_and_iv(parameters, secret)
    assert (len(key), len(iv)) == (parameters.key_length, 12)
    following = next_traffic_secret(parameters.digest, secret)
    assert len(following) == len(secret)
    assert following != secret


@pytest.mark.parametrize("suite", list(SUITES_12))
def test_key_block_has_the_suite_s_lengths(suite: CipherSuite) -> None:
    parameters = SUITES_12[suite]
    block = key_block(parameters, bytes(48), bytes(32), bytes(32))
    assert len(block.client_key) == len(block.server_key) == parameters.key_length
    assert len(block.client_iv) == len(block.server_iv) == 12 - parameters.explicit_nonce
    assert len({block.client_key, block.server_key, block.client_iv, block.server_iv}) == 4
    assert block.client_key.hex() not in repr(block)
