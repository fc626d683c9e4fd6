"""The one build step: a folder that any static server can host, with a manifest of all its files.

::

    smolmix.js  smolmix.d.ts  protocol.js ...     worker/
    worker.js  boot.js
    manifest.json                                  files with sizes and SHA-256, wheels, providers
    npm-crypto.js  npm-crypto.js.LEGAL.txt         crypto bundle of npm packages, and their licences
    npm-brotli.js                                  decoder of a content coding, loaded when needed
    pyodide/                                       Pyodide's core
    wheels/                                        ours, the pinned pure ones, perhaps cryptography
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from smolmix_web import __version__
from smolmix_web.assets.pyodide_dist import find_cryptography
from smolmix_web.assets.sources import BUNDLES, AssetError, Sources, sha256
from smolmix_web.assets.wheels import download_pure_wheels, pack_own_wheel

__all__ = ["AssetError", "Sources", "build_assets", "ensure_assets"]

PYODIDE_CORE = (
    "pyodide.mjs",
    "pyodide.asm.mjs",
    "pyodide.asm.wasm",
    "python_stdlib.zip",
    "pyodide-lock.json",
)
MANIFEST = "manifest.json"

Log = Callable[[str], None]


def ensure_assets(
    out: Path | None = None, *, distribution: str | None = None, log: Log = lambda line: None
) -> Path:
    """Build the assets of this checkout unless ``out`` is up to date.

    :param out: default ``build/assets`` of the checkout.
    :param distribution: as for :func:`build_assets`.
    :returns: the folder.
    """
    sources = Sources.of_checkout()
    out = out or sources.root / "build" / "assets"
    chosen = _distribution(distribution)
    if _built_digest(out) != _digest(sources, chosen):
        build_assets(out, distribution=chosen, sources=sources, log=log)
    return out


def build_assets(
    out: Path,
    *,
    distribution: str | None = None,
    sources: Sources | None = None,
    log: Log = lambda line: None,
) -> dict[str, Any]:
    """Assemble everything in ``out``, which is replaced as a whole once all is there.

    :param distribution: where the ``cryptography`` build of Pyodide is: a folder, a URL, ``"auto"`` or
        ``"none"`` (see :func:`~smolmix_web.assets.pyodide_dist.find_cryptography`); default
        ``$SMOLMIX_PYODIDE_DIST``, else ``"auto"``.
    :returns: the manifest.
    :raises AssetError: a part is missing or does not have its pinned hash.
    """
    sources = sources or Sources.of_checkout()
    distribution = _distribution(distribution)
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise AssetError(f"{out} exists and was not made by this build; it is left alone")
    cache = sources.root / "build"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        # The temporary folder is private to its owner; the assets are for every server to read.
        stage = Path(temporary) / "assets"
        stage.mkdir()
        log("copying worker and Pyodide")
        for path in sources.worker_files():
            shutil.copyfile(path, stage / path.name)
        (stage / "pyodide").mkdir()
        for name in PYODIDE_CORE:
            shutil.copyfile(sources.pyodide / name, stage / "pyodide" / name)
        log("bundling npm packages")
        for name in BUNDLES:
            bundle = _bundle(sources, name)
            for path in (bundle, *bundle.parent.glob(f"{bundle.name}.LEGAL.txt")):
                shutil.copyfile(path, stage / path.name)
        log("collecting wheels")
        (stage / "wheels").mkdir()
        wheels = [pack_own_wheel(sources, stage / "wheels")]
        wheels += _copy(download_pure_wheels(sources, cache / "wheels"), stage / "wheels")
        found = find_cryptography(sources, distribution, cache / "pyodide-dist", log)
        providers: dict[str, Any] = {"npm": {"module": "npm-crypto.js"}}
        if found:
            providers["cryptography"] = {"wheels": _names(_copy(found, stage / "wheels"))}
        manifest = _manifest(sources, stage, _names(wheels), providers, _digest(sources, distribution))
        (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        if out.exists():
            shutil.rmtree(out)
        stage.rename(out)
    log(f"assets are in {out} (providers: {', '.join(sorted(providers))})")
    return manifest


def _distribution(given: str | None) -> str:
    return given or os.environ.get("SMOLMIX_PYODIDE_DIST") or "auto"


def _manifest(
    sources: Sources, stage: Path, wheels: list[str], providers: dict[str, Any], digest: str
) -> dict[str, Any]:
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    return {
        "version": __version__,
        "protocol": _protocol_version(sources),
        "pyodide": sources.pyodide_version(),
        "sources": digest,
        "wheels": wheels,
        "providers": providers,
        "files": {
            path.relative_to(stage).as_posix(): {"sha256": sha256(path), "size": path.stat().st_size}
            for path in files
        },
    }


def _protocol_version(sources: Sources) -> int:
    text = (sources.root / "worker" / "protocol.js").read_text()
    found = re.search(r"PROTOCOL_VERSION = (\d+);", text)
    if found is None:
        raise AssetError("worker/protocol.js names no PROTOCOL_VERSION")
    return int(found[1])


def _bundle(sources: Sources, name: str) -> Path:
    """Bundle with npm if a source is newer than the bundle."""
    bundle = sources.bundle(name)
    inputs = [*sources.bundle_files(name), sources.root / "package-lock.json"]
    if not bundle.is_file() or any(path.stat().st_mtime > bundle.stat().st_mtime for path in inputs):
        npm = shutil.which("npm")
        if npm is None:
            raise AssetError("npm is not installed; it comes with Node 20 or later")
        command = [npm, "run", "--silent", f"build:{name}"]
        done = subprocess.run(command, cwd=sources.root, capture_output=True, text=True, check=False)
        if done.returncode or not bundle.is_file():
            raise AssetError(f"'npm run build:{name}' failed:\n{done.stdout}{done.stderr}")
    return bundle


def _digest(sources: Sources, distribution: str) -> str:
    extra = [f"distribution {distribution}"]
    if distribution not in ("auto", "none") and "://" not in distribution:
        lock = Path(distribution) / "pyodide-lock.json"
        extra.append(sha256(lock) if lock.is_file() else "no lock file")
    return sources.digest(extra)


def _built_digest(out: Path) -> str | None:
    try:
        digest: str = json.loads((out / MANIFEST).read_text())["sources"]
        return digest
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _copy(paths: list[Path], folder: Path) -> list[Path]:
    return [Path(shutil.copyfile(path, folder / path.name)) for path in paths]


def _names(wheels: list[Path]) -> list[str]:
    return [f"wheels/{path.name}" for path in wheels]
