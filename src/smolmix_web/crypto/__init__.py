"""Cryptographic primitives behind one narrow interface (:mod:`smolmix_web.crypto.provider`)."""

from __future__ import annotations

from smolmix_web.crypto.provider import Aead, EcdhKey, MlKemKey, Provider, X25519Key

__all__ = [
    "Aead",
    "EcdhKey",
    "MlKemKey",
    "Provider",
    "X25519Key",
    "install",
    "is_installed",
    "provider",
]

_installed: Provider | None = None


def install(chosen: Provider) -> None:
    """Make ``chosen`` the provider of this process. The worker calls it at boot; tests may."""
    global _installed
    _installed = chosen


def is_installed() -> bool:
    """Whether a provider has been chosen, or used."""
    return _installed is not None


def provider() -> Provider:
    """The active provider; ``cryptography`` unless another one was installed."""
    if _installed is None:
        from smolmix_web.crypto.pyca import PycaProvider

        install(PycaProvider())
        return provider()
    return _installed
