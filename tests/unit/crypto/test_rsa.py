"""RSA verification on Python's integers, which the npm provider uses: Wycheproof, and what it must refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa as pyca_rsa

from smolmix_web.crypto import rsa
from smolmix_web.crypto.provider import HashName
from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.errors import CryptoError
from vectors_runner import wycheproof

FOLDER = Path(__file__).parents[2] / "vectors" / "wycheproof"


class PurePython(PycaProvider):
    def rsa_pss_verify(self, *arguments: Any) -> None:
        rsa.verify_pss(*arguments)

    def rsa_pkcs1_verify(self, *arguments: Any) -> None:
        rsa.verify_pkcs1(*arguments)


@pytest.mark.parametrize("file", [file for file in wycheproof.FILES if file.startswith("rsa")])
def test_wycheproof(file: str) -> None:
    report = wycheproof.run_file(FOLDER / file, PurePython())
    assert report.failures == []
    assert (report.run, report.skipped.total()) == wycheproof.EXPECTED_COUNTS[file]


HASHES: dict[HashName, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}


@pytest.mark.parametrize("bits", [1024, 1025, 1031])
@pytest.mark.parametrize("digest", ["sha256", "sha384"])
def test_odd_modulus_lengths(bits: int, digest: HashName) -> None:
    """With 8n + 1 bits a PSS encoding is one byte shorter than the signature (RFC 8017 section 8.1.2)."""
    key = pyca_rsa.generate_private_key(65537, bits)
    numbers = key.public_key().public_numbers()
    algorithm = HASHES[digest]
    pss = padding.PSS(padding.MGF1(algorithm), algorithm.digest_size)
    schemes: list[tuple[padding.AsymmetricPadding, Callable[..., None]]] = [
        (pss, rsa.verify_pss),
        (padding.PKCS1v15(), rsa.verify_pkcs1),
    ]
    for scheme, verify in schemes:
        signature = key.sign(b"message", scheme, algorithm)
        verify(digest, numbers.n, numbers.e, signature, b"message")
        for wrong in (
            (digest, numbers.n, numbers.e, signature, b"massage"),
            (digest, numbers.n, numbers.e, signature + b"\0", b"message"),
            (digest, numbers.n, numbers.e, b"\0" + signature, b"message"),
            (digest, numbers.n, numbers.e, signature[:-1], b"message"),
            (digest, numbers.n, 3, signature, b"message"),
            ("sha512", numbers.n, numbers.e, signature, b"message"),
        ):
            with pytest.raises(CryptoError):
                verify(*wrong)


@pytest.mark.parametrize(
    ("modulus", "exponent"),
    [
        (1 << 1022 | 1, 65537),  # too short
        (1 << 16384 | 1, 65537),  # too long
        (1 << 2047, 65537),  # even
        (1 << 2047 | 1, 1),
        (1 << 2047 | 1, 65536),
        (1 << 2047 | 1, (1 << 2000) + 1),  # would take seconds
        (0, 0),
        (-1, 3),
    ],
    ids=["short", "long", "even", "exponent 1", "exponent even", "exponent long", "zero", "negative"],
)
def test_unacceptable_keys(modulus: int, exponent: int) -> None:
    for verify in (rsa.verify_pss, rsa.verify_pkcs1):
        with pytest.raises(CryptoError):
            verify("sha256", modulus, exponent, bytes(256), b"message")
