"""Making links between nodes bad on purpose, repeatably."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ImpairmentConfig:
    """Properties of every link between two nodes. Probabilities per packet, times in seconds."""

    delay: float = 0.0
    jitter: float = 0.0  # added uniformly in [0, jitter)
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0  # probability of being held back by up to ``reorder_delay``
    reorder_delay: float = 0.05
    seed: int = 0

    @property
    def is_perfect(self) -> bool:
        """Nothing is impaired."""
        return not (self.delay or self.jitter or self.loss or self.duplicate or self.reorder)


class Impairment:
    """Decides the fate of each packet.

    :param name: distinguishes the nodes of one network, so that they do not fail in step.
    """

    def __init__(self, config: ImpairmentConfig, name: str) -> None:
        self._config = config
        self._random = random.Random(f"{config.seed}/{name}")

    def fate(self) -> tuple[float, ...]:
        """Delays, in seconds, of the copies to send: none for a loss, two for a duplicate."""
        config, draw = self._config, self._random.random
        if draw() < config.loss:
            return ()
        delays = (self._delay(),)
        return (*delays, self._delay()) if draw() < config.duplicate else delays

    def _delay(self) -> float:
        config, draw = self._config, self._random.random
        delay = config.delay + config.jitter * draw()
        if draw() < config.reorder:
            delay += config.reorder_delay * draw()
        return delay
