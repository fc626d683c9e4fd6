"""The facade: a tunnel with its states and progress, and everything a page or program does through it."""

from __future__ import annotations

from smolmix_web.tunnel.events import Progress, StateChange, TunnelEvent, TunnelState
from smolmix_web.tunnel.facade import Tunnel
from smolmix_web.tunnel.keystore import StorageError
from smolmix_web.tunnel.messages import MixMessage
from smolmix_web.tunnel.mix_client import MixClient
from smolmix_web.tunnel.payload import MixPayload, decode_payload, encode_payload
from smolmix_web.tunnel.timing import TunnelTiming

__all__ = [
    "MixClient",
    "MixMessage",
    "MixPayload",
    "Progress",
    "StateChange",
    "StorageError",
    "Tunnel",
    "TunnelEvent",
    "TunnelState",
    "TunnelTiming",
    "decode_payload",
    "encode_payload",
]
