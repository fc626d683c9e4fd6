"""The TLS engine where it really runs: Pyodide, on the worker's providers.

The same verdicts on certificates as on CPython, and the same bytes in a recorded session. ``cryptography`` is
tried when SMOLMIX_PYODIDE_DIST names a folder with Pyodide's wheels of cryptography, cffi and pycparser.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("tls-in-pyodide.mjs")

pytestmark = pytest.mark.worker


def run(provider: str) -> Any:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or not (ROOT / "node_modules" / "pyodide").is_dir():
        pytest.skip("needs node, and the packages of `npm ci`")
    arguments = [provider]
    if provider == "cryptography":
        wheels = os.environ.get("SMOLMIX_PYODIDE_DIST")
        if not wheels or not Path(wheels).is_dir():
            pytest.skip("SMOLMIX_PYODIDE_DIST names no folder")
        arguments.append(wheels)
    subprocess.run([npm, "run", "--silent", "build:crypto"], cwd=ROOT, check=True, capture_output=True)
    command = [node, str(SCRIPT), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("provider", ["npm", "cryptography"])
def test_certificates_and_a_recorded_session(provider: str) -> None:
    answer = run(provider)
    assert answer["provider"].startswith(provider)
    assert answer["limbo"] == []
    assert answer["cases"] == 104
