"""What assets of a page may be built without, and what is there (``smolmix-web assets --features``).

Code that is only needed by one feature is imported when it is first used, after :func:`require`. Nobody keeps
a list of what is there: a part is there if its module can be imported. Installed packages have everything.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable
from typing import Final, Literal, get_args

from smolmix_web.errors import FeatureMissing, OptionError

Feature = Literal["dns", "fetch", "socket"]
"""In a page: ``mixResolve``; ``mixFetch``; ``MixWebSocket``. Raw messages are always there."""

FEATURES: Final[tuple[Feature, ...]] = get_args(Feature)

Part = Literal["fetch", "socket", "web"]
"""What can be left out. ``web`` (TLS, cookies) serves ``fetch`` and ``socket``; names serve all of them."""

_HOMES: Final[dict[Part, str]] = {
    "fetch": "smolmix_web.fetch.client",
    "socket": "smolmix_web.websocket.client",
    "web": "smolmix_web.tls.stream",
}


def parse_features(names: Iterable[str]) -> tuple[Feature, ...]:
    """Features by name, in the order of :data:`FEATURES`.

    :raises OptionError: an unknown name, or none at all.
    """
    wanted = set(names)
    if unknown := sorted(wanted - set(FEATURES)):
        raise OptionError("features", f"{unknown[0]!r} is not one of {', '.join(FEATURES)}")
    if not wanted:
        raise OptionError("features", f"name at least one of {', '.join(FEATURES)}")
    return tuple(feature for feature in FEATURES if feature in wanted)


def has(part: Part) -> bool:
    """Whether this build holds ``part``."""
    name = _HOMES[part]
    if name in sys.modules:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package
        return False


def require(part: Part) -> None:
    """:raises FeatureMissing: this build does not hold ``part``."""
    if not has(part):
        raise FeatureMissing("fetch or socket" if part == "web" else part)
