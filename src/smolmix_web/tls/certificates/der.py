"""A strict reader for DER (ITU-T X.690 section 10), as far as X.509 needs it.

Anything that BER allows and DER forbids is refused: indefinite lengths, non-minimal lengths or integers,
booleans other than 00 and FF. Raises :class:`~smolmix_web.errors.MalformedError` and nothing else.
"""

from __future__ import annotations

from calendar import timegm
from datetime import datetime
from functools import lru_cache

from smolmix_web.errors import MalformedError

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
UTF8_STRING, PRINTABLE_STRING, TELETEX_STRING, IA5_STRING = 0x0C, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
UNIVERSAL_STRING, BMP_STRING = 0x1C, 0x1E
SEQUENCE, SET = 0x30, 0x31


def context(number: int, *, constructed: bool = True) -> int:
    """The tag byte of ``[number]``."""
    return 0x80 | (0x20 if constructed else 0) | number


class DerReader:
    """Reads the elements of one constructed value from front to back."""

    __slots__ = ("_data", "_end", "_pos")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._pos = 0
        self._end = len(data)

    @property
    def remaining(self) -> int:
        return self._end - self._pos

    def peek_tag(self) -> int:
        """The next tag byte; -1 at the end."""
        return self._data[self._pos] if self._pos < self._end else -1

    def pull_element(self) -> tuple[int, bytes, bytes]:
        """(tag, contents, whole encoding) of the next element."""
        data, start, end = self._data, self._pos, self._end
        if end - start < 2:
            raise MalformedError("DER: truncated")
        tag, length = data[start], data[start + 1]
        if tag & 0x1F == 0x1F:
            raise MalformedError("DER: tag number above 30")
        body = start + 2
        if length >= 0x80:
            count = length & 0x7F
            if not 1 <= count <= 4 or end - body < count:
                raise MalformedError("DER: bad length")
            length = int.from_bytes(data[body : body + count], "big")
            if length < 0x80 or length >> (8 * (count - 1)) == 0:
                raise MalformedError("DER: length is not minimal")
            body += count
        if length > end - body:
            raise MalformedError("DER: truncated")
        self._pos = stop = body + length
        return tag, data[body:stop], data[start:stop]

    def pull(self, tag: int) -> bytes:
        """Contents of the next element, which must be a ``tag``."""
        found, contents, _ = self.pull_element()
        if found != tag:
            raise MalformedError(f"DER: tag {tag:#04x} expected, {found:#04x} found")
        return contents

    def pull_optional(self, tag: int) -> bytes | None:
        return self.pull(tag) if self.peek_tag() == tag else None

    def pull_encoded(self, tag: int) -> bytes:
        """The next element whole, with its tag and length."""
        found, _, encoded = self.pull_element()
        if found != tag:
            raise MalformedError(f"DER: tag {tag:#04x} expected, {found:#04x} found")
        return encoded

    def pull_sequence(self) -> DerReader:
        return DerReader(self.pull(SEQUENCE))

    def pull_integer(self) -> int:
        return decode_integer(self.pull(INTEGER))

    def pull_oid(self) -> str:
        return decode_oid(self.pull(OID))

    def pull_boolean_default_false(self) -> bool:
        """``BOOLEAN DEFAULT FALSE``: DER forbids to write the default down."""
        contents = self.pull_optional(BOOLEAN)
        if contents is None:
            return False
        if contents != b"\xff":
            raise MalformedError("DER: BOOLEAN is neither TRUE nor absent")
        return True

    def pull_bits(self) -> bytes:
        """A BIT STRING without unused bits."""
        contents = self.pull(BIT_STRING)
        if not contents or contents[0] != 0:
            raise MalformedError("DER: BIT STRING with unused bits")
        return contents[1:]

    def pull_time(self, *, strict: bool = True) -> float:
        """RFC 5280 section 4.1.2.5, as seconds since 1970."""
        tag, contents, _ = self.pull_element()
        return decode_time(tag, contents, strict=strict)

    def expect_end(self) -> None:
        if self._pos != self._end:
            raise MalformedError("DER: trailing data")


def read_whole(data: bytes, tag: int = SEQUENCE) -> DerReader:
    """A reader over the contents of ``data``, which must be exactly one element."""
    outer = DerReader(data)
    inner = outer.pull(tag)
    outer.expect_end()
    return DerReader(inner)


def decode_integer(contents: bytes) -> int:
    if not contents:
        raise MalformedError("DER: empty INTEGER")
    if len(contents) > 1 and (
        (contents[0] == 0 and contents[1] < 0x80) or (contents[0] == 0xFF and contents[1] >= 0x80)
    ):
        raise MalformedError("DER: INTEGER is not minimal")
    return int.from_bytes(contents, "big", signed=True)


@lru_cache(maxsize=512)
def decode_oid(contents: bytes) -> str:
    """Dotted decimal."""
    if not contents or len(contents) > 64 or contents[-1] & 0x80:
        raise MalformedError("DER: bad OBJECT IDENTIFIER")
    arcs: list[int] = []
    value, fresh = 0, True
    for byte in contents:
        if fresh and byte == 0x80:
            raise MalformedError("DER: OBJECT IDENTIFIER is not minimal")
        value = value << 7 | byte & 0x7F
        fresh = not byte & 0x80
        if fresh:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def decode_bit_flags(contents: bytes) -> frozenset[int]:
    """Numbers of the bits that are set in a named BIT STRING, bit 0 being the first."""
    if not contents or contents[0] > 7 or (len(contents) == 1 and contents[0]):
        raise MalformedError("DER: bad BIT STRING")
    unused, octets = contents[0], contents[1:]
    if octets and octets[-1] & ((1 << unused) - 1):
        raise MalformedError("DER: unused bits of a BIT STRING are set")
    # DER drops trailing zero bits of a named list.
    if octets and not octets[-1] >> unused & 1:
        raise MalformedError("DER: trailing zero bits in a BIT STRING")
    return frozenset(8 * i + b for i, octet in enumerate(octets) for b in range(8) if octet & (0x80 >> b))


def decode_time(tag: int, contents: bytes, *, strict: bool = True) -> float:
    """UTCTime until 2049, GeneralizedTime from 2050 on (or at any time, if not ``strict``); both with
    seconds, in Zulu, without fractions.
    """
    if tag == UTC_TIME and len(contents) == 13:
        text = contents.decode("latin-1")
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag == GENERALIZED_TIME and len(contents) == 15:
        text = contents.decode("latin-1")
        if strict and "1950" <= text[:4] < "2050":
            raise MalformedError("DER: GeneralizedTime before 2050")
    else:
        raise MalformedError("DER: bad time")
    digits = text[:-1]
    if text[-1] != "Z" or not (digits.isascii() and digits.isdigit()):
        raise MalformedError("DER: bad time")
    try:
        month, day, hour, minute, second = (int(digits[i : i + 2]) for i in range(4, 14, 2))
        moment = datetime(int(digits[:4]), month, day, hour, minute, second)
    except ValueError:
        raise MalformedError("DER: impossible time") from None
    return float(timegm(moment.timetuple()))
