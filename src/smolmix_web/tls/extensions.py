"""Extension blocks and the contents of each extension, as pull/push pairs.

A block is kept as a ``dict`` of type to raw contents in order of appearance, so that an unknown extension
survives a round trip; the functions below turn contents into values and back. Sections are of RFC 8446
unless another RFC is named.
"""

from __future__ import annotations

from collections.abc import Sequence

from smolmix_web.errors import MalformedError
from smolmix_web.wire import Reader, Writer

Extensions = dict[int, bytes]


def pull_extensions(reader: Reader) -> Extensions:
    """Section 4.2. :raises MalformedError: also when a type appears twice."""
    block = reader.pull_block(2)
    found: Extensions = {}
    while block.remaining:
        kind = block.pull_u16()
        if kind in found:
            raise MalformedError(f"extension {kind} appears twice")
        found[kind] = block.pull_bytes(block.pull_u16())
    return found


def push_extensions(writer: Writer, extensions: Extensions) -> None:
    block = Writer()
    for kind, contents in extensions.items():
        block.push_u16(kind)
        block.push_block(contents, 2)
    writer.push_block(block.getvalue(), 2)


# -- lists of 16-bit numbers: groups, signature schemes, versions ----------------------------------


def pull_u16_list(contents: bytes, length_bytes: int = 2) -> list[int]:
    """supported_groups (4.2.7), signature_algorithms (4.2.3); supported_versions (4.2.1) with one byte."""
    reader = Reader(contents)
    block = reader.pull_block(length_bytes)
    reader.expect_end()
    if not block.remaining or block.remaining % 2:
        raise MalformedError("list is empty or has an odd length")
    return [block.pull_u16() for _ in range(block.remaining // 2)]


def push_u16_list(values: Sequence[int], length_bytes: int = 2) -> bytes:
    block = Writer()
    for value in values:
        block.push_u16(value)
    writer = Writer()
    writer.push_block(block.getvalue(), length_bytes)
    return writer.getvalue()


def pull_u16(contents: bytes) -> int:
    """A single number: the server's supported_versions, selected group or identity, record_size_limit."""
    reader = Reader(contents)
    value = reader.pull_u16()
    reader.expect_end()
    return value


def push_u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


# -- server_name (RFC 6066 section 3) --------------------------------------------------------------


def pull_server_name(contents: bytes) -> str:
    reader = Reader(contents)
    names = reader.pull_block(2)
    reader.expect_end()
    if names.pull_u8() != 0:
        raise MalformedError("server_name is not a host name")
    name = names.pull_bytes(names.pull_u16())
    names.expect_end()
    try:
        return name.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedError("server_name is not ASCII") from None


def push_server_name(name: str) -> bytes:
    entry = Writer()
    entry.push_u8(0)  # host_name
    entry.push_block(name.encode("ascii"), 2)
    writer = Writer()
    writer.push_block(entry.getvalue(), 2)
    return writer.getvalue()


# -- ALPN (RFC 7301) -------------------------------------------------------------------------------


def pull_alpn(contents: bytes) -> list[bytes]:
    reader = Reader(contents)
    block = reader.pull_block(2)
    reader.expect_end()
    names = []
    while block.remaining:
        name = block.pull_bytes(block.pull_u8())
        if not name:
            raise MalformedError("empty protocol name")
        names.append(name)
    if not names:
        raise MalformedError("empty protocol list")
    return names


def push_alpn(names: Sequence[bytes]) -> bytes:
    block = Writer()
    for name in names:
        block.push_block(name, 1)
    writer = Writer()
    writer.push_block(block.getvalue(), 2)
    return writer.getvalue()


# -- key_share (4.2.8) -----------------------------------------------------------------------------


def pull_key_share_entry(contents: bytes) -> tuple[int, bytes]:
    """The server's one share: (group, key exchange)."""
    reader = Reader(contents)
    group, share = reader.pull_u16(), reader.pull_bytes(reader.pull_u16())
    reader.expect_end()
    if not share:
        raise MalformedError("empty key share")
    return group, share


def push_key_share_entry(group: int, share: bytes) -> bytes:
    writer = Writer()
    writer.push_u16(group)
    writer.push_block(share, 2)
    return writer.getvalue()


def pull_key_shares(contents: bytes) -> list[tuple[int, bytes]]:
    """The client's shares."""
    reader = Reader(contents)
    block = reader.pull_block(2)
    reader.expect_end()
    shares = []
    while block.remaining:
        group = block.pull_u16()
        shares.append((group, block.pull_bytes(block.pull_u16())))
    return shares


def push_key_shares(shares: Sequence[tuple[int, bytes]]) -> bytes:
    writer = Writer()
    writer.push_block(b"".join(push_key_share_entry(group, share) for group, share in shares), 2)
    return writer.getvalue()


# -- cookie (4.2.2) --------------------------------------------------------------------------------


def pull_cookie(contents: bytes) -> bytes:
    reader = Reader(contents)
    cookie = reader.pull_bytes(reader.pull_u16())
    reader.expect_end()
    if not cookie:
        raise MalformedError("empty cookie")
    return cookie


def push_cookie(cookie: bytes) -> bytes:
    writer = Writer()
    writer.push_block(cookie, 2)
    return writer.getvalue()


# -- pre_shared_key (4.2.11) -----------------------------------------------------------------------


def push_offered_psk(identity: bytes, obfuscated_age: int, binder: bytes) -> bytes:
    """An offer of exactly one identity; the binder comes last, so that it can be cut off and put on."""
    identities = Writer()
    identities.push_block(identity, 2)
    identities.push_u32(obfuscated_age)
    binders = Writer()
    binders.push_block(binder, 1)
    writer = Writer()
    writer.push_block(identities.getvalue(), 2)
    writer.push_block(binders.getvalue(), 2)
    return writer.getvalue()


def pull_offered_psk(contents: bytes) -> tuple[bytes, int, bytes]:
    reader = Reader(contents)
    identities, binders = reader.pull_block(2), reader.pull_block(2)
    reader.expect_end()
    identity, age = identities.pull_bytes(identities.pull_u16()), identities.pull_u32()
    identities.expect_end()
    binder = binders.pull_bytes(binders.pull_u8())
    binders.expect_end()
    return identity, age, binder
