"""requests through the tunnel.

::

    with BlockingTunnel.connect() as tunnel, session(tunnel) as web:
        web.get("https://example.com/")

The tunnel makes the connections, keeps them, and undoes content codings; requests does redirects, cookies and
authentication as ever.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from http.client import HTTPMessage
from types import SimpleNamespace
from typing import Any, cast

import requests
from requests.adapters import BaseAdapter
from requests.cookies import extract_cookies_to_jar
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from smolmix_web.adapters.blocking import BlockingResponse, BlockingTunnel, pieces_of
from smolmix_web.adapters.headers import for_client, for_tunnel
from smolmix_web.errors import DeadlineError, OptionError, SmolmixError
from smolmix_web.fetch import FetchResponse, FetchTimeouts
from smolmix_web.tls.errors import TlsError

_PIECE = 64 * 1024
_CONNECTING = ("exit", "resolve", "connect", "tls")


def session(tunnel: BlockingTunnel) -> requests.Session:
    """A ``requests.Session`` that sends everything through ``tunnel`` and looks at no proxy settings.

    The tunnel stays open when the session is closed.
    """
    made = requests.Session()
    made.trust_env = False
    for prefix in ("http://", "https://"):
        made.mount(prefix, MixAdapter(tunnel))
    return made


class MixAdapter(BaseAdapter):
    """For ``Session.mount``. Certificates are always verified; ``proxies`` are not used."""

    def __init__(self, tunnel: BlockingTunnel) -> None:
        super().__init__()
        self._tunnel = tunnel

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: float | tuple[float | None, float | None] | None = None,
        verify: bool | str = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """:param timeout: seconds, for connecting and for reading; None leaves the tunnel's own limits.

        :raises requests.RequestException: its ``__cause__`` is the tunnel's own error, with its ``code``.
        :raises OptionError: ``verify=False``, or a client certificate.
        """
        if verify is False:
            raise OptionError("verify", "certificates are always verified")
        if cert is not None:
            raise OptionError("cert", "there are no client certificates")
        try:
            response = self._tunnel.run(
                self._tunnel.tunnel.fetch(
                    request.url or "",
                    method=request.method or "GET",
                    headers=for_tunnel(_headers(request), "python-requests/"),
                    body=_body(request),
                    redirect="manual",
                    timeouts=_timeouts(timeout),
                    credentials=False,  # requests keeps cookies itself
                )
            )
        except SmolmixError as error:
            raise _translated(error, request) from error
        return self._response(request, response)

    def _response(self, request: requests.PreparedRequest, response: FetchResponse) -> requests.Response:
        headers, message = HTTPHeaderDict(), HTTPMessage()
        for name, value in for_client(response):
            headers.add(name, value)
            message[name] = value
        body = io.BufferedReader(_Body(BlockingResponse(self._tunnel, response)), _PIECE)
        raw = HTTPResponse(
            body=body,
            headers=headers,
            status=response.status,
            version=11,
            reason=response.reason,
            preload_content=False,
            decode_content=False,
            # Only its headers are looked at, by the cookie jar.
            original_response=cast(
                Any, SimpleNamespace(msg=message, isclosed=lambda: True, close=body.close)
            ),
            request_method=request.method,
        )
        made = requests.Response()
        made.status_code = response.status
        made.reason = response.reason
        made.headers = CaseInsensitiveDict(headers)
        made.encoding = get_encoding_from_headers(made.headers)
        made.raw = raw
        made.url = request.url or response.url
        made.request = request
        made.connection = cast(Any, self)  # authentication sends again through it
        extract_cookies_to_jar(made.cookies, request, raw)  # type: ignore[no-untyped-call]
        return made

    def close(self) -> None:
        """Nothing to do: the tunnel belongs to whoever made it."""


class _Body(io.RawIOBase):
    """A response's body as a file; its errors are those that requests expects of urllib3."""

    def __init__(self, response: BlockingResponse) -> None:
        self._response = response

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._response.read_chunk(len(buffer))
        except DeadlineError as error:
            raise ReadTimeoutError(cast(Any, None), self._response.url, str(error)) from error
        except SmolmixError as error:
            raise ProtocolError(str(error), error) from error
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        if not self.closed:
            self._response.close()
        super().close()


def _headers(request: requests.PreparedRequest) -> Iterator[tuple[str, str]]:
    for name, value in request.headers.items():
        yield _text(name), _text(value)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _body(request: requests.PreparedRequest) -> Any:
    body = request.body
    if body is None or isinstance(body, bytes):
        return body
    if isinstance(body, str):
        return body.encode()
    if hasattr(body, "read"):
        return pieces_of(iter(lambda: body.read(_PIECE), b""))
    return pieces_of(body)


def _timeouts(given: float | tuple[float | None, float | None] | None) -> FetchTimeouts:
    connect, read = given if isinstance(given, tuple) else (given, given)
    chosen: dict[str, float] = {}
    if connect is not None:
        chosen |= dict.fromkeys(("resolve", "connect", "tls"), connect)
    if read is not None:
        chosen |= dict.fromkeys(("first_byte", "idle"), read)
    return FetchTimeouts(**chosen)


def _translated(error: SmolmixError, request: requests.PreparedRequest) -> Exception:
    text = str(error)
    if isinstance(error, OptionError):
        kind = requests.exceptions.InvalidURL if error.field == "url" else requests.exceptions.InvalidHeader
        return kind(text, request=request) if error.field in ("url", "headers") else error
    if isinstance(error, DeadlineError):
        timeouts = requests.exceptions
        timed_out = timeouts.ConnectTimeout if error.phase in _CONNECTING else timeouts.ReadTimeout
        return timed_out(text, request=request)
    if isinstance(error, TlsError):
        return requests.exceptions.SSLError(text, request=request)
    return requests.exceptions.ConnectionError(text, request=request)
