"""PEM (RFC 7468): the text form of certificates, as trust anchors are handed over."""

from __future__ import annotations

import base64
import binascii
import re

from smolmix_web.errors import MalformedError

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n(.*?)\r?\n?-----END \1-----", re.DOTALL)


def decode_pem(text: str | bytes, label: str = "CERTIFICATE") -> list[bytes]:
    """DER of every block with this label, in order; other text is skipped, as RFC 7468 section 2 asks.

    :raises MalformedError: a block is not base64.
    """
    data = text.encode("utf-8", "replace") if isinstance(text, str) else text
    blocks = []
    for found, body in _BLOCK.findall(data):
        if found != label.encode():
            continue
        try:
            blocks.append(base64.b64decode(b"".join(body.split()), validate=True))
        except binascii.Error:
            raise MalformedError(f"PEM: a {label} block is not base64") from None
    return blocks
