"""The archives that the worker's Python imports from. Runs inside Pyodide, at build time only.

``library.zip`` holds the modules of the standard library that are used, ``packages.zip`` our package and its
dependencies; both hold byte code. What is used is found out by importing everything.
"""

from __future__ import annotations

import importlib
import sys
import zipfile
from pathlib import Path
from typing import Any

from prepare import LATE, PACKAGES, module_name
from slim import compile_slim

STDLIB = "/lib/python314.zip"

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def slim_stdlib(target: str) -> None:
    """The whole standard library as byte code, for the builds to come."""
    with zipfile.ZipFile(STDLIB) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(source.namelist()):
            if name.endswith(".py"):
                code = compile_slim(source.read(name), name, f"{STDLIB}/{name}", lines=False)
                _write(archive, f"{name}c", code)


def compile_packages(wheels: list[str], target: str) -> None:
    """Every module of the wheels as byte code, and their data files."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as source:
                for name in sorted(source.namelist()):
                    if ".dist-info/" in name or name.endswith(("/", ".pyi", "py.typed")):
                        continue
                    data = source.read(name)
                    if name.endswith(".py"):
                        code = compile_slim(data, name, f"{PACKAGES}/{name}", lines=True)
                        _write(archive, f"{name}c", code)
                    else:
                        _write(archive, name, data)


def add_cryptography(wheels: list[str], packages: str, target: str) -> None:
    """What the provider on ``cryptography`` needs beyond the two archives. It has libraries: unpack it."""
    before = set(sys.modules)
    site = Path("/tmp/cryptography")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as source:
            source.extractall(site)
    sys.path.append(str(site))
    importlib.import_module("smolmix_web.platform.npm_crypto").worker_provider("cryptography")
    importlib.import_module("cryptography.x509.verification")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for path in sorted(site.rglob("*")):
            name = path.relative_to(site).as_posix()
            if path.suffix == ".so" and ".dist-info/" not in name:
                _write(out, name, path.read_bytes())
            elif path.suffix == ".py" and module_name(f"{name}c") in sys.modules:
                code = compile_slim(path.read_bytes(), name, f"{LATE}/{name}", lines=False)
                _write(out, f"{name}c", code)
        for archive in (STDLIB, packages):
            with zipfile.ZipFile(archive) as source:
                for name in sorted(source.namelist()):
                    if (module := module_name(name)) in sys.modules and module not in before:
                        _write(out, name, source.read(name))


def trim(archive: str, target: str, keep: tuple[str, ...] = ()) -> None:
    """Only the modules that have been imported from it, and everything under ``keep``."""
    imported = {name for name, module in sys.modules.items() if not _frozen(module)}
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name in sorted(source.namelist()):
            if module_name(name) in imported or name.startswith(keep):
                _write(out, name, source.read(name))


def _frozen(module: Any) -> bool:
    """Whether the module is in the interpreter itself."""
    return getattr(getattr(module, "__spec__", None), "origin", None) == "frozen"


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), data)
