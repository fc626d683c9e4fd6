"""THIRD_PARTY_LICENSES.txt: everything in the assets that is not ours, with version, licence and its text.

Put together from what the packages themselves carry when the assets are built, so it is never behind.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterable
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any

from smolmix_web.assets.sources import BUNDLES, AssetError, Sources

FILE = "THIRD_PARTY_LICENSES.txt"

_RULE = "=" * 78
_IMPORT = re.compile(r"""(?:from|import) '(@[^/']+/[^/']+|[^@./'][^/']*)""")

# The npm package of Pyodide carries no licence files; these are the terms of its parts.
_PYODIDE = """\
Pyodide {version} (pyodide.mjs, pyodide.asm.mjs, pyodide.asm.wasm, library.zip and, made of them, image.bin)
Licence: MPL-2.0
Source: https://github.com/pyodide/pyodide/tree/{version}

This Source Code Form is subject to the terms of the Mozilla Public License, v. 2.0. If a copy of the MPL was
not distributed with this file, You can obtain one at https://mozilla.org/MPL/2.0/.

In these files, compiled from source:
  CPython {python} and its standard library    PSF-2.0     https://docs.python.org/3/license.html
  Emscripten's libraries, musl among them    MIT         https://github.com/emscripten-core/emscripten
  libffi                                     MIT         https://github.com/libffi/libffi
  zlib                                       Zlib        https://zlib.net/zlib_license.html
  bzip2                                      bzip2-1.0.6 https://sourceware.org/bzip2/
  liblzma                                    0BSD        https://tukaani.org/xz/
  Zstandard                                  BSD-3-Clause https://github.com/facebook/zstd
  SDL2                                       Zlib        https://www.libsdl.org/license.php
library.zip holds a part of the standard library as byte code, without docstrings; modules without a use in a
browser are reduced to stubs."""


def third_party_licences(sources: Sources, wheels: Iterable[Path]) -> str:
    """The text of the file.

    :param wheels: those of others that are in the archives.
    :raises AssetError: a package says nothing about its licence.
    """
    python = sources.pyodide_lock()["info"].get("python", "3.14")
    parts = [_PYODIDE.format(version=sources.pyodide_version(), python=python)]
    parts += [_of_npm_package(folder) for folder in _bundled_packages(sources)]
    parts += [_of_wheel(wheel) for wheel in sorted(wheels, key=lambda path: path.name.lower())]
    return (
        f"\n\n{_RULE}\n\n".join(["Licences of what is in these files besides smolmix-web itself.", *parts])
        + "\n"
    )


def _bundled_packages(sources: Sources) -> list[Path]:
    """Folders of the npm packages that the bundles import, and of those that they depend on."""
    waiting = {
        name
        for bundle in BUNDLES
        for path in sources.bundle_files(bundle)
        for name in _IMPORT.findall(path.read_text())
    }
    found: dict[str, Path] = {}
    while waiting:
        name = waiting.pop()
        folder = sources.root / "node_modules" / name
        if name not in found:
            found[name] = folder
            waiting |= set(_about(folder).get("dependencies", {}))
    return [found[name] for name in sorted(found)]


def _about(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / "package.json").read_text())
    except OSError as error:
        raise AssetError(f"{folder} is missing; run 'npm ci'") from error
    return about


def _of_npm_package(folder: Path) -> str:
    about = _about(folder)
    texts = [path.read_text() for path in sorted(folder.iterdir()) if _is_licence(path.name)]
    return _part(f"{about['name']} {about['version']}", about.get("license"), texts)


def _of_wheel(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if ".dist-info/" in name]
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        about = BytesHeaderParser().parsebytes(archive.read(metadata))
        texts = [archive.read(name).decode() for name in names if _is_licence(name.rsplit("/", 1)[1])]
    licence = about.get("License-Expression") or about.get("License")
    return _part(f"{about['Name']} {about['Version']}", licence, texts)


def _is_licence(name: str) -> bool:
    return bool(re.match(r"(licen[cs]e|copying|notice)", name, re.IGNORECASE))


def _part(name: str, licence: object, texts: list[str]) -> str:
    if not licence and not texts:
        raise AssetError(f"{name} says nothing about its licence")
    return "\n\n".join([f"{name}\nLicence: {licence or 'see below'}", *(text.strip() for text in texts)])
