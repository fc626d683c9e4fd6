"""Everything that a tunnel uses at any time of its life, imported.

Runs inside Pyodide, at build time only.
"""

from __future__ import annotations

import gc
import importlib
import sys
import zipimport
from collections.abc import Iterable

PACKAGES = "/lib/smolmix/packages.zip"
LATE = "/lib/smolmix/late"

START = ("smolmix_web.bridge.entry", "smolmix_web.platform.image")
"""What the worker calls by name."""

BY_NAME = (
    # Imported by name when they are first needed.
    *("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.utf_8_sig"),
    # Of records: those that are asked for, or come along. dnspython takes others as they are (RFC 3597).
    *("dns.rdtypes.IN.A", "dns.rdtypes.IN.AAAA", "dns.rdtypes.ANY.CNAME", "dns.rdtypes.ANY.DNAME"),
    *("dns.rdtypes.ANY.NS", "dns.rdtypes.ANY.OPT", "dns.rdtypes.ANY.SOA"),
    # For tracebacks in the log.
    *("traceback", "linecache", "_colorize"),
    # When archives are unpacked later.
    "importlib.metadata",
)


def import_everything(names: Iterable[str]) -> None:
    """``names``, what is imported by name, and what both lead to."""
    for name in (*names, *BY_NAME):
        importlib.import_module(name)


def read_roots() -> None:
    """Where there is TLS, its root certificates; as text, for parsed ones would be larger."""
    if "smolmix_web.tls" in sys.modules:
        importlib.import_module("smolmix_web.tls.roots").bundled_pem()


def modules_of(archive: str) -> list[str]:
    """Names of all modules in an archive of byte code, without zipfile, which would stay in the image."""
    names = zipimport.zipimporter(archive)._get_files()
    return sorted(module_name(name) for name in names if name.endswith(".pyc"))


def module_name(path: str) -> str:
    """Of a file of byte code in an archive."""
    return path.removesuffix(".pyc").removesuffix("/__init__").replace("/", ".")


def seal() -> None:
    """Last step before the image is taken."""
    # The archives are not there when a page starts from the image; what they hold has been imported.
    sys.path.clear()
    sys.path_importer_cache.clear()
    zipimport._zip_directory_cache.clear()
    sys.modules.pop(__name__, None)
    gc.collect()
