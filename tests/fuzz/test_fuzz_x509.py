"""Invariant: a parser of certificates raises MalformedError and a validator TlsError, whatever the bytes
are; a damaged certificate is never accepted."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smolmix_web import crypto
from smolmix_web.errors import MalformedError
from smolmix_web.tls import TlsError
from smolmix_web.tls.certificates import der
from smolmix_web.tls.certificates.certificate import Certificate
from smolmix_web.tls.certificates.keys import decode_key
from smolmix_web.tls.certificates.names import ServerName, directory_name, dns_pattern_labels
from smolmix_web.tls.certificates.path import PathValidator
from smolmix_web.tls.certificates.pem import decode_pem
from smolmix_web.tls.certificates.profile import check_anchor, check_intermediate, check_server
from smolmix_web.tls.certificates.revocation import RevocationList
from smolmix_web.tls.verify import PathVerifier, PycaVerifier, Verifier
from tls_support.pair import NAME, TIME, authority, issued
from vectors_runner import limbo

KNOWN = [
    b"\x30\x03\x02\x01\x01",
    b"\x30\x80\x00\x00",
    b"\x06\x03\x55\x1d\x0e",
    b"\x17\x0d250101000000Z",
]


@cache
def samples() -> list[bytes]:
    """Real and odd certificates, as material to damage."""
    found = [issued().der, authority().der, issued("rsa2048").der, issued("ed25519").der]
    for case in limbo.cases()[:60:3]:
        found += decode_pem(case["peer_certificate"]) + decode_pem(case["trusted_certs"][0])
    return [sample for sample in found if len(sample) < 4000]


@cache
def validator() -> PathValidator:
    return PathValidator([authority().der], crypto.provider())


@cache
def verifier(kind: str) -> Verifier:
    return PathVerifier(validator()) if kind == "own" else PycaVerifier([authority().der], validator())


def look_at_everything(encoded: bytes) -> None:
    certificate = Certificate(encoded)
    for name in (
        "basic_constraints",
        "key_usage",
        "extended_key_usage",
        "alternative_names",
        "name_constraints",
        "subject_key_identifier",
        "authority_key_identifier",
    ):
        try:
            getattr(certificate, name)
        except MalformedError:
            continue
    for read in (lambda: decode_key(certificate.public_key), lambda: directory_name(certificate.subject)):
        try:
            read()
        except MalformedError:
            continue
    for check in (check_server, check_intermediate, lambda c: check_anchor(c, self_signed=True)):
        try:
            check(certificate)
        except TlsError:
            continue


def damage(draw: st.DrawFn, sample: bytes) -> bytes:
    damaged = bytearray(sample)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(damaged) - 1))
        action = draw(st.sampled_from(["flip", "set", "cut", "grow"]))
        if action == "flip":
            damaged[place] ^= 1 << draw(st.integers(0, 7))
        elif action == "set":
            damaged[place] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0x81, 0x84, 0xFF]))
        elif action == "cut" and len(damaged) > 2:
            del damaged[place]
        else:
            damaged[place:place] = draw(st.sampled_from(KNOWN))
    return bytes(damaged)


@st.composite
def damaged_certificates(draw: st.DrawFn) -> bytes:
    return damage(draw, draw(st.sampled_from(samples())))


@settings(max_examples=400, deadline=None)
@given(damaged_certificates())
def test_damaged_certificates_parse_or_are_malformed(encoded: bytes) -> None:
    with suppress(MalformedError):
        look_at_everything(encoded)


@st.composite
def damaged_leaves(draw: st.DrawFn) -> bytes:
    return damage(draw, issued().der)


@pytest.mark.parametrize("kind", ["own", "cryptography"])
@settings(max_examples=300, deadline=None)
@given(encoded=damaged_leaves())
def test_damaged_certificates_are_never_accepted(kind: str, encoded: bytes) -> None:
    try:
        verifier(kind).verify((encoded,), ServerName.parse(NAME), TIME)
    except TlsError:
        return
    assert encoded == issued().der, "damage may undo itself, nothing else passes"


@settings(max_examples=150, deadline=None)
@given(st.lists(damaged_certificates(), max_size=4))
def test_damaged_chains(others: list[bytes]) -> None:
    """Strangers and rubbish beside a good certificate neither help nor harm."""
    path = validator().validate([issued().der, *others], ServerName.parse(NAME), TIME)
    assert [certificate.der for certificate in path] == [issued().der, authority().der]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(damaged_certificates(), st.binary(max_size=40)), max_size=4))
def test_damaged_chains_with_cryptography(others: list[bytes]) -> None:
    """It may refuse a chain for the rubbish in it, but in our words."""
    with suppress(TlsError):
        verifier("cryptography").verify((issued().der, *others), ServerName.parse(NAME), TIME)


@settings(max_examples=150, deadline=None)
@given(damaged_certificates())
def test_damaged_trust_anchors(anchor: bytes) -> None:
    """They make a verifier that trusts nobody new, and no exception."""
    made = PycaVerifier([anchor], PathValidator([anchor], crypto.provider()))
    with suppress(TlsError):
        made.verify(issued().chain_der, ServerName.parse(NAME), TIME)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_der_noise(data: bytes) -> None:
    for read in (
        lambda: Certificate(data),
        lambda: RevocationList(data),
        lambda: directory_name(data),
        lambda: der.decode_oid(data),
        lambda: der.decode_integer(data),
        lambda: der.decode_bit_flags(data),
        lambda: der.decode_time(der.UTC_TIME, data),
        lambda: der.decode_time(der.GENERALIZED_TIME, data),
        lambda: decode_pem(data),
    ):
        try:
            read()
        except MalformedError:
            continue


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_names_of_servers(text: str) -> None:
    for read in (ServerName.parse, dns_pattern_labels):
        try:
            read(text)
        except MalformedError:
            continue


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=-(1 << 80), max_value=1 << 80))
def test_integers_round_trip(number: int) -> None:
    length = (number + (number < 0)).bit_length() // 8 + 1
    assert der.decode_integer(number.to_bytes(length, "big", signed=True)) == number
