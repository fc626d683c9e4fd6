"""What a client counts."""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web.nym.reassembly import ReassemblyStats


@dataclass(slots=True)
class MalformedStats:
    """Pushed messages that were dropped, by what was wrong with them."""

    ack: int = 0
    ciphertext: int = 0
    """Too short, or an unusable ephemeral key."""
    fragment: int = 0
    message: int = 0
    reply_without_surb: int = 0
    """A "reply" that came by no SURB of ours: a stranger wrote it."""
    surb_request: int = 0
    """A request for SURBs from somebody who is not entitled to any."""


@dataclass(slots=True)
class ClientStats:
    """Counters since the start; ``surbs_stock`` is what is held right now."""

    real_sent: int = 0
    """Packets with a fragment, retransmissions included."""
    retransmissions: int = 0
    cover_sent: int = 0
    cover_skipped: int = 0
    """Ticks of the cover stream that met a full connection."""
    unroutable: int = 0
    """Times a fragment could not be sent because the topology had no route for it."""
    abandoned: int = 0
    """Fragments given up: retransmission limit, no SURBs, or too many waiting for acks."""

    pushes: int = 0
    acks_received: int = 0
    acks_unmatched: int = 0
    """For fragments acknowledged or forgotten before."""
    ack_round_trip: float = 0.0
    """Seconds from a fragment's leaving to its acknowledgement, smoothed (RFC 6298's 1/8); only of fragments
    sent once. 0 before the first one."""
    acks_cover: int = 0
    cover_received: int = 0
    fragments_received: int = 0
    duplicates: int = 0
    """Fragments that came by a reply SURB already used."""
    messages_sent: int = 0
    messages_received: int = 0

    surbs_issued: int = 0
    """Reply SURBs that we made and sent to others."""
    surbs_answered: int = 0
    """Of these, how many came back with a reply."""
    surbs_received: int = 0
    """Reply SURBs of others."""
    surbs_used: int = 0
    surbs_requested: int = 0
    surbs_discarded: int = 0
    """Reply SURBs of others that aged, or for which there was no room."""
    surbs_stock: int = 0
    surb_requests_ignored: int = 0
    replies_dropped: int = 0
    """Reply fragments given up, or never queued, for lack of SURBs."""

    malformed: MalformedStats = field(default_factory=MalformedStats)
    reassembly: ReassemblyStats = field(default_factory=ReassemblyStats)

    def note_round_trip(self, seconds: float) -> None:
        """A fragment that was sent once has been acknowledged."""
        known = self.ack_round_trip
        self.ack_round_trip = seconds if known == 0.0 else known + (seconds - known) / 8
