"""The provider on npm packages (libsodium as WebAssembly, and noble), for Pyodide without ``cryptography``.

Arguments and results travel through one bytearray which JavaScript sees as its own memory; calls carry
numbers only. ``worker/crypto/npm-crypto.js`` is the other half and explains the convention.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.util
import json
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from smolmix_web import crypto
from smolmix_web.crypto import kdf, lioness, rsa
from smolmix_web.crypto.provider import (
    Aead,
    AeadName,
    CurveName,
    EcdhKey,
    HashName,
    MlKemKey,
    Provider,
    X25519Key,
)
from smolmix_web.errors import CryptoError

_FIRST_SCRATCH = 1 << 16
"""64 KiB: the largest Nym packet, or a TLS record, with room to spare; grows when something larger comes."""
_SLACK = 64
"""Results are longer than the arguments by a tag at most."""
_KEY_SIZES: dict[AeadName, int] = {
    "aes-128-gcm": 16,
    "aes-256-gcm": 32,
    "chacha20-poly1305": 32,
    "aes-256-gcm-siv": 32,
}
_SCALAR_SIZES: dict[CurveName, int] = {"p256": 32, "p384": 48}
_CURVE_ORDERS: dict[CurveName, int] = {
    "p256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "p384": 2**384 - 0x389CB27E0BC8D220A7E5F24DB74F58851313E695333AD68D,
}
_NONCE = 12
_TAG = 16
_MLKEM_SECRET = 2400
_MLKEM_PUBLIC = 1184
_MLKEM_CIPHERTEXT = 1088


class NpmProvider:
    """Primitives of the worker's bundle.

    :param module: the bundle ``npm-crypto.js``; None takes the one that the worker registered at boot.
    :raises ImportError: none was registered.
    """

    name = "npm"

    def __init__(self, module: Any = None) -> None:
        self._module = module or importlib.import_module("smolmix_npm_crypto")
        self._ops: Any = None
        self._owner: Any = None
        self._allocate(_FIRST_SCRATCH)

    def __repr__(self) -> str:
        return "<NpmProvider>"

    def _allocate(self, size: int) -> None:
        from pyodide.ffi import create_proxy

        if self._ops is not None:
            self._ops.release()
            self._owner.destroy()
        self._scratch = bytearray(size)
        self._view = memoryview(self._scratch)
        self._owner = create_proxy(self._scratch)
        self._ops = self._module.attach(self._owner)
        # Looking a function up in a JavaScript object costs as much as calling it.
        self._x25519: Callable[[], int] = self._ops.x25519
        self._chacha20: Callable[[int], int] = self._ops.chacha20
        self._aes_ctr: Callable[[int, int], int] = self._ops.aes_ctr
        self._lioness_encrypt: Callable[[int, int], int] = self._ops.lioness_encrypt

    def _write(self, *arguments: bytes) -> None:
        """Put the arguments, one after the other, to the start of the scratch."""
        data = b"".join(arguments)
        if len(data) + _SLACK > len(self._scratch):
            self._allocate(2 * len(data) + _SLACK)
        self._view[: len(data)] = data

    def _read(self, length: int, failure: str) -> bytes:
        """The result. :raises CryptoError: ``length`` is -1, JavaScript's answer when something is wrong."""
        if length < 0:
            raise CryptoError(failure)
        return self._view[:length].tobytes()

    # Curve25519 -----------------------------------------------------------------------------------------

    def x25519(self, secret: bytes, public: bytes) -> bytes:
        if len(secret) != 32 or len(public) != 32:
            raise CryptoError("X25519: keys have 32 bytes")
        self._view[:64] = secret + public
        return self._read(self._x25519(), "X25519: unusable public key")

    def x25519_public(self, secret: bytes) -> bytes:
        if len(secret) != 32:
            raise CryptoError("X25519: a secret has 32 bytes")
        self._write(secret)
        return self._read(self._ops.x25519_public(), "X25519: unusable secret")

    def x25519_key(self, secret: bytes) -> X25519Key:
        if len(secret) != 32:
            raise CryptoError("X25519: a secret has 32 bytes")
        return _NpmX25519(self, secret)

    def ed25519_public(self, seed: bytes) -> bytes:
        if len(seed) != 32:
            raise CryptoError("Ed25519: a seed has 32 bytes")
        self._write(seed)
        return self._read(self._ops.ed25519_public(), "Ed25519: unusable seed")

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes:
        if len(seed) != 32:
            raise CryptoError("Ed25519: a seed has 32 bytes")
        self._write(seed, message)
        return self._read(self._ops.ed25519_sign(len(message)), "Ed25519: unusable seed")

    def ed25519_verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        if len(public) != 32 or len(signature) != 64:
            raise CryptoError("Ed25519: the signature does not verify")
        self._write(public, signature, message)
        self._read(self._ops.ed25519_verify(len(message)), "Ed25519: the signature does not verify")

    # Hashes and unauthenticated ciphers -----------------------------------------------------------------

    def blake3(self, data: bytes) -> bytes:
        self._write(data)
        return self._read(self._ops.blake3(len(data)), "BLAKE3")

    def hkdf_sha256(self, salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
        try:
            return kdf.hkdf("sha256", salt, ikm, info, length)
        except ValueError:
            raise CryptoError("HKDF: impossible length") from None

    def argon2id(
        self,
        passphrase: bytes,
        salt: bytes,
        *,
        memory_kib: int,
        iterations: int,
        lanes: int,
        length: int,
        secret: bytes = b"",
        associated_data: bytes = b"",
    ) -> bytes:
        kdf.check_argon2(salt, memory_kib, iterations, lanes, length)
        arguments = (passphrase, salt, secret, associated_data)
        self._write(*arguments)
        lengths = tuple(map(len, arguments))
        try:
            result = self._ops.argon2id(*lengths, memory_kib, iterations, lanes, length)
            return self._read(result, "Argon2id: unusable parameters")
        finally:
            used = max(sum(lengths), length)
            self._view[:used] = bytes(used)  # a passphrase is not left lying about until the next call

    def aes_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        if len(key) not in (16, 32) or len(iv) != 16:
            raise CryptoError("AES-CTR: wrong key or counter length")
        self._write(key, iv, data)
        return self._read(self._aes_ctr(len(key), len(data)), "AES-CTR")

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        if len(key) != 32:
            raise CryptoError("ChaCha20: wrong key length")
        self._write(key, data)
        return self._read(self._chacha20(len(data)), "ChaCha20")

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        lioness.check_lengths(keys, block)
        self._write(*keys, block)
        return self._read(self._lioness_encrypt(len(keys), len(block)), "LIONESS")

    def aead(self, name: AeadName, key: bytes) -> Aead:
        if len(key) != _KEY_SIZES[name]:
            raise CryptoError(f"{name}: wrong key length")
        return _NpmAead(self, name, key)

    # TLS ------------------------------------------------------------------------------------------------

    def ecdh(self, curve: CurveName, private: bytes | None = None) -> EcdhKey:
        if private is None:
            scalar = 1 + secrets.randbelow(_CURVE_ORDERS[curve] - 1)
            return _NpmEcdh(self, curve, scalar.to_bytes(_SCALAR_SIZES[curve], "big"))
        if len(private) != _SCALAR_SIZES[curve]:
            raise CryptoError(f"ECDH {curve}: wrong scalar length")
        if not 0 < int.from_bytes(private, "big") < _CURVE_ORDERS[curve]:
            raise CryptoError(f"ECDH {curve}: scalar out of range")
        return _NpmEcdh(self, curve, private)

    def ecdsa_verify(
        self, curve: CurveName, digest: HashName, public: bytes, signature: bytes, message: bytes
    ) -> None:
        hashed = hashlib.new(digest, message).digest()
        self._write(public, hashed, signature)
        answer = self._ops.ecdsa_verify(curve, len(public), len(hashed), len(signature))
        self._read(answer, "ECDSA: the signature does not verify")

    def rsa_pss_verify(
        self, digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes
    ) -> None:
        rsa.verify_pss(digest, modulus, exponent, signature, message)

    def rsa_pkcs1_verify(
        self, digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes
    ) -> None:
        rsa.verify_pkcs1(digest, modulus, exponent, signature, message)

    def mlkem768(self, seed: bytes | None = None) -> MlKemKey | None:
        if seed is None:
            seed = secrets.token_bytes(64)
        if len(seed) != 64:
            raise CryptoError("ML-KEM-768: a seed has 64 bytes")
        self._write(seed)
        both = self._read(self._ops.mlkem768_keygen(), "ML-KEM-768: unusable seed")
        return _NpmMlKem(self, both[:_MLKEM_PUBLIC], both[_MLKEM_PUBLIC:])

    def mlkem768_encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        if len(public) != _MLKEM_PUBLIC:
            raise CryptoError("ML-KEM-768: an encapsulation key has 1,184 bytes")
        self._write(public, secrets.token_bytes(32))
        both = self._read(self._ops.mlkem768_encapsulate(), "ML-KEM-768: unusable encapsulation key")
        return both[:32], both[32:]


def worker_provider(name: str, module: Any = None) -> Provider:
    """The provider of a worker: ``"npm"``, or ``"cryptography"`` with npm filling its gaps.

    :raises ImportError: the worker was built without it.
    """
    npm = NpmProvider(module)
    if name == "npm":
        return npm
    from smolmix_web.crypto.pyca import PycaProvider

    return PycaProvider(supplement=npm)


async def ready_provider() -> None:
    """Install the npm provider unless there is one: for a page's own Pyodide, where no worker did it.

    The bundle is the module that the page registered as ``smolmix_npm_crypto``, else the one that the wheel
    brings along (a policy of the page must allow ``data:`` scripts for that).

    :raises ImportError: there is none.
    """
    if crypto.is_installed():
        return
    if importlib.util.find_spec("smolmix_npm_crypto") is None:
        from pyodide.code import run_js

        code = base64.b64encode(_bundle_of_the_wheel()).decode()
        module = await run_js("(url) => import(url)")(f"data:text/javascript;base64,{code}")
        crypto.install(NpmProvider(module))
    else:
        crypto.install(NpmProvider())


def _bundle_of_the_wheel() -> bytes:
    from importlib import resources

    folder = resources.files("smolmix_web").joinpath("assets", "prebuilt")
    try:
        manifest = json.loads(folder.joinpath("manifest.json").read_text())
        return folder.joinpath(manifest["files"]["npm-crypto.js"]["path"]).read_bytes()
    except OSError:
        raise ImportError(
            "no cryptography: this wheel has no assets, so the page has to register 'smolmix_npm_crypto'"
        ) from None


class _NpmX25519:
    __slots__ = ("_provider", "_public", "_secret")

    def __init__(self, provider: NpmProvider, secret: bytes) -> None:
        self._provider = provider
        self._secret = secret
        self._public: bytes | None = None

    @property
    def public(self) -> bytes:
        if self._public is None:
            self._public = self._provider.x25519_public(self._secret)
        return self._public

    def exchange(self, peer_public: bytes) -> bytes:
        return self._provider.x25519(self._secret, peer_public)


class _NpmAead:
    __slots__ = ("_key", "_name", "_provider")

    def __init__(self, provider: NpmProvider, name: AeadName, key: bytes) -> None:
        self._provider = provider
        self._name = name
        self._key = key

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        if len(nonce) != _NONCE:
            raise CryptoError(f"{self._name}: a nonce has 12 bytes")
        provider = self._provider
        provider._write(self._key, nonce, associated_data, plaintext)
        length = provider._ops.seal(self._name, len(self._key), len(associated_data), len(plaintext))
        return provider._read(length, f"{self._name}: sealing failed")

    def open(self, nonce: bytes, ciphertext: bytes, associated_data: bytes = b"") -> bytes:
        if len(nonce) != _NONCE or len(ciphertext) < _TAG:
            raise CryptoError(f"{self._name}: the tag does not verify")
        provider = self._provider
        provider._write(self._key, nonce, associated_data, ciphertext)
        length = provider._ops.open(self._name, len(self._key), len(associated_data), len(ciphertext))
        return provider._read(length, f"{self._name}: the tag does not verify")


class _NpmEcdh:
    __slots__ = ("_curve", "_provider", "_public", "_scalar")

    def __init__(self, provider: NpmProvider, curve: CurveName, scalar: bytes) -> None:
        self._provider = provider
        self._curve = curve
        self._scalar = scalar
        provider._write(scalar)
        self._public = provider._read(provider._ops.ecdh_public(curve, len(scalar)), "ECDH: unusable scalar")

    @property
    def public(self) -> bytes:
        return self._public

    def exchange(self, peer_public: bytes) -> bytes:
        if len(peer_public) != len(self._public):
            raise CryptoError("ECDH: not an uncompressed point")
        provider = self._provider
        provider._write(self._scalar, peer_public)
        length = provider._ops.ecdh_exchange(self._curve, len(self._scalar), len(peer_public))
        return provider._read(length, "ECDH: the point is not on the curve")


class _NpmMlKem:
    __slots__ = ("_provider", "_public", "_secret")

    def __init__(self, provider: NpmProvider, public: bytes, secret: bytes) -> None:
        self._provider = provider
        self._public = public
        self._secret = secret

    @property
    def public(self) -> bytes:
        return self._public

    def decapsulate(self, ciphertext: bytes) -> bytes:
        if len(ciphertext) != _MLKEM_CIPHERTEXT:
            raise CryptoError("ML-KEM-768: a ciphertext has 1,088 bytes")
        provider = self._provider
        provider._write(self._secret, ciphertext)
        return provider._read(provider._ops.mlkem768_decapsulate(), "ML-KEM-768: decapsulation failed")
