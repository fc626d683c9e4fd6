"""The one build step: a folder that any static server can host, with a manifest of all its files.

::

    smolmix.js  smolmix.d.ts  worker.js ...        worker/, under their own names
    manifest.json                                  all files with sizes and SHA-256, providers, features
    files/pyodide.asm.<hash>.wasm ...              Pyodide's core
    files/library.<hash>.zip                       the part of the standard library that is used, as byte code
    files/packages.<hash>.zip                      ours and the pinned pure ones
    files/image.<hash>.bin                         memory with all of this imported: what a page starts from
    files/npm-crypto.<hash>.js                     crypto bundle of npm packages
    files/npm-brotli.<hash>.js                     decoder of a content coding, loaded when needed
    files/cryptography.<hash>.zip                  where a distribution of Pyodide had it
    THIRD_PARTY_LICENSES.txt                       licences of everything that is not ours

A file with a hash in its name never changes its content and may be kept by caches for ever; ``manifest.json``
and the modules beside it are to be asked for again. ``compress`` adds ``.br`` and ``.gz`` beside each.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from smolmix_web import __version__
from smolmix_web.assets.archives import build_python_parts
from smolmix_web.assets.compress import Progress, add_compressed
from smolmix_web.assets.download import CORE
from smolmix_web.assets.installed import copy_prebuilt, is_checkout, prebuilt_assets
from smolmix_web.assets.licences import FILE as LICENCES
from smolmix_web.assets.licences import third_party_licences
from smolmix_web.assets.pyodide_dist import find_cryptography
from smolmix_web.assets.sources import BUNDLES, AssetError, Sources, sha256
from smolmix_web.assets.wheels import (
    download_pure_wheels,
    pack_own_wheel,
    root_certificates,
    wanted_wheels,
)
from smolmix_web.directory import client as directory
from smolmix_web.features import FEATURES, Feature, parse_features
from smolmix_web.options import MAINNET_DIRECTORY

__all__ = ["AssetError", "Sources", "build_assets", "ensure_assets"]

HASHED = "files"
MANIFEST = "manifest.json"

FIRST_PATHS = (
    directory.PATH_REWARDED_SET,
    f"{directory.PATH_MIXNODES}?page=0",
    f"{directory.PATH_GATEWAYS}?page=0",
    directory.PATH_KEY_ROTATION,
    f"{directory.PATH_ALL_NODES}?page=0",
    f"{directory.PATH_DESCRIBED}?page=0",
)
"""What a set-up asks the directory for; the worker asks while Python starts."""

Log = Callable[[str], None]


def ensure_assets(
    out: Path | None = None,
    *,
    distribution: str | None = None,
    features: Collection[Feature] = FEATURES,
    log: Log = lambda line: None,
) -> Path:
    """Build the assets of this checkout unless ``out`` is up to date. An installed package has them.

    :param out: default ``build/assets`` of the checkout.
    :param distribution: as for :func:`build_assets`, as are ``features``.
    :returns: the folder.
    """
    if out is None and not is_checkout():
        return prebuilt_assets()
    sources = Sources.of_checkout()
    out = out or sources.root / "build" / "assets"
    chosen = _distribution(distribution)
    if _built_digest(out) != _digest(sources, chosen, features):
        build_assets(out, distribution=chosen, features=features, sources=sources, log=log)
    return out


def build_assets(
    out: Path,
    *,
    distribution: str | None = None,
    features: Collection[Feature] = FEATURES,
    sources: Sources | None = None,
    compress: bool = False,
    log: Log = lambda line: None,
    progress: Progress = lambda share, name: None,
) -> dict[str, Any]:
    """Assemble everything in ``out``, which is replaced as a whole once all is there.

    :param distribution: where the ``cryptography`` build of Pyodide is: a folder, a URL, ``"auto"`` or
        ``"none"`` (see :func:`~smolmix_web.assets.pyodide_dist.find_cryptography`); default
        ``$SMOLMIX_PYODIDE_DIST``, else ``"auto"``.
    :param features: what pages can do with them; code that only others need is left out.
    :param compress: add copies for servers that send them with a content coding (a minute of work, once).
    :returns: the manifest.
    :raises AssetError: a part is missing or does not have its pinned hash; or an installed package, which
        cannot build, has other features than those.
    :raises OptionError: ``features`` holds an unknown name, or nothing.
    """
    features = parse_features(features)
    if out.exists() and any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise AssetError(f"{out} exists and was not made by this build; it is left alone")
    if sources is None and not is_checkout():
        return copy_prebuilt(out, features, compress=compress)
    sources = sources or Sources.of_checkout()
    distribution = _distribution(distribution)
    cache = sources.root / "build"
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        # The temporary folder is private to its owner; the assets are for every server to read.
        stage = Path(temporary) / "assets"
        (stage / HASHED).mkdir(parents=True)
        files = {}
        for path in sources.worker_files():
            files[path.name] = Path(shutil.copyfile(path, stage / path.name))
        _write_features(files["features.js"], features)
        log("bundling npm packages")
        parts = [_bundle(sources, name) for name in BUNDLES if name != "brotli" or "fetch" in features]
        parts += [sources.pyodide / name for name in CORE]
        log("collecting wheels")
        pure = wanted_wheels(download_pure_wheels(sources, cache / "wheels"), features)
        found = find_cryptography(sources, distribution, cache / "pyodide-dist", log)
        licences = stage / LICENCES
        licences.write_text(third_party_licences(sources, [*pure, *found]))
        files[licences.name] = licences
        log("compiling Python, and taking its memory image")
        python = build_python_parts(sources, _wheels(sources, Path(temporary), pure, features), found)
        files |= {path.name: _store(path, stage / HASHED) for path in parts + python.files()}
        providers: dict[str, Any] = {"npm": {"module": "npm-crypto.js"}}
        if python.cryptography is not None:
            providers["cryptography"] = {"archive": python.cryptography.name}
        manifest = {
            "version": __version__,
            "protocol": _protocol_version(sources),
            "pyodide": sources.pyodide_version(),
            "pyodideInfo": sources.pyodide_lock()["info"],
            "sources": _digest(sources, distribution, features),
            "features": list(features),
            "directory": {"network": MAINNET_DIRECTORY, "paths": list(FIRST_PATHS)},
            "image": python.image.name,
            "providers": providers,
            "files": {name: _entry(path, stage) for name, path in sorted(files.items())},
        }
        (stage / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
        if compress:
            log("compressing")
            add_compressed(sources, stage, progress=progress)
        if out.exists():
            shutil.rmtree(out)
        stage.rename(out)
    log(f"assets are in {out} (providers: {', '.join(sorted(providers))})")
    return manifest


def _distribution(given: str | None) -> str:
    return given or os.environ.get("SMOLMIX_PYODIDE_DIST") or "auto"


def _wheels(sources: Sources, folder: Path, pure: list[Path], features: Collection[Feature]) -> list[Path]:
    """Those that run: of certifi only the certificates do, and they are in ours."""
    others = [wheel for wheel in pure if not wheel.name.startswith("certifi-")]
    roots = root_certificates(pure) if len(others) < len(pure) else None
    return [pack_own_wheel(sources, folder, features, roots=roots), *others]


def _store(path: Path, folder: Path) -> Path:
    """Copy under a name that holds the content's hash: ``image.bin`` -> ``image.0123456789abcdef.bin``."""
    stem, suffix = path.name.rsplit(".", 1)
    return Path(shutil.copyfile(path, folder / f"{stem}.{sha256(path)[:16]}.{suffix}"))


def _entry(path: Path, stage: Path) -> dict[str, Any]:
    return {
        "path": path.relative_to(stage).as_posix(),
        "sha256": sha256(path),
        "size": path.stat().st_size,
    }


def _protocol_version(sources: Sources) -> int:
    text = (sources.root / "worker" / "protocol.js").read_text()
    found = re.search(r"PROTOCOL_VERSION = (\d+);", text)
    if found is None:
        raise AssetError("worker/protocol.js names no PROTOCOL_VERSION")
    return int(found[1])


def _write_features(script: Path, features: Collection[Feature]) -> None:
    """What the page's own modules know of the build without asking for the manifest."""
    text, found = re.subn(r"(?<=FEATURES = )\[.*?\]", json.dumps(list(features)), script.read_text(), count=1)
    if not found:
        raise AssetError("worker/features.js names no FEATURES")
    script.write_text(text)


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


def _digest(sources: Sources, distribution: str, features: Collection[Feature] = FEATURES) -> str:
    extra = [f"distribution {distribution}", f"features {sorted(features)}"]
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
