"""HMAC and HKDF: RFC 5869's own test cases, and the BLAKE3 variant against its definition."""

from __future__ import annotations

import blake3
import pytest

from smolmix_web.crypto import kdf

# RFC 5869, appendix A.1 to A.3: (ikm, salt, info, okm)
RFC_5869 = [
    (
        "0b" * 22,
        "000102030405060708090a0b0c",
        "f0f1f2f3f4f5f6f7f8f9",
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
    ),
    (
        bytes(range(0x50)).hex(),
        bytes(range(0x60, 0xB0)).hex(),
        bytes(range(0xB0, 0x100)).hex(),
        "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c"
        "59045a99cac7827271cb41c65e590e09da3275600c2f09b8367793a9aca3db71"
        "cc30c58179ec3e87c14c01d5c1f3434f1d87",
    ),
    (
        "0b" * 22,
        "",
        "",
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
    ),
]


@pytest.mark.parametrize(("ikm", "salt", "info", "okm"), RFC_5869)
def test_hkdf_sha256_of_rfc_5869(ikm: str, salt: str, info: str, okm: str) -> None:
    expected = bytes.fromhex(okm)
    arguments = (bytes.fromhex(salt), bytes.fromhex(ikm), bytes.fromhex(info), len(expected))
    assert kdf.hkdf("sha256", *arguments) == expected
    from smolmix_web import crypto

    assert crypto.provider().hkdf_sha256(*arguments) == expected


@pytest.mark.parametrize("key_length", [0, 1, 63, 64, 65, 200])
def test_hmac_blake3_is_the_generic_construction(key_length: int) -> None:
    key, data = bytes(range(key_length)), b"some data"

    def digest(data: bytes) -> bytes:
        return bytes(blake3.blake3(data).digest())

    block = (digest(key) if key_length > 64 else key).ljust(64, b"\0")
    inner = digest(bytes(byte ^ 0x36 for byte in block) + data)
    expected = digest(bytes(byte ^ 0x5C for byte in block) + inner)
    assert kdf.hmac_digest("blake3", key, data) == expected
    if key_length == 32:
        assert expected != bytes(blake3.blake3(data, key=key).digest())


def test_hkdf_of_all_hashes_agree_on_prefixes() -> None:
    for hash_name in kdf.DIGEST_SIZES:
        long = kdf.hkdf(hash_name, b"salt", b"ikm", b"info", 200)
        assert len(long) == 200
        assert kdf.hkdf(hash_name, b"salt", b"ikm", b"info", 7) == long[:7]
        assert kdf.hkdf(hash_name, b"salt", b"ikm", b"info", 0) == b""


@pytest.mark.parametrize("hash_name", kdf.DIGEST_SIZES)
def test_hkdf_refuses_more_than_255_digests(hash_name: kdf.KdfHash) -> None:
    limit = 255 * kdf.DIGEST_SIZES[hash_name]
    assert len(kdf.hkdf_expand(hash_name, bytes(32), b"", limit)) == limit
    with pytest.raises(ValueError, match="cannot give"):
        kdf.hkdf_expand(hash_name, bytes(32), b"", limit + 1)
