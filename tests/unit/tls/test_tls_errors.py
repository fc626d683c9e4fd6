"""Errors: one class per alert and per verification failure, each with a stable code."""

from __future__ import annotations

import inspect

import pytest

from smolmix_web.errors import RemoteProtocolError
from smolmix_web.tls import errors
from smolmix_web.tls.errors import ALERT_CLASSES, TlsError, from_received_alert
from smolmix_web.tls.registry import Alert

CLASSES = [value for _, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, TlsError)]


def test_every_alert_has_its_class() -> None:
    assert set(ALERT_CLASSES) == set(Alert) - {Alert.CLOSE_NOTIFY}
    for alert, cls in ALERT_CLASSES.items():
        assert cls.alert == alert


def test_codes_are_unique_and_shaped_alike() -> None:
    codes = [cls.code for cls in CLASSES if cls is not TlsError]
    assert len(codes) == len(set(codes))
    assert all(code.startswith("TLS_") and code == code.upper() for code in codes)


@pytest.mark.parametrize("cls", CLASSES)
def test_every_class_explains_itself(cls: type[TlsError]) -> None:
    assert cls.__doc__
    error = cls("what happened", host="example.com")
    assert str(error) == "example.com: what happened"
    assert isinstance(error, RemoteProtocolError)


def test_certificate_codes_that_the_page_relies_on() -> None:
    """Part of the interface to JavaScript: changing one breaks pages."""
    assert {
        "TLS_CERT_EXPIRED",
        "TLS_CERT_NOT_YET_VALID",
        "TLS_CERT_WRONG_HOST",
        "TLS_CERT_SELF_SIGNED",
        "TLS_CERT_UNKNOWN_AUTHORITY",
        "TLS_CERT_WEAK_KEY",
        "TLS_CERT_WEAK_SIGNATURE",
        "TLS_CERT_BAD_SIGNATURE",
        "TLS_CERT_WRONG_USAGE",
        "TLS_CERT_NOT_AUTHORITY",
        "TLS_CERT_PATH_TOO_LONG",
        "TLS_CERT_NAME_CONSTRAINT",
        "TLS_CERT_UNKNOWN_CRITICAL",
        "TLS_CERT_MALFORMED",
        "TLS_CERT_REVOKED",
        "TLS_CERT_UNACCEPTABLE",
    } == {cls.code for cls in CLASSES if cls.code.startswith("TLS_CERT_")}


@pytest.mark.parametrize("number", range(256))
def test_any_alert_number_becomes_an_error(number: int) -> None:
    if number == Alert.CLOSE_NOTIFY:
        return
    error = from_received_alert(number)
    assert error.received
    assert error.reason.startswith("the server gave up")
