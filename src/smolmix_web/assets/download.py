"""What a page downloads when it starts for the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from smolmix_web.assets.compress import SUFFIXES

CORE = ("pyodide.mjs", "pyodide.asm.mjs", "pyodide.asm.wasm")
"""What every start needs of Pyodide."""


def first_download(folder: Path, manifest: dict[str, Any]) -> dict[str, int]:
    """Bytes by crypto provider, headers left out; of each file the smallest form that ``folder`` has.

    Counted are the manifest, the modules of page and worker, and all that a start from the memory image asks
    for. (The decoder for Brotli comes with the first response that is packed so.)
    """

    def size(path: str) -> int:
        file = folder / path
        forms = [file, *(file.with_name(file.name + suffix) for suffix in SUFFIXES.values())]
        return min(form.stat().st_size for form in forms if form.is_file())

    files = manifest["files"]
    providers = manifest["providers"]
    modules = [name for name in files if name.endswith(".js") and "/" not in files[name]["path"]]
    wanted = [*modules, *CORE, manifest["image"], providers["npm"]["module"]]
    whole = size("manifest.json") + sum(size(files[name]["path"]) for name in wanted)
    sizes = {"npm": whole}
    if "cryptography" in providers:
        sizes["cryptography"] = whole + size(files[providers["cryptography"]["archive"]]["path"])
    return sizes
