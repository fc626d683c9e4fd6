"""CPython: aiohttp carries the directory's HTTP and the gateway's WebSocket; storage is 0600 files."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import tempfile
import time
from pathlib import Path

import aiohttp

from smolmix_web.errors import DeadlineError, NetworkError, OptionError
from smolmix_web.platform.base import HttpAnswer, Storage

# The directory's full answers are about 1 MB on mainnet; a hostile one must not fill the memory.
MAX_HTTP_BODY = 64 * 1024 * 1024
# Largest frame a gateway sends: an extended32 push, 32 KiB and its envelope. Same bound as the gateway's own.
MAX_WEBSOCKET_MESSAGE = 16 * 1024 * 1024


class NativeWebSocketLink:
    """:class:`~smolmix_web.platform.base.WebSocketLink` over aiohttp.

    aiohttp's sends are coroutines (they wait while its buffer is full); one writer task keeps the order.
    """

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._buffered = 0
        self._ended = False
        self._writer = asyncio.get_running_loop().create_task(self._write(), name="gateway-websocket-writer")

    async def receive(self) -> str | bytes | None:
        try:
            message = await self._websocket.receive()
        except (aiohttp.ClientError, OSError, RuntimeError):
            self._ended = True
            return None
        if message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
            data: str | bytes = message.data
            return data
        self._ended = True
        return None

    def send(self, message: str | bytes) -> None:
        if self._ended:
            return
        self._buffered += len(message)
        self._outgoing.put_nowait(message)

    def buffered(self) -> int:
        return self._buffered

    async def close(self) -> None:
        self._ended = True
        self._outgoing.put_nowait(None)
        with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
            async with asyncio.timeout(2):
                await asyncio.wait({self._writer})
                await self._websocket.close()
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def _write(self) -> None:
        while (message := await self._outgoing.get()) is not None:
            try:
                if isinstance(message, str):
                    await self._websocket.send_str(message)
                else:
                    await self._websocket.send_bytes(message)
            except (aiohttp.ClientError, OSError, RuntimeError):
                self._ended = True
                return
            finally:
                self._buffered -= len(message)


class FileStorage:
    """One file per blob in one folder per client id, readable by the owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def load(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    async def save(self, name: str, value: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A crash in the middle of a write must not lose the old keys: write beside, then rename.
        # (mkstemp creates with mode 0600.)
        handle, path = tempfile.mkstemp(dir=self._folder)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(value)
            os.replace(path, self._folder / name)
        except BaseException:
            os.unlink(path)
            raise

    async def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)


class MemoryStorage:
    """Keeps nothing beyond the process; for tests and for clients that must leave no trace."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}

    async def load(self, name: str) -> bytes | None:
        return self._blobs.get(name)

    async def save(self, name: str, value: bytes) -> None:
        self._blobs[name] = value

    async def delete(self, name: str) -> None:
        self._blobs.pop(name, None)


def default_storage_folder() -> Path:
    """``$XDG_DATA_HOME/smolmix-web`` (the XDG base directory specification's default where unset)."""
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "smolmix-web"


class NativePlatform:
    """:class:`~smolmix_web.platform.base.Platform` for CPython.

    ``storage_folder=None`` keeps keys in memory only.
    """

    name = "cpython"

    def __init__(self, storage_folder: Path | None = None) -> None:
        self._storage_folder = storage_folder
        self._session: aiohttp.ClientSession | None = None

    def monotonic(self) -> float:
        return time.monotonic()

    def unix_time(self) -> float:
        return time.time()

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    async def http_get(self, url: str, headers: dict[str, str], timeout: float) -> HttpAnswer:
        try:
            async with (
                asyncio.timeout(timeout),
                self._http().get(url, headers=headers) as response,
            ):
                body = await response.content.read(MAX_HTTP_BODY + 1)
                while len(body) <= MAX_HTTP_BODY and (more := await response.content.read(MAX_HTTP_BODY)):
                    body += more
                if len(body) > MAX_HTTP_BODY:
                    raise NetworkError(f"GET {url}: the answer is larger than {MAX_HTTP_BODY} bytes")
                return HttpAnswer(response.status, response.headers.get("Content-Type", ""), body)
        except TimeoutError as error:
            raise DeadlineError(f"GET {url}", timeout) from error
        except aiohttp.InvalidURL as error:
            raise OptionError("network", f"{url!r} is not a URL") from error
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(f"GET {url}: {error}") from error

    async def open_websocket(self, url: str, timeout: float) -> NativeWebSocketLink:
        try:
            async with asyncio.timeout(timeout):
                websocket = await self._http().ws_connect(
                    url, max_msg_size=MAX_WEBSOCKET_MESSAGE, autoclose=True
                )
        except TimeoutError as error:
            raise DeadlineError(f"WebSocket to {url}", timeout) from error
        except (aiohttp.ClientError, OSError) as error:
            raise NetworkError(f"WebSocket to {url}: {error}") from error
        return NativeWebSocketLink(websocket)

    def storage(self, client_id: str) -> Storage:
        if self._storage_folder is None:
            return MemoryStorage()
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", client_id) or client_id.startswith("."):
            raise OptionError("clientId", "use 1 to 64 letters, digits, dots, dashes and underscores")
        return FileStorage(self._storage_folder / client_id)

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            # Environment proxies are respected: the gateway link is allowed to go through one.
            self._session = aiohttp.ClientSession(trust_env=True, cookie_jar=aiohttp.DummyCookieJar())
        return self._session
