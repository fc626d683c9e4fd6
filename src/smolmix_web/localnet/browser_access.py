"""What Nym's own browser packages need to use a local network (spec directory.md 8, 9).

They call one directory by name, always under TLS, and offer no option for it. So the local directory listens
under TLS too, and Chromium is told by flags to lead the name there and to accept the certificate.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import replace

from smolmix_web.errors import LocalProtocolError
from smolmix_web.localnet.network import LocalNetwork, LocalNetworkConfig
from smolmix_web.localnet.testnet.certificates import self_signed, server_context

DIRECTORY_NAME = "validator.nymtech.net"
"""The host name of Nym's mainnet directory, which is built into the packages."""


def with_tls(config: LocalNetworkConfig) -> LocalNetworkConfig:
    """The same network with a directory and an entry gateway that listen under TLS too.

    The certificate is made here and vouches for itself. The gateway is announced by a name that needs no name
    server, so that other clients of the network find it as well.
    """
    name = "localhost" if ipaddress.ip_address(config.host).is_loopback else config.host
    context = server_context(self_signed([DIRECTORY_NAME, name], datetime.datetime.now(datetime.UTC)))
    return replace(config, directory_tls=context, tls=context, hostname=name)


def chromium_flags(network: LocalNetwork) -> list[str]:
    """Launch flags that lead the packages to this network. Only for a browser that does nothing else: it
    accepts every certificate.

    :raises LocalProtocolError: the directory does not run in this process, or not under TLS
    """
    address = network.describe().get("directory_tls_address")
    if address is None:
        raise LocalProtocolError("the directory does not listen under TLS")
    return [f"--host-resolver-rules=MAP {DIRECTORY_NAME} {address}", "--ignore-certificate-errors"]
