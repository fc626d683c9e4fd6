"""The worker's providers, where they really run: Pyodide. Same vectors and promises as on CPython.

``cryptography`` is tried when SMOLMIX_PYODIDE_DIST names a folder with Pyodide's wheels of cryptography,
cffi and pycparser.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from vectors_runner import provider_contract, sphinx_vectors, wycheproof

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("crypto-in-pyodide.mjs")

pytestmark = pytest.mark.worker


@pytest.fixture(scope="module")
def node() -> str:
    """Path of node, with the bundle freshly built."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None or not (ROOT / "node_modules" / "pyodide").is_dir():
        pytest.skip("needs node, and the packages of `npm ci`")
    subprocess.run([npm, "run", "--silent", "build:crypto"], cwd=ROOT, check=True, capture_output=True)
    return node


def run(*command: str) -> Any:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def provider_arguments(provider: str) -> list[str]:
    if provider == "npm":
        return ["npm"]
    wheels = os.environ.get("SMOLMIX_PYODIDE_DIST")
    if not wheels or not Path(wheels).is_dir():
        pytest.skip("SMOLMIX_PYODIDE_DIST names no folder")
    return ["cryptography", wheels]


@pytest.mark.parametrize("provider", ["npm", "cryptography"])
def test_vectors_and_contract(node: str, provider: str) -> None:
    answer = run(node, str(SCRIPT), *provider_arguments(provider))
    assert answer["provider"].startswith(provider)
    assert answer["failures"] == {}
    expected = {check.__name__ for check in sphinx_vectors.CHECKS + provider_contract.CHECKS}
    assert expected <= set(answer["checks"])
    assert {file: report["failures"] for file, report in answer["wycheproof"].items()} == {
        file: [] for file in wycheproof.FILES
    }
    assert {
        file: (report["run"], report["skipped"]) for file, report in answer["wycheproof"].items()
    } == wycheproof.EXPECTED_COUNTS
