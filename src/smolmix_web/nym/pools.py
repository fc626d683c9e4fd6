"""Things that are expensive to make and can be made before they are needed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from smolmix_web.errors import SmolmixError

_T = TypeVar("_T")

RECENT = 60.0
"""Seconds after its last use during which a pool is refilled."""
MAX_POOLS = 32
"""Beyond it the pool used longest ago goes: a client talks to one exit and itself, an exit by SURBs."""
MAX_STOCK = 4096
"""Items in all pools above which :meth:`PoolSet.stock_up` makes no more; about 5 MB."""


@dataclass(slots=True)
class _Pool:
    make: Callable[[], Any]
    target: int
    reserve: int
    used_at: float
    items: deque[Any] = field(default_factory=deque)


class PoolSet:
    """Pools by key. An item is handed out once."""

    def __init__(self) -> None:
        # In order of the last use.
        self._pools: dict[Hashable, _Pool] = {}

    def __len__(self) -> int:
        return sum(len(pool.items) for pool in self._pools.values())

    def take(self, key: Hashable, make: Callable[[], _T], target: int, now: float, *, reserve: int = 0) -> _T:
        """An item, made ahead or right now.

        :param make: equal keys come with equivalent functions.
        :param target: items that :meth:`refill` keeps ready.
        :param reserve: items that :meth:`stock_up` fills up to.
        """
        pool = self._pools.pop(key, None)
        if pool is None:
            if len(self._pools) >= MAX_POOLS:
                del self._pools[next(iter(self._pools))]
            pool = _Pool(make, target, max(target, reserve), now)
        self._pools[key] = pool
        pool.used_at = now
        item: _T = pool.items.popleft() if pool.items else make()
        return item

    def refill(self, now: float, budget: int) -> int:
        """Makes up to ``budget`` items, always for the emptiest pool; returns how many."""
        return self._fill(now, budget, RECENT, lambda pool: pool.target)

    def stock_up(self, now: float, budget: int, recent: float) -> int:
        """The same up to the reserve.

        :param recent: seconds since the last use of a pool that is still filled.
        """
        return self._fill(now, min(budget, MAX_STOCK - len(self)), recent, lambda pool: pool.reserve)

    def _fill(self, now: float, budget: int, recent: float, level: Callable[[_Pool], int]) -> int:
        pools = [pool for pool in self._pools.values() if now - pool.used_at <= recent and level(pool) > 0]
        made = 0
        while made < budget and pools:
            pool = min(pools, key=lambda pool: len(pool.items) / level(pool))
            if len(pool.items) >= level(pool):
                break
            try:
                pool.items.append(pool.make())
            except SmolmixError:
                # No route for this one: leave it alone until somebody asks for it again.
                pool.used_at = -math.inf
                pools.remove(pool)
                continue
            made += 1
        return made

    def clear(self) -> None:
        """Throws the items away and keeps the demand."""
        for pool in self._pools.values():
            pool.items.clear()
