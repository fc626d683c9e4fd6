"""Build hook: what goes into the wheel besides the package's own files.

Mozilla's root certificates, as ``certifi`` has them at build time: an installed smolmix-web verifies servers
against the roots it was built with, and needs no certifi at run time. A checkout (editable install) keeps no
copy: smolmix_web.tls.roots reads certifi itself there.

The assets of a page and the playground, so that ``smolmix-web assets`` and ``smolmix-web demo`` work wherever
the wheel is installed. That needs Node and the packages of ``npm ci``; without them (or with
SMOLMIX_WHEEL_ASSETS=0, for pages with a Pyodide of their own that want a small wheel) the wheel is the
Python package alone. SMOLMIX_FEATURES ("dns,fetch") leaves out of the assets what only others need.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import certifi
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ASSETS_FOLDER = "build/wheel-assets"  # of its own: npm may be packing at the same time
ASSETS = "smolmix_web/assets/prebuilt"
PLAYGROUND = "smolmix_web/assets/demo"


class WheelHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        included = build_data["force_include"]
        included[certifi.where()] = "smolmix_web/tls/roots.pem"
        if os.environ.get("SMOLMIX_WHEEL_ASSETS") == "0":
            return
        root = Path(self.root)
        node = shutil.which("node")
        if node is None or not (root / "node_modules" / "pyodide").is_dir():
            print("no Node or no node_modules: the wheel will hold no assets", file=sys.stderr)
            return
        command = [node, "scripts/build_package.mjs", ASSETS_FOLDER]
        if subprocess.run(command, cwd=root, check=False).returncode:
            print("the assets could not be built: the wheel will hold none", file=sys.stderr)
            return
        included[str(root / ASSETS_FOLDER)] = ASSETS
        included[str(root / "demo")] = PLAYGROUND
