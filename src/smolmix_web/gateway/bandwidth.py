"""A client's bandwidth account at a gateway (spec gateway.md section 9)."""

from __future__ import annotations

from smolmix_web.gateway.registry import GatewayStorage

FREE_CLAIM = 64 * 1024**3
"""Bytes that one free testnet claim adds."""

UPGRADE_MODE_MINIMUM = 40_000_001
"""Balance shown while metering is suspended: one byte above the client's refill threshold."""

_SECONDS_PER_DAY = 86_400
_FLUSH_AFTER = 512_000
"""Bytes consumed before the balance is written to storage again; a crash forgets at most these."""


class BandwidthAccount:
    """Balance of one client, read from storage once and written back now and then.

    :param unix_time: seconds since 1970, in every call: free bandwidth expires at the end of its UTC day.
    """

    __slots__ = ("_available", "_client", "_expiry_day", "_storage", "_unflushed")

    def __init__(self, storage: GatewayStorage, client: bytes) -> None:
        self._storage = storage
        self._client = client
        self._available, self._expiry_day = storage.load_bandwidth(client)
        self._unflushed = 0

    def available(self, unix_time: float) -> int:
        """Bytes left."""
        if self._available and self._expiry_day < int(unix_time // _SECONDS_PER_DAY):
            self._available = 0
            self.flush()
        return self._available

    def claim_free(self, unix_time: float) -> int:
        """Add one free claim, good until the end of this UTC day. The new balance."""
        self.available(unix_time)
        self._available += FREE_CLAIM
        self._expiry_day = int(unix_time // _SECONDS_PER_DAY)
        self.flush()
        return self._available

    def consume(self, amount: int, unix_time: float) -> bool:
        """Take ``amount`` bytes if they are there; otherwise take nothing and say False."""
        if self.available(unix_time) < amount:
            return False
        self._available -= amount
        self._unflushed += amount
        if self._unflushed >= _FLUSH_AFTER:
            self.flush()
        return True

    def flush(self) -> None:
        """Write the balance to storage."""
        self._unflushed = 0
        self._storage.store_bandwidth(self._client, self._available, self._expiry_day)
