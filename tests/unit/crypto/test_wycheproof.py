"""The provider on ``cryptography`` against Wycheproof; the npm provider's turn is in tests/worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from smolmix_web.crypto.pyca import PycaProvider
from vectors_runner import wycheproof

FOLDER = Path(__file__).parents[2] / "vectors" / "wycheproof"


@pytest.mark.parametrize("file", wycheproof.FILES)
def test_file(file: str) -> None:
    report = wycheproof.run_file(FOLDER / file, PycaProvider())
    assert report.failures == []
    assert (report.run, report.skipped.total()) == wycheproof.EXPECTED_COUNTS[file]


def test_every_file_in_the_folder_is_run() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.json")) == sorted(wycheproof.FILES)


class _Credulous(PycaProvider):
    """Accepts every signature and tag."""

    def ed25519_verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        return

    def ecdsa_verify(self, *arguments: Any) -> None:
        return

    def rsa_pss_verify(self, *arguments: Any) -> None:
        return


class _Deaf(PycaProvider):
    """Gives wrong results, and errors that are none of ours."""

    def x25519(self, secret: bytes, public: bytes) -> bytes:
        raise ValueError("not a CryptoError")

    def hkdf_sha256(self, salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
        return bytes(length)


@pytest.mark.parametrize(
    ("provider", "file"),
    [
        (_Credulous, "ed25519_test.json"),
        (_Credulous, "ecdsa_secp256r1_sha256_test.json"),
        (_Credulous, "rsa_pss_2048_sha256_mgf1_32_test.json"),
        (_Deaf, "x25519_test.json"),
        (_Deaf, "hkdf_sha256_test.json"),
    ],
)
def test_the_runner_notices_a_bad_provider(provider: type[PycaProvider], file: str) -> None:
    assert wycheproof.run_file(FOLDER / file, provider()).failures
