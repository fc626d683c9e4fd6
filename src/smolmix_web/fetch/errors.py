"""What can go wrong with a fetch once the tunnel itself works."""

from __future__ import annotations

from smolmix_web.errors import NetworkError, RemoteProtocolError


class BadResponse(RemoteProtocolError):
    """The server's answer is not HTTP, or breaks its rules."""

    code = "HTTP_BAD_RESPONSE"


class ResponseCutOff(NetworkError):
    """The connection ended before the response was complete (Content-Length or last chunk missing)."""

    code = "HTTP_CUT_OFF"


class BodyTooLarge(RemoteProtocolError):
    """A compressed body unpacks to more than the limit: a decompression bomb."""

    code = "HTTP_BODY_TOO_LARGE"


class RedirectError(RemoteProtocolError):
    """Too many redirects, a redirect that must not be followed, or ``redirect="error"`` met one."""

    code = "HTTP_REDIRECT"
