"""Bytes over the boundary with one copy each way, and no proxy left behind.

WebAssembly memory cannot be transferred to another thread, so one copy is the least there is.
"""

from __future__ import annotations

from typing import Any

from pyodide.ffi import JsBuffer, to_js


def take_bytes(buffer: Any) -> bytes | None:
    """Copy an ``ArrayBuffer`` or view into Python; ``undefined`` and ``null`` give None."""
    return buffer.to_bytes() if isinstance(buffer, JsBuffer) else None


def give_bytes(data: bytes | None) -> Any:
    """Copy bytes into a fresh ``Uint8Array`` that fills its ``ArrayBuffer`` and so can be transferred."""
    return None if data is None else to_js(data)
