"""Encrypted control requests and their answers (spec gateway.md section 10).

Plaintext is JSON with the variant's name as its only key, sealed under the shared key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal, get_args

from smolmix_web import json_fields as fields
from smolmix_web.errors import MalformedError

SessionType = Literal["Vpn", "Mixnet", "Wasm", "Native", "Socks5", "Unknown"]


@dataclass(frozen=True, slots=True)
class ForgetMe:
    """``client``: delete stored messages, bandwidth and key. ``stats`` has no effect at the gateway."""

    client: bool
    stats: bool


@dataclass(frozen=True, slots=True)
class RememberMe:
    """Tags statistics only."""

    session_type: SessionType


@dataclass(frozen=True, slots=True)
class ForgetMeAck:
    pass


@dataclass(frozen=True, slots=True)
class RememberMeAck:
    pass


ControlRequest = ForgetMe | RememberMe
ControlResponse = ForgetMeAck | RememberMeAck


def parse_control_request(plaintext: bytes) -> ControlRequest:
    """:raises MalformedError: not such a request."""
    name, content = _parse_variant(plaintext)
    if name == "ForgetMe":
        return ForgetMe(fields.boolean(content, "client"), fields.boolean(content, "stats"))
    if name == "RememberMe":
        session_type = fields.string(content, "session_type")
        if session_type in get_args(SessionType):
            return RememberMe(session_type)  # type: ignore[arg-type]
        raise MalformedError("session_type: unknown")
    raise MalformedError("unknown control request")


def emit_control_request(request: ControlRequest) -> bytes:
    if isinstance(request, ForgetMe):
        return _emit_variant("ForgetMe", {"client": request.client, "stats": request.stats})
    return _emit_variant("RememberMe", {"session_type": request.session_type})


def parse_control_response(plaintext: bytes) -> ControlResponse:
    """:raises MalformedError: not such a response."""
    name, _ = _parse_variant(plaintext)
    if name == "ForgetMeAck":
        return ForgetMeAck()
    if name == "RememberMeAck":
        return RememberMeAck()
    raise MalformedError("unknown control response")


def emit_control_response(response: ControlResponse) -> bytes:
    return _emit_variant("ForgetMeAck" if isinstance(response, ForgetMeAck) else "RememberMeAck", {})


def _parse_variant(plaintext: bytes) -> tuple[str, fields.JsonObject]:
    message = fields.parse_object(plaintext)
    if len(message) != 1:
        raise MalformedError("not one variant")
    name, content = next(iter(message.items()))
    if not isinstance(content, dict):
        raise MalformedError("a variant holds an object")
    return name, content


def _emit_variant(name: str, content: dict[str, object]) -> bytes:
    return json.dumps({name: content}, separators=(",", ":")).encode()
