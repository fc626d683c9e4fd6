"""The content codings that this build can undo (RFC 9110 section 8.4.1), and a decoder for each.

gzip and deflate are always there; zstd is in Python 3.14 (and so in the worker) or in the package
``backports.zstd``; br is in the package ``brotli`` or, in the worker, in an npm package that the bridge
registers. What is not there is not offered to servers.
"""

from __future__ import annotations

import importlib
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from smolmix_web.fetch.errors import BadResponse

ZSTD_WINDOW_LOG = 23
"""8 MiB: the largest window a zstd content coding may ask for (RFC 9659)."""


class Coding(Protocol):
    """Undoes one coding of one body: :meth:`feed` what came, :meth:`read` until it gives nothing, repeat."""

    def feed(self, data: bytes) -> None:
        """More of the encoded body. Only after :meth:`read` gave ``b""``."""
        ...

    def read(self, max_bytes: int) -> bytes:
        """1 to about ``max_bytes`` decoded bytes; ``b""`` when more input is needed.

        :raises BadResponse: the encoded body is damaged.
        """
        ...

    @property
    def complete(self) -> bool:
        """The encoded body may end here."""
        ...

    def close(self) -> None:
        """Free what is held outside Python. Idempotent."""
        ...


class _Buffered:
    """A coding whose input waits here."""

    def __init__(self) -> None:
        self._input = b""
        self._started = False

    def feed(self, data: bytes) -> None:
        self._input += data
        self._started = self._started or bool(data)

    def close(self) -> None:
        self._input = b""


class Gzip(_Buffered):
    """RFC 1952, with all members (section 2.2). What follows the last member is ignored, as browsers do."""

    def __init__(self) -> None:
        super().__init__()
        self._inflate = zlib.decompressobj(31)
        self._done = False

    def read(self, max_bytes: int) -> bytes:
        while self._input and not self._done:
            if self._inflate.eof:
                if not b"\x1f\x8b".startswith(self._input[:2]):
                    self._done = True
                    break
                if len(self._input) < 2:
                    break
                self._inflate = zlib.decompressobj(31)
            data, self._input = self._input, b""
            piece = _inflated(self._inflate, data, max_bytes)
            self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                return piece
        if self._done:
            self._input = b""
        return b""

    @property
    def complete(self) -> bool:
        return self._inflate.eof or not self._started


class Deflate(_Buffered):
    """With or without its zlib header: RFC 9110 section 8.4.1.2 wants it, many servers leave it out."""

    def __init__(self) -> None:
        super().__init__()
        self._inflate: Any = None

    def read(self, max_bytes: int) -> bytes:
        if self._inflate is None:
            if len(self._input) < 2:
                return b""
            first, second = self._input[:2]
            has_header = first & 0x0F == 8 and (first << 8 | second) % 31 == 0  # RFC 1950 section 2.2
            self._inflate = zlib.decompressobj(15 if has_header else -15)
        if self._inflate.eof or not self._input:
            self._input = b""
            return b""
        data, self._input = self._input, b""
        piece = _inflated(self._inflate, data, max_bytes)
        self._input = self._inflate.unconsumed_tail
        return piece

    @property
    def complete(self) -> bool:
        return not self._started or (self._inflate is not None and self._inflate.eof)


def _inflated(inflate: Any, data: bytes, max_bytes: int) -> bytes:
    try:
        piece: bytes = inflate.decompress(data, max_bytes)
    except zlib.error as error:
        raise BadResponse("the body's compression is damaged") from error
    return piece


class Zstd(_Buffered):
    """RFC 8878, with all frames, over the interface of :mod:`compression.zstd`."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = module
        self._frame = self._new_frame()

    def _new_frame(self) -> Any:
        limit = {self._module.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG}
        return self._module.ZstdDecompressor(options=limit)

    def read(self, max_bytes: int) -> bytes:
        while True:
            if self._frame.eof:
                self._input = self._frame.unused_data + self._input
                if not self._input:
                    return b""
                self._frame = self._new_frame()
            if self._frame.needs_input and not self._input:
                return b""
            data, self._input = self._input, b""
            try:
                piece: bytes = self._frame.decompress(data, max_bytes)
            except self._module.ZstdError as error:
                raise BadResponse("the body's compression is damaged") from error
            if piece:
                return piece

    @property
    def complete(self) -> bool:
        return not self._started or (self._frame.eof and not self._input)


class Brotli(_Buffered):
    """RFC 7932, over the interface of the package ``brotli``."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self._module = module
        self._stream = module.Decompressor()

    def read(self, max_bytes: int) -> bytes:
        while not self._stream.is_finished():
            data = b""
            if self._stream.can_accept_more_data():
                data, self._input = self._input, b""
            try:
                # Output may be waiting inside even where input is accepted.
                piece: bytes = self._stream.process(data, output_buffer_limit=max_bytes)
            except self._module.error as error:
                raise BadResponse("the body's compression is damaged") from error
            if piece:
                return piece
            if not data and not self._input:
                return b""
        self._input = b""
        return b""

    @property
    def complete(self) -> bool:
        return not self._started or bool(self._stream.is_finished())

    def close(self) -> None:
        super().close()
        if hasattr(self._stream, "free"):
            self._stream.free()


@dataclass(frozen=True, slots=True)
class Available:
    """A coding that can be undone. ``prepare`` is awaited before the first use (it may load something)."""

    make: Callable[[], Coding]
    prepare: Callable[[], Awaitable[None]] | None = None


def _find_module(*names: str) -> Any:
    for name in names:
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    return None


def _available() -> dict[str, Available]:
    found = {"gzip": Available(Gzip), "deflate": Available(Deflate)}
    brotli = _find_module("brotli")
    if brotli is not None and hasattr(brotli.Decompressor, "can_accept_more_data"):
        found["br"] = Available(lambda: Brotli(brotli))
    zstd = _find_module("compression.zstd", "backports.zstd")
    if zstd is not None:
        found["zstd"] = Available(lambda: Zstd(zstd))
    return found


_CODINGS = _available()


def register(name: str, coding: Available) -> None:
    """Make a further coding known to this process."""
    _CODINGS[name] = coding


def find(name: str) -> Available | None:
    """The coding of this name (lower case) if this build can undo it."""
    return _CODINGS.get("gzip" if name == "x-gzip" else name)


def accept_encoding() -> str:
    """Value of Accept-Encoding: what this build can undo, in the order in which browsers name them."""
    return ", ".join(name for name in ("gzip", "deflate", "br", "zstd") if name in _CODINGS)
