"""Content decoding of a response body, piece by piece, with a limit against decompression bombs."""

from __future__ import annotations

import zlib
from typing import Protocol

from smolmix_web.fetch.errors import BadResponse, BodyTooLarge

MAX_RATIO = 1100
"""Decoded bytes per encoded byte at most: deflate's own maximum is 1032 to 1."""

RATIO_FREE_BYTES = 64 * 1024 * 1024
"""Decoded bytes that are always allowed, whatever the ratio."""


class Decoder(Protocol):
    """Turns encoded pieces into decoded ones."""

    def decode(self, data: bytes) -> bytes: ...

    def finish(self) -> bytes:
        """What is left at the end. :raises BadResponse: the encoded stream is not complete."""
        ...


class _ZlibDecoder:
    """gzip and deflate, members one after the other (RFC 1952 2.2). "deflate" is also accepted without zlib
    header, as many servers send it."""

    def __init__(self, name: str) -> None:
        self._raw_possible = name == "deflate"
        self._wbits = 31 if name == "gzip" else 15
        self._inflate = zlib.decompressobj(self._wbits)
        self._encoded = 0
        self._decoded = 0
        self._ended = False

    def decode(self, data: bytes) -> bytes:
        self._encoded += len(data)
        out = bytearray()
        while data:
            if self._ended:
                if not data.strip(b"\0"):
                    break  # padding after the last member
                self._inflate, self._ended = zlib.decompressobj(self._wbits), False
            try:
                budget = max(RATIO_FREE_BYTES, self._encoded * MAX_RATIO) - self._decoded
                piece = self._inflate.decompress(data, max(budget, 0) + 1)
            except zlib.error as error:
                if self._raw_possible and not self._decoded:
                    self._raw_possible, self._wbits = False, -15
                    self._inflate = zlib.decompressobj(self._wbits)
                    continue
                raise BadResponse("the body's compression is damaged") from error
            self._raw_possible = False
            out += piece
            self._decoded += len(piece)
            if len(piece) > budget:
                raise BodyTooLarge(
                    f"the body unpacks to more than {RATIO_FREE_BYTES} bytes and {MAX_RATIO}:1"
                )
            data = self._inflate.unused_data
            self._ended = self._inflate.eof
        return bytes(out)

    def finish(self) -> bytes:
        if self._encoded and not self._inflate.eof:
            raise BadResponse("the compressed body is incomplete")
        return b""


class _Chain:
    def __init__(self, decoders: list[Decoder]) -> None:
        self._decoders = decoders

    def decode(self, data: bytes) -> bytes:
        for decoder in self._decoders:
            data = decoder.decode(data)
        return data

    def finish(self) -> bytes:
        for decoder in self._decoders:
            decoder.finish()
        return b""


def decoder_for(content_encodings: list[str]) -> Decoder | None:
    """The decoder of a response's Content-Encoding values, or None for an unencoded or unknown one.

    An unknown coding passes undecoded, as browsers do.
    """
    names = [name.strip().lower() for value in content_encodings for name in value.split(",") if name.strip()]
    names = [{"x-gzip": "gzip"}.get(name, name) for name in names if name != "identity"]
    if not names or any(name not in ("gzip", "deflate") for name in names):
        return None
    if len(names) > 4:
        raise BadResponse("too many content codings")
    decoders: list[Decoder] = [_ZlibDecoder(name) for name in reversed(names)]
    return decoders[0] if len(decoders) == 1 else _Chain(decoders)
