"""The worker's event loop where it really runs: Pyodide, with callbacks in batches."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("loop-in-pyodide.mjs")

pytestmark = pytest.mark.worker


@pytest.fixture(scope="module")
def found() -> Any:
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "pyodide").is_dir():
        pytest.skip("needs node, and the packages of `npm ci`")
    done = subprocess.run(
        [node, str(SCRIPT)], cwd=ROOT, capture_output=True, text=True, timeout=110, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_callbacks_keep_their_order(found: Any) -> None:
    assert found["order"] == ["first", "second", "nested"]


def test_timers_ring_in_order_and_not_early(found: Any) -> None:
    assert found["timers"] == {"seen": ["past", "long past", "soon", "middle", "late"], "early": []}


def test_timeouts(found: Any) -> None:
    assert found["timeouts"] == ["ended a wait", "in the past", "not needed"]


def test_broken_callback_is_reported_and_harms_no_other(found: Any) -> None:
    assert found["failures"] == {"reported": ["broken callback"], "next": "ran"}


def test_cancelled_timers_do_not_pile_up(found: Any) -> None:
    assert found["many_cancelled_timers"]["in the browser"] <= 1
    assert found["many_cancelled_timers"]["in Python"] <= 128


def test_awaits_share_tasks_of_the_browser(found: Any) -> None:
    """Pyodide's own loop takes two for each."""
    assert found["chain_of_awaits"] <= 100


def test_busy_python_lets_the_browser_in(found: Any) -> None:
    assert found["busy_python"] is True
