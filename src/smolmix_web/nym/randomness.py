"""Numbers drawn from a source of random bytes, so that a seeded source makes a whole run repeatable."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

RandomBytes = Callable[[int], bytes]
_T = TypeVar("_T")


def random_below(random_bytes: RandomBytes, bound: int) -> int:
    """Uniform in ``0 <= x < bound`` for bounds up to 2**16; the bias of the modulo is below 2**-48."""
    return int.from_bytes(random_bytes(8), "big") % bound


def random_choice(random_bytes: RandomBytes, items: Sequence[_T]) -> _T:
    return items[random_below(random_bytes, len(items))]


def random_unit(random_bytes: RandomBytes) -> float:
    """Uniform in ``0 < x <= 1``, 53 bits."""
    return ((int.from_bytes(random_bytes(8), "big") >> 11) + 1) * 2.0**-53


def random_exponential(random_bytes: RandomBytes, mean: float) -> float:
    """Exponentially distributed with the given mean, in the mean's unit; 0 for a mean of 0."""
    return -math.log(random_unit(random_bytes)) * mean if mean > 0 else 0.0
