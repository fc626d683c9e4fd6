"""With seeded randomness the engine is repeatable to the byte; the recording also runs inside Pyodide."""

from __future__ import annotations

from smolmix_web.crypto.pyca import PycaProvider
from smolmix_web.tls.registry import NamedGroup
from tls_support.record_replay import WithoutMlKem
from vectors_runner import tls_replay


def test_recorded_session_is_replayed() -> None:
    tls_replay.replay(PycaProvider())
    tls_replay.replay(WithoutMlKem())


def test_our_own_verifier_takes_the_recorded_chain() -> None:
    class Npm(PycaProvider):
        def __init__(self) -> None:
            super().__init__()
            self.name = "npm"

    client, _ = tls_replay.handshake(Npm(), hybrid=True)
    event = client.next_event()
    assert event is not None
    assert event.group == NamedGroup.X25519MLKEM768  # type: ignore[union-attr]
