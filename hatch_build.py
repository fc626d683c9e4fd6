"""Build hook: Mozilla's root certificates, as ``certifi`` has them at build time, go into the wheel.

An installed smolmix-web then verifies servers against the roots it was built with, and needs no certifi at
run time. A checkout (editable install) keeps no copy: smolmix_web.tls.roots reads certifi itself there.
"""

from __future__ import annotations

from typing import Any

import certifi
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RootCertificatesHook(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            build_data["force_include"][certifi.where()] = "smolmix_web/tls/roots.pem"
