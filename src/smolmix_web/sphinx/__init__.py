"""Sphinx packets and single-use reply blocks, as crate ``sphinx-packet`` 0.6.0 writes them.

Source: spec/sphinx.md part A. Reading order: constants, keys, header, payload, packet, process, surb.
"""

from __future__ import annotations

from smolmix_web.sphinx.constants import HEADER_LENGTH, MAX_HOPS, PAYLOAD_OVERHEAD
from smolmix_web.sphinx.packet import (
    Hop,
    PreparedHeader,
    build_packet,
    payload_plaintext_capacity,
    prepare_header,
)
from smolmix_web.sphinx.process import FinalHop, ForwardHop, OpenedHeader, open_header, process_packet
from smolmix_web.sphinx.surb import Surb

__all__ = [
    "HEADER_LENGTH",
    "MAX_HOPS",
    "PAYLOAD_OVERHEAD",
    "FinalHop",
    "ForwardHop",
    "Hop",
    "OpenedHeader",
    "PreparedHeader",
    "Surb",
    "build_packet",
    "open_header",
    "payload_plaintext_capacity",
    "prepare_header",
    "process_packet",
]
