"""Which IPR protocol version to try first, from the build version that the directory tells of an exit.

Sources: ipr.md sections 10.1 and 13, directory.md section 6.
"""

from __future__ import annotations

import re

# Semantic Versioning 2.0: three numbers without leading zeros, then pre-release and build parts.
_SEMVER = re.compile(
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?", re.ASCII
)
_FIRST_V10_RELEASE = (1, 37, 0)


def preferred_version(build_version: str | None) -> int:
    """10 for releases from 1.37.0 on, else 9 (unknown and unreadable versions included)."""
    match = _SEMVER.fullmatch(build_version) if build_version else None
    if match is None:
        return 9
    release = tuple(int(number[:9]) for number in match.group(1, 2, 3))
    if release == _FIRST_V10_RELEASE and match[4]:
        return 9  # a pre-release sorts below its release
    return 10 if release >= _FIRST_V10_RELEASE else 9
