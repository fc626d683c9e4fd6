"""Every error a user of smolmix-web can meet.

Two families, as in h11: :class:`LocalProtocolError` (you called it wrongly) and
:class:`RemoteProtocolError` (they sent something wrong). Time-outs name the phase that ran out.
Each class carries a stable ``code`` that crosses to JavaScript unchanged, and ``retriable``,
which says whether the same call may work when made again.

Layers define finer classes next to where they arise, always derived from one of these.
Nothing secret (keys, payloads, cookies) is ever put into a message.
"""

from __future__ import annotations

from typing import ClassVar


class SmolmixError(Exception):
    """Base of all errors raised by this package."""

    code: ClassVar[str] = "ERROR"
    retriable: ClassVar[bool] = False
    phase: str | None = None
    """What was going on: a wait of a :class:`DeadlineError`, or a phase of a fetch (fetch/timeouts.py)."""


class LocalProtocolError(SmolmixError):
    """The caller broke the rules of an interface (wrong state, wrong argument)."""

    code = "MISUSE"


class OptionError(LocalProtocolError, ValueError):
    """An option, URL or argument is not acceptable; the message names the field."""

    code = "BAD_OPTION"

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field


class TunnelStateError(LocalProtocolError):
    """The tunnel is not in a state in which this call is possible. There is no clearnet fallback."""

    code = "TUNNEL_NOT_READY"
    retriable = True


class FeatureMissing(LocalProtocolError):
    """The assets were built without the part that this call needs; see :mod:`smolmix_web.features`."""

    code = "FEATURE_MISSING"

    def __init__(self, feature: str) -> None:
        super().__init__(f"these assets were built without {feature}; --features of the build brings it")
        self.feature = feature


class RemoteProtocolError(SmolmixError):
    """The peer of a layer (directory, gateway, exit, server) broke its protocol."""

    code = "PEER_PROTOCOL"


class MalformedError(RemoteProtocolError):
    """Bytes that cannot be parsed as what they should be."""

    code = "MALFORMED"


class CryptoError(RemoteProtocolError):
    """A MAC, signature or ciphertext did not verify, or a public key is unusable."""

    code = "CRYPTO"


class DeadlineError(SmolmixError, TimeoutError):
    """A wait ran into its deadline. ``phase`` names the wait, ``seconds`` its length."""

    code = "TIMEOUT"
    retriable = True

    def __init__(self, phase: str, seconds: float) -> None:
        super().__init__(f"{phase}: no answer within {seconds:g} s")
        self.phase: str | None = phase
        self.seconds = seconds


class NetworkError(SmolmixError, OSError):
    """A connection could not be made or was lost."""

    code = "NETWORK"
    retriable = True


class ConnectionRefused(NetworkError):
    """The destination answered the connection attempt with a reset."""

    code = "REFUSED"


class ConnectionReset(NetworkError):
    """The peer reset an established connection."""

    code = "RESET"


class Unreachable(NetworkError):
    """ICMP or the exit said that the destination cannot be reached (policy denials included)."""

    code = "UNREACHABLE"


class TunnelClosed(NetworkError):
    """The tunnel went away under this call."""

    code = "TUNNEL_CLOSED"
