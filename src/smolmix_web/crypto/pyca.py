"""The provider on the ``cryptography`` package (CPython, and Pyodide's own build of it).

Every foreign exception is turned into :class:`~smolmix_web.errors.CryptoError` here, at one boundary. The
texts say which primitive failed and nothing about the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cryptography
from cryptography.exceptions import InvalidSignature, InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESGCMSIV, ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from smolmix_web.crypto import curve25519, kdf, lioness
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

try:
    from cryptography.hazmat.primitives.asymmetric import mlkem

    mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(64))
    _HAS_MLKEM = True
except (ImportError, UnsupportedAlgorithm):  # before cryptography 47, or its OpenSSL has it not
    _HAS_MLKEM = False

try:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

    Argon2id(salt=bytes(8), length=4, iterations=1, lanes=1, memory_cost=8)
    _HAS_ARGON2 = True
except (ImportError, UnsupportedAlgorithm):  # before cryptography 44, or its OpenSSL is older than 3.2
    _HAS_ARGON2 = False

Blake3Function = Callable[[bytes], bytes]

_HASHES: dict[HashName, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
_CURVES: dict[CurveName, ec.EllipticCurve] = {"p256": ec.SECP256R1(), "p384": ec.SECP384R1()}
_SCALAR_SIZES: dict[CurveName, int] = {"p256": 32, "p384": 48}
_KEY_SIZES: dict[AeadName, int] = {
    "aes-128-gcm": 16,
    "aes-256-gcm": 32,
    "chacha20-poly1305": 32,
    "aes-256-gcm-siv": 32,
}
_ZERO_16 = bytes(16)
_SHA256 = hashes.SHA256()


def _blake3_of_package() -> Blake3Function:
    import blake3

    def digest(data: bytes) -> bytes:
        return bytes(blake3.blake3(data).digest())

    return digest


class PycaProvider:
    """Primitives of ``cryptography``, and BLAKE3 of the ``blake3`` package.

    :param supplement: asked for what the build at hand lacks. In Pyodide that is BLAKE3, for which there is
        no package, and what its OpenSSL does not offer (ML-KEM, Argon2).
    :raises ImportError: there is neither a supplement nor the ``blake3`` package.
    """

    def __init__(self, *, supplement: Provider | None = None) -> None:
        self.name = f"cryptography {cryptography.__version__}"
        self._supplement = supplement
        self._blake3 = supplement.blake3 if supplement else _blake3_of_package()

    def __repr__(self) -> str:
        return f"<PycaProvider {self.name}>"

    # Curve25519 -----------------------------------------------------------------------------------------

    def x25519(self, secret: bytes, public: bytes) -> bytes:
        return curve25519.x25519_key(secret).exchange(public)

    def x25519_public(self, secret: bytes) -> bytes:
        return curve25519.x25519_key(secret).public

    def x25519_key(self, secret: bytes) -> X25519Key:
        return curve25519.x25519_key(secret)

    def ed25519_public(self, seed: bytes) -> bytes:
        return self._ed25519_key(seed).public_key().public_bytes_raw()

    def ed25519_sign(self, seed: bytes, message: bytes) -> bytes:
        return self._ed25519_key(seed).sign(message)

    def ed25519_verify(self, public: bytes, signature: bytes, message: bytes) -> None:
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise CryptoError("Ed25519: the signature does not verify") from None

    @staticmethod
    def _ed25519_key(seed: bytes) -> ed25519.Ed25519PrivateKey:
        try:
            return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        except ValueError:
            raise CryptoError("Ed25519: a seed has 32 bytes") from None

    # Hashes and unauthenticated ciphers -----------------------------------------------------------------

    def blake3(self, data: bytes) -> bytes:
        return self._blake3(data)

    def hkdf_sha256(self, salt: bytes, ikm: bytes, info: bytes, length: int) -> bytes:
        try:
            return HKDF(_SHA256, length, salt, info).derive(ikm)
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
        if not _HAS_ARGON2:
            if self._supplement:
                return self._supplement.argon2id(
                    passphrase,
                    salt,
                    memory_kib=memory_kib,
                    iterations=iterations,
                    lanes=lanes,
                    length=length,
                    secret=secret,
                    associated_data=associated_data,
                )
            raise CryptoError("Argon2id: not in this build of cryptography")
        try:
            return Argon2id(
                salt=salt,
                length=length,
                iterations=iterations,
                lanes=lanes,
                memory_cost=memory_kib,
                ad=associated_data or None,
                secret=secret or None,
            ).derive(passphrase)
        except (ValueError, MemoryError):
            raise CryptoError("Argon2id: unusable parameters") from None

    def aes_ctr(self, key: bytes, iv: bytes, data: bytes) -> bytes:
        try:
            return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(data)
        except ValueError:
            raise CryptoError("AES-CTR: wrong key or counter length") from None

    def chacha20(self, key: bytes, data: bytes) -> bytes:
        try:
            return Cipher(algorithms.ChaCha20(key, _ZERO_16), None).encryptor().update(data)
        except ValueError:
            raise CryptoError("ChaCha20: wrong key length") from None

    def lioness_encrypt(self, keys: Sequence[bytes], block: bytes) -> bytes:
        return lioness.encrypt(self.chacha20, keys, block)

    def aead(self, name: AeadName, key: bytes) -> Aead:
        if len(key) != _KEY_SIZES[name]:
            raise CryptoError(f"{name}: wrong key length")
        cipher: AESGCM | AESGCMSIV | ChaCha20Poly1305
        try:
            if name == "chacha20-poly1305":
                cipher = ChaCha20Poly1305(key)
            elif name == "aes-256-gcm-siv":
                cipher = AESGCMSIV(key)
            else:
                cipher = AESGCM(key)
        except UnsupportedAlgorithm:
            raise CryptoError(f"{name}: not in this build of cryptography") from None
        return _PycaAead(cipher, name)

    # TLS ------------------------------------------------------------------------------------------------

    def ecdh(self, curve: CurveName, private: bytes | None = None) -> EcdhKey:
        parameters = _CURVES[curve]
        if private is None:
            return _PycaEcdh(ec.generate_private_key(parameters))
        if len(private) != _SCALAR_SIZES[curve]:
            raise CryptoError(f"ECDH {curve}: wrong scalar length")
        try:
            return _PycaEcdh(ec.derive_private_key(int.from_bytes(private, "big"), parameters))
        except ValueError:
            raise CryptoError(f"ECDH {curve}: scalar out of range") from None

    def ecdsa_verify(
        self, curve: CurveName, digest: HashName, public: bytes, signature: bytes, message: bytes
    ) -> None:
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(_CURVES[curve], public)
            key.verify(signature, message, ec.ECDSA(_HASHES[digest]))
        except (InvalidSignature, ValueError):
            raise CryptoError("ECDSA: the signature does not verify") from None

    def rsa_pss_verify(
        self, digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes
    ) -> None:
        algorithm = _HASHES[digest]
        self._rsa_verify(
            modulus,
            exponent,
            signature,
            message,
            padding.PSS(padding.MGF1(algorithm), algorithm.digest_size),
            algorithm,
        )

    def rsa_pkcs1_verify(
        self, digest: HashName, modulus: int, exponent: int, signature: bytes, message: bytes
    ) -> None:
        self._rsa_verify(modulus, exponent, signature, message, padding.PKCS1v15(), _HASHES[digest])

    @staticmethod
    def _rsa_verify(
        modulus: int,
        exponent: int,
        signature: bytes,
        message: bytes,
        scheme: padding.AsymmetricPadding,
        algorithm: hashes.HashAlgorithm,
    ) -> None:
        try:
            rsa.RSAPublicNumbers(exponent, modulus).public_key().verify(signature, message, scheme, algorithm)
        except (InvalidSignature, ValueError, UnsupportedAlgorithm):
            raise CryptoError("RSA: the signature does not verify") from None

    def mlkem768(self, seed: bytes | None = None) -> MlKemKey | None:
        if not _HAS_MLKEM:
            return self._supplement.mlkem768(seed) if self._supplement else None
        if seed is None:
            return _PycaMlKem(mlkem.MLKEM768PrivateKey.generate())
        try:
            return _PycaMlKem(mlkem.MLKEM768PrivateKey.from_seed_bytes(seed))
        except ValueError:
            raise CryptoError("ML-KEM-768: a seed has 64 bytes") from None

    def mlkem768_encapsulate(self, public: bytes) -> tuple[bytes, bytes]:
        if not _HAS_MLKEM:
            if self._supplement:
                return self._supplement.mlkem768_encapsulate(public)
            raise CryptoError("ML-KEM-768: not in this build of cryptography")
        try:
            return mlkem.MLKEM768PublicKey.from_public_bytes(public).encapsulate()
        except ValueError:
            raise CryptoError("ML-KEM-768: unusable encapsulation key") from None


class _PycaAead:
    __slots__ = ("_cipher", "_name")

    def __init__(self, cipher: AESGCM | AESGCMSIV | ChaCha20Poly1305, name: AeadName) -> None:
        self._cipher = cipher
        self._name = name

    def seal(self, nonce: bytes, plaintext: bytes, associated_data: bytes = b"") -> bytes:
        if len(nonce) != 12:
            raise CryptoError(f"{self._name}: a nonce has 12 bytes")
        return self._cipher.encrypt(nonce, plaintext, associated_data)

    def open(self, nonce: bytes, ciphertext: bytes, associated_data: bytes = b"") -> bytes:
        if len(nonce) != 12:
            raise CryptoError(f"{self._name}: a nonce has 12 bytes")
        try:
            return self._cipher.decrypt(nonce, ciphertext, associated_data)
        except (InvalidTag, ValueError):
            raise CryptoError(f"{self._name}: the tag does not verify") from None


class _PycaEcdh:
    __slots__ = ("_key", "_public")

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        self._public = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    @property
    def public(self) -> bytes:
        return self._public

    def exchange(self, peer_public: bytes) -> bytes:
        # TLS has uncompressed points only (RFC 8446 section 4.2.8.2); from_encoded_point takes both.
        if len(peer_public) != len(self._public):
            raise CryptoError("ECDH: not an uncompressed point")
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(self._key.curve, peer_public)
            return self._key.exchange(ec.ECDH(), peer)
        except ValueError:
            raise CryptoError("ECDH: the point is not on the curve") from None


class _PycaMlKem:
    __slots__ = ("_key",)

    def __init__(self, key: mlkem.MLKEM768PrivateKey) -> None:
        self._key = key

    @property
    def public(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def decapsulate(self, ciphertext: bytes) -> bytes:
        try:
            return self._key.decapsulate(ciphertext)
        except ValueError:
            raise CryptoError("ML-KEM-768: a ciphertext has 1,088 bytes") from None
