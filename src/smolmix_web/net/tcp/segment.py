"""TCP segments (RFC 9293 section 3.1) and their options: parse and build, side by side."""

from __future__ import annotations

import struct

from smolmix_web.errors import MalformedError

FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32

HEADER_SIZE = 20
TIMESTAMPS_SIZE = 12

_HEADER = struct.Struct(">HHIIHHHH")
_TIMESTAMPS = struct.Struct(">III")
# NOP, NOP, kind 8, length 10: the layout of RFC 7323 appendix A, which every stack sends.
_TIMESTAMPS_PREFIX = 0x0101080A

_END, _NOP, _MSS, _WINDOW_SCALE, _SACK_PERMITTED, _SACK, _TIMESTAMPS_KIND = 0, 1, 2, 3, 4, 5, 8


class Segment:
    """One parsed segment. ``seq`` and ``ack`` are the 32-bit numbers of the wire, ``window`` is unscaled."""

    __slots__ = (
        "ack",
        "destination_port",
        "flags",
        "mss",
        "payload",
        "sack",
        "sack_permitted",
        "seq",
        "source_port",
        "timestamps",
        "window",
        "window_scale",
    )

    def __init__(
        self,
        source_port: int = 0,
        destination_port: int = 0,
        seq: int = 0,
        ack: int = 0,
        flags: int = 0,
        window: int = 0,
        payload: bytes = b"",
        *,
        mss: int | None = None,
        window_scale: int | None = None,
        sack_permitted: bool = False,
        sack: tuple[tuple[int, int], ...] = (),
        timestamps: tuple[int, int] | None = None,
    ) -> None:
        self.source_port = source_port
        self.destination_port = destination_port
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.payload = payload
        self.mss = mss
        self.window_scale = window_scale
        self.sack_permitted = sack_permitted
        self.sack = sack
        self.timestamps = timestamps

    def __repr__(self) -> str:
        names = "".join(
            name
            for bit, name in ((SYN, "S"), (FIN, "F"), (RST, "R"), (PSH, "P"), (ACK, "."))
            if self.flags & bit
        )
        return (
            f"<Segment {self.source_port}>{self.destination_port} [{names}] seq={self.seq} ack={self.ack}"
            f" win={self.window} len={len(self.payload)} sack={list(self.sack)} ts={self.timestamps}>"
        )


def parse_segment(packet: bytes, offset: int, end: int, pseudo: int) -> Segment:
    """Parse ``packet[offset:end]``.

    :param pseudo: sum of the addresses and the protocol number (:func:`smolmix_web.net.ip.pseudo_sum`, length
        0).
    :raises MalformedError: truncated, an impossible data offset or option length, or a wrong checksum.
    """
    length = end - offset
    if length < HEADER_SIZE:
        raise MalformedError("TCP: truncated header")
    number = int.from_bytes(packet[offset:end], "big")
    if ((number << 8 if length & 1 else number) + pseudo + length) % 0xFFFF:
        raise MalformedError("TCP: wrong checksum")
    source_port, destination_port, seq, ack, offset_flags, window, _sum, _urgent = _HEADER.unpack_from(
        packet, offset
    )
    header = (offset_flags >> 12) * 4
    if not HEADER_SIZE <= header <= length:
        raise MalformedError("TCP: impossible data offset")
    segment = Segment(
        source_port, destination_port, seq, ack, offset_flags & 0x3F, window, packet[offset + header : end]
    )
    if header == HEADER_SIZE + TIMESTAMPS_SIZE:
        prefix, value, echo = _TIMESTAMPS.unpack_from(packet, offset + HEADER_SIZE)
        if prefix == _TIMESTAMPS_PREFIX:
            segment.timestamps = (value, echo)
            return segment
    if header != HEADER_SIZE:
        _parse_options(segment, packet[offset + HEADER_SIZE : offset + header])
    return segment


def _parse_options(segment: Segment, data: bytes) -> None:
    """Unknown options are skipped (RFC 9293 MUST-6); a wrong length of a known one makes it unknown."""
    position, size = 0, len(data)
    while position < size:
        kind = data[position]
        if kind == _END:
            return
        if kind == _NOP:
            position += 1
            continue
        if position + 2 > size or data[position + 1] < 2 or position + data[position + 1] > size:
            raise MalformedError("TCP: impossible option length")
        length = data[position + 1]
        value = data[position + 2 : position + length]
        if kind == _MSS and length == 4:
            segment.mss = int.from_bytes(value, "big")
        elif kind == _WINDOW_SCALE and length == 3:
            # RFC 7323 section 2.3: a larger shift counts as 14.
            segment.window_scale = min(value[0], 14)
        elif kind == _SACK_PERMITTED and length == 2:
            segment.sack_permitted = True
        elif kind == _SACK and length >= 10 and length % 8 == 2:
            numbers = struct.unpack(f">{len(value) // 4}I", value)
            segment.sack = tuple(zip(numbers[::2], numbers[1::2], strict=True))
        elif kind == _TIMESTAMPS_KIND and length == 10:
            segment.timestamps = (
                int.from_bytes(value[:4], "big"),
                int.from_bytes(value[4:], "big"),
            )
        position += length


def build_options(
    *,
    mss: int | None = None,
    window_scale: int | None = None,
    sack_permitted: bool = False,
    sack: tuple[tuple[int, int], ...] = (),
    timestamps: tuple[int, int] | None = None,
) -> bytes:
    """Options padded to whole words; SACK edges are 32-bit numbers of the wire. At most 40 bytes are used."""
    out = b""
    if mss is not None:
        out += struct.pack(">BBH", _MSS, 4, mss)
    if window_scale is not None:
        out += bytes((_NOP, _WINDOW_SCALE, 3, window_scale))
    if sack_permitted:
        out += bytes((_NOP, _NOP, _SACK_PERMITTED, 2))
    if timestamps is not None:
        out += _TIMESTAMPS.pack(_TIMESTAMPS_PREFIX, *timestamps)
    if sack:
        out += struct.pack(
            f">BBBB{2 * len(sack)}I",
            _NOP,
            _NOP,
            _SACK,
            2 + 8 * len(sack),
            *(edge for block in sack for edge in block),
        )
    return out


def build_timestamps(value: int, echo: int) -> bytes:
    """The option block of every segment after the handshake."""
    return _TIMESTAMPS.pack(_TIMESTAMPS_PREFIX, value, echo)


def build_segment(
    pseudo: int,
    source_port: int,
    destination_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes = b"",
    payload: bytes | bytearray = b"",
) -> bytes:
    """A segment with its checksum; ``pseudo`` as in :func:`parse_segment`. ``seq`` and ``ack`` are masked
    here."""
    seq &= 0xFFFF_FFFF
    ack &= 0xFFFF_FFFF
    header = HEADER_SIZE + len(options)
    offset_flags = header << 10 | flags
    size = len(payload)
    number = int.from_bytes(payload, "big")
    total = (
        (number << 8 if size & 1 else number)
        + pseudo
        + header
        + size
        + source_port
        + destination_port
        + seq
        + ack
        + offset_flags
        + window
    )
    if options:
        total += int.from_bytes(options, "big")
    head = _HEADER.pack(source_port, destination_port, seq, ack, offset_flags, window, -total % 0xFFFF, 0)
    return b"".join((head, options, payload))
