"""Mozilla's root certificates: the bundle of ``certifi``, copied into the wheel when it is built.

A checkout has no copy, so there the installed ``certifi`` package is read; the versions are then whatever is
installed. Without either, only ``trust_anchors`` of the configuration can be used.
"""

from __future__ import annotations

import os.path
from functools import cache
from importlib import import_module
from typing import Any

from smolmix_web.errors import OptionError

FOLDER = os.path.dirname(__file__)


@cache
def bundled_pem() -> bytes:
    """All roots, PEM. :raises OptionError: this installation has none."""
    # Whatever loaded this module, from a folder or out of an archive. (importlib.resources would do the same
    # with 300 KB of modules, which a page would have to download.)
    loader: Any = __spec__.loader
    try:
        return bytes(loader.get_data(os.path.join(FOLDER, "roots.pem")))
    except OSError:
        pass
    try:
        certifi = import_module("certifi")
    except ImportError:
        raise OptionError("bundled_roots", "no root certificates are installed; install certifi") from None
    pem: str = certifi.contents()
    return pem.encode()
