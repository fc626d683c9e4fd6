"""Settings of the stack and of one TCP connection, each with unit, default and reason."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TcpOptions:
    """How one TCP connection behaves. Times are seconds, sizes bytes."""

    no_delay: bool = True
    """``TCP_NODELAY``: do not hold a small segment until all is acknowledged (Nagle). asyncio's default too;
    at 1 s of round trip Nagle costs more than the packet it saves."""

    congestion_control: str = "mixnet"
    """Name in :data:`smolmix_web.net.tcp.congestion.REGISTRY`: ``mixnet``, ``cubic`` or ``reno``."""

    receive_buffer_limit: int = 4 * MIB
    """Auto-tuning may grow the receive buffer this far: 2 s of round trip at 2 MB/s."""

    receive_buffer_initial: int = 256 * 1024
    """Auto-tuning starts here. The window in our SYN is unscaled and says 65,535; the first ACK says this."""

    send_buffer_limit: int = 4 * MIB
    """The send buffer follows the congestion window, this far at most."""

    window_scale: bool = True
    timestamps: bool = True
    sack: bool = True
    rack: bool = True
    """RACK-TLP (RFC 8985). Without it loss is three duplicate ACKs (RFC 6675)."""

    sparse_acks: bool = True
    """Acknowledge about six times a round trip instead of every second segment; see tcp/acking.py."""

    connect_timeout: float = 75.0
    """RFC 9293 asks for at least 3 minutes of SYNs by default, BSD and browsers give up after 75 s; so do
    we."""

    user_timeout: float = 120.0
    """Data unacknowledged for so long ends the connection (RFC 5482; R2 of RFC 9293 is at least 100 s)."""

    max_rto: float = 15.0
    """Retransmission time-outs double up to this (Linux's ``TCP_RTO_MAX_MS``; RFC 6298 says 60 s or more).
    What goes silent on a mixnet is a gateway or a node being replaced, seldom congestion, and every doubling
    is time that is lost after it is back."""

    keepalive_idle: float | None = None
    """Idle seconds before the first probe; ``None`` is off (RFC 9293 MUST-25: off by default)."""

    keepalive_interval: float = 15.0
    keepalive_count: int = 8

    initial_window_segments: int = 10
    """RFC 6928."""

    max_segment_size: int | None = None
    """Upper limit for the MSS in either direction; ``None``: what the MTU allows."""


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Limits and defaults of one :class:`~smolmix_web.net.stack.Stack`."""

    tcp: TcpOptions = field(default_factory=TcpOptions)
    hop_limit: int = 64

    receive_memory_limit: int = 64 * MIB
    """Bytes received and not yet read by the application, over all connections; never exceeded. From half of
    it on windows stay small; what does not fit is dropped unacknowledged (see memory.py)."""

    max_connections: int = 16_384
    """Connections of all states but TIME-WAIT."""

    max_time_wait: int = 4_096
    """TIME-WAIT entries; the oldest leaves early when there are more."""

    time_wait: float = 60.0
    """2 MSL. RFC 9293 suggests an MSL of 2 minutes and leaves it to the implementer; Linux waits 60 s in
    all."""

    fin_wait_2: float = 60.0
    """A closed (not half-closed) connection waits this long for the peer's FIN, as Linux does."""

    ephemeral_ports: tuple[int, int] = (32_768, 60_999)
    """First and last port for outgoing connections (RFC 6056 section 3.2 asks for a wide range)."""

    reassembly_limit: int = MIB
    """Bytes of IP fragments held over all incomplete packets."""

    reassembly_timeout: float = 30.0
    """RFC 8200 section 4.5 says 60 s, RFC 1122 60 to 120 s, Linux 30 s for IPv4; a mixnet path adds seconds
    only."""

    udp_queue_limit: int = 256 * 1024
    """Bytes of datagrams waiting in one UDP socket; newer ones are dropped, as by every kernel."""

    control_queue_limit: int = 1_024
    """Packets that no connection keeps (datagrams, ICMP, resets) waiting to be sent."""

    icmp_per_second: int = 100
    """ICMP errors and resets for unknown packets we send (RFC 4443 section 2.4 f)."""
