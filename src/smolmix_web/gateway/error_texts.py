"""Texts of a gateway's ``error`` messages (spec gateway.md section 15).

Users see them; the official client matches on none. Ours matches on the few that tell that a registration is
lost or that an older session still lives.
"""

from __future__ import annotations

# Before authentication; the connection is dropped.
TIMED_OUT = "timed out while waiting for initial data"
UNAUTHENTICATED_PACKET = (
    "possibly received a sphinx packet without prior authentication. Request is going to be ignored"
)
UNEXPECTED_MESSAGE = "received a Message of type {kind} which was not expected in this context"
ONLY_REGISTER = "Only 'Register' or 'Authenticate' requests are allowed"
LEGACY_AUTHENTICATION = "the legacy authentication method is no longer supported. please update your client"
INCOMPATIBLE_VERSION = (
    "Attempted to negotiate connection with client using incompatible protocol version. "
    "Ours is {ours} and the client reports {theirs}"
)
TIMESTAMP_SKEWED = (
    "the provided request timestamp is excessively skewed. got {theirs} whilst the server time is {ours}"
)
BAD_SIGNATURE = "failed to verify request signature"
NOT_REGISTERED = "the client is not registered"
BAD_ADDRESS_CIPHERTEXT = "failed to verify provided address ciphertext"
BAD_NONCE = "the provided nonce (or legacy IV) did not have the expected length"
TIMESTAMP_NOT_INCREASING = "the provided request timestamp is smaller or equal to one previously used"
STALE_AUTHENTICATION = "attempted to overwrite client session with a stale authentication"
ALREADY_OPEN = "There is already an open connection to this client"
HANDSHAKE_FAILED = "Failed to perform registration handshake: {reason}"
STORAGE_ERROR = "Internal gateway storage error"

# Reasons inside HANDSHAKE_FAILED.
HANDSHAKE_MALFORMED_REQUEST = "sent request was malformed"
HANDSHAKE_MALFORMED_RESPONSE = "received response was malformed: {detail}"
HANDSHAKE_BAD_SIGNATURE = "received invalid signature"
CIPHER_FAILURE = "failed to either encrypt or decrypt provided message"
HANDSHAKE_TIMED_OUT = "timed out waiting for a handshake message"
HANDSHAKE_REMOTE = "error on the remote: {reason}"

# After authentication; the connection is kept.
MALFORMED_TEXT = "Provided text request was malformed - {detail}"
MALFORMED_BINARY = "Provided binary request was malformed - {detail}"
UNKNOWN_KIND = "received request with an unknown kind: {kind}"
BAD_PACKET = "failed to serialise created sphinx packet: {detail}"
ILLEGAL_NOW = "The received request is not valid in the current context: {detail}"
ILLEGAL_TYPE = "received illegal message of type {name} in an authenticated client"
COCONUT_UNSUPPORTED = "coconut credential are not longer supported"
UNKNOWN_TYPE = "received a text request of an unknown type"
FREE_CLAIM_REFUSED = "This gateway is only accepting coconut credentials for bandwidth"
UNDECRYPTABLE_REQUEST = "failed to decrypt provided text request"
CREDENTIALS_UNSUPPORTED = "this gateway cannot verify bandwidth credentials"
UPGRADE_MODE_UNSUPPORTED = "this gateway does not take part in the upgrade mode"
