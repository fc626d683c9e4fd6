"""Where the parts of the assets come from: a checkout of the project with its npm packages installed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from smolmix_web.errors import SmolmixError
from smolmix_web.features import FEATURES, Feature, Part


class AssetError(SmolmixError):
    """The assets cannot be built or found; the message says what to do."""

    code = "ASSETS"


# Parts of the package that never run in a page.
LEFT_OUT = (
    *("adapters", "assets", "cli", "localnet", "native_api", "socks"),
    *("platform/native.py", "__main__.py"),
)

LEFT_OUT_WITHOUT: dict[Part, tuple[str, ...]] = {
    "fetch": (
        *("fetch/client.py", "fetch/connection.py", "fetch/body.py", "fetch/pool.py"),
        *("bridge/brotli.py", "platform/npm_brotli.py"),
    ),
    "socket": ("websocket/client.py", "websocket/handshake.py", "websocket/inbox.py", "websocket/request.py"),
    "web": ("tls", "fetch/cookies.py"),
}
"""Parts of the package by what they are for. (Settings and errors stay: they cross the page's boundary.)"""

WHEELS_WITHOUT: dict[Part, tuple[str, ...]] = {
    "fetch": (),
    "socket": ("wsproto",),
    "web": ("h11", "certifi"),
}
"""Packages by what they are for. wsproto stands on h11."""

BUNDLES = ("crypto", "brotli")
"""Folders of worker/ that are bundled with their npm packages."""


def missing_parts(features: Collection[Feature]) -> list[Part]:
    """What assets with ``features`` do not hold."""
    missing: list[Part] = []
    if "fetch" not in features:
        missing.append("fetch")
    if "socket" not in features:
        missing.append("socket")
    if len(missing) == 2:
        missing.append("web")
    return missing


WORKER_FILES = ("*.js", "*.d.ts")
"""Of worker/. These keep their names; all else is named after its content."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Folders and files of one checkout."""

    root: Path

    @classmethod
    def of_checkout(cls) -> Sources:
        """The checkout that this file belongs to. :raises AssetError: it is none."""
        root = Path(__file__).resolve().parents[3]
        if not (root / "worker" / "worker.js").is_file():
            raise AssetError("assets can be built from a checkout of smolmix-web only")
        return cls(root)

    @property
    def package(self) -> Path:
        return self.root / "src" / "smolmix_web"

    @property
    def requirements(self) -> Path:
        return self.package / "assets" / "worker-requirements.txt"

    def bundle(self, name: str) -> Path:
        """The bundle ``npm-<name>.js`` that ``npm run build:<name>`` writes."""
        return self.root / "build" / f"npm-{name}.js"

    @property
    def pyodide(self) -> Path:
        """:raises AssetError: ``npm ci`` has not been run."""
        folder = self.root / "node_modules" / "pyodide"
        if not (folder / "pyodide.mjs").is_file():
            raise AssetError(f"{folder} is missing; run 'npm ci' in {self.root}")
        return folder

    def pyodide_lock(self) -> dict[str, Any]:
        """The lock file of the pinned Pyodide: names, dependencies and hashes of its own builds."""
        lock: dict[str, Any] = json.loads((self.pyodide / "pyodide-lock.json").read_text())
        return lock

    def pyodide_version(self) -> str:
        version: str = json.loads((self.pyodide / "package.json").read_text())["version"]
        return version

    def worker_files(self) -> list[Path]:
        folder = self.root / "worker"
        return sorted(path for pattern in WORKER_FILES for path in folder.glob(pattern))

    def python_build_files(self) -> list[Path]:
        """What makes the archives of Python, and Python itself."""
        scripts = [*(self.root / "worker" / "build").glob("*"), self.root / "worker" / "image.js"]
        core = [self.pyodide / name for name in ("pyodide.asm.wasm", "pyodide.asm.mjs", "python_stdlib.zip")]
        return sorted(path for path in scripts if path.is_file()) + core

    def package_files(self, features: Collection[Feature] = FEATURES) -> list[Path]:
        """Files of our own wheel, for assets with ``features``."""
        left_out = [self.package / name for name in LEFT_OUT]
        left_out += [
            self.package / name for part in missing_parts(features) for name in LEFT_OUT_WITHOUT[part]
        ]
        return [
            path
            for path in sorted(self.package.rglob("*"))
            if path.is_file()
            and "__pycache__" not in path.parts
            and not any(path.is_relative_to(one) for one in left_out)
        ]

    def bundle_files(self, name: str) -> list[Path]:
        """What a bundle is made of, besides npm packages."""
        return sorted(path for path in (self.root / "worker" / name).rglob("*") if path.is_file())

    def digest(self, extra: Iterable[str]) -> str:
        """Changes when anything changes that the assets are built from."""
        state = hashlib.sha256()
        for path in self._inputs():
            state.update(f"{path.relative_to(self.root)} {sha256(path)}\n".encode())
        for line in extra:
            state.update(f"{line}\n".encode())
        return state.hexdigest()

    def _inputs(self) -> Iterator[Path]:
        yield self.root / "package-lock.json"
        yield self.requirements
        yield from self.worker_files()
        yield from sorted(path for path in (self.root / "worker" / "build").glob("*") if path.is_file())
        for name in BUNDLES:
            yield from self.bundle_files(name)
        yield from self.package_files()
        yield from sorted((self.package / "assets").glob("*.py"))


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
