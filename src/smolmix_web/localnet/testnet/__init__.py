"""The test internet: real servers on loopback that the local network's exit maps documentation addresses
to.
"""

from smolmix_web.localnet.testnet.internet import TestInternet

__all__ = ["TestInternet"]
