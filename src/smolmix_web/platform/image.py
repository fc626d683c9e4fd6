"""What a Python that was restored from a memory image does first (worker/image.js).

An image is taken at build time and is the same for everybody. No entropy is drawn while it is made, so it
holds no secrets; but generators that were seeded by then would give every page the same numbers. Each is
seeded anew here. Everything else in the worker asks the operating system (``os.urandom``) each time.

The hash seed of ``str`` and ``bytes`` cannot change any more. It is public; parsers of what strangers send
bound the number of keys they accept.
"""

from __future__ import annotations

import importlib
import random
import sys

import dns.entropy

from smolmix_web import crypto


def restored() -> None:
    """Call once, before anything else runs."""
    random.seed()
    # Ids and ports of dnspython's own; our resolver passes its own.
    dns.entropy.pool = dns.entropy.EntropyPool()


def add_late(folder: str) -> None:
    """Let modules be imported from ``folder`` too, those of :mod:`smolmix_web.crypto` among them."""
    sys.path.append(folder)
    crypto.__path__.append(f"{folder}/smolmix_web/crypto")
    importlib.invalidate_caches()
