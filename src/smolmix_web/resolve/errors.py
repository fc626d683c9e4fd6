"""What can go wrong with a name."""

from __future__ import annotations

from smolmix_web.errors import NetworkError


class ResolutionFailed(NetworkError):
    """No resolver gave a usable answer."""

    code = "DNS_FAILED"


class NameNotFound(ResolutionFailed):
    """The name does not exist (NXDOMAIN), or has no address of the wanted kind."""

    code = "DNS_NOT_FOUND"
    retriable = False


class NoAddress(NameNotFound):
    """The name exists, but has no address of the wanted family."""

    code = "DNS_NO_ADDRESS"
