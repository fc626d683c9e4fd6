"""Delivery rate: how fast the path really carried data (draft-cheng-iccrg-delivery-rate-estimation).

Each segment remembers how much had been delivered when it left; when it arrives, the difference over the
longer of "time it took to send that" and "time it took to acknowledge that" is one sample.
"""

from __future__ import annotations

from smolmix_web.net.tcp.congestion import AckSample
from smolmix_web.net.tcp.scoreboard import Sent


class DeliveryRate:
    __slots__ = ("_app_limited_until", "_newest", "_round_end", "delivered", "delivered_at", "first_sent_at")

    def __init__(self) -> None:
        self.delivered = 0
        self.delivered_at = 0.0
        self.first_sent_at = 0.0
        self._app_limited_until = 0
        self._round_end = 0
        self._newest: Sent | None = None

    def sent(self, record: Sent, now: float, idle: bool) -> None:
        """A transmission; ``idle``: nothing was in flight before."""
        if idle:
            self.first_sent_at = self.delivered_at = now
        record.first_sent_at = self.first_sent_at
        record.delivered_at = self.delivered_at
        record.delivered = self.delivered
        record.app_limited = self._app_limited_until > 0

    def app_limited(self, in_flight: int) -> None:
        """The application has nothing more to send although the window is open."""
        self._app_limited_until = max(self.delivered + in_flight, 1)

    def arrived(self, record: Sent, size: int, now: float, minimum_rtt: float) -> None:
        """One newly acknowledged or SACKed record."""
        self.delivered += size
        self.delivered_at = now
        if record.transmissions > 1 and now - record.sent_at < minimum_rtt:
            return  # the original arrived; what was noted when it was sent again does not fit
        newest = self._newest
        if newest is None or record.sent_at > newest.sent_at or record.delivered > newest.delivered:
            self._newest = record

    def fill(self, sample: AckSample, minimum_rtt: float) -> None:
        """Complete the sample of this ACK after all of its records went through :meth:`arrived`."""
        if self._app_limited_until and self.delivered > self._app_limited_until:
            self._app_limited_until = 0
        sample.delivered = self.delivered
        newest, self._newest = self._newest, None
        sample.delivery_rate = 0.0
        sample.round_start = False
        if newest is None:
            return
        self.first_sent_at = newest.sent_at
        sample.delivered_prior = newest.delivered
        sample.app_limited = newest.app_limited
        interval = max(newest.sent_at - newest.first_sent_at, self.delivered_at - newest.delivered_at)
        sample.interval = interval
        if newest.delivered >= self._round_end:
            sample.round_start = True
            self._round_end = self.delivered
        # A sample over less than a round trip is an artefact of acknowledgement compression.
        if interval >= minimum_rtt and interval > 0:
            sample.delivery_rate = (self.delivered - newest.delivered) / interval
