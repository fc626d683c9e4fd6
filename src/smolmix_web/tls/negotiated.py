"""Rules for the server's answers to our extensions that both versions share."""

from __future__ import annotations

from smolmix_web.errors import MalformedError
from smolmix_web.tls import extensions as ext
from smolmix_web.tls.errors import DecodeError, IllegalParameter, UnsupportedExtension
from smolmix_web.tls.record import MAX_PLAINTEXT, RecordLayer
from smolmix_web.tls.registry import ExtensionType


def check_allowed(
    received: ext.Extensions, allowed: frozenset[ExtensionType], offered: frozenset[int]
) -> None:
    """RFC 8446 section 4.2: an answer to nothing is unsupported_extension, one in a wrong message
    illegal_parameter. The cookie is the one extension that a server may send of its own accord.
    """
    for kind, contents in received.items():
        if kind not in offered and not (kind == ExtensionType.COOKIE and kind in allowed):
            raise UnsupportedExtension(f"extension {kind} was not offered")
        if kind not in allowed:
            raise IllegalParameter(f"extension {kind} in a message where it has no place")
        if kind == ExtensionType.SERVER_NAME and contents:
            raise DecodeError("server_name with contents in an answer")  # RFC 6066 section 3


def chosen_alpn(received: ext.Extensions, offered: tuple[str, ...]) -> str | None:
    """RFC 7301 section 3.1: exactly one, and one of ours."""
    contents = received.get(ExtensionType.ALPN)
    if contents is None:
        return None
    names = ext.pull_alpn(contents)
    if len(names) != 1:
        raise MalformedError("the server chose several application protocols")
    name = names[0].decode("latin-1")
    if name not in offered:
        raise IllegalParameter("the server chose an application protocol that was not offered")
    return name


def limit_records(received: ext.Extensions, records: RecordLayer, *, inner_type_bytes: int) -> None:
    """RFC 8449 section 4: the limit counts the content type byte in TLS 1.3."""
    contents = received.get(ExtensionType.RECORD_SIZE_LIMIT)
    if contents is None:
        return
    limit = ext.pull_u16(contents)
    if limit < 64:
        raise IllegalParameter("record size limit below 64")
    records.max_fragment = min(limit - inner_type_bytes, MAX_PLAINTEXT)
