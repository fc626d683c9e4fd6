"""Compressed copies beside the files, for servers that hand them out as they are (``.br``, ``.gz``).

Brotli takes a minute for all of it, so results are kept by content under ``build/compressed/``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from smolmix_web.assets.sources import AssetError, Sources, sha256

SUFFIXES = {"br": ".br", "gzip": ".gz"}
"""Content coding -> what is appended to the name. In the order of preference."""

BEST_QUALITY = 11

_SMALLEST = 1024
_COMPRESSIBLE = {".js", ".mjs", ".wasm", ".zip", ".bin", ".json", ".ts", ".txt"}

Progress = Callable[[float, str], None]


def add_compressed(
    sources: Sources,
    folder: Path,
    *,
    quality: int = BEST_QUALITY,
    progress: Progress = lambda share, name: None,
) -> None:
    """Write ``name.br`` and ``name.gz`` beside every file that becomes smaller by it.

    :param quality: of Brotli, 0 to 11.
    :param progress: is given the fraction done, and the name of the file that was last.
    :raises AssetError: Node failed.
    """
    cache = sources.root / "build" / "compressed"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in _COMPRESSIBLE and path.stat().st_size >= _SMALLEST:
            digest = sha256(path)[:32]
            for suffix in SUFFIXES.values():
                wanted[path.with_name(path.name + suffix)] = (path, cache / f"{digest}-{quality}{suffix}")
    missing = {kept: path for path, kept in wanted.values() if not kept.is_file()}
    if missing:
        _compress(sources, missing, quality, progress)
    for target, (path, kept) in wanted.items():
        if kept.stat().st_size < path.stat().st_size:
            shutil.copyfile(kept, target)


def _compress(sources: Sources, files: dict[Path, Path], quality: int, progress: Progress) -> None:
    node = shutil.which("node")
    if node is None:
        raise AssetError("node is not installed; the assets are built with Node 20 or later")
    tasks = [{"from": str(path), "to": str(kept), "quality": quality} for kept, path in files.items()]
    command = [node, str(sources.root / "worker" / "build" / "compress.mjs"), json.dumps(tasks)]
    whole = sum(path.stat().st_size for path in files.values())
    done = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            path = Path(line.rstrip("\n"))
            done += path.stat().st_size
            progress(done / whole, path.name)
        problem = process.stderr.read()
    if process.returncode:
        raise AssetError(f"the assets could not be compressed:\n{problem[-2000:]}")
