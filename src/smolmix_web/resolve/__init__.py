"""Names to addresses, asked through the tunnel; dnspython does the message format."""

from __future__ import annotations

from smolmix_web.resolve.errors import NameNotFound, NoAddress, ResolutionFailed
from smolmix_web.resolve.resolver import Address, Candidates, Family, Resolver

__all__ = ["Address", "Candidates", "Family", "NameNotFound", "NoAddress", "ResolutionFailed", "Resolver"]
