"""What a gateway does for an authenticated client: requests, uploads, bandwidth (spec gateway.md 8 to 10).

Every text and every binary frame has exactly one reply, and no error ends the session.
"""

from __future__ import annotations

from collections.abc import Callable

from smolmix_web.errors import CryptoError, MalformedError
from smolmix_web.gateway import control, error_texts, messages
from smolmix_web.gateway.bandwidth import UPGRADE_MODE_MINIMUM, BandwidthAccount
from smolmix_web.gateway.binary import RequestKind, open_frame
from smolmix_web.gateway.registry import GatewayRegistry
from smolmix_web.gateway.server_config import GatewayConfig
from smolmix_web.gateway.shared_key import NONCE_SIZE, SharedKey
from smolmix_web.nym.mixpacket import MixPacket

_MOCK_CREDENTIAL_TOTAL = 2_122_317_824  # what the reference's mock verifier answers


class ClientService:
    """Serves one client during one session.

    :param client: its identity, 32 bytes.
    :param unix_time: seconds since 1970.
    """

    def __init__(
        self,
        registry: GatewayRegistry,
        client: bytes,
        key: SharedKey,
        config: GatewayConfig,
        unix_time: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._registry = registry
        self._client = client
        self._key = key
        self._config = config
        self._unix_time = unix_time
        self._random_bytes = random_bytes
        self._account = BandwidthAccount(registry.storage, client)

    def close(self) -> None:
        """The session ended: write the balance to storage."""
        self._account.flush()

    def authenticated(self, version: int) -> messages.AuthenticateResponse:
        """The answer to the authentication that began this session."""
        return messages.AuthenticateResponse(version, True, self._shown_balance(), self._config.upgrade_mode)

    # -- text (sections 9, 10) ----------------------------------------------------------------------------

    def answer(self, text: str) -> messages.GatewayResponse:
        """The reply to a text frame."""
        try:
            request = messages.parse_request(text)
        except MalformedError as error:
            return messages.ErrorResponse(error_texts.MALFORMED_TEXT.format(detail=error))
        match request:
            case messages.ClaimFreeTestnetBandwidth():
                return self._claim_free()
            case messages.EncryptedRequest():
                return self._control(request)
            case messages.SupportedProtocolRequest():
                return messages.SupportedProtocolResponse(self._config.protocol_version)
            case messages.EcashCredential():
                return self._take_ticket(request)
            case messages.UpgradeModeJwt():
                return self._upgrade()
            case messages.HandshakePayload():
                return _illegal("RegisterHandshakeInitRequest")
            case messages.LegacyAuthenticate():
                return _illegal("Authenticate")
            case messages.LegacyCredential():
                detail = error_texts.COCONUT_UNSUPPORTED
                return messages.ErrorResponse(error_texts.ILLEGAL_NOW.format(detail=detail))
            case _:
                return messages.ErrorResponse(error_texts.UNKNOWN_TYPE)

    def _claim_free(self) -> messages.GatewayResponse:
        if self._config.enforce_zk_nyms:
            return messages.ErrorResponse(error_texts.FREE_CLAIM_REFUSED)
        self._account.claim_free(self._unix_time())
        return messages.BandwidthResponse(self._shown_balance(), self._config.upgrade_mode)

    def _take_ticket(self, request: messages.EcashCredential) -> messages.GatewayResponse:
        """Tickets cannot be verified here; the mock mode answers what the reference's mock does."""
        if not self._config.mock_credentials:
            return messages.ErrorResponse(error_texts.CREDENTIALS_UNSUPPORTED)
        try:
            self._key.open(request.iv, request.enc_credential)
        except CryptoError:
            return messages.ErrorResponse(error_texts.CIPHER_FAILURE)
        return messages.BandwidthResponse(_MOCK_CREDENTIAL_TOTAL, self._config.upgrade_mode)

    def _upgrade(self) -> messages.GatewayResponse:
        if not self._config.upgrade_mode:
            return messages.ErrorResponse(error_texts.UPGRADE_MODE_UNSUPPORTED)
        return messages.BandwidthResponse(self._shown_balance(), True)

    def _control(self, request: messages.EncryptedRequest) -> messages.GatewayResponse:
        try:
            parsed = control.parse_control_request(self._key.open(request.nonce, request.ciphertext))
        except (CryptoError, MalformedError):
            return messages.ErrorResponse(error_texts.UNDECRYPTABLE_REQUEST)
        response: control.ControlResponse = control.RememberMeAck()
        if isinstance(parsed, control.ForgetMe):
            response = control.ForgetMeAck()
            if parsed.client:  # this session goes on, but is the last one under this key
                self._registry.storage.forget_client(self._client)
        nonce = self._random_bytes(NONCE_SIZE)
        sealed = self._key.seal(nonce, control.emit_control_response(response))
        return messages.EncryptedResponse(sealed, nonce)

    # -- uploads (section 8.2) ----------------------------------------------------------------------------

    def take_upload(self, frame: bytes) -> tuple[MixPacket | None, messages.GatewayResponse]:
        """(the packet to forward, the reply) for a binary frame; no packet when it is refused."""
        stats = self._registry.stats
        try:
            kind, plaintext = open_frame(self._key, frame)
            packet = _parse_upload(kind, plaintext)
        except (MalformedError, CryptoError) as error:
            stats.malformed_uploads += 1
            return None, messages.ErrorResponse(error_texts.MALFORMED_BINARY.format(detail=error))
        required = len(packet.packet)
        unix_time = self._unix_time()
        if not self._config.upgrade_mode and not self._account.consume(required, unix_time):
            stats.out_of_bandwidth += 1
            return None, messages.OutOfBandwidthError(required, self._account.available(unix_time))
        stats.packets_uploaded += 1
        return packet, messages.SendResponse(self._shown_balance(), self._config.upgrade_mode)

    def _shown_balance(self) -> int:
        available = self._account.available(self._unix_time())
        return max(available, UPGRADE_MODE_MINIMUM) if self._config.upgrade_mode else available


def _illegal(name: str) -> messages.ErrorResponse:
    detail = error_texts.ILLEGAL_TYPE.format(name=name)
    return messages.ErrorResponse(error_texts.ILLEGAL_NOW.format(detail=detail))


def _parse_upload(kind: int, plaintext: bytes) -> MixPacket:
    if kind not in (RequestKind.FORWARD_SPHINX, RequestKind.FORWARD_SPHINX_V2):
        raise MalformedError(error_texts.UNKNOWN_KIND.format(kind=kind))
    try:
        if kind == RequestKind.FORWARD_SPHINX_V2:
            return MixPacket.from_bytes_v2(plaintext)
        return MixPacket.from_bytes_v1(plaintext)
    except MalformedError as error:
        raise MalformedError(error_texts.BAD_PACKET.format(detail=error)) from None
