"""The congestion control interface, and the registry of policies by name.

The connection calls, for each ACK that delivers something: :meth:`CongestionControl.on_ack`; when loss
detection first declares loss in a window: :meth:`on_loss`; on a retransmission time-out: :meth:`on_timeout`;
when the loss turns out to have been reordering: :meth:`undo`. The policy answers with ``window`` (bytes in
flight allowed) and ``pacing_rate`` (bytes a second, ``None``: no pacing).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from smolmix_web.errors import OptionError

INFINITE = 1 << 62


class AckSample:
    """What one ACK says. One object per connection is reused for every ACK."""

    __slots__ = (
        "acked",
        "app_limited",
        "delivered",
        "delivered_prior",
        "delivery_rate",
        "in_flight",
        "in_flight_prior",
        "in_recovery",
        "interval",
        "lost",
        "now",
        "round_start",
        "rtt",
        "rtt_count",
        "rtt_sum",
        "smoothed_rtt",
        "window_limited",
    )

    def __init__(self) -> None:
        self.now = 0.0
        self.acked = 0
        """Bytes newly acknowledged or SACKed."""
        self.lost = 0
        """Bytes newly declared lost."""
        self.in_flight = 0
        self.in_flight_prior = 0
        self.rtt: float | None = None
        """Of the most recently sent segment this ACK delivers, ``None`` if that is ambiguous."""
        self.rtt_sum = 0.0
        self.rtt_count = 0
        """Sum and number of the round trips of all segments this ACK tells about; their mean times the rate
        is what is in flight on average."""
        self.smoothed_rtt = 0.0
        self.in_recovery = False
        self.window_limited = False
        """The congestion window held the sender back since the last ACK."""
        self.delivery_rate = 0.0
        """Bytes a second over the sample's interval; 0.0: no valid sample."""
        self.interval = 0.0
        self.app_limited = False
        self.delivered = 0
        """Bytes delivered over the connection's life."""
        self.delivered_prior = 0
        """The same when the most recently sent segment of this ACK left."""
        self.round_start = False
        """This ACK is the first for a segment sent after the last round began."""


class CongestionControl:
    """Base: holds the window; subclasses decide."""

    name: ClassVar[str] = ""

    __slots__ = (
        "initial_window",
        "mss",
        "pacing_rate",
        "slow_start_threshold",
        "window",
    )

    def __init__(self, mss: int, initial_segments: int) -> None:
        self.mss = mss
        # RFC 6928 section 2
        self.window = min(initial_segments * mss, max(2 * mss, initial_segments * 1460))
        self.initial_window = self.window
        self.slow_start_threshold = INFINITE
        self.pacing_rate: float | None = None

    @property
    def in_slow_start(self) -> bool:
        return self.window < self.slow_start_threshold

    def set_mss(self, mss: int) -> None:
        self.mss = mss

    def on_ack(self, sample: AckSample) -> None:
        raise NotImplementedError

    def on_loss(self, in_flight: int, now: float) -> None:
        """Loss was detected and this is a new loss event (once a round trip)."""
        raise NotImplementedError

    def on_timeout(self, in_flight: int, now: float) -> None:
        raise NotImplementedError

    def on_recovered(self, now: float) -> None:
        """All data outstanding at the loss event has been acknowledged."""

    def undo(self, now: float) -> None:
        """The last :meth:`on_loss` or :meth:`on_timeout` was a mistake (RFC 4015 section 3.2)."""
        raise NotImplementedError

    def on_idle(self, idle: float, rto: float) -> None:
        """Data is to be sent after ``idle`` seconds with nothing outstanding."""


REGISTRY: dict[str, Callable[[int, int], CongestionControl]] = {}


def register(factory: type[CongestionControl]) -> type[CongestionControl]:
    """Class decorator: make the policy available to :class:`~smolmix_web.net.config.TcpOptions`."""
    REGISTRY[factory.name] = factory
    return factory


def create(name: str, mss: int, initial_segments: int) -> CongestionControl:
    """:raises OptionError: no policy has this name."""
    # Policies register themselves when imported; here, because they import this module.
    from smolmix_web.net.tcp import cubic, mixnet, reno  # noqa: F401

    try:
        factory = REGISTRY[name]
    except KeyError:
        raise OptionError(
            "congestion_control", f"unknown policy; known are {', '.join(sorted(REGISTRY))}"
        ) from None
    return factory(mss, initial_segments)
