"""What can go wrong in a TLS session: one class per alert and per verification failure.

Raising an error *is* choosing the alert: each class names the one that the RFCs ask for, and the engine has
queued it in ``data_to_send`` by the time the error reaches the caller. When it was the server that sent the
alert, the same class is raised with ``received`` set and nothing is sent in return.

``host`` is the name that was asked for; ``reason`` says in words what the user may act on. Neither ever
carries a secret or application data.
"""

from __future__ import annotations

from typing import ClassVar

from smolmix_web.errors import RemoteProtocolError
from smolmix_web.tls.registry import Alert


class TlsError(RemoteProtocolError):
    """Base of all TLS failures.

    :param reason: what happened, one clause without a full stop.
    :param host: the server name of the session; the engine fills it in.
    :param received: the server said so by an alert, as opposed to us finding fault with the server.
    """

    code: ClassVar[str] = "TLS"
    alert: ClassVar[Alert | None] = Alert.INTERNAL_ERROR

    def __init__(self, reason: str, *, host: str = "", received: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.host = host
        self.received = received

    def __str__(self) -> str:
        return f"{self.host}: {self.reason}" if self.host else self.reason


# -- one class per alert -------------------------------------------------------------------------


class UnexpectedMessage(TlsError):
    """A message that has no place in the present state."""

    code = "TLS_UNEXPECTED_MESSAGE"
    alert = Alert.UNEXPECTED_MESSAGE


class BadRecordMac(TlsError):
    """A record did not decrypt: it was changed on its way, or the keys differ."""

    code = "TLS_BAD_RECORD_MAC"
    alert = Alert.BAD_RECORD_MAC


class DecryptionFailed(TlsError):
    """Reserved alert; only ever received."""

    code = "TLS_DECRYPTION_FAILED"
    alert = Alert.DECRYPTION_FAILED


class RecordOverflow(TlsError):
    """A record longer than allowed."""

    code = "TLS_RECORD_OVERFLOW"
    alert = Alert.RECORD_OVERFLOW


class DecompressionFailure(TlsError):
    """Only ever received: we never compress."""

    code = "TLS_DECOMPRESSION_FAILURE"
    alert = Alert.DECOMPRESSION_FAILURE


class HandshakeFailure(TlsError):
    """Client and server have no acceptable set of parameters in common."""

    code = "TLS_HANDSHAKE_FAILURE"
    alert = Alert.HANDSHAKE_FAILURE


class NoCertificate(TlsError):
    """Reserved alert; only ever received."""

    code = "TLS_NO_CERTIFICATE"
    alert = Alert.NO_CERTIFICATE


class BadCertificate(TlsError):
    """A certificate is corrupt or does not prove what it should."""

    code = "TLS_BAD_CERTIFICATE"
    alert = Alert.BAD_CERTIFICATE


class UnsupportedCertificate(TlsError):
    """A certificate of a type that cannot be used here."""

    code = "TLS_UNSUPPORTED_CERTIFICATE"
    alert = Alert.UNSUPPORTED_CERTIFICATE


class CertificateRevoked(TlsError):
    """The certificate was revoked by its issuer."""

    code = "TLS_CERT_REVOKED"
    alert = Alert.CERTIFICATE_REVOKED


class CertificateExpired(TlsError):
    """A certificate's time is over."""

    code = "TLS_CERT_EXPIRED"
    alert = Alert.CERTIFICATE_EXPIRED


class CertificateUnknown(TlsError):
    """The certificate is unacceptable for a reason without an alert of its own."""

    code = "TLS_CERT_UNACCEPTABLE"
    alert = Alert.CERTIFICATE_UNKNOWN


class IllegalParameter(TlsError):
    """A field is out of range or contradicts another."""

    code = "TLS_ILLEGAL_PARAMETER"
    alert = Alert.ILLEGAL_PARAMETER


class UnknownCa(TlsError):
    """No chain of certificates leads to an authority that is trusted here."""

    code = "TLS_CERT_UNKNOWN_AUTHORITY"
    alert = Alert.UNKNOWN_CA


class AccessDenied(TlsError):
    """Only ever received: the server accepted the handshake but not us."""

    code = "TLS_ACCESS_DENIED"
    alert = Alert.ACCESS_DENIED


class DecodeError(TlsError):
    """A message cannot be parsed."""

    code = "TLS_DECODE_ERROR"
    alert = Alert.DECODE_ERROR


class DecryptError(TlsError):
    """A handshake signature or Finished value is wrong: somebody may be in the middle."""

    code = "TLS_DECRYPT_ERROR"
    alert = Alert.DECRYPT_ERROR


class ExportRestriction(TlsError):
    """Reserved alert; only ever received."""

    code = "TLS_EXPORT_RESTRICTION"
    alert = Alert.EXPORT_RESTRICTION


class ProtocolVersionError(TlsError):
    """Client and server have no protocol version in common."""

    code = "TLS_PROTOCOL_VERSION"
    alert = Alert.PROTOCOL_VERSION


class InsufficientSecurity(TlsError):
    """The server wants stronger algorithms, or offers only weaker ones, than the other side takes."""

    code = "TLS_INSUFFICIENT_SECURITY"
    alert = Alert.INSUFFICIENT_SECURITY


class InternalError(TlsError):
    """One side failed for a reason unrelated to the protocol."""

    code = "TLS_INTERNAL_ERROR"
    alert = Alert.INTERNAL_ERROR


class InappropriateFallback(TlsError):
    """Only ever received: we never fall back."""

    code = "TLS_INAPPROPRIATE_FALLBACK"
    alert = Alert.INAPPROPRIATE_FALLBACK


class UserCanceled(TlsError):
    """The server gave the handshake up."""

    code = "TLS_USER_CANCELED"
    alert = Alert.USER_CANCELED


class NoRenegotiation(TlsError):
    """Only ever received: we never renegotiate."""

    code = "TLS_NO_RENEGOTIATION"
    alert = Alert.NO_RENEGOTIATION


class MissingExtension(TlsError):
    """A mandatory extension is absent."""

    code = "TLS_MISSING_EXTENSION"
    alert = Alert.MISSING_EXTENSION


class UnsupportedExtension(TlsError):
    """An extension that was not offered, or that has no place in this message."""

    code = "TLS_UNSUPPORTED_EXTENSION"
    alert = Alert.UNSUPPORTED_EXTENSION


class CertificateUnobtainable(TlsError):
    """Only ever received."""

    code = "TLS_CERTIFICATE_UNOBTAINABLE"
    alert = Alert.CERTIFICATE_UNOBTAINABLE


class UnrecognizedName(TlsError):
    """The server does not serve the host that was asked for."""

    code = "TLS_UNRECOGNIZED_NAME"
    alert = Alert.UNRECOGNIZED_NAME


class BadCertificateStatusResponse(TlsError):
    """Only ever received."""

    code = "TLS_BAD_CERTIFICATE_STATUS_RESPONSE"
    alert = Alert.BAD_CERTIFICATE_STATUS_RESPONSE


class BadCertificateHashValue(TlsError):
    """Only ever received."""

    code = "TLS_BAD_CERTIFICATE_HASH_VALUE"
    alert = Alert.BAD_CERTIFICATE_HASH_VALUE


class UnknownPskIdentity(TlsError):
    """Only ever received."""

    code = "TLS_UNKNOWN_PSK_IDENTITY"
    alert = Alert.UNKNOWN_PSK_IDENTITY


class CertificateRequired(TlsError):
    """The server wants a client certificate; this client has none."""

    code = "TLS_CERTIFICATE_REQUIRED"
    alert = Alert.CERTIFICATE_REQUIRED


class NoApplicationProtocol(TlsError):
    """None of the offered application protocols (ALPN) suits the server."""

    code = "TLS_NO_APPLICATION_PROTOCOL"
    alert = Alert.NO_APPLICATION_PROTOCOL


class TlsTruncated(TlsError):
    """The connection ended without close_notify: what came may be only a part of what was sent."""

    code = "TLS_TRUNCATED"
    alert = None
    retriable = True


class UnknownAlert(TlsError):
    """The server sent an alert with a number that no RFC gives."""

    code = "TLS_UNKNOWN_ALERT"
    alert = None


# -- one class per verification failure ----------------------------------------------------------


class CertificateNotYetValid(CertificateExpired):
    """A certificate's time has not begun; often it is the clock of this machine that is wrong."""

    code = "TLS_CERT_NOT_YET_VALID"


class CertificateWrongHost(BadCertificate):
    """The certificate was issued for other names than the one that was asked for."""

    code = "TLS_CERT_WRONG_HOST"


class CertificateSelfSigned(UnknownCa):
    """The server vouches for itself and is not among the trust anchors."""

    code = "TLS_CERT_SELF_SIGNED"


class CertificateBadSignature(BadCertificate):
    """A certificate in the chain carries a signature that does not verify."""

    code = "TLS_CERT_BAD_SIGNATURE"


class CertificateMalformed(BadCertificate):
    """A certificate cannot be parsed or breaks the profile of RFC 5280."""

    code = "TLS_CERT_MALFORMED"


class CertificateWeakKey(BadCertificate):
    """A key in the chain is too short or of a kind that is no longer accepted."""

    code = "TLS_CERT_WEAK_KEY"


class CertificateWeakSignature(BadCertificate):
    """A signature in the chain uses an algorithm that is no longer accepted, such as SHA-1."""

    code = "TLS_CERT_WEAK_SIGNATURE"


class CertificateWrongUsage(UnsupportedCertificate):
    """A certificate may not be used for this purpose (key usage, extended key usage)."""

    code = "TLS_CERT_WRONG_USAGE"


class CertificateNotAuthority(BadCertificate):
    """A certificate in the chain was signed by one that may not sign certificates."""

    code = "TLS_CERT_NOT_AUTHORITY"


class CertificatePathTooLong(BadCertificate):
    """The chain is longer than one of its certificates, or this client, allows."""

    code = "TLS_CERT_PATH_TOO_LONG"


class CertificateNameConstraint(BadCertificate):
    """A name in the chain lies outside of what its issuing authority may certify."""

    code = "TLS_CERT_NAME_CONSTRAINT"


class CertificateUnknownCritical(UnsupportedCertificate):
    """A certificate has a critical extension that this client does not know."""

    code = "TLS_CERT_UNKNOWN_CRITICAL"


#: The class for each alert number that may be received, apart from close_notify.
ALERT_CLASSES: dict[Alert, type[TlsError]] = {
    cls.alert: cls for cls in TlsError.__subclasses__() if cls.alert is not None
}


def from_received_alert(description: int) -> TlsError:
    """The error for an alert of the server."""
    try:
        alert = Alert(description)
    except ValueError:
        return UnknownAlert(f"the server gave up with alert {description}", received=True)
    words = alert.name.lower().replace("_", " ")
    return ALERT_CLASSES[alert](f"the server gave up: {words}", received=True)
