"""Waiting under Pyodide without ``async``: the browser suspends WebAssembly meanwhile.

That is JavaScript Promise Integration, which Chromium has since version 137. It works where Python was
entered by ``runPythonAsync`` or another call that JavaScript awaits.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

from pyodide.ffi import can_run_sync
from pyodide.ffi import run_sync as pyodide_run_sync

from smolmix_web.errors import LocalProtocolError

_T = TypeVar("_T")


def run_sync(work: Coroutine[Any, Any, _T]) -> _T:
    """The result of ``work``.

    :raises LocalProtocolError: this browser, or the way in which Python was entered, cannot wait.
    """
    if not can_run_sync():
        work.close()
        raise LocalProtocolError("Python cannot wait here: use await, or enter it with runPythonAsync")
    result: _T = pyodide_run_sync(work)
    return result
