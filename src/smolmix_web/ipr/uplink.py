"""Packing IP packets into uplink messages.

The published client sends one IP packet per message. Bundling packs more of them into one as long as the
message needs no more mixnet packets than its first IP packet alone: a fragment of a regular mixnet packet
carries 1,604 bytes, and every attached reply SURB takes 460 of them, so that with two SURBs a dozen TCP
acknowledgements travel for the price of one.

A full-sized IP packet fits one mixnet packet without SURBs and needs two with the usual two of them. A
thrifty client leaves them out there; an exit that runs short asks for more, fifty at a time. Measured, 1 MB
up: 1,385 packets with two SURBs each, 700 when thrifty; 1 MB down: 280 and 240 packets sent by the client.

Sources: sphinx.md sections 14, 15 and 19, ipr.md sections 7 to 9.
"""

from __future__ import annotations

from collections import deque

from smolmix_web.ipr.lp import HEADER_LENGTH

# Payload of one unlinked fragment in a regular mixnet packet (sphinx.md 15.1).
FRAGMENT_PAYLOAD = 1604
# One reply SURB in the V2 list: encryption key 16, header 348, first hop 32, four payload key seeds of 16.
SURB_LENGTH = 460
# Message kind 1, sender tag 16, content tag 1, head of the SURB list 4, and the byte that begins the padding.
_REPLIABLE_OVERHEAD = 1 + 16 + 1 + 4 + 1
# Version, service provider, variant, and the length of the bundle as a three-byte varint.
_REQUEST_OVERHEAD = 3 + 3
_RECORD_PREFIX = 2


def fragments_needed(bundle_length: int, reply_surbs: int) -> int:
    """Regular mixnet packets that a data message with this bundle takes."""
    length = (
        _REPLIABLE_OVERHEAD + reply_surbs * SURB_LENGTH + HEADER_LENGTH + _REQUEST_OVERHEAD + bundle_length
    )
    return -(-length // FRAGMENT_PAYLOAD)


def affordable_surbs(bundle_length: int, wanted: int) -> int:
    """As many of the ``wanted`` reply SURBs as fit without one more mixnet packet."""
    budget = fragments_needed(bundle_length, 0)
    return next(count for count in range(wanted, -1, -1) if fragments_needed(bundle_length, count) == budget)


def take_bundle(
    queue: deque[bytes], reply_surbs: int, *, bundling: bool, thrifty: bool
) -> tuple[list[bytes], int]:
    """Takes the packets of the next message from the front of a queue that is not empty; order is kept.

    :returns: the packets, and how many reply SURBs to attach
    """
    packets = [queue.popleft()]
    length = _RECORD_PREFIX + len(packets[0])
    if thrifty:
        reply_surbs = affordable_surbs(length, reply_surbs)
    if not bundling:
        return packets, reply_surbs
    budget = fragments_needed(length, reply_surbs)
    while queue:
        length += _RECORD_PREFIX + len(queue[0])
        if fragments_needed(length, reply_surbs) > budget:
            break
        packets.append(queue.popleft())
    return packets, reply_surbs
