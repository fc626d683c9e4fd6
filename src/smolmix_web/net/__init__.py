"""Our IPv4/IPv6 stack: TCP, UDP and ICMP, sans-IO. Start reading at ``stack.py``, then
``tcp/block.py``."""

from smolmix_web.net.config import StackConfig, TcpOptions
from smolmix_web.net.stack import Stack, StackStats
from smolmix_web.net.tcp.connection import TcpConnection
from smolmix_web.net.tcp.listener import TcpListener
from smolmix_web.net.tcp.state import State
from smolmix_web.net.udp import DatagramTooLong, UdpAnySocket, UdpSocket

__all__ = [
    "DatagramTooLong",
    "Stack",
    "StackConfig",
    "StackStats",
    "State",
    "TcpConnection",
    "TcpListener",
    "TcpOptions",
    "UdpAnySocket",
    "UdpSocket",
]
