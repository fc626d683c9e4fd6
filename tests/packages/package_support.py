"""What the tests of the packages share: the checkout, the browser's settings, commands that must work."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.chromium import load_settings

ROOT = Path(__file__).parents[2]
SETTINGS = load_settings()


def run(*command: str, cwd: Path, **more: str) -> str:
    """Standard output of a command that has to succeed."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
