"""The streams of packets to the gateway: paced data, cover in its gaps, loop cover (sphinx.md 24)."""

from __future__ import annotations

import math

from smolmix_web.errors import CryptoError
from smolmix_web.nym.config import ClientConfig
from smolmix_web.nym.mixpacket import MixPacket
from smolmix_web.nym.outbox import Outbox
from smolmix_web.nym.outgoing import OutgoingFragment
from smolmix_web.nym.pacing import (
    CONNECTION_SLOTS,
    MainStream,
    PoissonMainStream,
    PoissonStream,
    UnpacedMainStream,
)
from smolmix_web.nym.preparer import PacketPreparer
from smolmix_web.nym.randomness import RandomBytes
from smolmix_web.nym.stats import ClientStats
from smolmix_web.nym.topology import NoRouteError


class Traffic:
    """``start`` once there is a topology; then :meth:`packets` as often as ``poll_at`` says."""

    def __init__(
        self,
        config: ClientConfig,
        stats: ClientStats,
        preparer: PacketPreparer,
        outbox: Outbox,
        random_bytes: RandomBytes,
    ) -> None:
        self._config = config
        self._stats = stats
        self._preparer = preparer
        self._outbox = outbox
        self._main: MainStream
        if config.disable_poisson:
            self._main = UnpacedMainStream()
        else:
            self._main = PoissonMainStream(
                config.main_interval, random_bytes, max_catch_up=config.max_catch_up
            )
        self._cover = PoissonStream(config.cover_interval, random_bytes, max_catch_up=config.max_catch_up)

    def start(self, now: float) -> None:
        self._main.start(now)
        self._cover.start(now)

    def poll_at(self, now: float) -> float:
        """Instant of the next tick of either stream."""
        return min(self._main.next_at(len(self._outbox.queue), now), self._cover_at())

    def packets(self, now: float, limit: int, backlog: int) -> list[MixPacket]:
        """What is due; see ``NymClient.packets_to_send``."""
        packets: list[MixPacket] = []
        queue = self._outbox.queue
        while len(packets) < limit:
            main_at, cover_at = self._main.next_at(len(queue), now), self._cover_at()
            if min(main_at, cover_at) > now:
                break
            if cover_at < main_at:
                self._cover.advance(now)
                self._append_cover(packets, now)
                continue
            self._main.advance(now)
            if not self._append_real(packets, now) and self._main.fills_with_cover:
                self._append_cover(packets, now)
        is_blocked = limit <= 0 and self._main.next_at(len(queue), now) <= now
        self._main.observe(max(backlog, CONNECTION_SLOTS) if is_blocked else backlog, now)
        while self._cover_at() <= now:
            self._cover.advance(now)
            self._stats.cover_skipped += 1
        return packets

    def _cover_at(self) -> float:
        return math.inf if self._config.disable_cover else self._cover.tick_at

    def _append_real(self, packets: list[MixPacket], now: float) -> bool:
        """The next fragment that has a route; those without are tried again when their time is over."""
        while (fragment := self._outbox.pop(now)) is not None:
            try:
                packet, delay_ns = self._prepare(fragment, now)
            except (NoRouteError, CryptoError):
                self._stats.unroutable += 1
                self._outbox.sent(fragment, 0, now)
                continue
            self._outbox.sent(fragment, delay_ns, now)
            self._stats.real_sent += 1
            packets.append(packet)
            return True
        return False

    def _prepare(self, fragment: OutgoingFragment, now: float) -> tuple[MixPacket, int]:
        data, identifier, size = fragment.data, fragment.identifier, fragment.size
        if fragment.recipient is not None:
            return self._preparer.data_packet(fragment.recipient, data, identifier, size, now)
        assert fragment.surb is not None
        prepared = self._preparer.reply_packet(fragment.surb, data, identifier, size, now)
        fragment.surb = None
        self._stats.surbs_used += 1
        return prepared

    def _append_cover(self, packets: list[MixPacket], now: float) -> None:
        try:
            packets.append(self._preparer.cover_packet(now))
        except (NoRouteError, CryptoError):
            self._stats.unroutable += 1
            return
        self._stats.cover_sent += 1
