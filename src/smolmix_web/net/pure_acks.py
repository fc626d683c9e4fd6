"""For queues below the stack: which packets a newer one has made superfluous.

The stack makes an ACK when it is asked for packets, so none of its own waits. A queue between the stack and
the wire (a bundle being filled, a mixnet client under back-pressure) may hold one while newer ones arrive;
since a lone ACK costs as much as a full packet there, it pays to drop the old one. Dropping is safe exactly
when the newer packet of the flow acknowledges more: ACKs are cumulative (RFC 9293 section 3.4), and duplicate
ACKs, which some senders count, as well as D-SACKs, which are sent once, are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from smolmix_web.net.tcp.sequence import before

_TCP = 6
_ACK, _OTHER_FLAGS = 16, 0x2F  # FIN, SYN, RST, PSH, URG


class AckInfo(NamedTuple):
    """``flow`` tells flows and directions apart; ``pure``: the packet carries nothing but the
    acknowledgement."""

    flow: bytes
    ack: int
    pure: bool


def ack_info(packet: bytes) -> AckInfo | None:
    """What a TCP packet acknowledges; ``None`` for anything else. The packet is one that a stack built."""
    if len(packet) < 40:
        return None
    version = packet[0] >> 4
    if version == 4 and packet[9] == _TCP and packet[0] == 0x45:
        start, addresses = 20, packet[12:20]
    elif version == 6 and packet[6] == _TCP and len(packet) >= 60:
        start, addresses = 40, packet[8:40]
    else:
        return None
    flags = packet[start + 13]
    if not flags & _ACK or flags & 0x07:
        return None
    header = (packet[start + 12] >> 4) * 4
    ack = int.from_bytes(packet[start + 8 : start + 12], "big")
    bare = len(packet) == start + header and not flags & _OTHER_FLAGS
    pure = bare and not _has_dsack(packet, start, header, ack)
    return AckInfo(addresses + packet[start : start + 4], ack, pure)


def _has_dsack(packet: bytes, start: int, header: int, ack: int) -> bool:
    """Whether the first SACK block lies below the acknowledgement. Our SACK option is always the last one."""
    position, end = start + 20, start + header
    while position + 2 <= end:
        kind = packet[position]
        if kind == 1:
            position += 1
            continue
        if kind == 0:
            break
        if kind == 5:
            return before(int.from_bytes(packet[position + 2 : position + 6], "big"), ack)
        position += max(packet[position + 1], 2)
    return False


def drop_superseded(packets: Sequence[bytes]) -> list[bytes]:
    """``packets`` in order, without the pure ACKs for which a later packet of the same flow acknowledges
    more."""
    newest: dict[bytes, int] = {}
    kept = []
    for packet in reversed(packets):
        info = ack_info(packet)
        if info is not None:
            later = newest.get(info.flow)
            if later is None or before(later, info.ack):
                newest[info.flow] = info.ack
            elif info.pure and before(info.ack, later):
                continue
        kept.append(packet)
    kept.reverse()
    return kept
