"""The ``cryptography`` build of a full Pyodide distribution (the npm package holds Pyodide's core only).

Each wheel is checked against the lock file of the pinned npm package. A local folder may also be another
build of the same ABI: then its own lock file vouches for it, because whoever gives the folder decides.
"""

from __future__ import annotations

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smolmix_web.assets.sources import AssetError, Sources

# Only asked when no distribution is given; the build goes on without it.
PUBLIC_DISTRIBUTION = "https://cdn.jsdelivr.net/pyodide/v{version}/full/"
PUBLIC_TIMEOUT = 5.0
GIVEN_TIMEOUT = 60.0


def find_cryptography(
    sources: Sources, distribution: str, cache: Path, log: Callable[[str], None]
) -> list[Path]:
    """Wheels of ``cryptography`` and what it depends on, in any order; empty if there are none to be had.

    :param distribution: a folder, a URL, ``"auto"`` (the cache, else the public distribution if it can be
        reached) or ``"none"``.
    :raises AssetError: a distribution was named and does not hold the wheels, or a hash is wrong.
    """
    if distribution == "none":
        return []
    lock = sources.pyodide_lock()
    wanted = dependency_closure(lock, "cryptography")
    if distribution != "auto" and "://" not in distribution:
        return _from_folder(Path(distribution), lock, wanted, log)
    cached = [cache / lock["packages"][name]["file_name"] for name in wanted]
    if all(path.is_file() for path in cached):
        _check(cached, lock, wanted)
        return cached
    url = distribution
    if distribution == "auto":
        url = PUBLIC_DISTRIBUTION.format(version=sources.pyodide_version())
    try:
        timeout = PUBLIC_TIMEOUT if distribution == "auto" else GIVEN_TIMEOUT
        return _download(url, cached, cache, timeout, lock, wanted)
    except OSError as error:
        if distribution != "auto":
            raise AssetError(f"{url}: {error}") from error
        log(
            "no full Pyodide distribution at hand (--pyodide-dist FOLDER or URL gives one): "
            "the worker will use the npm provider"
        )
        return []


def dependency_closure(lock: dict[str, Any], name: str) -> list[str]:
    """``name`` and everything it depends on according to a lock file."""
    found: list[str] = []
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in found:
            found.append(current)
            waiting += lock["packages"][current]["depends"]
    return sorted(found)


def _from_folder(
    folder: Path, lock: dict[str, Any], wanted: list[str], log: Callable[[str], None]
) -> list[Path]:
    paths = [folder / lock["packages"][name]["file_name"] for name in wanted]
    try:
        _check(paths, lock, wanted)
        return paths
    except (AssetError, OSError) as error:
        own = folder / "pyodide-lock.json"
        if not own.is_file():
            raise AssetError(f"{folder} is no Pyodide distribution of this version: {error}") from error
    own_lock = json.loads(own.read_text())
    for key in ("abi_version", "arch", "platform"):
        if own_lock["info"].get(key) != lock["info"].get(key):
            raise AssetError(
                f"{folder}: {key} is {own_lock['info'].get(key)}, {lock['info'].get(key)} is wanted"
            )
    wanted = dependency_closure(own_lock, "cryptography")
    paths = [folder / own_lock["packages"][name]["file_name"] for name in wanted]
    try:
        _check(paths, own_lock, wanted)
    except OSError as error:
        raise AssetError(f"{folder}: {error}") from error
    log(f"{folder} is another build of the same ABI; its own lock file was used")
    return paths


def _check(paths: list[Path], lock: dict[str, Any], names: list[str]) -> None:
    for path, name in zip(paths, names, strict=True):
        _check_hash(path.name, path.read_bytes(), lock["packages"][name]["sha256"])


def _check_hash(name: str, data: bytes, expected: str) -> None:
    if hashlib.sha256(data).hexdigest() != expected:
        raise AssetError(f"{name} does not have the SHA-256 of the lock file")


def _download(
    url: str, paths: list[Path], cache: Path, timeout: float, lock: dict[str, Any], names: list[str]
) -> list[Path]:
    cache.mkdir(parents=True, exist_ok=True)
    for path, name in zip(paths, names, strict=True):
        with urllib.request.urlopen(f"{url.rstrip('/')}/{path.name}", timeout=timeout) as answer:
            data = answer.read()
        _check_hash(path.name, data, lock["packages"][name]["sha256"])
        path.write_bytes(data)
    return paths
