"""Packing IP packets into uplink messages.

The published client sends one IP packet per message. Bundling packs more of them into one as long as the
message needs no more mixnet packets than its first IP packet alone: a fragment of a regular mixnet packet
carries 1,604 bytes, and every attached reply SURB takes 460 of them, so that with two SURBs a dozen TCP
acknowledgements travel for the price of one. Sources: sphinx.md sections 14, 15 and 19, ipr.md sections 7
to 9.
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


def take_bundle(queue: deque[bytes], reply_surbs: int, *, bundling: bool) -> list[bytes]:
    """Takes the packets of the next message from the front of a queue that is not empty; order is kept."""
    packets = [queue.popleft()]
    if not bundling:
        return packets
    length = _RECORD_PREFIX + len(packets[0])
    budget = fragments_needed(length, reply_surbs)
    while queue:
        length += _RECORD_PREFIX + len(queue[0])
        if fragments_needed(length, reply_surbs) > budget:
            break
        packets.append(queue.popleft())
    return packets
