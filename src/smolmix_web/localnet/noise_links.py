"""Links between nodes under Noise, and when they are (spec nodes.md 3.1).

Noise is decided per peer from the directory. Whoever opens a connection looks up the exact address; who
accepts one knows only the peer's IP address: if any listed node with a Noise key has it, the handshake is
mandatory. So nodes that share an address either all have keys or none has.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from smolmix_web.errors import MalformedError
from smolmix_web.localnet.directory_link import KnownNode
from smolmix_web.localnet.links import LinkChannel
from smolmix_web.localnet.listener import InboundChannel
from smolmix_web.localnet.noise import MAX_PLAINTEXT, TAG_SIZE, NoiseInitiator, NoiseResponder
from smolmix_web.localnet.noise_frames import (
    NoiseFrame,
    NoiseFrameDecoder,
    NoiseFrameType,
    emit_noise_frame,
)
from smolmix_web.nym.addresses import NodeAddress

HANDSHAKE_TIMEOUT = 1.5
"""Seconds for the complete handshake."""


class NoiseLinkChannel(LinkChannel):
    """The initiator's side of a link."""

    encrypts = True

    def __init__(self, static_secret: bytes, responder_key: bytes) -> None:
        self._handshake = NoiseInitiator(static_secret, responder_key, secrets.token_bytes)
        self._decoder = NoiseFrameDecoder()

    def start(self) -> bytes:
        return emit_noise_frame(NoiseFrame(NoiseFrameType.HANDSHAKE, self._handshake.opening()))

    @property
    def is_open(self) -> bool:
        return self._handshake.cipher is not None

    def receive_data(self, data: bytes) -> bytes:
        self._decoder.receive_data(data)
        frame = self._decoder.next_frame()
        if frame is None:
            return b""
        if frame.frame_type is not NoiseFrameType.HANDSHAKE:
            raise MalformedError("received a non-handshake message during noise handshake")
        last = self._handshake.receive_answer(frame.message)
        return emit_noise_frame(NoiseFrame(NoiseFrameType.HANDSHAKE, last))

    def seal(self, data: bytes) -> bytes:
        cipher = self._handshake.cipher
        if cipher is None:
            raise AssertionError("nothing is sent before the handshake is over")
        frames = []
        for start in range(0, len(data), MAX_PLAINTEXT):
            message = cipher.encrypt(b"", data[start : start + MAX_PLAINTEXT])
            frames.append(emit_noise_frame(NoiseFrame(NoiseFrameType.DATA, message)))
        return b"".join(frames)


class NoiseInboundChannel(InboundChannel):
    """The responder's side of a link."""

    def __init__(self, static_secret: bytes) -> None:
        self._handshake = NoiseResponder(static_secret, secrets.token_bytes)
        self._decoder = NoiseFrameDecoder()
        self._answered = False

    @property
    def deadline(self) -> float | None:
        return HANDSHAKE_TIMEOUT

    @property
    def is_open(self) -> bool:
        return self._handshake.cipher is not None

    def receive_data(self, data: bytes) -> tuple[bytes, bytes]:
        self._decoder.receive_data(data)
        stream, answer = b"", b""
        while (frame := self._decoder.next_frame()) is not None:
            cipher = self._handshake.cipher
            if cipher is not None:
                if frame.frame_type is not NoiseFrameType.DATA or len(frame.message) < TAG_SIZE:
                    raise MalformedError("not a noise data frame")
                stream += cipher.decrypt(b"", frame.message)
            elif frame.frame_type is not NoiseFrameType.HANDSHAKE:
                raise MalformedError("received a non-handshake message during noise handshake")
            elif self._answered:
                self._handshake.receive_last(frame.message)
            else:
                self._answered = True
                reply = self._handshake.receive_opening(frame.message)
                answer += emit_noise_frame(NoiseFrame(NoiseFrameType.HANDSHAKE, reply))
        return stream, answer


class NoisePolicy:
    """Chooses the channel of every connection of one node.

    :param static_secret: the node's Noise key, 32 bytes; None switches Noise off at this node.
    """

    def __init__(self, static_secret: bytes | None) -> None:
        self._secret = static_secret
        self._keys: dict[NodeAddress, bytes] = {}
        self._addresses: frozenset[str] = frozenset()

    def update(self, nodes: Iterable[KnownNode]) -> None:
        """The directory's list of nodes."""
        listed = list(nodes)
        self._keys = {
            NodeAddress(ip, node.address.port): node.noise_key
            for node in listed
            if node.noise_key is not None
            for ip in node.ip_addresses
        }
        self._addresses = frozenset(address.ip for address in self._keys)

    def outgoing(self, address: NodeAddress) -> LinkChannel:
        key = self._keys.get(address)
        if self._secret is None or key is None:
            return LinkChannel()
        return NoiseLinkChannel(self._secret, key)

    def incoming(self, peer_ip: str) -> InboundChannel:
        if self._secret is None or peer_ip.removeprefix("::ffff:") not in self._addresses:
            return InboundChannel()
        return NoiseInboundChannel(self._secret)
