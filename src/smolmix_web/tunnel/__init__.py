"""The facade: a tunnel with its states and progress, and everything a page or program does through it."""

from __future__ import annotations

from smolmix_web.tunnel.events import Progress, StateChange, TunnelEvent, TunnelState
from smolmix_web.tunnel.facade import Tunnel

__all__ = ["Progress", "StateChange", "Tunnel", "TunnelEvent", "TunnelState"]
