"""The folder tree is the architecture: these tests hold its shape (docs/architecture.md)."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import smolmix_web

ROOT = Path(smolmix_web.__file__).parent

# A package may import from those after it, never from those before it.
ORDER = (
    "__main__",
    "cli",
    "assets",
    "localnet",
    "bridge",
    "adapters",
    "socks",
    "native_api",
    "tunnel",
    "websocket",
    "fetch",
    "resolve",
    "tls",
    "sockets",
    "net",
    "ipr",
    "gateway",
    "directory",
    "nym",
    "sphinx",
    "platform",
    "crypto",
    "features",
    "lazy_names",
    "options",
    "json_fields",
    "wire",
    "errors",
)

# ByteStream is the stream's interface alone: TLS stands on any such stream, not on the driver.
EXCEPTIONS = {("tls", "smolmix_web.sockets.bytestream")}


def modules() -> Iterator[tuple[Path, str]]:
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        part = relative.parts[0].removesuffix(".py")
        if part != "__init__":
            yield path, part


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module


def test_every_package_has_its_place_in_the_order() -> None:
    assert {part for _, part in modules()} <= set(ORDER)


@pytest.mark.parametrize(
    ("path", "part"), list(modules()), ids=lambda value: value.name if isinstance(value, Path) else value
)
def test_imports_go_downwards_only(path: Path, part: str) -> None:
    for name in imports(path):
        if not name.startswith("smolmix_web.") or (part, name) in EXCEPTIONS:
            continue
        target = name.split(".")[1]
        if target in ORDER:
            assert ORDER.index(target) >= ORDER.index(part), f"{path.relative_to(ROOT)} imports {name}"


def test_only_the_boundary_knows_javascript() -> None:
    for path, part in modules():
        foreign = {name.split(".")[0] for name in imports(path)} & {"js", "pyodide", "pyodide_js"}
        assert not foreign or part in ("bridge", "platform"), f"{path.relative_to(ROOT)} imports {foreign}"


SANS_IO = ("net", "ipr", "gateway", "directory", "nym", "sphinx")


def test_engines_do_no_input_or_output() -> None:
    allowed_asyncio = {ROOT / "directory" / "client.py"}  # gathers answers; the GET itself is injected
    for path, part in modules():
        if part not in SANS_IO:
            continue
        forbidden = {"socket", "select", "threading", "aiohttp", "logging"}
        if path != ROOT / "ipr" / "timestamp.py":  # gmtime alone: a conversion, not a clock
            forbidden.add("time")
        if path not in allowed_asyncio:
            forbidden.add("asyncio")
        used = {name.split(".")[0] for name in imports(path)} & forbidden
        assert not used, f"{path.relative_to(ROOT)} imports {used}"


def test_every_module_can_be_imported_alone() -> None:
    names = [
        info.name
        for info in pkgutil.walk_packages(smolmix_web.__path__, "smolmix_web.")
        if not info.name.endswith("__main__") and not _needs_javascript(info.name)
    ]
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    for loaded in [m for m in sys.modules if m.split('.')[0] == 'smolmix_web']:\n"
        "        del sys.modules[loaded]\n"
        "    importlib.import_module(name)\n"
    )
    subprocess.run([sys.executable, "-c", code, *names], check=True, timeout=100)


def _needs_javascript(name: str) -> bool:
    path = ROOT.joinpath(*name.split(".")[1:])
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return bool({imported.split(".")[0] for imported in imports(file)} & {"js", "pyodide", "pyodide_js"})


def test_the_public_names_exist() -> None:
    for name in ("smolmix_web.tunnel", "smolmix_web.fetch", "smolmix_web.resolve", "smolmix_web.crypto"):
        module = importlib.import_module(name)
        assert sorted(module.__all__) == list(module.__all__)
        assert all(hasattr(module, public) for public in module.__all__)
