"""Brotli from an npm package, for Pyodide: the interface of the package ``brotli`` as far as fetch uses it.

``worker/brotli/npm-brotli.js`` is the other half.
"""

from __future__ import annotations

from typing import Any


class BrotliError(Exception):
    """The compressed data is damaged."""


class NpmBrotli:
    """Stands for the module ``brotli``.

    :param module: the bundle ``npm-brotli.js``.
    """

    error = BrotliError

    def __init__(self, module: Any) -> None:
        self._module = module

    def Decompressor(self) -> Decompressor:
        return Decompressor(self._module.makeDecoder())


class Decompressor:
    """Unpacks one stream; :meth:`free` it."""

    def __init__(self, decoder: Any) -> None:
        self._decoder: Any = decoder
        self._left = b""
        self._finished = False

    def is_finished(self) -> bool:
        return self._finished

    def can_accept_more_data(self) -> bool:
        return not self._left

    def process(self, data: bytes, output_buffer_limit: int) -> bytes:
        """At most ``output_buffer_limit`` bytes. :raises BrotliError: damaged."""
        from pyodide.ffi import JsException, to_js

        source = self._left + data
        try:
            output: bytes = self._decoder.process(to_js(source), output_buffer_limit).to_bytes()
        except JsException as error:
            raise BrotliError("the data is damaged") from error
        self._left = source[self._decoder.consumed :]
        self._finished = bool(self._decoder.finished)
        return output

    def free(self) -> None:
        """Free the memory on the other side. Idempotent."""
        if self._decoder is not None:
            self._decoder.free()
            self._decoder = None
