"""Everything that a tunnel uses at any time of its life, imported.

Runs inside Pyodide, at build time only.
"""

from __future__ import annotations

import gc
import importlib
import sys
import zipfile

PACKAGES = "/lib/smolmix/packages.zip"
LATE = "/lib/smolmix/late"

ONLY_SOMETIMES = ("cryptography",)
"""A module that needs one of these comes later, with it."""

BY_NAME = (
    # Imported by name when they are first needed.
    *("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.utf_8_sig"),
    *("dns.rdtypes.IN.A", "dns.rdtypes.IN.AAAA", "dns.rdtypes.IN.HTTPS", "dns.rdtypes.IN.SVCB"),
    *("dns.rdtypes.ANY.CNAME", "dns.rdtypes.ANY.DNAME", "dns.rdtypes.ANY.NS", "dns.rdtypes.ANY.OPT"),
    *("dns.rdtypes.ANY.SOA", "dns.rdtypes.ANY.TXT"),
    # For tracebacks in the log.
    *("traceback", "linecache", "_colorize"),
)


def import_everything(archive: str = PACKAGES) -> None:
    """All of ours, and what is imported by name.

    :param archive: where our package is.
    """
    with zipfile.ZipFile(archive) as packages:
        ours = [name for name in packages.namelist() if name.startswith("smolmix_web/")]
    for name in (*map(module_name, ours), *BY_NAME):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.split(".")[0] not in ONLY_SOMETIMES:
                raise
    # The parsed root certificates would be larger than their text.
    importlib.import_module("smolmix_web.tls.roots").bundled_pem()


def module_name(path: str) -> str:
    """Of a file of byte code in an archive."""
    return path.removesuffix(".pyc").removesuffix("/__init__").replace("/", ".")


def seal() -> None:
    """Last step before the image is taken."""
    sys.path[:] = [path for path in sys.path if path]
    sys.modules.pop(__name__, None)
    gc.collect()
