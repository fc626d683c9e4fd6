"""What the interface promises beyond the vectors: lengths, errors of one family, no secrets in texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from smolmix_web.crypto import Provider
from smolmix_web.crypto.provider import AeadName
from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.errors import CryptoError

SECRET = bytes(range(32))
PROVIDER: Provider = PycaProvider()

WRONG: dict[str, Callable[[], Any]] = {
    "short x25519 secret": lambda: PROVIDER.x25519(SECRET[:31], PROVIDER.x25519_public(SECRET)),
    "short x25519 key": lambda: PROVIDER.x25519(SECRET, bytes(31)),
    "x25519 of the zero point": lambda: PROVIDER.x25519(SECRET, bytes(32)),
    "x25519 of a point of order 8": lambda: PROVIDER.x25519_key(SECRET).exchange((1).to_bytes(32, "little")),
    "short ed25519 seed": lambda: PROVIDER.ed25519_sign(SECRET[:31], b""),
    "short ed25519 key": lambda: PROVIDER.ed25519_verify(bytes(31), bytes(64), b""),
    "short ed25519 signature": lambda: PROVIDER.ed25519_verify(
        PROVIDER.ed25519_public(SECRET), bytes(63), b""
    ),
    "aes key of 15 bytes": lambda: PROVIDER.aes_ctr(bytes(15), bytes(16), b""),
    "aes counter of 12 bytes": lambda: PROVIDER.aes_ctr(bytes(16), bytes(12), b""),
    "chacha20 key of 31 bytes": lambda: PROVIDER.chacha20(bytes(31), b"data"),
    "aead key of 31 bytes": lambda: PROVIDER.aead("aes-256-gcm-siv", bytes(31)),
    "aes-256 key for aes-128": lambda: PROVIDER.aead("aes-128-gcm", bytes(32)),
    "too much of hkdf": lambda: PROVIDER.hkdf_sha256(b"", SECRET, b"", 255 * 32 + 1),
    "ecdh scalar zero": lambda: PROVIDER.ecdh("p256", bytes(32)),
    "ecdh scalar too large": lambda: PROVIDER.ecdh("p256", b"\xff" * 32),
    "ecdh scalar of the other curve": lambda: PROVIDER.ecdh("p384", SECRET),
    "ecdh point not on the curve": lambda: PROVIDER.ecdh("p256").exchange(b"\x04" + SECRET * 2),
    "ecdh point at infinity": lambda: PROVIDER.ecdh("p256").exchange(bytes(65)),
    "ecdh with the other curve": lambda: PROVIDER.ecdh("p256").exchange(PROVIDER.ecdh("p384").public),
    "ecdsa point not on the curve": lambda: PROVIDER.ecdsa_verify(
        "p256", "sha256", b"\x04" + bytes(64), b"0", b""
    ),
    "rsa modulus zero": lambda: PROVIDER.rsa_pss_verify("sha256", 0, 3, b"", b""),
    "rsa exponent even": lambda: PROVIDER.rsa_pkcs1_verify("sha256", 1 << 2047 | 1, 2, bytes(256), b""),
    "mlkem seed of 63 bytes": lambda: PROVIDER.mlkem768(bytes(63)),
    "mlkem public of 1183 bytes": lambda: PROVIDER.mlkem768_encapsulate(bytes(1183)),
    "mlkem public out of range": lambda: PROVIDER.mlkem768_encapsulate(b"\xff" * 1184),
}


@pytest.mark.parametrize("operation", WRONG.values(), ids=list(WRONG))
def test_wrong_input_raises_crypto_error_and_tells_nothing(operation: Callable[[], Any]) -> None:
    with pytest.raises(CryptoError) as caught:
        operation()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert SECRET.hex() not in str(caught.value)
    assert repr(SECRET) not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "key_length"),
    [("aes-128-gcm", 16), ("aes-256-gcm", 32), ("chacha20-poly1305", 32), ("aes-256-gcm-siv", 32)],
)
@pytest.mark.parametrize("length", [0, 1, 16, 2422])
def test_aead_round_trip_and_every_tampering(name: AeadName, key_length: int, length: int) -> None:
    aead = PROVIDER.aead(name, bytes(key_length))
    nonce, plaintext = bytes(12), bytes(length)
    sealed = aead.seal(nonce, plaintext, b"data")
    assert len(sealed) == length + 16
    assert aead.open(nonce, sealed, b"data") == plaintext
    changed = bytes((sealed[0] ^ 1,)) + sealed[1:]
    for wrong in (
        lambda: aead.open(nonce, changed, b"data"),
        lambda: aead.open(nonce, sealed, b"date"),
        lambda: aead.open(b"\1" + nonce[1:], sealed, b"data"),
        lambda: aead.open(nonce, sealed[:15], b"data"),
        lambda: aead.open(nonce[:11], sealed, b"data"),
        lambda: aead.seal(nonce[:11], plaintext, b"data"),
    ):
        with pytest.raises(CryptoError):
            wrong()


def test_two_sides_agree() -> None:
    other = bytes(reversed(SECRET))
    assert PROVIDER.x25519(SECRET, PROVIDER.x25519_public(other)) == PROVIDER.x25519(
        other, PROVIDER.x25519_public(SECRET)
    )
    for curve, length in (("p256", 32), ("p384", 48)):
        one, two = PROVIDER.ecdh(curve), PROVIDER.ecdh(curve)  # type: ignore[arg-type]
        assert len(one.public) == 1 + 2 * length
        assert one.public != two.public
        assert one.exchange(two.public) == two.exchange(one.public)
        assert len(one.exchange(two.public)) == length
    key = PROVIDER.mlkem768()
    assert key is not None
    assert len(key.public) == 1184
    shared, ciphertext = PROVIDER.mlkem768_encapsulate(key.public)
    assert (len(shared), len(ciphertext)) == (32, 1088)
    assert key.decapsulate(ciphertext) == shared
    # FIPS 203 section 6.3: a changed ciphertext gives another secret, not an error.
    assert key.decapsulate(bytes((ciphertext[0] ^ 1,)) + ciphertext[1:]) != shared


def test_ed25519_signs_what_it_verifies() -> None:
    public = PROVIDER.ed25519_public(SECRET)
    signature = PROVIDER.ed25519_sign(SECRET, b"message")
    PROVIDER.ed25519_verify(public, signature, b"message")
    with pytest.raises(CryptoError):
        PROVIDER.ed25519_verify(public, signature, b"massage")


def test_aes_ctr_carries_through_the_whole_counter() -> None:
    """128-bit big-endian: the block after ff..ff is 00..00."""
    key = bytes(16)
    around = PROVIDER.aes_ctr(key, b"\xff" * 16, bytes(32))
    assert around[16:] == PROVIDER.aes_ctr(key, bytes(16), bytes(16))


def test_a_given_blake3_function_is_used() -> None:
    assert PycaProvider(blake3=lambda data: b"given" + data).blake3(b"!") == b"given!"
    assert PROVIDER.blake3(b"").hex().startswith("af1349b9f5f9a1a6")


def test_buffers_other_than_bytes_are_data_too() -> None:
    view = memoryview(bytearray(b"some data"))
    assert PROVIDER.blake3(view) == PROVIDER.blake3(b"some data")  # type: ignore[arg-type]
    assert PROVIDER.chacha20(SECRET, view) == PROVIDER.chacha20(SECRET, b"some data")  # type: ignore[arg-type]


def test_the_name_is_shown_and_nothing_else() -> None:
    assert PROVIDER.name.startswith("cryptography ")
    assert repr(PROVIDER) == f"<PycaProvider {PROVIDER.name}>"
