"""Mozilla's root certificates: the bundle of ``certifi``, copied into the wheel when it is built.

A checkout has no copy, so there the installed ``certifi`` package is read; the versions are then whatever is
installed. Without either, only ``trust_anchors`` of the configuration can be used.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module, resources

from smolmix_web.errors import OptionError


@cache
def bundled_pem() -> bytes:
    """All roots, PEM. :raises OptionError: this installation has none."""
    packaged = resources.files("smolmix_web.tls").joinpath("roots.pem")
    if packaged.is_file():
        return packaged.read_bytes()
    try:
        certifi = import_module("certifi")
    except ImportError:
        raise OptionError("bundled_roots", "no root certificates are installed; install certifi") from None
    pem: str = certifi.contents()
    return pem.encode()
