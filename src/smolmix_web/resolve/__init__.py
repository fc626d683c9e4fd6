"""Names to addresses, asked through the tunnel; dnspython does the message format."""

from __future__ import annotations

from smolmix_web.resolve.errors import NameNotFound, ResolutionFailed
from smolmix_web.resolve.resolver import Resolver

__all__ = ["NameNotFound", "ResolutionFailed", "Resolver"]
