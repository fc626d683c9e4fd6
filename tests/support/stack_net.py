"""Two IP stacks joined in one event loop, so that the sockets above them are tested with real TCP and real
time but without a mixnet.

    async with StackNet(Path(delay=0.005)) as net:
        server = net.serve(80, handler)            # handler(stream) for each connection
        stream = await net.client.connect(80)

Each :class:`Side` gives the sockets what the tunnel's driver gives them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, cast

from smolmix_web.errors import TunnelClosed
from smolmix_web.net import Stack, StackConfig, TcpConnection, TcpListener, TcpOptions
from smolmix_web.sockets.driver import Driver
from smolmix_web.sockets.streams import TcpStream, UdpSocket, open_tcp, open_udp
from support.netsim import CLIENT, SERVER, Path
from support.tun import Wire


class Side:
    """One stack with the driver's interface for its sockets."""

    def __init__(self, net: StackNet, address: str, mtu: int, options: TcpOptions) -> None:
        self._net = net
        self.stack: Stack | None = Stack(ipv4=address, ipv6=None, mtu=mtu, config=StackConfig(tcp=options))
        self.denied_at: dict[tuple[str, int], float] = {}
        self.failure: BaseException | None = None
        self.waiters: dict[object, list[asyncio.Future[None]]] = {}

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wake(self) -> None:
        self._net.work.set()

    def has(self, stack: Stack) -> bool:
        return self.failure is None and stack is self.stack

    def check(self, stack: Stack) -> None:
        if not self.has(stack):
            raise TunnelClosed("the exit was lost")

    async def changed(self, socket: object, stack: Stack) -> None:
        self.check(stack)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.setdefault(socket, []).append(future)
        await future

    def tell(self) -> None:
        if self.stack is not None:
            for socket in self.stack.take_changed():
                for future in self.waiters.pop(socket, ()):
                    if not future.done():
                        future.set_result(None)

    def lose_exit(self) -> None:
        """What the driver does when the exit is gone."""
        error = TunnelClosed("the exit was lost")
        stack, self.stack = self.stack, None
        assert stack is not None
        stack.abort_all(error)
        for futures in self.waiters.values():
            for future in futures:
                if not future.done():
                    future.set_exception(error)
        self.waiters.clear()

    @property
    def driver(self) -> Driver:
        return cast(Driver, self)

    @property
    def live(self) -> Stack:
        assert self.stack is not None
        return self.stack

    async def connect(self, port: int, *, address: str = SERVER, timeout: float = 20.0) -> TcpStream:
        return await open_tcp(self.driver, address, port, timeout=timeout)

    def udp(self) -> UdpSocket:
        return open_udp(self.driver)

    def stream(self, connection: TcpConnection) -> TcpStream:
        return TcpStream(self.driver, self.live, connection)


class StackNet:
    """A client and a server; see the module."""

    def __init__(
        self,
        path: Path = Path(delay=0.002),  # noqa: B008 - frozen
        options: TcpOptions | None = None,
        seed: int = 1,
    ) -> None:
        self.work = asyncio.Event()
        self.wire = Wire(path, seed)
        self.client = Side(self, CLIENT, path.mtu, options or TcpOptions())
        self.server = Side(self, SERVER, path.mtu, options or TcpOptions())
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> StackNet:
        self._spawn(self._run())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for side in (self.client, self.server):
            if side.stack is not None:
                side.lose_exit()
        for _ in range(5):
            await asyncio.sleep(0)  # whoever was waiting ends by itself
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

    def serve(self, port: int, handler: Callable[[TcpStream], Awaitable[None]]) -> TcpListener:
        """Run ``handler`` for each connection to the server's port."""
        listener = self.server.live.listen_tcp(None, port)

        async def accept() -> None:
            while True:
                connection = listener.accept()
                if connection is None:
                    await self.server.changed(listener, self.server.live)
                else:
                    self._spawn(cast(Any, handler(self.server.stream(connection))))

        self._spawn(accept())
        return listener

    async def _run(self) -> None:
        sides = (self.client, self.server)
        while True:
            self.work.clear()
            now = self.client.now()
            for end, packet in self.wire.take(now):
                stack = sides[end].stack
                if stack is not None:
                    stack.receive_packet(packet, now)
            due = []
            for end, side in enumerate(sides):
                if side.stack is None:
                    continue
                side.stack.handle_timer(now)
                side.tell()
                for packet in side.stack.packets_to_send(now):
                    self.wire.put(end, packet, now)
                due.append(side.stack.poll_at())
            due.append(self.wire.next_arrival())
            wait = min((at - now for at in due if at is not None), default=10.0)
            if wait <= 0:
                await asyncio.sleep(0)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self.work.wait()
