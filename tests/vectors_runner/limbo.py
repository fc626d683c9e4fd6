"""The x509-limbo cases against our path validator, with whatever provider is active.

No pytest here, so that the same code runs inside Pyodide. ``run`` returns what differs from the expectation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from smolmix_web.crypto.provider import Provider
from smolmix_web.errors import MalformedError
from smolmix_web.tls.certificates.certificate import Certificate, ExtendedKeyUsageOid
from smolmix_web.tls.certificates.names import NameKind, ServerName
from smolmix_web.tls.certificates.path import PathValidator
from smolmix_web.tls.certificates.pem import decode_pem
from smolmix_web.tls.certificates.revocation import RevocationList
from smolmix_web.tls.errors import BadCertificate, CertificateMalformed, TlsError

FILE = Path(__file__).parent.parent / "vectors" / "tls" / "x509-limbo.json"
_KINDS = {"DNS": NameKind.DNS, "IP": NameKind.IP, "RFC822": NameKind.EMAIL}
#: The cases are from 2024; those without a time of their own are judged at the time of the file.
_DEFAULT_TIME = "2024-10-01T00:00:00+00:00"


def cases() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(FILE.read_text())["testcases"]
    return found


def time_of(case: dict[str, Any]) -> float:
    return datetime.fromisoformat(case["validation_time"] or _DEFAULT_TIME).timestamp()


def validate(case: dict[str, Any], provider: Provider) -> None:
    """:raises TlsError: the chain is refused."""
    depth = case["max_chain_depth"]
    anchors = [der for pem in case["trusted_certs"] for der in decode_pem(pem)]
    options = {} if depth is None else {"max_depth": depth}
    validator = PathValidator(anchors, provider, **options)
    sent = [case["peer_certificate"], *case["untrusted_intermediates"]]
    chain = [der for pem in sent for der in decode_pem(pem)]
    try:
        lists = [RevocationList(der) for pem in case["crls"] for der in decode_pem(pem, "X509 CRL")]
    except MalformedError as error:
        raise CertificateMalformed(str(error)) from None
    name = case["expected_peer_name"]
    is_client = case["validation_kind"] == "CLIENT"
    validator.validate(
        chain,
        ServerName.parse(name["value"]) if name is not None else None,
        time_of(case),
        purpose=ExtendedKeyUsageOid.CLIENT_AUTH if is_client else ExtendedKeyUsageOid.SERVER_AUTH,
        revocation_lists=lists,
    )
    present = {(n.kind, n.value) for n in Certificate(chain[0]).alternative_names or ()}
    for wanted in case["expected_peer_names"]:
        if (_KINDS[wanted["kind"]], wanted["value"].encode()) not in present:
            raise BadCertificate("a name is missing")


def differences(provider: Provider) -> Iterator[tuple[str, str]]:
    """(case, what went wrong) for each verdict that is not the expected one."""
    for case in cases():
        try:
            validate(case, provider)
        except TlsError as error:
            if case["expected_result"] == "SUCCESS":
                yield case["id"], f"refused: {type(error).__name__}: {error}"
        else:
            if case["expected_result"] == "FAILURE":
                yield case["id"], "accepted"
