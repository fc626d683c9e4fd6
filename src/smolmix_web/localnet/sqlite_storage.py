"""A gateway's storage in an SQLite file, so that clients survive a restart of the gateway (gateway.md 14).

All calls are short and made from the event loop. Write-ahead logging without waiting for the disk: a crash of
the process loses nothing, a power cut the last moments.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from smolmix_web.errors import LocalProtocolError
from smolmix_web.gateway.registry import MESSAGE_LIFETIME, MESSAGE_PAGE, StoredClient

_SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE client (
    identity BLOB PRIMARY KEY,
    shared_key BLOB NOT NULL,
    last_authentication INTEGER
) WITHOUT ROWID;
CREATE TABLE bandwidth (
    identity BLOB PRIMARY KEY REFERENCES client (identity) ON DELETE CASCADE,
    available INTEGER NOT NULL,
    expiry_day INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE message (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity BLOB NOT NULL,
    stored_at REAL NOT NULL,
    content BLOB NOT NULL
);
CREATE INDEX message_of_client ON message (identity, id);
CREATE INDEX message_by_age ON message (stored_at);
"""


class SqliteStorage:
    """:class:`~smolmix_web.gateway.GatewayStorage` in one file, mode 0600 because it holds keys.

    :param inbox_limit: bytes of messages per absent client.
    :param total_limit: bytes of messages of all absent clients.
    :raises LocalProtocolError: the file is of another version, or no such database.
    """

    def __init__(
        self, path: Path, *, inbox_limit: int = 16 * 1024**2, total_limit: int = 512 * 1024**2
    ) -> None:
        self._inbox_limit = inbox_limit
        self._total_limit = total_limit
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise LocalProtocolError(f"{path.name} is not a gateway database") from error
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Write everything and let go of the file."""
        self._db.close()

    def load_client(self, client: bytes) -> StoredClient | None:
        row = self._db.execute(
            "SELECT shared_key, last_authentication FROM client WHERE identity = ?", (client,)
        ).fetchone()
        return StoredClient(row[0], row[1]) if row is not None else None

    def store_key(self, client: bytes, shared_key: bytes) -> None:
        self._db.execute(
            "INSERT INTO client (identity, shared_key) VALUES (?, ?)"
            " ON CONFLICT (identity) DO UPDATE SET shared_key = excluded.shared_key",
            (client, shared_key),
        )

    def store_last_authentication(self, client: bytes, timestamp: int) -> None:
        self._db.execute("UPDATE client SET last_authentication = ? WHERE identity = ?", (timestamp, client))

    def load_bandwidth(self, client: bytes) -> tuple[int, int]:
        row = self._db.execute(
            "SELECT available, expiry_day FROM bandwidth WHERE identity = ?", (client,)
        ).fetchone()
        return (row[0], row[1]) if row is not None else (0, 0)

    def store_bandwidth(self, client: bytes, available: int, expiry_day: int) -> None:
        with contextlib.suppress(sqlite3.IntegrityError):  # the client was forgotten meanwhile
            self._db.execute(
                "INSERT INTO bandwidth (identity, available, expiry_day) VALUES (?, ?, ?)"
                " ON CONFLICT (identity) DO UPDATE SET"
                " available = excluded.available, expiry_day = excluded.expiry_day",
                (client, available, expiry_day),
            )

    def store_message(self, client: bytes, message: bytes, unix_time: float) -> bool:
        size = self._sizes.get(client, 0) + len(message)
        if size > self._inbox_limit or self._total + len(message) > self._total_limit:
            return False
        self._db.execute(
            "INSERT INTO message (identity, stored_at, content) VALUES (?, ?, ?)",
            (client, unix_time, message),
        )
        self._sizes[client] = size
        self._total += len(message)
        return True

    def load_messages(self, client: bytes, *, after: int = 0) -> list[tuple[int, bytes]]:
        rows = self._db.execute(
            "SELECT id, content FROM message WHERE identity = ? AND id > ? ORDER BY id LIMIT ?",
            (client, after, MESSAGE_PAGE),
        )
        return [(row[0], row[1]) for row in rows]

    def delete_messages(self, client: bytes, up_to: int) -> None:
        self._delete_messages("identity = ? AND id <= ?", (client, up_to))

    def delete_stale_messages(self, unix_time: float) -> int:
        return self._delete_messages("stored_at < ?", (unix_time - MESSAGE_LIFETIME,))

    def forget_client(self, client: bytes) -> None:
        self._delete_messages("identity = ?", (client,))
        self._db.execute("DELETE FROM client WHERE identity = ?", (client,))

    def _delete_messages(self, condition: str, values: tuple[object, ...]) -> int:
        deleted = 0
        sizes = "SELECT identity, SUM(LENGTH(content)), COUNT(*) FROM message"
        for client, size, count in self._db.execute(f"{sizes} WHERE {condition} GROUP BY identity", values):
            deleted += count
            self._total -= size
            left = self._sizes.pop(client, 0) - size
            if left > 0:
                self._sizes[client] = left
        if deleted:
            self._db.execute(f"DELETE FROM message WHERE {condition}", values)
        return deleted

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.execute("PRAGMA secure_delete = ON")  # forgotten keys and messages are overwritten
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise LocalProtocolError(f"gateway database of version {version}, {_SCHEMA_VERSION} wanted")
        # The database only says how much waits at the start; from then on it is counted here.
        rows = self._db.execute("SELECT identity, SUM(LENGTH(content)) FROM message GROUP BY identity")
        self._sizes: dict[bytes, int] = dict(rows)
        self._total = sum(self._sizes.values())
