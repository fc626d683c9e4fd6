"""Settings of a Nym client. Defaults without another reason are the published client's (sphinx.md 23-26)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from smolmix_web.errors import OptionError
from smolmix_web.nym.packets import PacketSize

_TRAFFIC_SIZES = (PacketSize.REGULAR, PacketSize.EXTENDED8, PacketSize.EXTENDED16, PacketSize.EXTENDED32)


@dataclass(frozen=True, slots=True)
class ClientConfig:
    """All durations are seconds. :raises OptionError: a value out of its range."""

    # Traffic shape
    average_packet_delay: float = 0.015
    """Mean delay at each mix node, of data packets and of the replies to them."""
    average_ack_delay: float = 0.015
    """Mean delay at each mix node, of acks."""
    main_interval: float = 0.020
    """Mean interval of the main stream: one packet per tick, real if any waits, else cover."""
    cover_interval: float = 0.200
    """Mean interval of the separate loop cover stream."""
    disable_poisson: bool = False
    """No main stream: real packets leave as they come, without cover between them."""
    disable_cover: bool = False
    """No separate cover stream; the main stream goes on filling its gaps."""
    max_catch_up: float = 1.0
    """How far behind a stream may lag. Ticks that were due earlier (the machine slept) are left out, where
    the published client would send them all at once."""
    primary_size: PacketSize = PacketSize.REGULAR
    secondary_size: PacketSize | None = None
    """Used for messages that need fewer packets with it."""
    cover_primary_ratio: float = 0.70
    """Share of cover packets of the primary size, if there is a secondary one."""
    disable_mix_hops: bool = False
    """Routes consist of the gateway alone. No anonymity; for tests and measurements."""
    sphinx_version: int = 259
    """Of data packets, acks and reply SURBs."""
    cover_sphinx_version: int = 258
    """Of cover packets and their acks: the published client still writes 258 there (sphinx.md 3.1)."""

    # Retransmission
    ack_wait_multiplier: float = 1.5
    ack_wait_addition: float = 1.5
    """A fragment counts as lost after expected delay x multiplier + addition; later where acks are measured
    to take longer (see :mod:`.ack_timing`)."""
    max_retransmissions: int | None = None
    """Limit for every fragment; None for no limit."""
    reply_max_retransmissions: int | None = 10
    """Limit for replies and SURB requests, unless the call says otherwise."""

    # Reply SURBs, using those of others
    surb_threshold: int = 10
    """SURBs per sender tag kept back, so that more can be requested."""
    max_surb_threshold: int = 200
    """No request while so many are held or on their way."""
    threshold_buffer: int = 0
    """SURBs wanted beyond the need of the moment. The exit inside nym-node uses 50."""
    min_surb_request: int = 10
    max_surb_request: int = 50
    rerequest_wait: float = 10.0
    """After so long without new SURBs a request is repeated, if replies wait for them."""
    drop_wait: float = 300.0
    """After so long without new SURBs the waiting replies are dropped."""
    max_rerequests: int = 5

    # Reply SURBs, giving our own
    max_surbs_per_request: int = 500
    """More than that is given to nobody at once."""
    max_surbs_outstanding: int = 1000
    """No more are given to a peer that is believed to hold so many. Five times what an honest peer of these
    defaults ever asks for; the published client goes on for ever."""
    surbs_per_message: int = 100
    reply_key_age: float = 24 * 3600.0
    """Keys of SURBs that were never used are kept this long."""
    fill_surbs: bool = False
    """Fill the free rest of a repliable message's last packet with reply SURBs instead of zeros."""
    fill_surbs_up_to: int = 120
    """Stop filling when the peer is believed to hold this many: above its wish (at most 110 here, with a
    threshold buffer of 50), below its maximum of 200."""

    # Bounds on memory and work; the published client has none of these
    max_reassembly_bytes: int = 32 << 20
    """Payload of incomplete messages. The largest message of one set has 409 kB."""
    remembered_sets: int = 8192
    """Finished messages remembered at least (at most twice as many), to recognise late copies: over a minute
    at 100 messages/s. More would cost messages: a new one may share its 31-bit id with a remembered one."""
    max_unacknowledged: int = 16384
    """Fragments waiting for an ack; beyond it the oldest is forgotten. About 30 MB of regular packets."""
    max_sender_tags: int = 4096
    """Peers whose SURBs are held; beyond it the one supplied longest ago is forgotten."""
    max_held_surbs: int = 65536
    """SURBs held, all peers together (about 50 MB); beyond it as above."""
    max_held_surbs_per_tag: int = 1000
    """Five times what we ever ask for; further ones are not stored."""
    max_waiting_fragments: int = 4096
    """Reply fragments waiting for SURBs, per peer (6.5 MB); further replies are dropped."""
    max_recipients: int = 1024
    """Recipients remembered with their sender tag; beyond it the one used longest ago is forgotten."""
    max_reply_keys: int = 32768
    """Keys of SURBs given out (about 10 MB); beyond it the oldest is forgotten."""
    max_surb_orders: int = 16
    """SURB requests being answered at a time; further ones are ignored, and will be repeated."""
    surbs_per_call: int = 10
    """Reply SURBs made in one call of the engine while answering a request (about 0.4 ms each)."""
    prepared_headers: int = 24
    """Headers held ready per destination: half a second of the default pace."""
    prepared_surbs: int = 50
    """Reply SURBs held ready: one request's worth."""
    burst_headers: int = 0
    """Headers held ready per destination once the client has been quiet for a moment; 0: no more than usual.
    About 1.3 kB each, and a millisecond of a page's time."""
    burst_surbs: int = 0
    """The same for reply SURBs, about 1 kB each."""
    delivery_events: bool = False
    """Report messages as delivered (all acks came) or abandoned."""

    def __post_init__(self) -> None:
        for name in ("main_interval", "cover_interval", "ack_wait_addition", "max_catch_up"):
            if not getattr(self, name) > 0:
                raise OptionError(name, "must be greater than zero")
        for name in ("average_packet_delay", "average_ack_delay", "ack_wait_multiplier"):
            if getattr(self, name) < 0:
                raise OptionError(name, "must not be negative")
        if self.primary_size not in _TRAFFIC_SIZES:
            raise OptionError("primary_size", "not a size for messages")
        if self.secondary_size is not None and self.secondary_size not in _TRAFFIC_SIZES:
            raise OptionError("secondary_size", "not a size for messages")
        if not 0 <= self.cover_primary_ratio <= 1:
            raise OptionError("cover_primary_ratio", "must lie between 0 and 1")

    def ready_for_bursts(self) -> ClientConfig:
        """With a stock for a download of one megabyte, about 1.5 MB of memory. For clients that send as soon
        as there is something to send: a paced one has time for its headers between two packets."""
        return replace(self, burst_headers=256, burst_surbs=800)

    # The presets of the published clients (sphinx.md 24)

    def fast(self) -> ClientConfig:
        return replace(self, average_packet_delay=0.010, main_interval=0.004, cover_interval=2000.0)

    def no_cover(self) -> ClientConfig:
        return replace(self, disable_poisson=True, disable_cover=True)

    def medium(self) -> ClientConfig:
        return replace(
            self,
            disable_poisson=True,
            cover_interval=5.0,
            average_packet_delay=0.0,
            average_ack_delay=0.0,
            secondary_size=PacketSize.EXTENDED16,
        )
