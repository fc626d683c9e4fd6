"""One HTTP/1.1 connection: h11 driven over a byte stream, one exchange at a time."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import h11

from smolmix_web.errors import DeadlineError, LocalProtocolError, NetworkError
from smolmix_web.fetch.errors import BadResponse, ResponseCutOff
from smolmix_web.fetch.headers import Headers, with_defaults
from smolmix_web.fetch.request import FetchRequest
from smolmix_web.fetch.timeouts import FetchTimeouts, Phase, during
from smolmix_web.sockets.bytestream import ByteStream

MAX_HEAD = 256 * 1024
"""Bytes of a response's head; as much as Chromium takes."""

READ_SIZE = 64 * 1024
WRITE_SIZE = 64 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """Status line and headers (names in lower case, order and repetitions kept)."""

    status: int
    reason: str
    headers: Headers


class HttpConnection:
    """Order of calls: :meth:`exchange`, :meth:`read_body` until ``b""``; then, if :attr:`reusable`, again.

    Any exception, and a body not read to its end, leave it good for nothing but :meth:`abort`.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._sending: asyncio.Task[None] | None = None
        self._idle: asyncio.Task[bytes] | None = None
        self._ended = False
        self.exchanges = 0
        self.answered = False
        """Whether any byte of the current exchange's answer has arrived."""

    def __repr__(self) -> str:
        return f"<HttpConnection {self._h11.our_state}/{self._h11.their_state}, {self.exchanges} exchanges>"

    async def exchange(self, request: FetchRequest, timeouts: FetchTimeouts) -> Head:
        """Send the request and wait for the response's head. The body is sent while waiting.

        :raises NetworkError: the connection failed. :raises BadResponse: the answer is not HTTP.
        :raises DeadlineError: phase "firstByte", or "idle" while sending.
        """
        self.exchanges += 1
        self.answered = False
        headers = with_defaults(request.headers, request.origin.authority)
        if isinstance(request.body, bytes):
            headers.append(("content-length", str(len(request.body))))
        elif request.body is not None:
            headers.append(("transfer-encoding", "chunked"))
        elif request.method in ("POST", "PUT", "PATCH"):
            headers.append(("content-length", "0"))
        try:
            head = self._h11.send(
                h11.Request(
                    method=request.method.encode("ascii"),
                    target=request.target.encode("ascii"),
                    headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
                )
            )
        except (h11.LocalProtocolError, UnicodeEncodeError) as error:
            raise LocalProtocolError(f"the request cannot be sent: {error}") from error
        if isinstance(request.body, bytes):
            # Head and a short body leave in one segment: a segment costs a mixnet packet.
            head = (head or b"") + (self._h11.send(h11.Data(data=request.body)) or b"")
        if request.body is None or isinstance(request.body, bytes):
            head = (head or b"") + (self._h11.send(h11.EndOfMessage()) or b"")
        self._sending = asyncio.ensure_future(self._send(head or b"", request, timeouts.idle))
        with during("response"):
            response = await self._read_head(timeouts)
        reason = response.reason.decode("latin-1")
        return Head(
            response.status_code,
            reason,
            [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers],
        )

    async def _send(self, head: bytes, request: FetchRequest, idle: float) -> None:
        await self._write(head, idle)
        if request.body is None or isinstance(request.body, bytes):
            return
        pieces = aiter(request.body)
        while True:
            # The caller may take as long as it likes to make the next piece.
            with during("upload"):
                piece = await anext(pieces, None)
            if piece is None:
                break
            if piece:
                await self._write(self._h11.send(h11.Data(data=piece)) or b"", idle)
        await self._write(self._h11.send(h11.EndOfMessage()) or b"", idle)

    async def _write(self, data: bytes, idle: float) -> None:
        view = memoryview(data)
        for start in range(0, len(data), WRITE_SIZE):
            piece = data if len(data) <= WRITE_SIZE else bytes(view[start : start + WRITE_SIZE])
            try:
                async with asyncio.timeout(idle):
                    await self._stream.write(piece)
            except TimeoutError as error:
                raise _ran_out(error, "server to take more of the request", idle, "idle") from error

    async def _read_head(self, timeouts: FetchTimeouts) -> h11.Response:
        """The time for the first byte runs once the request is out, and covers the whole head."""
        out_at: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            event = self._next_event()
            if isinstance(event, h11.Response):
                return event
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 101:
                    raise BadResponse("the server switched protocols unasked")
                continue
            if event is not h11.NEED_DATA:
                raise BadResponse("the connection ended before a response")
            reading = asyncio.ensure_future(self._stream.read(READ_SIZE))
            try:
                sending = self._sending
                if sending is not None and not sending.done():
                    await asyncio.wait({reading, sending}, return_when=asyncio.FIRST_COMPLETED)
                if not reading.done():
                    self._raise_send_failure()
                    out_at = loop.time() if out_at is None else out_at
                    left = out_at + timeouts.first_byte - loop.time()
                    await asyncio.wait({reading}, timeout=max(left, 0))
                if not reading.done():
                    raise _ran_out(None, "head of the response", timeouts.first_byte, "firstByte")
                data = reading.result()
            finally:
                if not reading.done():
                    reading.cancel()
                    await asyncio.gather(reading, return_exceptions=True)
            self.answered = self.answered or bool(data)
            self._feed(data)

    def _raise_send_failure(self) -> None:
        if self._sending is not None and self._sending.done() and not self._sending.cancelled():
            error = self._sending.exception()
            if error is not None:
                raise error

    async def read_body(self, timeouts: FetchTimeouts) -> bytes:
        """The next piece of the body as it came (framing removed), ``b""`` at the end.

        :raises ResponseCutOff: the connection ended too early. :raises DeadlineError: phase "idle".
        """
        with during("body"):
            return await self._read_body(timeouts)

    async def _read_body(self, timeouts: FetchTimeouts) -> bytes:
        while True:
            event = self._next_event()
            if isinstance(event, h11.Data):
                if event.data:
                    return bytes(event.data)
                continue
            if isinstance(event, h11.EndOfMessage):
                await self._settle_sending()
                return b""
            if event is not h11.NEED_DATA:
                return b""
            try:
                async with asyncio.timeout(timeouts.idle):
                    data = await self._stream.read(READ_SIZE)
            except TimeoutError as error:
                raise _ran_out(error, "next piece of the body", timeouts.idle, "idle") from error
            self._feed(data)

    def _next_event(self) -> object:
        try:
            return self._h11.next_event()
        except h11.RemoteProtocolError as error:
            if self._ended:
                raise ResponseCutOff(f"the server ended the connection too early: {error}") from error
            raise BadResponse(f"not a proper HTTP response: {error}") from error

    def _feed(self, data: bytes) -> None:
        self._ended = not data
        try:
            self._h11.receive_data(data)
        except h11.RemoteProtocolError as error:
            raise BadResponse(f"not a proper HTTP response: {error}") from error

    async def _settle_sending(self) -> None:
        """The response is complete. A request still being sent makes the connection unusable."""
        sending = self._sending
        if sending is None:
            return
        if not sending.done():
            await asyncio.sleep(0)
        if not sending.done():
            sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    @property
    def reusable(self) -> bool:
        """Both sides finished their messages and neither asked for the connection to be closed."""
        if self._sending is None or not self._sending.done() or self._sending.cancelled():
            return False
        return (
            self._sending.exception() is None
            and self._h11.our_state is h11.DONE
            and self._h11.their_state is h11.DONE
            # What follows the response unasked would pass for the answer to the next request.
            and not self._h11.trailing_data[0]
        )

    # -- between exchanges ---------------------------------------------------------------------------------

    def rest(self) -> None:
        """Make ready for another exchange, and watch for the server's end meanwhile."""
        self._h11.start_next_cycle()
        self._sending = None
        self._idle = asyncio.ensure_future(self._stream.read(1))

    async def resume(self) -> bool:
        """End the rest. False when the server has closed (or talked out of turn) in the meantime."""
        idle, self._idle = self._idle, None
        if idle is None:
            return True
        if not idle.done():
            idle.cancel()
        await asyncio.gather(idle, return_exceptions=True)
        return idle.cancelled()

    @property
    def resting_alive(self) -> bool:
        """Resting, and nothing was heard from the server."""
        return self._idle is not None and not self._idle.done()

    async def close(self) -> None:
        """Close in an orderly way."""
        self._stop_tasks()
        with contextlib.suppress(NetworkError, TimeoutError):
            async with asyncio.timeout(5):
                await self._stream.close()

    def abort(self) -> None:
        """Reset the connection."""
        self._stop_tasks()
        self._stream.abort()

    def _stop_tasks(self) -> None:
        for task in (self._sending, self._idle):
            if task is not None:
                task.cancel()
                # Whatever it ended with is of no interest any more, but must count as seen.
                task.add_done_callback(lambda task: task.cancelled() or task.exception())


def _ran_out(error: TimeoutError | None, wait: str, seconds: float, phase: Phase) -> DeadlineError:
    """What to raise for ``error``: a deadline of a layer below stays what it is."""
    if isinstance(error, DeadlineError):
        return error
    deadline = DeadlineError(wait, seconds)
    deadline.phase = phase
    return deadline
