"""The wheels of the worker: ours, packed from the tree, and the pinned pure ones from the package index."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from collections.abc import Collection
from pathlib import Path

from smolmix_web import __version__
from smolmix_web.assets.sources import WHEELS_WITHOUT, AssetError, Sources, missing_parts
from smolmix_web.features import FEATURES, Feature

# Zip cannot say "no date"; a fixed one makes equal trees give equal wheels.
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_own_wheel(
    sources: Sources, folder: Path, features: Collection[Feature] = FEATURES, *, roots: bytes | None = None
) -> Path:
    """Our package as a wheel (binary distribution format 1.0), without the parts that no page runs.

    :param features: what the page is to have; see :mod:`smolmix_web.features`.
    :param roots: certificates to trust, PEM, where the features need them; None: certifi is to be there.
    :returns: its path. Equal sources give equal bytes.
    """
    info = f"smolmix_web-{__version__}.dist-info"
    members = {
        f"smolmix_web/{path.relative_to(sources.package).as_posix()}": path.read_bytes()
        for path in sources.package_files(features)
    }
    if roots is not None and "web" not in missing_parts(features):
        members["smolmix_web/tls/roots.pem"] = roots
    members[f"{info}/METADATA"] = (
        f"Metadata-Version: 2.1\nName: smolmix-web\nVersion: {__version__}\n".encode()
    )
    members[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={_record_hash(data)},{len(data)}" for name, data in members.items()]
    members[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    path = folder / f"smolmix_web-{__version__}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name, data in members.items():
            wheel.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), data, zipfile.ZIP_DEFLATED)
    return path


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def download_pure_wheels(sources: Sources, cache: Path) -> list[Path]:
    """The wheels of worker-requirements.txt, from ``cache`` or through pip, which checks their hashes.

    :raises AssetError: pip failed.
    """
    pins = parse_pins(sources.requirements.read_text())
    cache.mkdir(parents=True, exist_ok=True)
    wheels = _cached(pins, cache)
    if wheels is None:
        command = [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--no-deps", "--only-binary", ":all:", "--require-hashes"),
            *("--requirement", str(sources.requirements), "--dest", str(cache)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise AssetError(f"pip could not download the worker's wheels:\n{done.stderr.strip()}")
        wheels = _cached(pins, cache)
    if wheels is None:
        raise AssetError(f"a wheel of {sources.requirements.name} is missing from {cache} after the download")
    return wheels


def root_certificates(wheels: list[Path]) -> bytes:
    """Mozilla's root certificates, PEM, out of the wheel of certifi. :raises AssetError: it is not there."""
    for wheel in wheels:
        if wheel.name.startswith("certifi-"):
            with zipfile.ZipFile(wheel) as archive:
                return archive.read("certifi/cacert.pem")
    raise AssetError("worker-requirements.txt does not name certifi")


def wanted_wheels(wheels: list[Path], features: Collection[Feature]) -> list[Path]:
    """Those that assets with ``features`` need."""
    left_out = {name for part in missing_parts(features) for name in WHEELS_WITHOUT[part]}
    return [wheel for wheel in wheels if wheel.name.split("-")[0] not in left_out]


def parse_pins(text: str) -> list[tuple[str, str]]:
    """(``name-version``, SHA-256) of each line of a requirements file with hashes."""
    pins = re.findall(r"^([A-Za-z0-9._-]+)==(\S+) --hash=sha256:([0-9a-f]{64})$", text, re.MULTILINE)
    return [(f"{name}-{version}", digest) for name, version, digest in pins]


def _cached(pins: list[tuple[str, str]], cache: Path) -> list[Path] | None:
    wheels = []
    for name, digest in pins:
        path = next(iter(cache.glob(f"{name}-*.whl")), None)
        if path is None or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            return None
        wheels.append(path)
    return wheels
