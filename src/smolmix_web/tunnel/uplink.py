"""How IP packets are put into messages for the exit."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """What the published client does not do. An observer of the mixnet sees none of it; the exit may tell by
    it that this is not the published client. Every exit since release 1.30 understands it."""

    bundling: bool = True
    """Several IP packets in one message, where that costs no more mixnet packets."""
    thrifty_surbs: bool = True
    """No reply SURBs where they would cost a mixnet packet; an exit that runs short asks for more."""
    drop_superseded: bool = True
    """Pure ACKs that a newer one has overtaken in the queue are not sent."""
