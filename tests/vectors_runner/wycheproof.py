"""Wycheproof files against any provider: no pytest, no package beyond the standard library.

pytest runs this on CPython's provider, and the run inside Pyodide on the worker's. A test of a file is *run*
(it passed or its description lands in ``failures``) or *skipped* with a reason; callers pin both numbers, so
that a file cannot silently stop being tested.

Result "valid" means: the operation succeeds with exactly the expected output. "invalid" means: it raises
CryptoError, and nothing else. "acceptable" depends on the file and is explained at each function.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from smolmix_web import crypto
from smolmix_web.crypto import Provider, kdf
from smolmix_web.errors import CryptoError

Case = dict[str, Any]
Group = dict[str, Any]


class Skip(Exception):
    """This test is about something our interface does not have."""


class Wrong(Exception):
    """The provider did not do what the test demands."""


@dataclass
class Report:
    """What became of the tests of one file."""

    file: str
    run: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def run_file(path: Path, provider: Provider) -> Report:
    """Run every test of one Wycheproof file."""
    document = json.loads(path.read_text())
    report = Report(path.name)
    check = _CHECKS[path.name.removesuffix("_test.json")]
    for group in document["testGroups"]:
        for case in group["tests"]:
            try:
                check(provider, group, case)
            except Skip as reason:
                report.skipped[str(reason)] += 1
                continue
            except Exception as error:
                report.failures.append(f"{case['tcId']} ({case.get('comment', '')}): {error!r}")
            report.run += 1
    return report


def _expect(case: Case, operation: Callable[[], bytes | None], expected: bytes | None) -> None:
    """Valid: the output is the expected one. Invalid: CryptoError. Acceptable: one of both."""
    result = case["result"]
    try:
        output = operation()
    except CryptoError:
        if result == "valid":
            raise Wrong("a valid test was refused") from None
        return
    if result == "invalid":
        raise Wrong("an invalid test was accepted")
    if output != expected:
        raise Wrong("the output differs")


def _hex(case: Case, name: str) -> bytes:
    return bytes.fromhex(case[name])


def _aead(names_by_key_bits: dict[int, Any]) -> Callable[[Provider, Group, Case], None]:
    def check(provider: Provider, group: Group, case: Case) -> None:
        name = names_by_key_bits.get(group["keySize"])
        if name is None:
            raise Skip(f"{group['keySize']}-bit keys are not in the interface")
        key, nonce, aad = _hex(case, "key"), _hex(case, "iv"), _hex(case, "aad")
        message, sealed = _hex(case, "msg"), _hex(case, "ct") + _hex(case, "tag")
        aead = provider.aead(name, key)
        if len(nonce) != 12:
            # Whatever the file says: our interface promises to refuse other nonce lengths.
            for operation in (aead.seal, aead.open):
                _expect({"result": "invalid"}, lambda op=operation: op(nonce, sealed, aad), None)
            return
        _expect(case, lambda: aead.open(nonce, sealed, aad), message)
        if case["result"] == "valid":
            _expect(case, lambda: aead.seal(nonce, message, aad), sealed)

    return check


def _x25519(provider: Provider, group: Group, case: Case) -> None:
    """Acceptable: twist and low-order points. Only an all-zero result is refused (RFC 7748 section 6.1)."""
    shared = _hex(case, "shared")
    verdict = {"result": "valid" if any(shared) else "invalid"}
    secret, public = _hex(case, "private"), _hex(case, "public")
    _expect(verdict, lambda: provider.x25519(secret, public), shared)
    _expect(verdict, lambda: provider.x25519_key(secret).exchange(public), shared)


_SPKI_PREFIX = {
    "p256": bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200"),
    "p384": bytes.fromhex("3076301006072a8648ce3d020106052b81040022036200"),
}


def _ecdh(curve: Any, size: int) -> Callable[[Provider, Group, Case], None]:
    """The files carry SubjectPublicKeyInfo; our interface takes the point in it. What tests a DER parser,
    or a curve of somebody else, is skipped; every point behind a correct prefix is run."""

    def check(provider: Provider, group: Group, case: Case) -> None:
        public = _hex(case, "public")
        prefix = _SPKI_PREFIX[curve]
        if not public.startswith(prefix):
            raise Skip("the key is not an uncompressed point of this curve in plain DER")
        scalar = int(case["private"], 16).to_bytes(size, "big")
        _expect(
            case,
            lambda: provider.ecdh(curve, scalar).exchange(public[len(prefix) :]),
            _hex(case, "shared"),
        )

    return check


def _ecdsa(curve: Any, digest: Any) -> Callable[[Provider, Group, Case], None]:
    def check(provider: Provider, group: Group, case: Case) -> None:
        public = bytes.fromhex(group["publicKey"]["uncompressed"])
        _expect(
            case,
            lambda: provider.ecdsa_verify(curve, digest, public, _hex(case, "sig"), _hex(case, "msg")),
            None,
        )

    return check


def _ed25519(provider: Provider, group: Group, case: Case) -> None:
    public = bytes.fromhex(group["publicKey"]["pk"])
    _expect(case, lambda: provider.ed25519_verify(public, _hex(case, "sig"), _hex(case, "msg")), None)


def _rsa(method: str, digest: Any) -> Callable[[Provider, Group, Case], None]:
    """Acceptable (PKCS #1): a DigestInfo without NULL, which RFC 8017 leaves open; either answer is right."""

    def check(provider: Provider, group: Group, case: Case) -> None:
        modulus = int(group["publicKey"]["modulus"], 16)
        exponent = int(group["publicKey"]["publicExponent"], 16)
        verify = getattr(provider, method)
        _expect(case, lambda: verify(digest, modulus, exponent, _hex(case, "sig"), _hex(case, "msg")), None)

    return check


def _hkdf(hash_name: kdf.KdfHash) -> Callable[[Provider, Group, Case], None]:
    def check(provider: Provider, group: Group, case: Case) -> None:
        salt, ikm, info = _hex(case, "salt"), _hex(case, "ikm"), _hex(case, "info")
        okm = _hex(case, "okm")

        def of_kdf() -> bytes:
            try:
                return kdf.hkdf(hash_name, salt, ikm, info, case["size"])
            except ValueError:
                raise CryptoError("impossible length") from None

        _expect(case, of_kdf, okm)
        if hash_name == "sha256":
            _expect(case, lambda: provider.hkdf_sha256(salt, ikm, info, case["size"]), okm)

    return check


def _hmac(hash_name: kdf.KdfHash) -> Callable[[Provider, Group, Case], None]:
    def check(provider: Provider, group: Group, case: Case) -> None:
        tag = kdf.hmac_digest(hash_name, _hex(case, "key"), _hex(case, "msg"))[: group["tagSize"] // 8]
        if (tag == _hex(case, "tag")) != (case["result"] == "valid"):
            raise Wrong("the tag differs, or a wrong one is the same")

    return check


def _mlkem768(provider: Provider, group: Group, case: Case) -> None:
    """Decapsulation under a given seed; the invalid ones are seeds and ciphertexts of a wrong length."""

    def decapsulate() -> bytes:
        key = provider.mlkem768(_hex(case, "seed"))
        if key is None:
            raise Skip("this build has no ML-KEM-768")
        if "ek" in case and key.public != _hex(case, "ek"):
            raise Wrong("the encapsulation key differs")
        return key.decapsulate(_hex(case, "c"))

    _expect(case, decapsulate, _hex(case, "K"))


_CHECKS: dict[str, Callable[[Provider, Group, Case], None]] = {
    "aes_gcm": _aead({128: "aes-128-gcm", 256: "aes-256-gcm"}),
    "aes_gcm_siv": _aead({256: "aes-256-gcm-siv"}),
    "chacha20_poly1305": _aead({256: "chacha20-poly1305"}),
    "ecdh_secp256r1": _ecdh("p256", 32),
    "ecdh_secp384r1": _ecdh("p384", 48),
    "ecdsa_secp256r1_sha256": _ecdsa("p256", "sha256"),
    "ecdsa_secp384r1_sha384": _ecdsa("p384", "sha384"),
    "ed25519": _ed25519,
    "hkdf_sha256": _hkdf("sha256"),
    "hkdf_sha384": _hkdf("sha384"),
    "hmac_sha256": _hmac("sha256"),
    "hmac_sha384": _hmac("sha384"),
    "mlkem_768": _mlkem768,
    "rsa_pss_2048_sha256_mgf1_32": _rsa("rsa_pss_verify", "sha256"),
    "rsa_pss_4096_sha384_mgf1_48": _rsa("rsa_pss_verify", "sha384"),
    "rsa_signature_2048_sha256": _rsa("rsa_pkcs1_verify", "sha256"),
    "rsa_signature_4096_sha384": _rsa("rsa_pkcs1_verify", "sha384"),
    "x25519": _x25519,
}

FILES = tuple(f"{name}_test.json" for name in _CHECKS)

EXPECTED_COUNTS: dict[str, tuple[int, int]] = {
    "aes_gcm_test.json": (213, 103),  # 192-bit keys
    "aes_gcm_siv_test.json": (103, 99),  # 128-bit keys
    "chacha20_poly1305_test.json": (325, 0),
    "ecdh_secp256r1_test.json": (350, 262),  # DER parsing, other curves, compressed points
    "ecdh_secp384r1_test.json": (791, 256),
    "ecdsa_secp256r1_sha256_test.json": (484, 0),
    "ecdsa_secp384r1_sha384_test.json": (504, 0),
    "ed25519_test.json": (151, 0),
    "hkdf_sha256_test.json": (86, 0),
    "hkdf_sha384_test.json": (83, 0),
    "hmac_sha256_test.json": (174, 0),
    "hmac_sha384_test.json": (174, 0),
    "mlkem_768_test.json": (193, 0),
    "rsa_pss_2048_sha256_mgf1_32_test.json": (108, 0),
    "rsa_pss_4096_sha384_mgf1_48_test.json": (141, 0),
    "rsa_signature_2048_sha256_test.json": (259, 0),
    "rsa_signature_4096_sha384_test.json": (259, 0),
    "x25519_test.json": (518, 0),
}
"""(run, skipped) of each file, for a provider which has everything."""


def run_all(directory: Path) -> list[Report]:
    """Every file, on the installed provider."""
    return [run_file(directory / name, crypto.provider()) for name in FILES]
