"""JSON control messages between client and gateway, both directions (spec gateway.md section 4).

One JSON object per WebSocket text frame, told apart by its ``type``. Every message is a frozen dataclass;
``parse_request``/``emit_request`` and ``parse_response``/``emit_response`` are mirror images. Parsers are
strict about the types of known fields and ignore unknown ones, as the reference does. The order of fields is
that of the official client.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from smolmix_web import json_fields as fields
from smolmix_web.errors import MalformedError
from smolmix_web.json_fields import JsonObject

# The largest legal message is an ecash credential of a few KiB; as JSON integers that is below this.
MAX_TEXT_LENGTH = 256 * 1024


# -- client -> gateway (section 4.1) --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SupportedProtocolRequest:
    """Ask for the highest protocol version of the gateway. Legal in every state."""


@dataclass(frozen=True, slots=True)
class HandshakePayload:
    """One registration handshake message, either direction. ``data`` is one layout of section 6."""

    protocol_version: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HandshakeError:
    """Either side gives the registration handshake up."""

    message: str


@dataclass(frozen=True, slots=True)
class AuthenticateV2:
    """Signed authentication of a registered client (section 7.1)."""

    protocol_version: int
    client_identity: bytes  # 32 bytes, ed25519
    address_ciphertext: bytes  # 48 bytes: AEAD(shared key, nonce, client_identity)
    nonce: bytes  # 12 bytes
    request_unix_timestamp: int  # whole seconds
    request_signature: bytes  # 64 bytes, ed25519


@dataclass(frozen=True, slots=True)
class EcashCredential:
    """An encrypted ecash ticket (section 9.4)."""

    enc_credential: bytes = field(repr=False)
    iv: bytes


@dataclass(frozen=True, slots=True)
class UpgradeModeJwt:
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClaimFreeTestnetBandwidth:
    """Ask for 64 GiB (section 9.1)."""


@dataclass(frozen=True, slots=True)
class EncryptedRequest:
    """A control request under the shared key (section 10)."""

    ciphertext: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True)
class LegacyAuthenticate:
    """Version 1 authentication; recognised only to be refused by name."""


@dataclass(frozen=True, slots=True)
class LegacyCredential:
    """Coconut credentials; recognised only to be refused by name."""


@dataclass(frozen=True, slots=True)
class UnknownRequest:
    """A well-formed object of a ``type`` that this protocol does not have."""

    type: str


ClientRequest = (
    SupportedProtocolRequest
    | HandshakePayload
    | HandshakeError
    | AuthenticateV2
    | EcashCredential
    | UpgradeModeJwt
    | ClaimFreeTestnetBandwidth
    | EncryptedRequest
    | LegacyAuthenticate
    | LegacyCredential
    | UnknownRequest
)


def parse_request(text: str) -> ClientRequest:
    """The message in one text frame of a client.

    :raises MalformedError: not a JSON object, no ``type``, or a known field missing or of a wrong type.
    """
    message = _parse_object(text)
    name = fields.string(message, "type")
    parse = _REQUEST_PARSERS.get(name)
    return parse(message) if parse is not None else UnknownRequest(name)


def emit_request(request: ClientRequest) -> str:
    """The text frame that carries ``request``."""
    match request:
        case SupportedProtocolRequest():
            return _emit("supportedProtocol")
        case HandshakePayload() | HandshakeError():
            return _emit_handshake(request)
        case AuthenticateV2():
            return _emit(
                "authenticateV2",
                protocolVersion=request.protocol_version,
                clientIdentity=list(request.client_identity),
                addressCiphertext=fields.to_base64(request.address_ciphertext),
                nonce=fields.to_base64(request.nonce),
                requestUnixTimestamp=request.request_unix_timestamp,
                requestSignature=list(request.request_signature),
            )
        case EcashCredential():
            return _emit("ecashCredential", enc_credential=list(request.enc_credential), iv=list(request.iv))
        case UpgradeModeJwt():
            return _emit("upgradeModeJWT", token=request.token)
        case ClaimFreeTestnetBandwidth():
            return _emit("claimFreeTestnetBandwidth")
        case EncryptedRequest():
            return _emit("encryptedRequest", ciphertext=list(request.ciphertext), nonce=list(request.nonce))
        case LegacyAuthenticate():
            return _emit("authenticate", protocol_version=None, address="", enc_address="", iv="")
        case LegacyCredential():
            return _emit("bandwidthCredential", enc_credential=[], iv=[])
        case UnknownRequest():
            return _emit(request.type)


def _parse_handshake_payload(message: JsonObject) -> HandshakePayload:
    return HandshakePayload(
        fields.uint(message, "protocol_version", 8, default=0), fields.byte_array(message, "data")
    )


def _parse_handshake_error(message: JsonObject) -> HandshakeError:
    return HandshakeError(fields.string(message, "message"))


def _parse_authenticate_v2(message: JsonObject) -> AuthenticateV2:
    return AuthenticateV2(
        protocol_version=fields.uint(message, "protocolVersion", 8),
        client_identity=fields.byte_array(message, "clientIdentity", 32),
        address_ciphertext=fields.base64_bytes(message, "addressCiphertext"),
        nonce=fields.base64_bytes(message, "nonce"),
        request_unix_timestamp=fields.uint(message, "requestUnixTimestamp", 64),
        request_signature=fields.byte_array(message, "requestSignature", 64),
    )


def _parse_ecash(message: JsonObject) -> EcashCredential:
    iv_name = (
        "nonce" if "nonce" in message and "iv" not in message else "iv"
    )  # senders write iv, the parser takes both
    return EcashCredential(fields.byte_array(message, "enc_credential"), fields.byte_array(message, iv_name))


_REQUEST_PARSERS: Mapping[str, Callable[[JsonObject], ClientRequest]] = {
    "supportedProtocol": lambda _: SupportedProtocolRequest(),
    "handshakePayload": _parse_handshake_payload,
    "registerHandshakeInitRequest": _parse_handshake_payload,  # same thing, older name
    "handshakeError": _parse_handshake_error,
    "authenticateV2": _parse_authenticate_v2,
    "ecashCredential": _parse_ecash,
    "upgradeModeJWT": lambda message: UpgradeModeJwt(fields.string(message, "token")),
    "claimFreeTestnetBandwidth": lambda _: ClaimFreeTestnetBandwidth(),
    "encryptedRequest": lambda message: EncryptedRequest(
        fields.byte_array(message, "ciphertext"), fields.byte_array(message, "nonce")
    ),
    "authenticate": lambda _: LegacyAuthenticate(),
    "bandwidthCredential": lambda _: LegacyCredential(),
    "bandwidthCredentialV2": lambda _: LegacyCredential(),
}


# -- gateway -> client (section 4.2) --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SupportedProtocolResponse:
    version: int


@dataclass(frozen=True, slots=True)
class RegisterResponse:
    protocol_version: int
    status: bool
    upgrade_mode: bool = False


@dataclass(frozen=True, slots=True)
class AuthenticateResponse:
    protocol_version: int
    status: bool
    bandwidth_remaining: int  # bytes
    upgrade_mode: bool = False


@dataclass(frozen=True, slots=True)
class BandwidthResponse:
    available_total: int  # bytes
    upgrade_mode: bool = False


@dataclass(frozen=True, slots=True)
class SendResponse:
    remaining_bandwidth: int  # bytes
    upgrade_mode: bool = False


@dataclass(frozen=True, slots=True)
class EncryptedResponse:
    ciphertext: bytes
    nonce: bytes


@dataclass(frozen=True, slots=True)
class ErrorResponse:
    message: str


@dataclass(frozen=True, slots=True)
class OutOfBandwidthError:
    """``typedError``: the upload needed more than the balance; the packet was discarded."""

    required: int  # bytes
    available: int  # bytes


@dataclass(frozen=True, slots=True)
class TicketReplayError:
    """``typedError``: the ticket was spent before."""


@dataclass(frozen=True, slots=True)
class UnknownResponse:
    """A well-formed object of a ``type`` that this protocol does not have."""

    type: str


GatewayResponse = (
    SupportedProtocolResponse
    | HandshakePayload
    | HandshakeError
    | RegisterResponse
    | AuthenticateResponse
    | BandwidthResponse
    | SendResponse
    | EncryptedResponse
    | ErrorResponse
    | OutOfBandwidthError
    | TicketReplayError
    | UnknownResponse
)


def parse_response(text: str) -> GatewayResponse:
    """The message in one text frame of a gateway.

    :raises MalformedError: not a JSON object, no ``type``, or a known field missing or of a wrong type.
    """
    message = _parse_object(text)
    name = fields.string(message, "type")
    parse = _RESPONSE_PARSERS.get(name)
    return parse(message) if parse is not None else UnknownResponse(name)


def emit_response(response: GatewayResponse) -> str:
    """The text frame that carries ``response``."""
    match response:
        case SendResponse():  # first: one per uploaded packet
            return _emit(
                "send", remaining_bandwidth=response.remaining_bandwidth, upgrade_mode=response.upgrade_mode
            )
        case SupportedProtocolResponse():
            return _emit("supportedProtocol", version=response.version)
        case HandshakePayload() | HandshakeError():
            return _emit_handshake(response)
        case RegisterResponse():
            return _emit(
                "register",
                protocol_version=response.protocol_version,
                status=response.status,
                upgrade_mode=response.upgrade_mode,
            )
        case AuthenticateResponse():
            return _emit(
                "authenticate",
                protocol_version=response.protocol_version,
                status=response.status,
                bandwidth_remaining=response.bandwidth_remaining,
                upgrade_mode=response.upgrade_mode,
            )
        case BandwidthResponse():
            return _emit(
                "bandwidth", available_total=response.available_total, upgrade_mode=response.upgrade_mode
            )
        case EncryptedResponse():
            return _emit(
                "encryptedResponse", ciphertext=list(response.ciphertext), nonce=list(response.nonce)
            )
        case ErrorResponse():
            return _emit("error", message=response.message)
        case OutOfBandwidthError():
            detail = {"required": response.required, "available": response.available}
            return _emit("typedError", error={"out_of_bandwidth": detail})
        case TicketReplayError():
            return _emit("typedError", error="ticket_replay")
        case UnknownResponse():
            return _emit(response.type)


def _parse_typed_error(message: JsonObject) -> GatewayResponse:
    error = message.get("error")
    if error == "ticket_replay":
        return TicketReplayError()
    if isinstance(error, dict) and isinstance(detail := error.get("out_of_bandwidth"), dict):
        return OutOfBandwidthError(fields.sint(detail, "required"), fields.sint(detail, "available"))
    raise MalformedError("error: not a known typed error")


_RESPONSE_PARSERS: Mapping[str, Callable[[JsonObject], GatewayResponse]] = {
    "supportedProtocol": lambda m: SupportedProtocolResponse(fields.uint(m, "version", 8)),
    "handshakePayload": _parse_handshake_payload,
    "handshakeError": _parse_handshake_error,
    "register": lambda m: RegisterResponse(
        fields.uint(m, "protocol_version", 8, default=0),
        fields.boolean(m, "status"),
        fields.boolean(m, "upgrade_mode", default=False),
    ),
    "authenticate": lambda m: AuthenticateResponse(
        fields.uint(m, "protocol_version", 8, default=0),
        fields.boolean(m, "status"),
        fields.sint(m, "bandwidth_remaining"),
        fields.boolean(m, "upgrade_mode", default=False),
    ),
    "bandwidth": lambda m: BandwidthResponse(
        fields.sint(m, "available_total"), fields.boolean(m, "upgrade_mode", default=False)
    ),
    "send": lambda m: SendResponse(
        fields.sint(m, "remaining_bandwidth"), fields.boolean(m, "upgrade_mode", default=False)
    ),
    "encryptedResponse": lambda m: EncryptedResponse(
        fields.byte_array(m, "ciphertext"), fields.byte_array(m, "nonce")
    ),
    "error": lambda m: ErrorResponse(fields.string(m, "message")),
    "typedError": _parse_typed_error,
}


# -- shared ---------------------------------------------------------------------------------------------


def _parse_object(text: str) -> JsonObject:
    if len(text) > MAX_TEXT_LENGTH:
        raise MalformedError(f"text of {len(text)} characters, at most {MAX_TEXT_LENGTH} are taken")
    return fields.parse_object(text)


def _emit(type_: str, **content: object) -> str:
    return json.dumps({"type": type_, **content}, separators=(",", ":"))


def _emit_handshake(message: HandshakePayload | HandshakeError) -> str:
    if isinstance(message, HandshakeError):
        return _emit("handshakeError", message=message.message)
    return _emit("handshakePayload", protocol_version=message.protocol_version, data=list(message.data))
