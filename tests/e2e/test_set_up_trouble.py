"""Set-up that cannot succeed ends in time, says what it waited for, and can be tried again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.conftest import MakeTunnel, MakeWorld, options_for
from smolmix_web.directory.errors import DirectoryError, DirectoryUnavailable
from smolmix_web.errors import DeadlineError, NetworkError, SmolmixError
from smolmix_web.localnet.network import ALL_ROLES, LocalNetworkConfig
from smolmix_web.localnet.world import LocalWorld
from smolmix_web.platform.base import HttpAnswer
from smolmix_web.sockets.gateway_link import LinkConfig
from smolmix_web.tunnel import StateChange, Tunnel, TunnelState, TunnelTiming
from support.platforms import FaultyPlatform

QUICK = TunnelTiming(
    directory_request=0.5, link=LinkConfig(open_timeout=0.5, session_timeout=1.0), storage=0.3
)

Get = Callable[[], Awaitable[HttpAnswer]]


async def attempt(
    world: LocalWorld, platform: FaultyPlatform, timing: TunnelTiming = QUICK, **options: object
) -> tuple[SmolmixError, StateChange]:
    """The error of a set-up that must fail, and the last thing that the observer was told."""
    states: list[StateChange] = []

    def note(event: object) -> None:
        if isinstance(event, StateChange):
            states.append(event)

    before = asyncio.all_tasks()
    async with asyncio.timeout(30):
        with pytest.raises(SmolmixError) as caught:
            await Tunnel.connect(
                options_for(world, **options), platform=platform, on_event=note, timing=timing
            )
    await asyncio.sleep(0.05)
    left = {task.get_name() for task in asyncio.all_tasks() - before}
    assert not left & {"gateway-link", "tunnel-driver", "topology-refresh", "gateway-websocket-writer"}
    assert [state.state for state in states] == [TunnelState.CONNECTING, TunnelState.FAILED]
    assert states[-1].code == caught.value.code
    assert str(caught.value) == states[-1].reason
    return caught.value, states[-1]


async def test_a_directory_that_hangs(world: LocalWorld) -> None:
    platform = FaultyPlatform()
    platform.on_get = lambda _path, _get: hang()
    error, told = await attempt(world, platform, replace(QUICK, set_up=0.7))
    assert isinstance(error, DeadlineError)
    assert error.phase is not None
    assert error.phase.startswith("set-up, stage directory")
    assert told.stage == "directory"


async def hang() -> HttpAnswer:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"{}", 200, DirectoryError),
        (b"gone", 410, DirectoryUnavailable),
        (b"", 200, DirectoryError),
    ],
)
async def test_a_directory_that_lies_and_then_recovers(
    world: LocalWorld, make_tunnel: MakeTunnel, body: bytes, status: int, expected: type[Exception]
) -> None:
    """The same platform object, in the same process, serves the next attempt."""
    platform = FaultyPlatform()

    async def lie(_path: str, _get: Get) -> HttpAnswer:
        return HttpAnswer(status, "application/json", body)

    platform.on_get = lie
    error, told = await attempt(world, platform)
    assert isinstance(error, expected)
    assert told.stage == "directory"
    platform.on_get = None
    tunnel = await make_tunnel(world, platform=platform)
    assert (await tunnel.fetch("http://web.test/bytes/10")).status == 200
    await tunnel.aclose()
    again = await make_tunnel(world, platform=platform)
    assert (await again.fetch("http://web.test/bytes/10")).status == 200


@pytest.fixture
async def silent_port() -> AsyncIterator[int]:
    """A server that takes connections and says nothing."""

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


async def test_a_gateway_that_says_nothing(world: LocalWorld, silent_port: int) -> None:
    platform = FaultyPlatform()
    platform.redirect = f"ws://127.0.0.1:{silent_port}/"
    error, told = await attempt(world, platform)
    assert isinstance(error, DeadlineError)
    assert "WebSocket" in str(error)
    assert told.stage == "gateway"


async def test_a_gateway_whose_session_does_not_begin(world: LocalWorld) -> None:
    platform = FaultyPlatform()
    platform.born_mute = True
    error, told = await attempt(world, platform)
    assert isinstance(error, DeadlineError)
    assert error.phase == "session with the gateway"
    assert told.stage == "gateway"


async def test_a_gateway_that_is_down_is_passed_over(make_world: MakeWorld, make_tunnel: MakeTunnel) -> None:
    world = await make_world(LocalNetworkConfig(roles=(*ALL_ROLES, "entry2")))
    await world.network.kill("entry")
    await world.network.kill("entry2")
    tunnel = await make_tunnel(world)
    assert tunnel.info()["gateway"] == world.describe()["nodes"]["exit"]["identity"]


async def test_an_exit_that_says_nothing(world: LocalWorld) -> None:
    await world.network.kill("exit")
    entry = world.describe()["nodes"]["entry"]["identity"]
    error, told = await attempt(world, FaultyPlatform(), preferred_gateway=entry, connect_timeout_ms=700)
    assert isinstance(error, DeadlineError)
    assert error.phase == "connect to the exit"
    assert told.stage == "exit"


async def test_set_up_as_a_whole_has_a_limit(world: LocalWorld) -> None:
    await world.network.kill("exit")
    entry = world.describe()["nodes"]["entry"]["identity"]
    error, _ = await attempt(world, FaultyPlatform(), replace(QUICK, set_up=1.0), preferred_gateway=entry)
    assert isinstance(error, DeadlineError)
    assert error.phase == "set-up, stage exit"


async def test_storage_that_hangs(world: LocalWorld, tmp_path: Path) -> None:
    platform = FaultyPlatform(tmp_path)
    platform.storage_hangs = True
    error, told = await attempt(world, platform)
    assert isinstance(error, DeadlineError)
    assert error.phase == "storage of the client's keys"
    assert told.stage == "keys"


async def test_no_network_at_all(world: LocalWorld) -> None:
    error, told = await attempt(world, FaultyPlatform(), network="http://127.0.0.1:9/api/")
    assert isinstance(error, NetworkError)
    assert (told.code, told.stage) == ("DIRECTORY_UNAVAILABLE", "directory")
