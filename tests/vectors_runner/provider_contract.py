"""What the Provider interface promises beyond published vectors, as plain functions for any provider.

Each function of :data:`CHECKS` takes a provider and raises AssertionError if a promise is broken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from smolmix_web.crypto import Aead, Provider, lioness
from smolmix_web.crypto.provider import AeadName, CurveName
from smolmix_web.errors import CryptoError

SECRET = bytes(range(32))
KEY_LENGTHS: dict[AeadName, int] = {
    "aes-128-gcm": 16,
    "aes-256-gcm": 32,
    "chacha20-poly1305": 32,
    "aes-256-gcm-siv": 32,
}
SCALAR_LENGTHS: dict[CurveName, int] = {"p256": 32, "p384": 48}


def wrong_calls(provider: Provider) -> dict[str, Callable[[], Any]]:
    """Calls which must raise CryptoError, by what is wrong with them."""
    return {
        "short x25519 secret": lambda: provider.x25519(SECRET[:31], provider.x25519_public(SECRET)),
        "short x25519 secret, loaded": lambda: provider.x25519_key(SECRET[:31]),
        "long x25519 secret, public": lambda: provider.x25519_public(bytes(33)),
        "short x25519 key": lambda: provider.x25519(SECRET, bytes(31)),
        "x25519 of the zero point": lambda: provider.x25519(SECRET, bytes(32)),
        "x25519 of a point of order 4": lambda: provider.x25519_key(SECRET).exchange(b"\1" + bytes(31)),
        "short ed25519 seed": lambda: provider.ed25519_sign(SECRET[:31], b""),
        "short ed25519 seed, public": lambda: provider.ed25519_public(SECRET[:31]),
        "short ed25519 key": lambda: provider.ed25519_verify(bytes(31), bytes(64), b""),
        "short ed25519 signature": lambda: provider.ed25519_verify(
            provider.ed25519_public(SECRET), bytes(63), b""
        ),
        "aes key of 15 bytes": lambda: provider.aes_ctr(bytes(15), bytes(16), b""),
        "aes counter of 12 bytes": lambda: provider.aes_ctr(bytes(16), bytes(12), b""),
        "chacha20 key of 31 bytes": lambda: provider.chacha20(bytes(31), b"data"),
        "lioness key of 191 bytes": lambda: provider.lioness_encrypt([bytes(192), bytes(191)], bytes(100)),
        "lioness block of 32 bytes": lambda: provider.lioness_encrypt([bytes(192)], bytes(32)),
        "aead key of 31 bytes": lambda: provider.aead("aes-256-gcm-siv", bytes(31)),
        "aes-256 key for aes-128": lambda: provider.aead("aes-128-gcm", bytes(32)),
        "too much of hkdf": lambda: provider.hkdf_sha256(b"", SECRET, b"", 255 * 32 + 1),
        "argon2 salt of 7 bytes": lambda: _argon2id(provider, salt=bytes(7)),
        "argon2 with too little memory": lambda: _argon2id(provider, memory_kib=31, lanes=4),
        "argon2 with more memory than a device has": lambda: _argon2id(provider, memory_kib=1 << 31),
        "argon2 without iterations": lambda: _argon2id(provider, iterations=0),
        "argon2 result of 3 bytes": lambda: _argon2id(provider, length=3),
        "ecdh scalar zero": lambda: provider.ecdh("p256", bytes(32)),
        "ecdh scalar too large": lambda: provider.ecdh("p256", b"\xff" * 32),
        "ecdh scalar of the other curve": lambda: provider.ecdh("p384", SECRET),
        "ecdh point not on the curve": lambda: provider.ecdh("p256").exchange(b"\x04" + SECRET * 2),
        "ecdh point at infinity": lambda: provider.ecdh("p256").exchange(bytes(65)),
        "ecdh with a compressed point": lambda: provider.ecdh("p256").exchange(b"\x02" + SECRET),
        "ecdh with the other curve": lambda: provider.ecdh("p256").exchange(provider.ecdh("p384").public),
        "ecdsa point not on the curve": lambda: provider.ecdsa_verify(
            "p256", "sha256", b"\x04" + bytes(64), b"0", b""
        ),
        "rsa modulus zero": lambda: provider.rsa_pss_verify("sha256", 0, 3, b"", b""),
        "rsa modulus even": lambda: provider.rsa_pkcs1_verify("sha256", 1 << 2047, 3, bytes(256), b""),
        "rsa exponent even": lambda: provider.rsa_pkcs1_verify("sha256", 1 << 2047 | 1, 2, bytes(256), b""),
        "rsa exponent one": lambda: provider.rsa_pkcs1_verify("sha256", 1 << 2047 | 1, 1, bytes(256), b""),
        "mlkem seed of 63 bytes": lambda: provider.mlkem768(bytes(63)),
        "mlkem public of 1183 bytes": lambda: provider.mlkem768_encapsulate(bytes(1183)),
        "mlkem public out of range": lambda: provider.mlkem768_encapsulate(b"\xff" * 1184),
    }


def refuses(operation: Callable[[], Any], what: str) -> None:
    """CryptoError, whose text and causes tell nothing about the arguments."""
    try:
        operation()
    except CryptoError as error:
        if error.__cause__ is not None or not (error.__suppress_context__ or error.__context__ is None):
            raise AssertionError(f"{what}: a foreign error shows through") from None
        if SECRET.hex() in str(error) or repr(SECRET)[2:-1] in str(error):
            raise AssertionError(f"{what}: the text shows a secret") from None
        return
    raise AssertionError(f"{what}: accepted")


def wrong_input_is_refused(provider: Provider) -> None:
    for what, operation in wrong_calls(provider).items():
        refuses(operation, what)


def aeads_round_trip_and_notice_changes(provider: Provider) -> None:
    for name, key_length in KEY_LENGTHS.items():
        aead = provider.aead(name, bytes(key_length))
        # 100,000 is more than any first guess of a buffer size.
        for length in (0, 1, 16, 2422, 100_000):
            _round_trip(aead, bytes(index % 251 for index in range(length)))
        assert aead.seal(bytes(12), b"text") == aead.seal(bytes(12), b"text", b""), name


def _round_trip(aead: Aead, plaintext: bytes) -> None:
    nonce = bytes(12)
    sealed = aead.seal(nonce, plaintext, b"data")
    changed = bytes((sealed[0] ^ 1,)) + sealed[1:]
    assert len(sealed) == len(plaintext) + 16
    assert aead.open(nonce, sealed, b"data") == plaintext
    refuses(lambda: aead.open(nonce, changed, b"data"), "changed ciphertext")
    refuses(lambda: aead.open(nonce, sealed, b"date"), "changed associated data")
    refuses(lambda: aead.open(b"\1" + nonce[1:], sealed, b"data"), "other nonce")
    refuses(lambda: aead.open(nonce, sealed[:15], b"data"), "truncated")
    refuses(lambda: aead.open(nonce[:11], sealed, b"data"), "short nonce")
    refuses(lambda: aead.seal(nonce[:11], plaintext, b"data"), "short nonce")


def two_sides_agree(provider: Provider) -> None:
    other = bytes(reversed(SECRET))
    key = provider.x25519_key(SECRET)
    assert key.public == provider.x25519_public(SECRET)
    shared = key.exchange(provider.x25519_public(other))
    assert (
        shared == provider.x25519(other, key.public) == provider.x25519(SECRET, provider.x25519_public(other))
    )
    for curve, length in SCALAR_LENGTHS.items():
        one, two = provider.ecdh(curve), provider.ecdh(curve)
        assert len(one.public) == 1 + 2 * length
        assert one.public != two.public
        assert one.exchange(two.public) == two.exchange(one.public)
        assert len(one.exchange(two.public)) == length
        given = (7).to_bytes(length, "big")
        assert provider.ecdh(curve, given).public == provider.ecdh(curve, given).public


def mlkem_agrees(provider: Provider) -> None:
    key, other = provider.mlkem768(), provider.mlkem768()
    if key is None or other is None:
        return
    assert len(key.public) == 1184
    assert key.public != other.public
    shared, ciphertext = provider.mlkem768_encapsulate(key.public)
    assert (len(shared), len(ciphertext)) == (32, 1088)
    assert key.decapsulate(ciphertext) == shared
    assert provider.mlkem768_encapsulate(key.public)[0] != shared
    # FIPS 203 section 6.3: a changed ciphertext gives another secret, not an error.
    assert key.decapsulate(bytes((ciphertext[0] ^ 1,)) + ciphertext[1:]) != shared
    refuses(lambda: key.decapsulate(ciphertext[:-1]), "short ciphertext")


def ed25519_signs_what_it_verifies(provider: Provider) -> None:
    public = provider.ed25519_public(SECRET)
    signature = provider.ed25519_sign(SECRET, b"message")
    provider.ed25519_verify(public, signature, b"message")
    refuses(lambda: provider.ed25519_verify(public, signature, b"massage"), "another message")


def aes_ctr_carries_through_the_whole_counter(provider: Provider) -> None:
    """128 bits, big-endian: the block after ff..ff is 00..00. FIPS 197 appendix C gives the first block."""
    key = bytes(16)
    around = provider.aes_ctr(key, b"\xff" * 16, bytes(32))
    assert around[16:] == provider.aes_ctr(key, bytes(16), bytes(16))
    for length in (16, 32):
        block = provider.aes_ctr(
            bytes(range(length)), bytes.fromhex("00112233445566778899aabbccddeeff"), bytes(16)
        )
        assert (
            block.hex()
            == {16: "69c4e0d86a7b0430d8cdb78070b4c55a", 32: "8ea2b7ca516745bfeafc49904b496089"}[length]
        )


def chacha20_is_that_of_rfc_8439(provider: Provider) -> None:
    """Appendix A.1, test vectors 1 and 2: zero key, blocks 0 and 1."""
    stream = provider.chacha20(bytes(32), bytes(128))
    assert stream.hex() == (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
        "9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed"
        "29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f"
    )
    assert provider.chacha20(bytes(32), b"") == b""


def lioness_layers_come_off_one_by_one(provider: Provider) -> None:
    """Payloads of Nym (of an ack, the regular and the largest one), and the smallest block."""
    keys = [hashlib.shake_128(bytes((layer,))).digest(192) for layer in range(5)]
    for length in (33, 38, 2065, 32785):
        block = hashlib.shake_128(b"block").digest(length)
        for count in (1, 4, 5):
            sealed = provider.lioness_encrypt(keys[:count], block)
            assert len(sealed) == length
            for key in reversed(keys[:count]):
                sealed = lioness.decrypt(provider.chacha20, key, sealed)
            assert sealed == block
    assert provider.lioness_encrypt([], block) == block


def _argon2id(provider: Provider, **changed: Any) -> bytes:
    arguments: dict[str, Any] = {"memory_kib": 32, "iterations": 1, "lanes": 1, "length": 32}
    salt = changed.pop("salt", bytes(16))
    return provider.argon2id(SECRET, salt, **(arguments | changed))


def argon2id_is_that_of_rfc_9106(provider: Provider) -> None:
    """Section 5.3; and two values of the reference implementation's form (one lane, no secret), computed with
    OpenSSL 4.0, as an implementation may take another way for them."""
    tag = provider.argon2id(
        b"\1" * 32,
        b"\2" * 16,
        memory_kib=32,
        iterations=3,
        lanes=4,
        length=32,
        secret=b"\3" * 8,
        associated_data=b"\4" * 12,
    )
    assert tag.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"
    for length, expected in {
        32: "815e9ce8c5427e05532c6b51ba24d0aafc11ab7ed2a18187ecc28b997d2f185d",
        40: "a3d04ed30dcd5a3ff64183187916e9ee54dee940a29930090fbc0e430afde61287f41b1a743501b1",
    }.items():
        tag = provider.argon2id(
            b"correct horse", b"battery staple 1", memory_kib=1024, iterations=3, lanes=1, length=length
        )
        assert tag.hex() == expected, length


def blake3_of_any_length(provider: Provider) -> None:
    """Inputs 0, 1, 2, ... 250, 0, 1, ... as in the official test vectors of BLAKE3."""
    data = bytes(index % 251 for index in range(2049))
    for length, digest in {
        0: "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262",
        1: "2d3adedff11b61f14c886e35afa036736dcd87a74d27b5c1510225d0f592e213",
        1024: "42214739f095a406f3fc83deb889744ac00df831c10daa55189b5d121c855af7",
        2049: "5f4d72f40d7a5f82b15ca2b2e44b1de3c2ef86c426c95c1af0b6879522563030",
    }.items():
        assert provider.blake3(data[:length]).hex() == digest, length


def any_buffer_is_data(provider: Provider) -> None:
    view: Any = memoryview(bytearray(b"some data"))
    assert provider.blake3(view) == provider.blake3(b"some data")
    assert provider.chacha20(SECRET, view) == provider.chacha20(SECRET, b"some data")
    assert provider.aes_ctr(SECRET, bytes(16), view) == provider.aes_ctr(SECRET, bytes(16), b"some data")
    aead = provider.aead("aes-256-gcm", SECRET)
    assert aead.open(bytes(12), memoryview(aead.seal(bytes(12), view, view)), view) == b"some data"  # type: ignore[arg-type]


def results_are_bytes_of_their_own(provider: Provider) -> None:
    """A result must not change when the next call reuses a buffer."""
    first = provider.x25519_public(SECRET)
    assert type(first) is bytes
    copy = bytes(bytearray(first))
    provider.x25519_public(bytes(reversed(SECRET)))
    provider.chacha20(SECRET, bytes(1000))
    assert first == copy


def the_repr_shows_no_key(provider: Provider) -> None:
    for thing in (
        provider,
        provider.x25519_key(SECRET),
        provider.aead("aes-256-gcm", SECRET),
        provider.ecdh("p256", SECRET),
        provider.mlkem768(SECRET * 2),
    ):
        assert SECRET.hex() not in repr(thing)
        assert repr(SECRET)[2:-1] not in repr(thing)
    assert provider.name


CHECKS: tuple[Callable[[Provider], None], ...] = (
    wrong_input_is_refused,
    aeads_round_trip_and_notice_changes,
    two_sides_agree,
    mlkem_agrees,
    ed25519_signs_what_it_verifies,
    aes_ctr_carries_through_the_whole_counter,
    chacha20_is_that_of_rfc_8439,
    lioness_layers_come_off_one_by_one,
    argon2id_is_that_of_rfc_9106,
    blake3_of_any_length,
    any_buffer_is_data,
    results_are_bytes_of_their_own,
    the_repr_shows_no_key,
)
