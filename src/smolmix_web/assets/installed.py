"""The assets that an installed package brings along, made when its wheel was built (hatch_build.py).

A checkout has none and builds them. A wheel that was built without Node has none either, and says so.
"""

from __future__ import annotations

import gzip
import importlib
import json
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Any

from smolmix_web.assets.sources import AssetError, Sources
from smolmix_web.features import Feature

_HERE = Path(__file__).parent
PREBUILT = _HERE / "prebuilt"
DEMO = _HERE / "demo"

_GZIP_FROM = 1024


def is_checkout() -> bool:
    """Whether this package lies in a checkout, which can build."""
    try:
        Sources.of_checkout()
    except AssetError:
        return False
    return True


def prebuilt_assets() -> Path:
    """The folder in the package. :raises AssetError: this installation has none."""
    if not (PREBUILT / "manifest.json").is_file():
        raise AssetError(
            "this installation has no assets: its wheel was built without Node; "
            "use a released wheel, or a checkout with Node 20 or later"
        )
    return PREBUILT


def demo_folder() -> Path:
    """The playground's page. :raises AssetError: this installation has none."""
    folder = Sources.of_checkout().root / "demo" if is_checkout() else DEMO
    if not (folder / "index.html").is_file():
        raise AssetError("this installation has no playground; use a released wheel or a checkout")
    return folder


def copy_prebuilt(out: Path, features: Collection[Feature], *, compress: bool) -> dict[str, Any]:
    """What :func:`~smolmix_web.assets.build.build_assets` does, without building.

    :raises AssetError: there are none, or they have other features.

    With ``compress`` there are ``.gz`` files, and ``.br`` ones where the package ``brotli`` is installed.
    """
    source = prebuilt_assets()
    here = json.loads((source / "manifest.json").read_text())["features"]
    if set(features) != set(here):
        raise AssetError(
            f"the assets of this installation have the features {','.join(here)}; "
            f"assets with {','.join(features)} are built from a checkout of smolmix-web"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as temporary:
        stage = Path(temporary) / "assets"
        shutil.copytree(source, stage)
        if compress:
            for path in [path for path in stage.rglob("*") if path.is_file()]:
                if path.stat().st_size >= _GZIP_FROM:
                    _compress(path)
        if out.exists():
            shutil.rmtree(out)
        stage.rename(out)
    manifest: dict[str, Any] = json.loads((out / "manifest.json").read_text())
    return manifest


def _compress(path: Path) -> None:
    data = path.read_bytes()
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data, 9, mtime=0))
    try:
        brotli: Any = importlib.import_module("brotli")
    except ImportError:
        return
    # The best quality takes a minute; this one a few seconds, for a tenth more.
    path.with_name(f"{path.name}.br").write_bytes(brotli.compress(data, quality=9, lgwin=24))
