"""Fragments: a message is cut into sets of at most 255 pieces, each filling one packet (sphinx.md 15).

A message beyond one set becomes a chain of sets. The last fragment of a set then names the next set and the
first fragment of a set names the previous one; such a *linked* fragment has a longer header.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from smolmix_web.errors import MalformedError
from smolmix_web.nym.acks import SURB_ACK_LENGTH
from smolmix_web.nym.packets import PacketSize
from smolmix_web.nym.payload import PREFIX_LENGTH
from smolmix_web.nym.randomness import RandomBytes
from smolmix_web.wire import Reader, Writer

UNLINKED_HEADER = 7
LINKED_HEADER = 10
MAX_FRAGMENTS = 255
"""Fragments of one set."""
IDENTIFIER_LENGTH = 5
COVER_IDENTIFIER = bytes(IDENTIFIER_LENGTH)
"""Stands in the ack of a cover packet; no fragment has it, as set ids are not zero."""

_FLAG = 1 << 31
_SET_ID_MAX = _FLAG - 1


@dataclass(frozen=True, slots=True)
class Fragment:
    """One piece.

    :ivar set_id: 1 to 2**31-1.
    :ivar total: fragments in the set, 1 to 255.
    :ivar position: of this one, 1 to ``total``.
    :ivar previous_set: id of the set before, only in the first fragment of a set that continues a message.
    :ivar next_set: id of the set behind, only in the 255th fragment of a set that is continued.
    """

    set_id: int
    total: int
    position: int
    payload: bytes = field(repr=False)
    previous_set: int | None = None
    next_set: int | None = None

    @property
    def identifier(self) -> bytes:
        """The 5 bytes by which an ack names the fragment (15.6)."""
        return fragment_identifier(self.set_id, self.position)

    def to_bytes(self) -> bytes:
        writer = Writer()
        writer.push_u32(_FLAG | self.set_id)
        writer.push_u8(self.total)
        writer.push_u8(self.position)
        link = self.next_set if self.previous_set is None else self.previous_set
        if link is None:
            writer.push_u8(0)
        else:
            writer.push_u32(_FLAG | link)
        writer.push_bytes(self.payload)
        return writer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Fragment:
        """:raises MalformedError: truncated, or numbers that no sender of ours could have written."""
        reader = Reader(data)
        set_id = _pull_set_id(reader, reader.pull_u8())
        total, position, kind = reader.pull_u8(), reader.pull_u8(), reader.pull_u8()
        if position == 0 or position > total:
            raise MalformedError(f"fragment {position} of {total}")
        if kind == 0:
            return cls(set_id, total, position, reader.pull_rest())
        link = _pull_set_id(reader, kind)
        if link == set_id:
            raise MalformedError("fragment linked to its own set")
        if position == 1:
            return cls(set_id, total, position, reader.pull_rest(), previous_set=link)
        if total == position == MAX_FRAGMENTS:
            return cls(set_id, total, position, reader.pull_rest(), next_set=link)
        raise MalformedError(f"link in fragment {position} of {total}")


def _pull_set_id(reader: Reader, first: int) -> int:
    word = first << 24 | reader.pull_u24()
    set_id = word & _SET_ID_MAX
    if not word & _FLAG or set_id == 0:
        raise MalformedError("bad set id")
    return set_id


def fragment_identifier(set_id: int, position: int) -> bytes:
    return (set_id << 8 | position).to_bytes(IDENTIFIER_LENGTH, "big")


def fragment_length(size: PacketSize) -> int:
    """P: bytes of a serialised fragment in a packet of that size (1,611 for regular)."""
    return size.plaintext - SURB_ACK_LENGTH - PREFIX_LENGTH


def unlinked_capacity(size: PacketSize) -> int:
    """U: bytes of message in an ordinary fragment (1,604 for regular)."""
    return fragment_length(size) - UNLINKED_HEADER


def linked_capacity(size: PacketSize) -> int:
    """K: bytes of message in a linked fragment (1,601 for regular)."""
    return fragment_length(size) - LINKED_HEADER


def count_sets(length: int, unlinked: int) -> int:
    """Sets for a message of ``length`` bytes with U = ``unlinked`` (15.3)."""
    whole = MAX_FRAGMENTS * unlinked
    link = LINKED_HEADER - UNLINKED_HEADER
    if length <= whole:
        return 1
    ends = 2 * (whole - link)
    return 2 + max(0, -(-(length - ends) // (whole - 2 * link)))


def count_fragments(length: int, fragment: int) -> tuple[int, int]:
    """(fragments, free bytes in the last one) of a message of ``length`` > 0 bytes with P = ``fragment``."""
    unlinked, linked = fragment - UNLINKED_HEADER, fragment - LINKED_HEADER
    sets = count_sets(length, unlinked)
    full = (sets - 1) * MAX_FRAGMENTS
    left = length
    if sets > 1:
        links = 2 * sets - 3
        left -= links * linked + (full - links) * unlinked
        if left <= linked:
            return full + 1, linked - left
        full, left = full + 1, left - linked
    last = -(-left // unlinked)
    return full + last, last * unlinked - left


def choose_size(length: int, primary: PacketSize, secondary: PacketSize | None) -> PacketSize:
    """The secondary size if it takes strictly fewer packets, like the published client does (15.4).

    :param length: bytes of the message, its final 0x01 included. The estimate uses P - 1, as theirs.
    """
    if secondary is None:
        return primary
    packets = [count_fragments(length, fragment_length(size) - 1)[0] for size in (primary, secondary)]
    return secondary if packets[1] < packets[0] else primary


def new_set_id(random_bytes: RandomBytes) -> int:
    """Uniform in 1 to 2**31-1."""
    while True:
        number = int.from_bytes(random_bytes(4), "big") & _SET_ID_MAX
        if number:
            return number


def split(message: bytes, size: PacketSize, set_ids: Iterator[int]) -> Iterator[Fragment]:
    """Cuts a padded message, which fills its fragments exactly.

    :param set_ids: fresh set ids; one is taken per set.
    """
    unlinked, linked = unlinked_capacity(size), linked_capacity(size)
    sets = count_sets(len(message), unlinked)
    fragments, free = count_fragments(len(message), fragment_length(size))
    assert free == 0, "pad the message first"
    ids = [next(set_ids) for _ in range(sets)]
    offset = 0
    for index, set_id in enumerate(ids):
        previous_set = ids[index - 1] if index else None
        next_set = ids[index + 1] if index + 1 < sets else None
        total = MAX_FRAGMENTS if next_set is not None else fragments - (sets - 1) * MAX_FRAGMENTS
        for position in range(1, total + 1):
            before = previous_set if position == 1 else None
            behind = next_set if position == MAX_FRAGMENTS else None
            end = offset + (unlinked if before is None and behind is None else linked)
            yield Fragment(set_id, total, position, message[offset:end], before, behind)
            offset = end
