"""What a node does with one received frame, up to the decision where it goes (spec nodes.md 4). Sans-IO."""

from __future__ import annotations

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.localnet.node_stats import IngressStats
from smolmix_web.localnet.sphinx_keys import SphinxKeyring
from smolmix_web.nym.framing import NodeFrame
from smolmix_web.nym.packets import PacketType
from smolmix_web.sphinx.process import FinalHop, ForwardHop, OpenedHeader, open_header

_MIX = PacketType.MIX


class PacketProcessor:
    """Unwraps Sphinx packets with the right key, once each.

    Replays are counted apart from malformed packets, unlike in the reference, which counts them together.
    """

    __slots__ = ("keyring", "stats")

    def __init__(self, keyring: SphinxKeyring, stats: IngressStats) -> None:
        self.keyring = keyring
        self.stats = stats

    def process(self, frame: NodeFrame) -> ForwardHop | FinalHop | None:
        """The unwrapped packet, or None when it has to be dropped (counted)."""
        opened = self._open(frame)
        if opened is None:
            return None
        try:
            return opened.finish()
        except (CryptoError, MalformedError):
            self.stats.malformed_packets_received += 1
            return None

    def _open(self, frame: NodeFrame) -> OpenedHeader | None:
        if frame.packet_type is _MIX:
            for key in self.keyring.candidates(frame.rotation):
                try:
                    opened = open_header(key.loaded, frame.packet)
                except CryptoError:
                    continue  # made for the other rotation's key, perhaps
                except MalformedError:
                    break
                if key.replay.seen(opened.replay_tag):
                    self.stats.replayed_packets_received += 1
                    return None
                return opened
        self.stats.malformed_packets_received += 1
        return None
