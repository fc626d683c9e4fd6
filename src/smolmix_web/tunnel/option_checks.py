"""Options whose form only the layers below know, looked at before anything is started."""

from __future__ import annotations

from smolmix_web import features
from smolmix_web.errors import MalformedError, OptionError
from smolmix_web.nym import base58
from smolmix_web.options import TunnelOptions


def check_options(options: TunnelOptions) -> None:
    """:raises OptionError: ``preferredGateway`` is no identity, ``trustAnchors`` holds no certificate."""
    if options.preferred_gateway is not None:
        try:
            base58.decode(options.preferred_gateway, 32)
        except MalformedError as error:
            raise OptionError("preferredGateway", f"no identity of a gateway: {error}") from None
    if options.trust_anchors is not None and features.has("web"):
        from smolmix_web.tls.certificates.pem import decode_pem

        try:
            found = decode_pem(options.trust_anchors)
        except MalformedError as error:
            raise OptionError("trustAnchors", str(error)) from None
        if not found:
            raise OptionError("trustAnchors", "holds no PEM certificate")
