"""X25519 without PyNaCl, as in Pyodide, does what it does with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from smolmix_web.crypto import curve25519
from smolmix_web.crypto.curve25519 import PycaX25519, SodiumX25519
from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.errors import CryptoError
from vectors_runner import provider_contract, wycheproof

FOLDER = Path(__file__).parents[2] / "vectors" / "wycheproof"


@pytest.fixture
def without_sodium(monkeypatch: pytest.MonkeyPatch) -> PycaProvider:
    monkeypatch.setattr(curve25519, "HAS_SODIUM", False)
    provider = PycaProvider()
    assert isinstance(provider.x25519_key(bytes(32)), PycaX25519)
    return provider


def test_this_environment_has_sodium() -> None:
    """A dependency of the package: the vectors of the other files run on it."""
    assert isinstance(PycaProvider().x25519_key(bytes(32)), SodiumX25519)


def test_vectors(without_sodium: PycaProvider) -> None:
    report = wycheproof.run_file(FOLDER / "x25519_test.json", without_sodium)
    assert report.failures == []
    assert report.run == wycheproof.EXPECTED_COUNTS["x25519_test.json"][0]


@pytest.mark.parametrize(
    "what", [what for what in provider_contract.wrong_calls(PycaProvider()) if "x25519" in what]
)
def test_wrong_input(without_sodium: PycaProvider, what: str) -> None:
    with pytest.raises(CryptoError):
        provider_contract.wrong_calls(without_sodium)[what]()


@pytest.mark.parametrize("implementation", [PycaX25519, SodiumX25519])
def test_a_key_does_not_show_its_secret(implementation: type[PycaX25519 | SodiumX25519]) -> None:
    secret = bytes(range(32))
    shown = repr(implementation(secret)) + str(implementation(secret))
    assert secret.hex() not in shown
    assert repr(secret) not in shown


def test_any_buffer_is_taken(without_sodium: PycaProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, public = bytes(range(32)), without_sodium.x25519_public(bytes(32))
    expected = without_sodium.x25519(secret, public)
    monkeypatch.undo()
    for kind in (bytes, bytearray, memoryview):
        assert PycaProvider().x25519(kind(secret), kind(public)) == expected
