"""Content decoding of a response body, piece by piece, with a limit against decompression bombs."""

from __future__ import annotations

import zlib

from smolmix_web.fetch.errors import BadResponse, BodyTooLarge

MAX_RATIO = 200
"""Decoded bytes per byte received at most, once RATIO_FREE_BYTES are through. Text reaches 10 to 30, sparse
tables 100; deflate's own maximum, which bombs use, is 1032."""

RATIO_FREE_BYTES = 64 * 1024 * 1024
"""Decoded bytes that are always allowed, whatever the ratio."""

MAX_CODINGS = 4


class Decoder:
    """Undoes the content codings of one response: :meth:`decode` each piece, then :meth:`finish`."""

    def __init__(self, names: list[str]) -> None:
        self._layers = [_Inflate(name) for name in reversed(names)]
        self._received = 0

    def decode(self, data: bytes) -> bytes:
        """:raises BadResponse: damaged. :raises BodyTooLarge: a bomb."""
        self._received += len(data)
        # Measured against what came over the network, so that nested codings cannot multiply the ratio.
        allowed = max(RATIO_FREE_BYTES, self._received * MAX_RATIO)
        for layer in self._layers:
            data = layer.decode(data, allowed)
        return data

    def finish(self) -> None:
        """:raises BadResponse: the encoded stream is not complete."""
        for layer in self._layers:
            layer.finish()


class _Inflate:
    """gzip with all its members (RFC 1952 section 2.2), and deflate with or without its zlib header (RFC 9110
    section 8.4.1.2 wants it, many servers leave it out)."""

    def __init__(self, name: str) -> None:
        self._may_be_raw = name == "deflate"
        self._wbits = 31 if name == "gzip" else 15
        self._inflate = zlib.decompressobj(self._wbits)
        self._started = False
        self._decoded = 0

    def decode(self, data: bytes, allowed: int) -> bytes:
        out = bytearray()
        while data:
            if self._inflate.eof:
                if not data.strip(b"\0"):
                    break  # padding after the last member
                self._inflate = zlib.decompressobj(self._wbits)
            left = allowed - self._decoded
            try:
                piece = self._inflate.decompress(data, max(left, 0) + 1)
            except zlib.error as error:
                if not self._may_be_raw:
                    raise BadResponse("the body's compression is damaged") from error
                self._may_be_raw, self._wbits = False, -15
                self._inflate = zlib.decompressobj(self._wbits)
                continue
            self._started, self._may_be_raw = True, False
            if len(piece) > left:
                raise BodyTooLarge(f"the body unpacks to more than {allowed} bytes")
            out += piece
            self._decoded += len(piece)
            data = self._inflate.unused_data
        return bytes(out)

    def finish(self) -> None:
        if self._started and not self._inflate.eof:
            raise BadResponse("the compressed body is incomplete")


def decoder_for(content_encodings: list[str]) -> Decoder | None:
    """The decoder of a response's Content-Encoding values, or None for an unencoded or unknown one.

    An unknown coding passes undecoded, as in browsers. :raises BadResponse: absurdly many codings.
    """
    names = [name.strip().lower() for value in content_encodings for name in value.split(",")]
    names = ["gzip" if name == "x-gzip" else name for name in names if name not in ("", "identity")]
    if not names or any(name not in ("gzip", "deflate") for name in names):
        return None
    if len(names) > MAX_CODINGS:
        raise BadResponse("too many content codings")
    return Decoder(names)
