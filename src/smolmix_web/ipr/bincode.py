"""bincode 1.x as the IPR protocol configures it: big-endian, varint integers, trailing bytes rejected.

Every ``pull_x`` has its mirror image ``push_x``. Non-minimal varints are accepted, as the reference decoder
does; we always emit the minimal form. Source: ipr.md section 2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from smolmix_web.errors import MalformedError
from smolmix_web.wire import Reader, Writer

T = TypeVar("T")

# First byte of a varint: a value below 251 stands for itself, these announce a wider integer.
_U16_FOLLOWS = 251
_U32_FOLLOWS = 252
_U64_FOLLOWS = 253

U8_MAX = 0xFF
U16_MAX = 0xFFFF
U32_MAX = 0xFFFFFFFF
U64_MAX = 0xFFFFFFFFFFFFFFFF


def pull_varint(reader: Reader, maximum: int = U64_MAX) -> int:
    """An unsigned integer; ``maximum`` is the largest value of its Rust type (u16, u32, u64).

    :raises MalformedError: truncated, wider than 64 bits, or out of the range of the type
    """
    first = reader.pull_u8()
    if first < _U16_FOLLOWS:
        value = first
    elif first == _U16_FOLLOWS:
        value = reader.pull_u16()
    elif first == _U32_FOLLOWS:
        value = reader.pull_u32()
    elif first == _U64_FOLLOWS:
        value = reader.pull_u64()
    else:  # 254 announces a u128, which no IPR field has; 255 is reserved
        raise MalformedError(f"varint starts with the reserved byte {first}")
    if value > maximum:
        raise MalformedError(f"integer {value} is larger than {maximum}")
    return value


def push_varint(writer: Writer, value: int) -> None:
    if value < _U16_FOLLOWS:
        writer.push_u8(value)
    elif value <= U16_MAX:
        writer.push_u8(_U16_FOLLOWS)
        writer.push_u16(value)
    elif value <= U32_MAX:
        writer.push_u8(_U32_FOLLOWS)
        writer.push_u32(value)
    else:
        writer.push_u8(_U64_FOLLOWS)
        writer.push_u64(value)


def pull_zigzag(reader: Reader) -> int:
    """A signed integer of up to 64 bits: 0, -1, 1, -2 ... are sent as 0, 1, 2, 3 ..."""
    value = pull_varint(reader)
    return value >> 1 if value & 1 == 0 else -(value >> 1) - 1


def push_zigzag(writer: Writer, value: int) -> None:
    push_varint(writer, 2 * value if value >= 0 else -2 * value - 1)


def pull_i8(reader: Reader) -> int:
    value = reader.pull_u8()
    return value - 256 if value > 127 else value


def push_i8(writer: Writer, value: int) -> None:
    writer.push_u8(value & 0xFF)


def pull_bool(reader: Reader) -> bool:
    value = reader.pull_u8()
    if value > 1:
        raise MalformedError(f"boolean byte is {value}")
    return value == 1


def push_bool(writer: Writer, value: bool) -> None:
    writer.push_u8(1 if value else 0)


def pull_byte_string(reader: Reader) -> bytes:
    return reader.pull_bytes(pull_varint(reader))


def push_byte_string(writer: Writer, value: bytes) -> None:
    push_varint(writer, len(value))
    writer.push_bytes(value)


def pull_string(reader: Reader) -> str:
    try:
        return pull_byte_string(reader).decode("utf-8")
    except UnicodeDecodeError:
        raise MalformedError("string is not UTF-8") from None


def push_string(writer: Writer, value: str) -> None:
    push_byte_string(writer, value.encode("utf-8"))


def pull_option(reader: Reader, pull: Callable[[Reader], T]) -> T | None:
    """``Option<T>``: 0 for none, 1 and the value for some."""
    tag = reader.pull_u8()
    if tag > 1:
        raise MalformedError(f"option tag is {tag}")
    return pull(reader) if tag else None


def push_option(writer: Writer, value: T | None, push: Callable[[Writer, T], None]) -> None:
    if value is None:
        writer.push_u8(0)
    else:
        writer.push_u8(1)
        push(writer, value)


def pull_variant(reader: Reader, count: int) -> int:
    """Index of an enum variant, below ``count``."""
    index = pull_varint(reader, U32_MAX)
    if index >= count:
        raise MalformedError(f"enum variant {index} of {count}")
    return index


push_variant = push_varint
