"""One root certificate of the published client exchanged for one of ours.

The packages accept only the Web's roots, compiled into their WebAssembly, so against servers of a test
internet they can never finish a TLS handshake. For the tests that must see one finished, the public key of
one of those roots, 65 bytes, is replaced in the module on its way to the page. Every other byte stays; the
wasm is base64 inside a worker script, which is base64 inside the module (spec directory.md 9).
"""

from __future__ import annotations

import base64
import datetime
import re
import warnings
from functools import cached_property

import certifi
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smolmix_web.localnet.testnet.certificates import Authority, Credential

MODULE = "@nymproject/mix-tunnel/dist/esm/index.js"

_WORKER = re.compile(rb"createBase64WorkerFactory\('([A-Za-z0-9+/]+=*)'")
_WASM = re.compile(rb"'(AGFzbQ[A-Za-z0-9+/]+=*)'")  # "\0asm"


class SwappedRoot:
    """:attr:`authority` issues what the changed package accepts."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of old certificates in the collection
            with open(certifi.where(), "rb") as file:
                self._roots = x509.load_pem_x509_certificates(file.read())
        self._key = ec.generate_private_key(ec.SECP256R1())

    def transform(self, path: str, data: bytes) -> bytes:
        """The module with the other key; any other file as it is."""
        if path != MODULE:
            return data
        worker = _base64_in(_WORKER, data)
        script = base64.b64decode(worker)
        wasm = _base64_in(_WASM, script)
        changed = self.transform_wasm(base64.b64decode(wasm))
        return data.replace(worker, base64.b64encode(script.replace(wasm, base64.b64encode(changed))))

    def transform_wasm(self, wasm: bytes) -> bytes:
        """:raises ValueError: the wasm holds none of the roots that we know"""
        for root in self._roots:
            key = root.public_key()
            if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
                point = _point(key)
                # The name is there too: without its outer tag and length, as rustls keeps trust anchors.
                if wasm.count(point) == 1 and root.subject.public_bytes()[2:] in wasm:
                    self._root = root
                    return wasm.replace(point, _point(self._key.public_key()))
        raise ValueError("no root certificate with a P-256 key was found")

    @cached_property
    def authority(self) -> Authority:
        """Bears the root's name, and signs with our key. Call :meth:`transform` first."""
        authority = Authority("never seen", datetime.datetime.now(datetime.UTC))
        authority.credential = Credential(self._root, self._key)
        return authority


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _base64_in(pattern: re.Pattern[bytes], data: bytes) -> bytes:
    (found,) = pattern.findall(data)
    return bytes(found)
