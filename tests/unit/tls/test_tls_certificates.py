"""Certificates: the gallery of bad ones, names, constraints, and the verdicts of x509-limbo.

Each case runs with both verifiers, that of ``cryptography`` and our own path validator.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from smolmix_web import crypto
from smolmix_web.errors import MalformedError, OptionError
from smolmix_web.tls import TlsConfig, TlsError
from smolmix_web.tls import errors as e
from smolmix_web.tls.certificates.certificate import Certificate
from smolmix_web.tls.certificates.names import ServerName, dns_pattern_labels
from smolmix_web.tls.certificates.path import PathValidator
from smolmix_web.tls.certificates.pem import decode_pem
from smolmix_web.tls.certificates.profile import check_anchor
from smolmix_web.tls.registry import Alert
from smolmix_web.tls.roots import bundled_pem
from smolmix_web.tls.verify import PathVerifier, PycaVerifier, Verifier, verifier_for
from tls_support.certificates import DAY, NOW, Authority, Issued, self_signed
from vectors_runner import limbo

NAME = "www.example.com"
TIME = NOW.timestamp()
VERIFIERS = ["cryptography", "own"]


@cache
def root() -> Authority:
    return Authority("Gallery Root")


def make_verifier(kind: str, *anchors: bytes) -> Verifier:
    validator = PathValidator(anchors or (root().der,), crypto.provider())
    return (
        PathVerifier(validator) if kind == "own" else PycaVerifier(list(anchors or (root().der,)), validator)
    )


def check(
    kind: str, issued: Issued, *, name: str = NAME, time: float = TIME, anchors: tuple[bytes, ...] = ()
) -> None:
    make_verifier(kind, *anchors).verify(issued.chain_der, ServerName.parse(name), time)


def intermediate(**options: object) -> Authority:
    return Authority("Gallery Intermediate", issuer=root(), **options)  # type: ignore[arg-type]


def days(number: int) -> datetime.datetime:
    return NOW + number * DAY


@pytest.mark.parametrize("kind", VERIFIERS)
@pytest.mark.parametrize("key", ["p256", "p384", "rsa2048", "rsa3072", "ed25519"])
@pytest.mark.parametrize("authority_key", ["p256", "p384", "rsa2048", "ed25519"])
def test_good_certificates(kind: str, key: str, authority_key: str) -> None:
    anchor = Authority("Kinds", authority_key)
    under = Authority("Kinds Intermediate", authority_key, issuer=anchor, path_length=0)
    check(kind, anchor.issue(NAME, key_kind=key), anchors=(anchor.der,))
    check(kind, under.issue(NAME, key_kind=key), anchors=(anchor.der,))


GALLERY: dict[str, tuple[Callable[[], Issued], type[TlsError], Alert]] = {
    "expired": (
        lambda: root().issue(NAME, not_after=days(-1)),
        e.CertificateExpired,
        Alert.CERTIFICATE_EXPIRED,
    ),
    "not yet valid": (
        lambda: root().issue(NAME, not_before=days(1)),
        e.CertificateNotYetValid,
        Alert.CERTIFICATE_EXPIRED,
    ),
    "wrong host": (lambda: root().issue("example.com"), e.CertificateWrongHost, Alert.BAD_CERTIFICATE),
    "self-signed": (lambda: self_signed(NAME), e.CertificateSelfSigned, Alert.UNKNOWN_CA),
    "unknown root": (lambda: Authority("Stranger").issue(NAME), e.UnknownCa, Alert.UNKNOWN_CA),
    "missing intermediate": (
        lambda: Issued(*(lambda i: (i.certificate, i.key))(intermediate().issue(NAME))),
        e.UnknownCa,
        Alert.UNKNOWN_CA,
    ),
    "impostor root": (
        lambda: Authority("Gallery Root", serial=1).issue(NAME, without=[x509.AuthorityKeyIdentifier]),
        TlsError,
        Alert.BAD_CERTIFICATE,
    ),
    "weak RSA key": (
        lambda: root().issue(NAME, key_kind="rsa1024"),
        e.CertificateWeakKey,
        Alert.BAD_CERTIFICATE,
    ),
    "unaccepted curve": (
        lambda: root().issue(NAME, key_kind="p521"),
        e.CertificateWeakKey,
        Alert.BAD_CERTIFICATE,
    ),
    "for clients only": (
        lambda: root().issue(NAME, usages=[ExtendedKeyUsageOID.CLIENT_AUTH]),
        e.CertificateWrongUsage,
        Alert.UNSUPPORTED_CERTIFICATE,
    ),
    "for anything": (
        lambda: root().issue(NAME, usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]),
        e.CertificateWrongUsage,
        Alert.UNSUPPORTED_CERTIFICATE,
    ),
    "without a purpose": (
        lambda: root().issue(NAME, usages=None),
        e.CertificateWrongUsage,
        Alert.UNSUPPORTED_CERTIFICATE,
    ),
    "key may not sign": (
        lambda: root().issue(
            NAME,
            extensions=[(x509.KeyUsage(False, False, True, False, False, False, False, False, False), True)],
        ),
        e.CertificateWrongUsage,
        Alert.UNSUPPORTED_CERTIFICATE,
    ),
    "an authority's own": (
        lambda: root().issue(
            NAME,
            extensions=[
                (x509.BasicConstraints(True, None), True),
                (x509.KeyUsage(True, False, False, False, False, True, True, False, False), True),
                (x509.SubjectKeyIdentifier(b"x" * 20), False),
            ],
        ),
        TlsError,
        Alert.BAD_CERTIFICATE,
    ),
    "unknown critical extension": (
        lambda: root().issue(
            NAME, extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)]
        ),
        e.CertificateUnknownCritical,
        Alert.UNSUPPORTED_CERTIFICATE,
    ),
    "no names": (
        lambda: root().issue(NAME, without=[x509.SubjectAlternativeName]),
        e.CertificateMalformed,
        Alert.BAD_CERTIFICATE,
    ),
    "expired intermediate": (
        lambda: intermediate(not_after=days(-1)).issue(NAME),
        e.CertificateExpired,
        Alert.CERTIFICATE_EXPIRED,
    ),
    "issued by a server": (
        lambda: _issued_by_a_server(),
        e.CertificateNotAuthority,
        Alert.BAD_CERTIFICATE,
    ),
    "path too long": (
        lambda: Authority("Second", issuer=intermediate(path_length=0)).issue(NAME),
        e.CertificatePathTooLong,
        Alert.BAD_CERTIFICATE,
    ),
    "outside of name constraints": (
        lambda: intermediate(
            extensions=[(x509.NameConstraints([x509.DNSName("example.org")], None), True)]
        ).issue(NAME),
        e.CertificateNameConstraint,
        Alert.BAD_CERTIFICATE,
    ),
    "inside excluded names": (
        lambda: intermediate(
            extensions=[(x509.NameConstraints(None, [x509.DNSName("example.com")]), True)]
        ).issue(NAME),
        e.CertificateNameConstraint,
        Alert.BAD_CERTIFICATE,
    ),
}


def _issued_by_a_server() -> Issued:
    class Pretender(Authority):
        def __init__(self, server: Issued) -> None:
            self.issuer = None
            self.key, self.certificate, self.name = server.key, server.certificate, server.certificate.subject

    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a server")])
    key = root().issue(NAME, serial=5)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(root().name)
    builder = builder.public_key(key.key.public_key()).serial_number(77)
    builder = builder.not_valid_before(days(-1)).not_valid_after(days(100))
    aki = x509.AuthorityKeyIdentifier.from_issuer_public_key(root().key.public_key())
    builder = builder.add_extension(aki, False)
    server = Issued(builder.sign(root().key, hashes.SHA256()), key.key)
    victim = Pretender(server).issue(NAME, serial=6)
    return Issued(victim.certificate, victim.key, (server.certificate,))


@pytest.mark.parametrize("kind", VERIFIERS)
@pytest.mark.parametrize("case", sorted(GALLERY))
def test_gallery_of_bad_certificates(kind: str, case: str) -> None:
    make, wanted, alert = GALLERY[case]
    with pytest.raises(TlsError) as caught:
        check(kind, make())
    assert isinstance(caught.value, wanted)
    assert caught.value.reason
    if wanted is not TlsError:
        assert type(caught.value) is wanted
        assert caught.value.alert == alert
        assert caught.value.code.startswith("TLS_CERT_")


@pytest.mark.parametrize("kind", VERIFIERS)
def test_sha1_signatures_are_refused(kind: str) -> None:
    """An intermediate signed with SHA-1; cryptography makes none any more, so the algorithm is patched in."""
    good = root().issue(NAME).der
    sha256, sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d040301")
    # ecdsa-with-SHA1 has an OID one byte shorter; keep the length with another unaccepted one of equal size.
    assert good.count(sha256) == 2
    patched = good.replace(sha256, sha1)
    with pytest.raises(e.CertificateWeakSignature):
        make_verifier(kind).verify((patched,), ServerName.parse(NAME), TIME)


@pytest.mark.parametrize("kind", VERIFIERS)
def test_forged_signature(kind: str) -> None:
    forged = bytearray(root().issue(NAME).der)
    forged[-3] ^= 1
    with pytest.raises(e.CertificateBadSignature):
        make_verifier(kind).verify((bytes(forged),), ServerName.parse(NAME), TIME)


# -- building paths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VERIFIERS)
def test_unordered_extra_and_doubled_intermediates(kind: str) -> None:
    second = Authority("Gallery Second", issuer=intermediate())
    leaf = second.issue(NAME)
    stranger = Authority("Stranger").certificate
    one, two = leaf.intermediates
    for order in ([two, one], [stranger, two, one, one], [one, two, root().certificate]):
        check(kind, Issued(leaf.certificate, leaf.key, tuple(order)))


@pytest.mark.parametrize("kind", VERIFIERS)
def test_expired_cross_signature_beside_a_good_one(kind: str) -> None:
    """The "chain of pain": one certificate of the intermediate has expired, the other has not."""
    good, expired = intermediate(), intermediate(not_after=days(-1))
    leaf = good.issue(NAME)
    check(kind, Issued(leaf.certificate, leaf.key, (expired.certificate, good.certificate)))


@pytest.mark.parametrize("kind", VERIFIERS)
def test_intermediate_as_trust_anchor(kind: str) -> None:
    anchor = intermediate()
    check(kind, anchor.issue(NAME), anchors=(anchor.der,))


@pytest.mark.parametrize("kind", VERIFIERS)
def test_mutual_cross_signatures_do_not_loop(kind: str) -> None:
    a, b = Authority("Loop A"), Authority("Loop B")
    a_by_b, b_by_a = Authority("Loop A", issuer=b), Authority("Loop B", issuer=a)
    leaf = a.issue(NAME)
    with pytest.raises(e.UnknownCa):
        check(kind, Issued(leaf.certificate, leaf.key, (a_by_b.certificate, b_by_a.certificate)))
    check(
        kind, Issued(leaf.certificate, leaf.key, (a_by_b.certificate, b_by_a.certificate)), anchors=(b.der,)
    )


@pytest.mark.parametrize("kind", VERIFIERS)
def test_a_thicket_of_intermediates_is_given_up(kind: str) -> None:
    """Many certificates with one name and different keys, all signing each other: exponential paths."""
    thicket = [Authority("Thicket", serial=number) for number in range(30)]
    crossed = tuple(
        Authority("Thicket", issuer=thicket[(n + 1) % 30], serial=n).certificate for n in range(30)
    )
    leaf = thicket[0].issue(NAME)
    with pytest.raises(TlsError):
        check(kind, Issued(leaf.certificate, leaf.key, crossed))


def test_too_many_certificates() -> None:
    leaf = root().issue(NAME)
    with pytest.raises(e.CertificateMalformed):
        check("own", Issued(leaf.certificate, leaf.key, (root().certificate,) * 100))


@pytest.mark.parametrize("kind", VERIFIERS)
def test_validity_is_inclusive_at_both_ends(kind: str) -> None:
    leaf = root().issue(NAME, not_before=days(-1), not_after=days(1))
    for time in (days(-1), days(1)):
        check(kind, leaf, time=time.timestamp())
    with pytest.raises(e.CertificateNotYetValid):
        check(kind, leaf, time=days(-1).timestamp() - 1)
    with pytest.raises(e.CertificateExpired):
        check(kind, leaf, time=days(1).timestamp() + 1)


def test_peer_is_known_until_the_first_certificate_ends() -> None:
    leaf = intermediate(not_after=days(20)).issue(NAME, not_after=days(30))
    for kind in VERIFIERS:
        peer = make_verifier(kind).verify(leaf.chain_der, ServerName.parse(NAME), TIME)
        assert peer.not_after == days(20).timestamp()
        assert peer.chain == leaf.chain_der


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VERIFIERS)
@pytest.mark.parametrize(
    ("names", "asked", "good"),
    [
        (["www.example.com"], "WWW.EXAMPLE.COM", True),
        (["*.example.com"], "www.example.com", True),
        (["*.example.com"], "example.com", False),
        (["*.example.com"], "a.b.example.com", False),
        (["a.example", "b.example"], "b.example", True),
        (["xn--bcher-kva.example"], "xn--bcher-kva.example", True),
        (["192.0.2.1"], "192.0.2.1", True),
        (["192.0.2.1"], "192.0.2.2", False),
        (["2001:db8::1"], "[2001:db8:0::1]", True),
        (["www.example.com"], "192.0.2.1", False),
        (["192.0.2.1"], "www.example.com", False),
    ],
)
def test_server_names(kind: str, names: list[str], asked: str, good: bool) -> None:
    leaf = root().issue(*names)
    if good:
        check(kind, leaf, name=asked)
    else:
        with pytest.raises(e.CertificateWrongHost) as caught:
            check(kind, leaf, name=asked)
        assert caught.value.code == "TLS_CERT_WRONG_HOST"


@pytest.mark.parametrize("kind", VERIFIERS)
def test_whole_top_level_domain_is_refused(kind: str) -> None:
    with pytest.raises(TlsError):
        check(kind, root().issue("*.com"), name="example.com")


@pytest.mark.parametrize(
    "pattern",
    ["*", "*.com", "a.*.com", "f*.example.com", "*.*.com", ".example.com", "a..b", "-a.b", "a b.c", ""],
)
def test_impossible_patterns(pattern: str) -> None:
    with pytest.raises(MalformedError):
        dns_pattern_labels(pattern)


@pytest.mark.parametrize("kind", VERIFIERS)
@pytest.mark.parametrize(
    ("permitted", "excluded", "names", "good"),
    [
        (["example.com"], [], ["www.example.com"], True),
        (["example.com"], [], ["*.example.com"], True),
        (["example.com"], [], ["www.example.org"], False),
        (["www.example.com"], [], ["*.example.com"], False),
        ([], ["example.com"], ["www.example.com"], False),
        ([], ["bad.example.com"], ["*.example.com"], False),
        ([], ["bad.example.com"], ["good.example.com"], True),
        (["192.0.2.0/24"], [], ["192.0.2.9"], True),
        (["192.0.2.0/24"], [], ["198.51.100.1"], False),
        (["192.0.2.0/24"], [], ["www.example.com"], True),
        ([], ["2001:db8::/32"], ["2001:db8::1"], False),
        ([], ["2001:db8::/32"], ["2001:db9::1"], True),
    ],
)
def test_name_constraints(
    kind: str, permitted: list[str], excluded: list[str], names: list[str], good: bool
) -> None:
    import ipaddress

    def bases(texts: list[str]) -> list[x509.GeneralName] | None:
        found: list[x509.GeneralName] = [
            x509.IPAddress(ipaddress.ip_network(t)) if "/" in t else x509.DNSName(t) for t in texts
        ]
        return found or None

    constraint = x509.NameConstraints(bases(permitted), bases(excluded))
    leaf = intermediate(extensions=[(constraint, True)]).issue(*names)
    asked = names[0].replace("*", "x")
    if good:
        check(kind, leaf, name=asked)
    else:
        with pytest.raises(e.CertificateNameConstraint):
            check(kind, leaf, name=asked)


# -- trust anchors -------------------------------------------------------------------------------------


def test_trust_anchors_add_to_the_bundle_or_replace_it() -> None:
    leaf = root().issue(NAME)
    for bundled in (True, False):
        config = TlsConfig(trust_anchors="some text\n" + root().pem, bundled_roots=bundled)
        verifier_for(config, crypto.provider()).verify(leaf.chain_der, ServerName.parse(NAME), TIME)
    with pytest.raises(e.UnknownCa):
        verifier_for(TlsConfig(), crypto.provider()).verify(leaf.chain_der, ServerName.parse(NAME), TIME)


@pytest.mark.parametrize(
    "pem",
    [
        "",
        "no pem",
        "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----",
    ],
)
def test_unreadable_trust_anchors_are_named(pem: str) -> None:
    with pytest.raises(OptionError) as caught:
        verifier_for(TlsConfig(trust_anchors=pem), crypto.provider())
    assert caught.value.field == "trust_anchors"


def test_verifier_is_kept() -> None:
    provider = crypto.provider()
    assert verifier_for(TlsConfig(), provider) is verifier_for(TlsConfig(alpn=("h2",)), provider)


def test_the_verifier_follows_the_provider() -> None:
    class Npm:
        name = "npm"

    assert isinstance(verifier_for(TlsConfig(), crypto.provider()), PycaVerifier)
    assert isinstance(verifier_for(TlsConfig(), Npm()), PathVerifier)  # type: ignore[arg-type]


def test_there_is_no_switch_to_turn_verification_off() -> None:
    names = set(TlsConfig.__dataclass_fields__)
    assert names == {
        "minimum_version",
        "maximum_version",
        "alpn",
        "trust_anchors",
        "bundled_roots",
        "resumption",
        "resumption_partition",
    }
    with pytest.raises(OptionError):
        TlsConfig(bundled_roots=False)


def test_every_mozilla_root_can_be_used() -> None:
    """But for those whose kind of key no provider can check; the list is here so that it is noticed."""
    unusable = []
    for der in decode_pem(bundled_pem()):
        anchor = Certificate(der, strict=False)
        validator = PathValidator((), crypto.provider(), vetted=[der])
        assert validator.is_anchor(anchor)
        try:
            validator.check_anchor(anchor)
        except e.CertificateWeakKey:
            unusable.append(anchor.subject)
    assert len(unusable) <= 1  # a P-521 root of 2023


def test_own_anchor_must_keep_the_profile() -> None:
    builder = x509.CertificateBuilder().subject_name(root().name).issuer_name(root().name)
    builder = builder.public_key(root().key.public_key()).serial_number(1)
    builder = builder.not_valid_before(days(-1)).not_valid_after(days(1))
    bare = builder.sign(root().key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    with pytest.raises(e.CertificateNotAuthority):
        check_anchor(Certificate(bare), self_signed=True)


# -- vectors -------------------------------------------------------------------------------------------


def test_x509_limbo_with_our_validator() -> None:
    """Nothing accepted that must fail, nothing refused that is valid."""
    assert list(limbo.differences(crypto.provider())) == []
    assert len(limbo.cases()) == 104


#: Verdicts of ``cryptography``'s verifier that differ, with the reason. None of them lets a server in that
#: TLS should refuse: TLS gives it neither revocation lists nor a depth.
LIMBO_CRYPTOGRAPHY = {
    "crl::revoked-certificate-with-crl": "it takes no revocation lists",
    "crl::crlnumber-missing": "it takes no revocation lists",
    "crl::crlnumber-critical": "it takes no revocation lists",
    "crl::issuer-missing-crlsign": "it takes no revocation lists",
    "crl::issuer-no-keyusage-extension": "it wants key usage in every authority",
    "pathlen::validation-ignores-pathlen-in-leaf": "no authority's certificate may serve TLS",
    "pathlen::max-chain-depth-1-exhausted": "the depth of the case is not handed over",
}


def test_x509_limbo_with_cryptography() -> None:
    found = set()
    for case in limbo.cases():
        if case["validation_kind"] != "SERVER":
            continue
        anchors = [der for pem in case["trusted_certs"] for der in decode_pem(pem)]
        sent = [case["peer_certificate"], *case["untrusted_intermediates"]]
        chain = tuple(der for pem in sent for der in decode_pem(pem))
        verifier = PycaVerifier(anchors, PathValidator(anchors, crypto.provider()))
        try:
            verifier.verify(chain, ServerName.parse(case["expected_peer_name"]["value"]), limbo.time_of(case))
            verdict = "SUCCESS"
        except TlsError:
            verdict = "FAILURE"
        if verdict != case["expected_result"]:
            found.add(case["id"])
    assert found == set(LIMBO_CRYPTOGRAPHY)


def test_rsa_keys_of_odd_sizes() -> None:
    key = rsa.generate_private_key(65537, 2050)
    builder = x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(root().name)
    builder = builder.public_key(key.public_key()).serial_number(5)
    builder = builder.not_valid_before(days(-1)).not_valid_after(days(1))
    for extension in root().issue(NAME).certificate.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    odd = Issued(builder.sign(root().key, hashes.SHA256()), key)
    for kind in VERIFIERS:
        with pytest.raises(e.CertificateWeakKey):
            check(kind, odd)


@pytest.mark.parametrize("kind", VERIFIERS)
@pytest.mark.parametrize("issued_name", ["my_host.example.com", "*.example.com"])
def test_underscores_in_server_names(kind: str, issued_name: str) -> None:
    check(kind, root().issue(issued_name), name="my_host.example.com")
    with pytest.raises(e.CertificateWrongHost):
        check(kind, root().issue(issued_name), name="my_other.example.org")


def _with_common_name(text: str, *names: str) -> Issued:
    plain = root().issue(*names, serial=8)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(root().name)
    builder = builder.public_key(plain.key.public_key()).serial_number(9)
    builder = builder.not_valid_before(days(-1)).not_valid_after(days(1))
    for extension in plain.certificate.extensions:
        critical = extension.critical and not isinstance(extension.value, x509.SubjectAlternativeName)
        builder = builder.add_extension(extension.value, critical)
    return Issued(builder.sign(root().key, hashes.SHA256()), plain.key)


@pytest.mark.parametrize("kind", VERIFIERS)
@pytest.mark.parametrize(
    ("common_name", "names", "good"),
    [
        (NAME, [NAME], True),
        ("My server at home", [NAME], True),
        ("server", [NAME], True),
        ("example.com", ["*.example.com"], True),
        ("192.0.2.1", [NAME, "192.0.2.1"], True),
        ("other.example.com", [NAME], False),
        ("WWW.example.com", [NAME], False),
        ("bücher.example", [NAME, "xn--bcher-kva.example"], False),
        ("192.0.2.1", [NAME], False),
        ("192.000.2.1", [NAME, "192.0.2.1"], False),
    ],
)
def test_common_name_must_not_contradict(kind: str, common_name: str, names: list[str], good: bool) -> None:
    issued = _with_common_name(common_name, *names)
    if good:
        check(kind, issued)
    else:
        with pytest.raises(e.CertificateMalformed, match="common name"):
            check(kind, issued)


@pytest.mark.parametrize("kind", VERIFIERS)
def test_constraints_against_thousands_of_names(kind: str) -> None:
    """Work is bounded: two thousand names against two thousand constraints are not looked at."""
    constraint = x509.NameConstraints(None, [x509.DNSName(f"x{n}.test") for n in range(2000)])
    names = [f"n{n}.example.com" for n in range(2000)]
    with pytest.raises(e.CertificateNameConstraint):
        check(kind, intermediate(extensions=[(constraint, True)]).issue(*names), name="n0.example.com")
