"""A policy for paths whose delays are random by design and whose losses do not mean congestion."""

from __future__ import annotations

from smolmix_web.net.tcp.congestion import register
from smolmix_web.net.tcp.cubic import Cubic


@register
class Mixnet(Cubic):
    name = "mixnet"
