"""Base58 with Bitcoin's alphabet: the text form of keys, addresses and sender tags."""

from __future__ import annotations

from operator import mul

from smolmix_web.errors import MalformedError

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

# A directory's answers hold thousands of keys: C does the work per character, by a table and sums.
_NO_DIGIT = b"\xff"
_DIGITS = bytes(_ALPHABET.find(chr(code)) % 256 for code in range(256))
_CHUNK = 64  # a key has 44 characters
_POWERS = tuple(58**exponent for exponent in range(_CHUNK + 1))

MAX_TEXT = 8192
"""Longest text accepted, in characters. Conversion takes quadratic time; the longest thing that Nym writes
in base58, a reply SURB with full keys, has about 1,600."""


def encode(data: bytes) -> str:
    """Each leading zero byte becomes one "1"; the rest is a big-endian number."""
    zeros = len(data) - len(data.lstrip(b"\0"))
    number = int.from_bytes(data, "big")
    digits: list[str] = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "1" * zeros + "".join(reversed(digits))


def decode(text: str, length: int | None = None) -> bytes:
    """The inverse of :func:`encode`.

    :param length: bytes that must come out, or None for any.
    :raises MalformedError: a character outside the alphabet, a wrong length, or a text beyond ``MAX_TEXT``.
    """
    if len(text) > MAX_TEXT:
        raise MalformedError(f"base58 text of {len(text)} characters is too long")
    digits = text.encode("ascii", "replace").translate(_DIGITS)
    if _NO_DIGIT in digits:
        raise MalformedError("not base58: character outside the alphabet")
    number = 0
    for start in range(0, len(digits), _CHUNK):
        chunk = digits[start : start + _CHUNK]
        number = number * _POWERS[len(chunk)] + sum(map(mul, reversed(chunk), _POWERS))
    zeros = len(text) - len(text.lstrip("1"))
    data = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    if length is not None and len(data) != length:
        raise MalformedError(f"base58 text holds {len(data)} bytes, {length} wanted")
    return data
