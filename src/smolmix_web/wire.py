"""Bounded reader and writer that every wire format of this package is written over.

A format is a pair of functions, ``pull_x(reader)`` and ``push_x(writer, x)``, written as mirror images.
The reader raises :class:`~smolmix_web.errors.MalformedError` and nothing else.
"""

from __future__ import annotations

from smolmix_web.errors import MalformedError


class Reader:
    """Reads a byte string from front to back; all integers are big-endian unless the name says so."""

    __slots__ = ("_data", "_end", "_pos")

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        self._data = bytes(data)
        self._pos = 0
        self._end = len(self._data)

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self._end - self._pos

    def pull_bytes(self, length: int) -> bytes:
        """The next ``length`` bytes. :raises MalformedError: fewer are left."""
        pos = self._pos
        if length < 0 or length > self._end - pos:
            raise MalformedError(f"truncated: {length} bytes wanted, {self._end - pos} left")
        self._pos = pos + length
        return self._data[pos : pos + length]

    def pull_rest(self) -> bytes:
        """Everything that is left."""
        return self.pull_bytes(self.remaining)

    def pull_uint(self, length: int) -> int:
        return int.from_bytes(self.pull_bytes(length), "big")

    def pull_uint_le(self, length: int) -> int:
        return int.from_bytes(self.pull_bytes(length), "little")

    def pull_u8(self) -> int:
        return self.pull_bytes(1)[0]

    def pull_u16(self) -> int:
        return self.pull_uint(2)

    def pull_u24(self) -> int:
        return self.pull_uint(3)

    def pull_u32(self) -> int:
        return self.pull_uint(4)

    def pull_u64(self) -> int:
        return self.pull_uint(8)

    def pull_block(self, length_bytes: int) -> Reader:
        """A reader over a vector prefixed by its length in ``length_bytes`` bytes (TLS style)."""
        return Reader(self.pull_bytes(self.pull_uint(length_bytes)))

    def expect_end(self) -> None:
        """:raises MalformedError: bytes are left over."""
        if self._pos != self._end:
            raise MalformedError(f"{self._end - self._pos} trailing bytes")


class Writer:
    """Builds a byte string from front to back; integers are big-endian unless the name says so."""

    __slots__ = ("_out",)

    def __init__(self) -> None:
        self._out = bytearray()

    def __len__(self) -> int:
        return len(self._out)

    def push_bytes(self, data: bytes | bytearray | memoryview) -> None:
        self._out += data

    def push_uint(self, value: int, length: int) -> None:
        self._out += value.to_bytes(length, "big")

    def push_uint_le(self, value: int, length: int) -> None:
        self._out += value.to_bytes(length, "little")

    def push_u8(self, value: int) -> None:
        self._out.append(value)

    def push_u16(self, value: int) -> None:
        self._out += value.to_bytes(2, "big")

    def push_u24(self, value: int) -> None:
        self._out += value.to_bytes(3, "big")

    def push_u32(self, value: int) -> None:
        self._out += value.to_bytes(4, "big")

    def push_u64(self, value: int) -> None:
        self._out += value.to_bytes(8, "big")

    def push_block(self, data: bytes | bytearray, length_bytes: int) -> None:
        """A vector prefixed by its length in ``length_bytes`` bytes (TLS style)."""
        self.push_uint(len(data), length_bytes)
        self._out += data

    def getvalue(self) -> bytes:
        return bytes(self._out)
