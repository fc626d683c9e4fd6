"""What can go wrong when asking a directory. Each error names the stage that failed."""

from __future__ import annotations

from smolmix_web.errors import NetworkError, RemoteProtocolError


class DirectoryUnavailable(NetworkError):
    """No usable answer: the connection failed, or the status was not 2xx."""

    code = "DIRECTORY_UNAVAILABLE"

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"directory, {stage}: {problem}")
        self.stage = stage


class DirectoryError(RemoteProtocolError):
    """An answer that cannot be used: wrong schema, or answers that contradict each other."""

    code = "DIRECTORY"
    retriable = True

    def __init__(self, stage: str, problem: str) -> None:
        super().__init__(f"directory, {stage}: {problem}")
        self.stage = stage


class InsufficientTopology(DirectoryError):
    """The network described cannot carry packets: an empty layer, or no gateway."""

    code = "INSUFFICIENT_TOPOLOGY"


class NoGatewayError(DirectoryError):
    """No gateway of the directory fits the options."""

    code = "NO_GATEWAY"
    retriable = False


class NoExitError(DirectoryError):
    """No exit of the directory fits the options."""

    code = "NO_EXIT"
