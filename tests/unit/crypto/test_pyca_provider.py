"""The provider on ``cryptography`` keeps what the interface promises."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from smolmix_web.crypto import Provider, pyca
from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.errors import CryptoError
from vectors_runner import provider_contract


@pytest.mark.parametrize("check", provider_contract.CHECKS, ids=lambda check: check.__name__)
def test_contract(check: Callable[[Provider], None]) -> None:
    check(PycaProvider())


@pytest.mark.parametrize("what", provider_contract.wrong_calls(PycaProvider()))
def test_wrong_input(what: str) -> None:
    with pytest.raises(CryptoError):
        provider_contract.wrong_calls(PycaProvider())[what]()


class _Supplement(PycaProvider):
    def blake3(self, data: bytes) -> bytes:
        return b"supplement's " + data


def test_a_supplement_fills_the_gaps_of_a_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pyodide's build has no ML-KEM, and there is no blake3 package for it."""
    monkeypatch.setattr(pyca, "_HAS_MLKEM", False)
    bare = PycaProvider()
    assert bare.mlkem768() is None
    with pytest.raises(CryptoError):
        bare.mlkem768_encapsulate(bytes(1184))
    monkeypatch.undo()

    supplement = _Supplement()
    key = supplement.mlkem768(bytes(64))
    assert key is not None
    provider = PycaProvider(supplement=supplement)
    assert provider.blake3(b"data") == b"supplement's data"
    monkeypatch.setattr(supplement, "mlkem768", lambda seed=None: key)
    monkeypatch.setattr(supplement, "mlkem768_encapsulate", lambda public: (public, b"both"))
    monkeypatch.setattr(pyca, "_HAS_MLKEM", False)
    assert provider.mlkem768() is key
    assert provider.mlkem768_encapsulate(b"public") == (b"public", b"both")


def test_the_name_is_shown_and_nothing_else() -> None:
    provider = PycaProvider()
    assert provider.name.startswith("cryptography ")
    assert repr(provider) == f"<PycaProvider {provider.name}>"
