"""The client's side of bandwidth: when to claim, and which packets have to wait (spec gateway.md 9.2).

The balance is what the gateway said last. Below the threshold one claim at a time is made; packets go out
meanwhile as long as the balance covers them, and wait in a bounded queue when it does not.
"""

from __future__ import annotations

from collections import deque

from smolmix_web.nym.mixpacket import MixPacket

REFILL_THRESHOLD = 40_000_000
"""Bytes of balance below which the client claims more: a fifth of a ticket (section 9.1)."""

MAX_WAITING = 256
"""Packets held back while a claim is awaited with an empty balance."""


class BandwidthRefill:
    """
    :param claim_timeout: seconds until a claim must be answered.
    :param claim_retry: seconds of pause after a claim that did not help.
    """

    def __init__(self, claim_timeout: float, claim_retry: float) -> None:
        self._claim_timeout = claim_timeout
        self._claim_retry = claim_retry
        self._waiting: deque[MixPacket] = deque()
        self._not_before = 0.0
        self.balance = 0
        self.claim_deadline: float | None = None
        """When the claim under way must be answered."""

    @property
    def is_low(self) -> bool:
        return self.balance < REFILL_THRESHOLD

    @property
    def room(self) -> int:
        """Packets that may still wait."""
        return MAX_WAITING - len(self._waiting)

    def reset(self, balance: int) -> int:
        """A session starts or ends. How many waiting packets are lost by that."""
        lost = len(self._waiting)
        self._waiting.clear()
        self._not_before = 0.0
        self.balance = balance
        self.claim_deadline = None
        return lost

    def begin_claim(self, now: float) -> bool:
        """Whether to claim now: not while a claim is under way, nor right after one that did not help."""
        if self.claim_deadline is not None or now < self._not_before:
            return False
        self.claim_deadline = now + self._claim_timeout
        return True

    def end_claim(self, now: float) -> list[MixPacket]:
        """The claim was answered; the packets that the balance covers now."""
        self.claim_deadline = None
        if self.is_low:
            self._not_before = now + self._claim_retry
        covered = []
        budget = self.balance
        while self._waiting and budget >= len(self._waiting[0].packet):
            budget -= len(self._waiting[0].packet)
            covered.append(self._waiting.popleft())
        return covered

    def admit(self, packet: MixPacket) -> bool:
        """Whether to upload the packet at once; otherwise it waits here (there must be ``room``)."""
        if self._waiting or self.balance < len(packet.packet):
            self._waiting.append(packet)
            return False
        return True

    def retry_at(self) -> float | None:
        """When to claim again because packets wait; None while a claim is under way or nothing waits."""
        return self._not_before if self._waiting and self.claim_deadline is None else None
