"""The figures of all rounds as Markdown: median and spread of both clients, and the ratio of the medians.

What was never done within the limit shows the limit, and bounds the ratio.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from bench.compare.clients import Weight
from bench.compare.rounds import Figure

Rounds = Sequence[dict[str, Figure]]


def mode_table(ours: Rounds, theirs: Rounds) -> str:
    """One row per measure, in the order in which the rounds took them. A ratio below 1 is in our favour."""
    names = list(dict.fromkeys(name for figures in (*ours, *theirs) for name in figures))
    lines = ["| | ours | official | ours / official |", "|---|---|---|---|"]
    for name in names:
        mine, other = _values(name, ours), _values(name, theirs)
        cells = (_cell(name, mine, ours), _cell(name, other, theirs), _ratio(name, ours, theirs))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def weight_table(ours: Weight, theirs: Weight) -> str:
    """What a cold start downloads."""
    lines = ["| download | ours | official | ours / official |", "|---|---|---|---|"]
    for name in ("plain", "gzip", "brotli"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        lines.append(f"| {name} | {mine / 1e6:.2f} MB | {other / 1e6:.2f} MB | {mine / other:.2f} |")
    return "\n".join(lines)


def failures(ours: Rounds, theirs: Rounds) -> str:
    """Why a figure is missing, one line each."""
    lines = []
    for who, rounds in (("ours", ours), ("official", theirs)):
        for number, figures in enumerate(rounds, 1):
            lines += [
                f"- {who}, round {number}, {name}: {value}"
                for name, value in figures.items()
                if isinstance(value, str)
            ]
    return "\n".join(lines)


def _values(name: str, rounds: Rounds) -> list[float]:
    return [value for figures in rounds if isinstance(value := figures.get(name), float)]


def _cell(name: str, values: list[float], rounds: Rounds) -> str:
    failed = sum(isinstance(figures.get(name), str) for figures in rounds)
    if not values:
        limit = _limit(name, rounds)
        return f"> {limit:g} s" if limit else "failed" if failed else ""
    text = _amount(name, statistics.median(values))
    if len(values) > 1:
        text += f" ({_amount(name, min(values), unit=False)} to {_amount(name, max(values), unit=False)})"
    return f"{text}, {failed} of {len(rounds)} failed" if failed else text


def _amount(name: str, value: float, *, unit: bool = True) -> str:
    if name == "peak memory":
        text, kind = f"{value / 1e6:.0f}", " MB"
    elif name == "CPU, idle":
        text, kind = f"{value * 100:.1f}", " %"
    elif name.startswith("packets"):
        text, kind = f"{value:.0f}", ""
    else:
        text, kind = f"{value:.2f}" if value >= 0.1 else f"{value:.3f}", " s"
    return text + (kind if unit else "")


def _ratio(name: str, ours: Rounds, theirs: Rounds) -> str:
    mine, other, limit = _values(name, ours), _values(name, theirs), _limit(name, theirs)
    if mine and limit is not None:
        return f"< {statistics.median(mine) / limit:.2f}"
    if not mine or not other or not statistics.median(other):
        return ""
    return f"{statistics.median(mine) / statistics.median(other):.2f}"


def _limit(name: str, rounds: Rounds) -> float | None:
    """Seconds within which no round was done, where that is why there is no figure."""
    reasons = [str(figures[name]) for figures in rounds if name in figures]
    found = [_OUT_OF_TIME.fullmatch(reason) for reason in reasons]
    return min((float(one[1]) for one in found if one), default=None) if found and all(found) else None


_OUT_OF_TIME = re.compile(r"not done after (\d+(?:\.\d+)?) s")
