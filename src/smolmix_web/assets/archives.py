"""What the worker's Python starts from: archives of byte code and a memory image, made by Node in Pyodide.

worker/build/ does the work; this keeps its results under ``build/python/`` by the content of all inputs, so
that an unchanged tree is not built twice.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from smolmix_web.assets.sources import AssetError, Sources, sha256

KEPT_BUILDS = 8
"""Results of so many builds stay: changing between features, providers and versions is cheap."""


@dataclass(frozen=True, slots=True)
class PythonParts:
    """Paths of the results."""

    library: Path
    packages: Path
    image: Path
    cryptography: Path | None

    def files(self) -> list[Path]:
        parts = (self.library, self.packages, self.image, self.cryptography)
        return [part for part in parts if part is not None]


def build_python_parts(sources: Sources, wheels: list[Path], cryptography: list[Path]) -> PythonParts:
    """Archives and image for these wheels.

    :param cryptography: wheels of the provider of that name; may be empty.
    :raises AssetError: Node is missing, or the build failed.
    """
    kept = sources.root / "build" / "python"
    kept.mkdir(parents=True, exist_ok=True)
    result = kept / _digest(sources, wheels + cryptography)
    if not result.is_dir():
        with tempfile.TemporaryDirectory(dir=kept, prefix=".making-") as temporary:
            made = Path(temporary) / "parts"
            made.mkdir()
            _run_node(sources, made, kept, wheels, cryptography)
            if not result.is_dir():  # else another process was faster
                made.rename(result)
        _forget_old(kept, result)
    extra = result / "cryptography.zip"
    return PythonParts(
        result / "library.zip",
        result / "packages.zip",
        result / "image.bin",
        extra if extra.is_file() else None,
    )


def _digest(sources: Sources, wheels: list[Path]) -> str:
    state = hashlib.sha256()
    for path in [*wheels, *sources.python_build_files()]:
        state.update(f"{path.name} {sha256(path)}\n".encode())
    return state.hexdigest()[:16]


def _run_node(sources: Sources, out: Path, kept: Path, wheels: list[Path], cryptography: list[Path]) -> None:
    node = shutil.which("node")
    if node is None:
        raise AssetError("node is not installed; the assets are built with Node 20 or later")
    task = {
        "pyodide": str(sources.pyodide),
        "out": str(out),
        "kept": str(kept),
        "npm": str(sources.bundle("crypto")),
        "wheels": [str(path) for path in wheels],
        "cryptography": [str(path) for path in cryptography],
    }
    command = [node, str(sources.root / "worker" / "build" / "build.mjs"), json.dumps(task)]
    done = subprocess.run(command, cwd=sources.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssetError(f"the archives of Python could not be built:\n{done.stderr.strip()[-4000:]}")


def _forget_old(kept: Path, newest: Path) -> None:
    builds = [path for path in kept.iterdir() if path.is_dir() and not path.name.startswith(".")]
    builds.sort(key=lambda path: (path == newest, path.stat().st_mtime), reverse=True)
    for path in builds[KEPT_BUILDS:]:
        shutil.rmtree(path, ignore_errors=True)
