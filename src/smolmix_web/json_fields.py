"""Typed access to the fields of a parsed JSON object. Each raises MalformedError naming the field.

JSON has fewer types than the protocols carried in it, and Python's ``bool`` is an ``int``: so every field is
checked, as the strict decoders of the reference do. Unknown fields are nobody's business here.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from smolmix_web.errors import MalformedError

JsonObject = dict[str, Any]

_REQUIRED: Final = object()


def parse_object(text: str | bytes) -> JsonObject:
    """The JSON object in ``text``. The error names no part of the input.

    :raises MalformedError: not JSON, nested too deeply, or not an object.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MalformedError(f"not JSON: {type(error).__name__}") from None
    if not isinstance(message, dict):
        raise MalformedError("not a JSON object")
    return message


def string(message: JsonObject, name: str) -> str:
    value = message.get(name)
    if not isinstance(value, str):
        raise MalformedError(f"{name}: a string is wanted")
    return value


def optional_string(message: JsonObject, name: str) -> str | None:
    """A string, or None when absent or null."""
    return None if message.get(name) is None else string(message, name)


def boolean(message: JsonObject, name: str, *, default: bool | object = _REQUIRED) -> bool:
    value = message.get(name, default)
    if not isinstance(value, bool):
        raise MalformedError(f"{name}: true or false is wanted")
    return value


def uint(message: JsonObject, name: str, bits: int, *, default: int | object = _REQUIRED) -> int:
    """An unsigned integer of ``bits`` bits."""
    value = message.get(name, default)
    if type(value) is not int or not 0 <= value < 1 << bits:
        raise MalformedError(f"{name}: an unsigned integer of {bits} bits is wanted")
    return value


def optional_uint(message: JsonObject, name: str, bits: int) -> int | None:
    """An unsigned integer of ``bits`` bits, or None when absent or null."""
    return None if message.get(name) is None else uint(message, name, bits)


def sint(message: JsonObject, name: str) -> int:
    """A signed integer of 64 bits."""
    value = message.get(name)
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise MalformedError(f"{name}: a signed integer of 64 bits is wanted")
    return value


def byte_array(message: JsonObject, name: str, length: int | None = None) -> bytes:
    """Bytes as a JSON array of integers, of exactly ``length`` when given."""
    value = array(message, name)
    if any(type(item) is not int for item in value):
        raise MalformedError(f"{name}: an array of bytes is wanted")
    try:
        data = bytes(value)
    except ValueError:
        raise MalformedError(f"{name}: an array of bytes is wanted") from None
    if length is not None and len(data) != length:
        raise MalformedError(f"{name}: {length} bytes are wanted, not {len(data)}")
    return data


def base64_bytes(message: JsonObject, name: str) -> bytes:
    """Bytes as standard base64 with padding."""
    try:
        return base64.b64decode(string(message, name), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError(f"{name}: not base64") from None


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def array(message: JsonObject, name: str) -> list[Any]:
    value = message.get(name)
    if not isinstance(value, list):
        raise MalformedError(f"{name}: an array is wanted")
    return value


def objects(message: JsonObject, name: str) -> list[JsonObject]:
    """An array of objects."""
    value = array(message, name)
    if not all(isinstance(item, dict) for item in value):
        raise MalformedError(f"{name}: an array of objects is wanted")
    return value


def child(message: JsonObject, name: str) -> JsonObject:
    """An object inside the object."""
    value = message.get(name)
    if not isinstance(value, dict):
        raise MalformedError(f"{name}: an object is wanted")
    return value


def optional_child(message: JsonObject, name: str) -> JsonObject | None:
    """An object inside the object, or None when absent or null."""
    return None if message.get(name) is None else child(message, name)
