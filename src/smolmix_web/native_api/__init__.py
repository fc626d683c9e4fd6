"""The local WebSocket interface of Nym's native client (spec/native-clients.md part 1), in front of ours.

Programs written for ``nym-client`` find the same requests, answers and errors, as JSON or as bytes.
"""

from __future__ import annotations

from smolmix_web.native_api.server import NativeApiServer

__all__ = ["NativeApiServer"]
