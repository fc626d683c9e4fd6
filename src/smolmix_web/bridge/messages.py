"""Every message between the page and the worker: the twin of worker/protocol.js.

A message is JSON plus at most one buffer: the body of a fetch, the data of an upload, the data of a pulled
part. Kinds and field names are those of protocol.js in Python spelling; times are milliseconds, sizes bytes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from smolmix_web.errors import LocalProtocolError, OptionError, SmolmixError
from smolmix_web.fetch.request import RedirectMode

PROTOCOL_VERSION: Final = 2

STREAM: Final = "stream"
"""Body of a fetch that is to be demanded part by part."""


# ---- page to worker ----


@dataclass(frozen=True, slots=True)
class Setup:
    kind: ClassVar[str] = "setup"
    id: int
    options: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Disconnect:
    kind: ClassVar[str] = "disconnect"
    id: int


@dataclass(frozen=True, slots=True)
class Info:
    kind: ClassVar[str] = "info"
    id: int


@dataclass(frozen=True, slots=True)
class Stats:
    kind: ClassVar[str] = "stats"
    id: int


@dataclass(frozen=True, slots=True)
class Fetch:
    kind: ClassVar[str] = "fetch"
    id: int
    url: str
    method: str
    headers: list[tuple[str, str]]
    body: bytes | str | None
    redirect: RedirectMode
    max_redirects: int | None
    timeout: int | None
    timeouts: dict[str, Any] | None
    credentials: bool


@dataclass(frozen=True, slots=True)
class Pull:
    kind: ClassVar[str] = "pull"
    id: int
    target: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Upload:
    kind: ClassVar[str] = "upload"
    target: int
    data: bytes | None
    error: str | None


@dataclass(frozen=True, slots=True)
class Resolve:
    kind: ClassVar[str] = "resolve"
    id: int
    host: str
    family: int
    all: bool
    timeout: int | None


@dataclass(frozen=True, slots=True)
class SocketOpen:
    kind: ClassVar[str] = "socketOpen"
    id: int
    url: str
    protocols: list[str]
    headers: list[tuple[str, str]]
    timeouts: dict[str, Any] | None
    ping_interval: float | None
    max_message_size: int | None


@dataclass(frozen=True, slots=True)
class SocketReceive:
    kind: ClassVar[str] = "socketReceive"
    id: int
    target: int


@dataclass(frozen=True, slots=True)
class SocketSend:
    kind: ClassVar[str] = "socketSend"
    id: int
    target: int
    text: str | None
    data: bytes | None


@dataclass(frozen=True, slots=True)
class SocketClose:
    kind: ClassVar[str] = "socketClose"
    id: int
    target: int
    code: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class MixSend:
    kind: ClassVar[str] = "mixSend"
    id: int
    recipient: str
    data: bytes | None
    reply_surbs: int | None


@dataclass(frozen=True, slots=True)
class MixReply:
    kind: ClassVar[str] = "mixReply"
    id: int
    sender_tag: str
    data: bytes | None


@dataclass(frozen=True, slots=True)
class MixReceive:
    kind: ClassVar[str] = "mixReceive"
    id: int


@dataclass(frozen=True, slots=True)
class Abort:
    kind: ClassVar[str] = "abort"
    target: int


SocketRequest = SocketOpen | SocketReceive | SocketSend | SocketClose
MixRequest = MixSend | MixReply | MixReceive
Request = Setup | Disconnect | Info | Stats | Fetch | Pull | Resolve | SocketRequest | MixRequest
ToWorker = Request | Upload | Abort

TO_WORKER: Final[dict[str, type[ToWorker]]] = {
    message.kind: message
    for message in (
        *(Setup, Disconnect, Info, Stats, Fetch, Pull, Upload, Resolve),
        *(SocketOpen, SocketReceive, SocketSend, SocketClose),
        *(MixSend, MixReply, MixReceive, Abort),
    )
}
"""By kind. ``boot`` is missing: boot.js serves it before there is Python."""

_BUFFER_FIELD: Final = {
    "fetch": "body",
    "upload": "data",
    "socketSend": "data",
    "mixSend": "data",
    "mixReply": "data",
}


# ---- worker to page ----


@dataclass(frozen=True, slots=True)
class Failure:
    """An error on its way to the page."""

    name: str
    code: str
    message: str
    retriable: bool = False
    phase: str | None = None
    field: str | None = None


@dataclass(frozen=True, slots=True)
class ResultMessage:
    """``data`` travels beside the JSON and arrives as ``value.data``."""

    kind: ClassVar[str] = "result"
    id: int
    value: Any = None
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class FailureMessage:
    kind: ClassVar[str] = "failure"
    id: int
    error: Failure


@dataclass(frozen=True, slots=True)
class DemandMessage:
    kind: ClassVar[str] = "demand"
    target: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class EventMessage:
    kind: ClassVar[str] = "event"
    event: str
    detail: dict[str, Any]


ToPage = ResultMessage | FailureMessage | DemandMessage | EventMessage

TO_PAGE: Final[dict[str, type[ToPage]]] = {
    message.kind: message for message in (ResultMessage, FailureMessage, DemandMessage, EventMessage)
}


# ---- crossing ----


def parse_message(text: str, buffer: bytes | None) -> ToWorker:
    """A message of the page. :raises LocalProtocolError: it is none (page and worker files do not match)."""
    try:
        given = json.loads(text)
        kind = given.pop("kind")
        message_type = TO_WORKER[kind]
        if buffer is not None:
            given[_BUFFER_FIELD[kind]] = buffer
        arguments = {snake_case(name): value for name, value in given.items()}
        if "headers" in arguments:
            arguments["headers"] = [(name, value) for name, value in arguments["headers"]]
        return message_type(**arguments)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LocalProtocolError("a message of the page is not of this protocol") from error


def emit_message(message: ToPage) -> tuple[str, bytes | None]:
    """JSON text and buffer of a message to the page."""
    out: dict[str, Any] = {"kind": message.kind}
    for item in fields(message):
        if item.name != "data":
            out[camel_case(item.name)] = getattr(message, item.name)
    data = message.data if isinstance(message, ResultMessage) else None
    try:
        return _to_json(out), data
    except ValueError:  # JSON knows neither infinity nor NaN; JavaScript's own JSON writes null for them.
        return _to_json(json.loads(json.dumps(out, default=_plain), parse_constant=lambda _: None)), data


def describe(error: BaseException) -> Failure:
    """What the page is told about an error.

    Texts of errors that are not ours are not passed on: they are defects, and might hold anything.
    """
    if isinstance(error, SmolmixError):
        return Failure(
            name=type(error).__name__,
            code=error.code,
            message=str(error),
            retriable=error.retriable,
            phase=error.phase,
            field=error.field if isinstance(error, OptionError) else None,
        )
    return Failure("InternalError", "INTERNAL", f"internal error ({type(error).__name__})")


def camel_case(name: str) -> str:
    """``max_bytes`` -> ``maxBytes``."""
    return re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), name)


def snake_case(name: str) -> str:
    """``maxBytes`` -> ``max_bytes``."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def _to_json(value: Any) -> str:
    return json.dumps(value, default=_plain, separators=(",", ":"), allow_nan=False)


def _plain(value: Any) -> Any:
    """Dataclasses, enums and sets inside of details, for JSON."""
    if hasattr(value, "__dataclass_fields__"):
        return {camel_case(name): getattr(value, name) for name in value.__dataclass_fields__}
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if hasattr(value, "value"):
        return value.value
    return str(value)
