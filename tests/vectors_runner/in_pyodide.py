"""Everything of this folder, inside Pyodide, on one of the worker's providers; the answer is JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smolmix_web import crypto
from smolmix_web.crypto import Provider
from smolmix_web.platform.npm_crypto import NpmProvider, worker_provider
from vectors_runner import provider_contract, sphinx_vectors, wycheproof


def run(provider_name: str, module: Any, vectors: str) -> str:
    """``{provider, wycheproof: {file: ...}, failures: {check: error}, checks: number}``."""
    provider = worker_provider(provider_name, module)
    crypto.install(provider)
    folder = Path(vectors)
    checks: dict[str, Callable[[], object]] = {}
    for check in sphinx_vectors.CHECKS:
        checks[check.__name__] = lambda check=check: check(folder / "sphinx")
    for promise in provider_contract.CHECKS:
        checks[promise.__name__] = lambda promise=promise: promise(provider)
    if isinstance(provider, NpmProvider):
        for boundary in (memory_growth_leaves_the_scratch_usable, a_large_argument_enlarges_the_scratch):
            checks[boundary.__name__] = lambda boundary=boundary: boundary(provider)
    failures = {}
    for name, run_check in checks.items():
        try:
            run_check()
        except Exception as error:
            failures[name] = repr(error)
    reports = {
        report.file: {
            "run": report.run,
            "skipped": report.skipped.total(),
            "failures": report.failures,
        }
        for report in wycheproof.run_all(folder / "wycheproof")
    }
    return json.dumps(
        {"provider": provider.name, "checks": sorted(checks), "failures": failures, "wycheproof": reports}
    )


def memory_growth_leaves_the_scratch_usable(provider: Provider) -> None:
    """When WebAssembly memory grows, JavaScript's views into the old memory go empty."""
    expected = provider.x25519_public(bytes(32))
    hoard = []
    for _ in range(20):
        hoard.append(bytearray(16 << 20))
        assert provider.x25519_public(bytes(32)) == expected
    assert sum(map(len, hoard)) == 320 << 20


def a_large_argument_enlarges_the_scratch(provider: Provider) -> None:
    data = bytes(300_000)
    digest = provider.blake3(data)
    assert provider.chacha20(bytes(32), provider.chacha20(bytes(32), data)) == data
    assert provider.blake3(data) == digest
    assert provider.x25519_key(bytes(32)).public == provider.x25519_public(bytes(32))
