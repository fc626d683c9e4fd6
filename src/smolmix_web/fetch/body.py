"""Content decoding of a response body, piece by piece, with a limit against decompression bombs."""

from __future__ import annotations

from smolmix_web.fetch import codings
from smolmix_web.fetch.errors import BadResponse, BodyTooLarge

MAX_RATIO = 200
"""Decoded bytes per byte received at most, once RATIO_FREE_BYTES are through. Text reaches 10 to 30, sparse
tables 100; deflate's own maximum, which bombs use, is 1032, and zstd and br go far beyond."""

RATIO_FREE_BYTES = 64 * 1024 * 1024
"""Decoded bytes that are always allowed, whatever the ratio."""

MAX_CODINGS = 4

_PIECE = 64 * 1024


class Decoder:
    """Undoes the content codings of one response.

    :meth:`feed` what arrived, :meth:`read` until it gives nothing, and so on; :meth:`finish` at the end.
    Nothing is decoded ahead of what is read, so a bomb fills no memory that nobody asked for.
    """

    def __init__(self, layers: list[codings.Coding]) -> None:
        """:param layers: innermost coding last, as Content-Encoding names them."""
        self._layers = layers[::-1]
        self._received = 0
        self._decoded = [0] * len(layers)

    def feed(self, data: bytes) -> None:
        """More of the body as it came."""
        self._received += len(data)
        self._layers[0].feed(data)

    def read(self, max_bytes: int = _PIECE) -> bytes:
        """About ``max_bytes`` decoded bytes at most, ``b""`` when more input is needed.

        :raises BadResponse: damaged. :raises BodyTooLarge: a bomb.
        """
        return self._pull(len(self._layers) - 1, max_bytes)

    def _pull(self, index: int, max_bytes: int) -> bytes:
        layer = self._layers[index]
        while not (piece := layer.read(max_bytes)):
            below = self._pull(index - 1, _PIECE) if index else b""
            if not below:
                return b""
            layer.feed(below)
        self._decoded[index] += len(piece)
        # Measured against what came over the network, so that nested codings cannot multiply the ratio.
        allowed = max(RATIO_FREE_BYTES, self._received * MAX_RATIO)
        if self._decoded[index] > allowed:
            raise BodyTooLarge(f"the body unpacks to more than {allowed} bytes")
        return piece

    def finish(self) -> None:
        """:raises BadResponse: the encoded stream is not complete."""
        if not all(layer.complete for layer in self._layers):
            raise BadResponse("the compressed body is incomplete")

    def close(self) -> None:
        """Free the codings. Idempotent."""
        for layer in self._layers:
            layer.close()


async def decoder_for(content_encodings: list[str]) -> Decoder | None:
    """The decoder of a response's Content-Encoding values, or None for an unencoded or unknown one.

    An unknown coding passes undecoded, as in browsers. :raises BadResponse: absurdly many codings.
    """
    names = [name.strip().lower() for value in content_encodings for name in value.split(",")]
    found = [codings.find(name) for name in names if name not in ("", "identity")]
    known = [coding for coding in found if coding is not None]
    if not known or len(known) < len(found):
        return None
    if len(known) > MAX_CODINGS:
        raise BadResponse("too many content codings")
    for coding in known:
        if coding.prepare is not None:
            await coding.prepare()
    return Decoder([coding.make() for coding in known])
