"""The archives that the worker's Python imports from. Runs inside Pyodide, at build time only.

``library.zip`` holds the modules of the standard library that are used, ``packages.zip`` our package and its
dependencies; both hold byte code. What is used is found out by importing everything.
"""

from __future__ import annotations

import ast
import importlib
import sys
import zipfile
from pathlib import Path
from typing import Any

from prepare import LATE, PACKAGES, START, import_everything, module_name, read_roots
from replaced import REPLACED
from slim import compile_slim

STDLIB = "/lib/python314.zip"

ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


def slim_stdlib(target: str) -> None:
    """The whole standard library as byte code, for the builds to come."""
    with zipfile.ZipFile(STDLIB) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(source.namelist()):
            if name.endswith(".py"):
                data = REPLACED.get(name) or source.read(name)
                code = compile_slim(data, name, f"{STDLIB}/{name}", lines=False)
                _write(archive, f"{name}c", code)


def compile_packages(wheels: list[str], target: str) -> dict[str, set[str]]:
    """Every module of the wheels as byte code, and their data files.

    :returns: by module, what its functions import.
    """
    late = {}
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as source:
                for name in sorted(source.namelist()):
                    if ".dist-info/" in name or name.endswith(("/", ".pyi", "py.typed")):
                        continue
                    data = REPLACED.get(name) or source.read(name)
                    if name.endswith(".py"):
                        ours = name.startswith("smolmix_web/")
                        code = compile_slim(data, name, f"{PACKAGES}/{name}", lines=ours)
                        _write(archive, f"{name}c", code)
                        late[module_name(f"{name}c")] = _imports_of_functions(data)
                    else:
                        _write(archive, name, data)
    return late


def _imports_of_functions(source: bytes) -> set[str]:
    """What is imported when a function runs: modules, and names in them."""
    found: set[str] = set()
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.Import):
                    found |= {alias.name for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                    found.add(node.module)
                    found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def import_used(late: dict[str, set[str]]) -> None:
    """Everything of ours that can be reached from the worker's entry.

    :param late: by module, what its functions import (:func:`compile_packages`).
    """
    import_everything(START)
    known: set[str] = set()
    while fresh := {name for name in sys.modules if name in late} - known:
        known |= fresh
        names = set().union(*(late[module] for module in fresh if module.startswith("smolmix_web")))
        for name in sorted(names & set(late)):
            try:
                importlib.import_module(name)
            except ModuleNotFoundError as error:
                # The provider on cryptography comes with an archive of its own.
                if error.name is None or error.name.split(".")[0] != "cryptography":
                    raise
    read_roots()


def add_cryptography(wheels: list[str], packages: str, target: str, there: set[str]) -> None:
    """What the provider on ``cryptography`` needs beyond the modules that are ``there``.

    It has libraries: unpack it.
    """
    site = Path("/tmp/cryptography")
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as source:
            source.extractall(site)
    sys.path.append(str(site))
    # What is imported here for the sake of the build does not count.
    for name in set(sys.modules) - there:
        del sys.modules[name]
    importlib.import_module("smolmix_web.platform.npm_crypto").worker_provider("cryptography")
    importlib.import_module("cryptography.x509.verification")
    needed = set(sys.modules) - there
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
                    if module_name(name) in needed:
                        _write(out, name, source.read(name))


def trim(archive: str, target: str, modules: set[str], keep: tuple[str, ...] = ()) -> None:
    """Only ``modules`` that are not in the interpreter itself, and everything under ``keep``."""
    imported = {name for name in modules if not _frozen(sys.modules.get(name))}
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as out:
        for name in sorted(source.namelist()):
            if module_name(name) in imported or name.startswith(keep):
                _write(out, name, source.read(name))


def _frozen(module: Any) -> bool:
    """Whether the module is in the interpreter itself."""
    return getattr(getattr(module, "__spec__", None), "origin", None) == "frozen"


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, ZIP_EPOCH), data)
