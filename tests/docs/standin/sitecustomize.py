"""Loaded by every Python that a block starts: tunnels lead into the local network, whatever they ask for.

``SMOLMIX_STANDIN`` names the file that describes it. So the examples, which mean the public network, run as
they stand.
"""

import json
import os
from pathlib import Path

if "SMOLMIX_STANDIN" in os.environ:
    from smolmix_web.options import TunnelOptions

    _network = json.loads(Path(os.environ["SMOLMIX_STANDIN"]).read_text())
    _original = TunnelOptions.__init__

    def _init(self, *arguments, **values):
        _original(self, *arguments, **values)  # checks what the example gives
        # Several tunnels that send all the time are too much for a machine that runs other tests beside.
        values["disable_poisson_traffic"] = values["disable_cover_traffic"] = True
        values["network"] = _network["directory"]
        values["force_tls"] = False
        values["trust_anchors"] = _network["trustAnchors"]
        _original(self, **values)

    TunnelOptions.__init__ = _init
