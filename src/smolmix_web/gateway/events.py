"""What the gateway engines tell the layer above."""

from __future__ import annotations

from dataclasses import dataclass, field

from smolmix_web.errors import SmolmixError
from smolmix_web.nym.mixpacket import MixPacket

# -- client ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registered:
    """Keep ``shared_key`` (32 bytes, secret) with the gateway's identity: the next session authenticates."""

    shared_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ready:
    """Packets can be sent. ``bandwidth`` is the balance in bytes."""

    protocol_version: int
    bandwidth: int


@dataclass(frozen=True, slots=True)
class MessagePushed:
    """One payload from the mixnet: an acknowledgement (21 bytes) or a fragment."""

    data: bytes


@dataclass(frozen=True, slots=True)
class OutOfBandwidth:
    """The gateway discarded a packet of ``required`` bytes; a claim is under way."""

    required: int
    available: int


@dataclass(frozen=True, slots=True)
class GatewayComplaint:
    """The gateway answered an upload or a request with an error; the session goes on."""

    message: str


@dataclass(frozen=True, slots=True)
class ForgetMeAcknowledged:
    """The gateway deleted what it had stored of this client."""


@dataclass(frozen=True, slots=True)
class RememberMeAcknowledged:
    pass


@dataclass(frozen=True, slots=True)
class Failed:
    """The session is over; send what ``frames_to_send`` still holds, then close the WebSocket."""

    error: SmolmixError


ClientEvent = (
    Registered
    | Ready
    | MessagePushed
    | OutOfBandwidth
    | GatewayComplaint
    | ForgetMeAcknowledged
    | RememberMeAcknowledged
    | Failed
)

# -- server ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientReady:
    """``client`` (32 bytes, its ed25519 identity) is authenticated on this connection."""

    client: bytes
    protocol_version: int
    registered: bool  # by a handshake just now, rather than by authentication


@dataclass(frozen=True, slots=True)
class PacketUploaded:
    """Forward ``packet`` to its first hop at once."""

    packet: MixPacket


@dataclass(frozen=True, slots=True)
class Dropped:
    """Write what ``frames_to_send`` still holds, then close TCP without a Close frame."""

    reason: str


ServerEvent = ClientReady | PacketUploaded | Dropped
