"""A mix node: unwraps a layer, waits the delay that the packet asks for, and sends it on."""

from __future__ import annotations

from smolmix_web.localnet.node import MixnetNode
from smolmix_web.nym.topology import NodeRoles


class MixNode(MixnetNode):
    """Forward hops only; final hops are dropped, as by an official node in mixnode mode."""

    roles = NodeRoles(mixnode=True)
    forwards = True
